"""The grey values that are shown: a window as in DICOM, or a full range."""

import math
from dataclasses import dataclass

import numpy as np

from model_aggregation.errors import SettingsError


@dataclass(frozen=True)
class Window:
    """Which grey values become 0..255: ``center`` ± half of ``width`` (DICOM PS3.3 C.11.2.1.3.2, LINEAR_EXACT)."""

    center: float
    width: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.center) and math.isfinite(self.width) and self.width > 0):
            raise SettingsError(
                f"a window needs a finite centre and a width above 0, not {self.center:g},{self.width:g}"
            )

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return values of any type as uint8; what lies outside the window becomes 0 or 255.

        >>> Window(center=50, width=100).apply(np.array([-5, 0, 50, 100, 900])).tolist()
        [0, 0, 128, 255, 255]
        """
        return full_range(values, self.center - self.width / 2, self.center + self.width / 2)


def read_window(text: str) -> Window:
    """Return the window that a person wrote as ``centre,width``.

    Raises
    ------
    SettingsError
        When it is not two numbers, the second above 0.

    >>> read_window("40,400")
    Window(center=40.0, width=400.0)
    """
    try:
        center, width = (float(part) for part in text.split(","))
    except ValueError as reason:
        raise SettingsError(f"--window {text!r}: expected CENTRE,WIDTH, such as 40,400") from reason
    return Window(center, width)


def full_range(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map ``low`` to 0 and ``high`` to 255, rounded; what lies outside is clipped."""
    scaled = (np.asarray(values, dtype=np.float64) - low) / (high - low) * 255
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
