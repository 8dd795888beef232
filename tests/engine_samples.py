"""Networks of a user that end their process, and a small data set for them."""

from pathlib import Path

from conftest import write_image

MODULE = """
import os, signal, sys, time
from pathlib import Path
from torch import nn

def network(num_classes):
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(body, nn.Linear(4, num_classes))

def aborts(num_classes):
    print("about to abort", flush=True)
    os.abort()

def crashes(num_classes):
    os.kill(os.getpid(), signal.SIGSEGV)

def is_killed(num_classes):
    os.kill(os.getpid(), signal.SIGKILL)

def leaves(num_classes):
    os._exit(3)

def has_no_memory(num_classes):
    raise MemoryError("Unable to allocate 900 GiB")

class Slow(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layers = network(num_classes)
    def forward(self, images):
        time.sleep(0.05)
        return self.layers(images)

def slow(num_classes):
    return Slow(num_classes)
"""


def write_project(folder: Path, *, images: int = 15) -> None:
    """Write the module ``networks.py`` and ``data/a``, ``data/b`` into a folder."""
    (folder / "networks.py").write_text(MODULE, encoding="utf-8")
    for number, label in enumerate("ab"):
        for image in range(images):
            write_image(folder / "data" / label / f"{image}.png", bright=number == 1, seed=1000 * number + image)
