"""A small log folder with a comparison, a failed run, a single run, names with markup, and real images."""

from pathlib import Path

import pandas as pd
from conftest import write_image
from results_samples import make_failed_run, make_run, predictions

from model_aggregation.results.index import Index

GROUP = "胸部"
RUN = f"{GROUP}_resnet18"
MARKUP = "<img src=x onerror=alert(1)>"


def make_log(folder: Path) -> Path:
    """Write the log folder and return it."""
    log = folder / "log"
    for number, model in enumerate(("resnet18", "vgg11")):
        make_run(
            log / GROUP / f"{GROUP}_{model}", seed=number, validation=0.7 + number / 10, model=f"torchvision:{model}"
        )
    make_failed_run(log / GROUP / f"{GROUP}_broken", message=f"out of memory {MARKUP}")
    make_run(log / "single_run", classes=("a", MARKUP, "c"), model=MARKUP)
    for row in predictions(("cat", "dog"), log / GROUP / "images").itertuples():
        write_image(Path(row.path), bright=row.correct_label == "dog", seed=int(row.Index), size=24)
    Index(log).rebuild()
    Index(log).set_state(f"{GROUP}_next", GROUP, "planned", model="timm:test_vit")
    return log


def first_image(log: Path) -> dict[str, object]:
    """Return the first row of the table of predictions."""
    return pd.read_csv(log / GROUP / RUN / f"{RUN}_test.csv").iloc[0].to_dict()
