"""Small real images and settings that several tests share."""

import os
import signal
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # a busy machine must not make the tests crawl
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="magg_tests_")  # what is trusted here is no matter of the user's

import numpy as np
import pytest
from PIL import Image

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell's background job; the commands under test inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def write_image(path: Path, *, bright: bool, seed: int, size: int = 16) -> None:
    """Write a grey noise image whose left half is brighter if ``bright``: easy to learn."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 120, size=(size, size))
    if bright:
        pixels[:, : size // 2] += 100
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 2 × 60 images in class folders with Japanese names, a space, and files that are no images."""
    root = tmp_path_factory.mktemp("data") / "胸部 X-ray"
    for number in range(60):
        write_image(root / "正常" / f"{number:03d}.png", bright=False, seed=number)
        write_image(root / "肺炎" / "deeper folder" / f"{number:03d}.png", bright=True, seed=1000 + number)
    (root / "正常" / "Thumbs.db").write_bytes(b"x")
    (root / "notes.txt").write_text("no image", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """root/{train,val,test}/class with three classes."""
    root = tmp_path_factory.mktemp("data3") / "parts"
    for split, count in (("train", 12), ("val", 5), ("test", 6)):
        for label_number, label in enumerate(("a", "b", "c")):
            for number in range(count):
                path = root / split / label / f"{number}.png"
                seed = 10_000 * label_number + 100 * len(split) + number + hash_free(split)
                write_image(path, bright=label != "a", seed=seed)
    return root


def hash_free(text: str) -> int:
    """A number from a text that does not change between processes."""
    return sum(ord(letter) for letter in text) * 1000
