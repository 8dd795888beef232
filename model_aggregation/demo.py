"""The demo: handwritten digits of scikit-learn, odd against even, as files in class folders."""

from pathlib import Path

import numpy as np
from PIL import Image

from model_aggregation.config import Settings, make_settings

MODELS = ("timm:test_resnet", "timm:test_efficientnet", "torchvision:shufflenet_v2_x0_5")


def write_digits(folder: Path) -> Path:
    """Write the 1,797 digits as grey PNG files of 8 × 8 pixels: ``folder/even/…`` and ``folder/odd/…``."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for name in ("even", "odd"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / ("odd" if digit % 2 else "even") / f"{number:04d}_digit{digit}.png"
        if not path.exists():
            Image.fromarray((pixels * (255 / 16)).round().astype(np.uint8)).save(path)
    return folder


def demo_settings(folder: Path) -> Settings:
    """Write the digits to ``folder`` and return the settings of a comparison of three small networks."""
    return make_settings(
        data=write_digits(folder / "digits"),
        models=MODELS,
        name="digits",
        log_folder=folder / "log",
        cache_folder=folder / "cache",
        recipe="scratch",
        positive="odd",
        image_size=32,
        channels=1,
        normalize="half",
        augmentation="none",
        epochs=8,
        batch_size=32,
        learning_rate=2e-3,
    )
