"""The versions of the software that numbers depend on; nothing of it is imported."""

import importlib.metadata
import platform
from functools import cache

_PACKAGES = (
    "model_aggregation", "torch", "torchvision", "timm", "lightning-fabric", "numpy", "pandas", "pillow",
    "scikit-learn", "scipy", "statsmodels",
)  # fmt: skip


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
