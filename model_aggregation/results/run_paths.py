"""Where each file of a run lies; nothing here opens or writes one."""

import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from model_aggregation.errors import ResultsError
from model_aggregation.names import model_slug

REPORT_FOLDER = "report"
REPORT_TABLES = ("roc_points.csv", "calibration.csv", "net_benefit.csv", "confusion.csv", "methods.md")
"""The files of a run's report without figures."""


class RunPaths:
    """The paths of one run's files.

    >>> RunPaths(Path("log/lungs/lungs_resnet18")).predictions_csv("test").name
    'lungs_resnet18_test.csv'
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @cached_property
    def name(self) -> str:
        """The name of the run, which is the name of its folder."""
        return self.path.name or self.path.resolve().name

    @cached_property
    def _files_name(self) -> str:
        """What its files are called: as the folder, unless that was renamed since and one other name is plain."""
        if not os.path.isdir(self.path) or (self.path / f"{self.name}.yaml").is_file():  # noqa: PTH112  (no name too long)
            return self.name
        names = [path.stem for path in self.path.glob("*.yaml")]
        runs = [name for name in names if (self.path / f"{name}_status.txt").is_file()]
        return runs[0] if len(runs) == 1 else self.name

    def _named(self, ending: str) -> Path:
        return self.path / f"{self._files_name}{ending}"

    @property
    def settings_yaml(self) -> Path:
        """The complete settings of the run."""
        return self._named(".yaml")

    @property
    def images_csv(self) -> Path:
        """Every image of the run with label and split."""
        return self.path / "images.csv"

    @property
    def status_txt(self) -> Path:
        """The log a person reads."""
        return self._named("_status.txt")

    @property
    def progress_jsonl(self) -> Path:
        """Where the run stands while it goes on; there is none once it is finished."""
        return self.path / "progress.jsonl"

    @property
    def transforms_py(self) -> Path:
        """The run's copy of the user's transforms."""
        return self.path / "transforms.py"

    @property
    def state_folder(self) -> Path:
        """Where the states of an unfinished training and the features of its frozen network lie."""
        return self.path / "state"

    def architecture_txt(self, model: str) -> Path:
        """The network, printed."""
        return self.path / f"{model_slug(model)}_architecture.txt"

    def weight_pth(self, which: Literal["last", "best"]) -> Path:
        """The state dict of the last or best epoch."""
        return self.path / f"{which}_model_weight.pth"

    def weight_json(self, which: Literal["last", "best"]) -> Path:
        """What is needed to use the state dict beside it."""
        return self.path / f"{which}_model_weight.json"

    def whole_model_pth(self, which: Literal["last", "best"]) -> Path:
        """The whole network of the last or best epoch."""
        return self.path / f"{which}_model_all.pth"

    def epoch_pth(self, epoch: int) -> Path:
        """The weights kept of one epoch, counted from 0."""
        return self.path / "models" / f"{epoch}.pth"

    def predictions_csv(self, set_name: str) -> Path:
        """Probabilities of one set of images."""
        return self._named(f"_{_checked_set(set_name)}.csv")

    def predicted_labels_csv(self, set_name: str = "test") -> Path:
        """Probabilities with the predicted label, as the companion viewer reads them."""
        return self._named(f"_{_checked_set(set_name)}_p.csv")

    def roc_csv(self, set_name: str = "test") -> Path:
        """The ROC table (two classes)."""
        return self._named(f"_{_checked_set(set_name)}_roc.csv")

    def roc_png(self, set_name: str = "test") -> Path:
        """The ROC figure (two classes)."""
        return self._named(f"_{_checked_set(set_name)}_roc.png")

    def confusion_xlsx(self, set_name: str = "test") -> Path:
        """The confusion matrix."""
        return self._named(f"_{_checked_set(set_name)}_cm.xlsx")

    def set_images_csv(self, set_name: str) -> Path:
        """Every image of an external set with label, group and content hash."""
        return self._named(f"_{_checked_set(set_name)}_images.csv")

    def set_facts_json(self, set_name: str) -> Path:
        """Where an external set came from and which weights predicted it; the mark that the set is complete."""
        return self._named(f"_{_checked_set(set_name)}.json")

    @property
    def subgroups_csv(self) -> Path:
        """Every number for each value of a column."""
        return self.path / "subgroups.csv"

    @property
    def folds_csv(self) -> Path:
        """The folds of a pooled run with the cutoff of each."""
        return self.path / "folds.csv"

    @property
    def metrics_json(self) -> Path:
        """Every number of the evaluation; the mark of completion."""
        return self.path / "metrics.json"

    @property
    def metrics_csv(self) -> Path:
        """Every number of the evaluation as a tidy table."""
        return self.path / "metrics.csv"

    @property
    def checksums(self) -> Path:
        """The SHA-256 of the files above and of the weights, in the form of ``sha256sum``."""
        return self.path / "SHA256SUMS"

    @property
    def environment_json(self) -> Path:
        """Versions, device, seed, fingerprints, command."""
        return self.path / "environment.json"

    @property
    def error_txt(self) -> Path:
        """Why the run failed."""
        return self.path / "error.txt"

    def all_paths(self, model: str, set_names: Sequence[str] = ("val", "test")) -> list[Path]:
        """Return the paths a run may write, to be checked for their length before it starts."""
        by_set = (
            self.predictions_csv,
            self.predicted_labels_csv,
            self.roc_csv,
            self.roc_png,
            self.confusion_xlsx,
        )
        return [
            self.settings_yaml,
            self.status_txt,
            self.architecture_txt(model),
            self.weight_json("best"),
            self.epoch_pth(10**6),
            self.environment_json,
            *(path(set_name) for path in by_set for set_name in set_names),
        ]


def _checked_set(set_name: str) -> str:
    if not re.fullmatch(r"\w+", set_name) or set_name.endswith(("_p", "_roc", "_cm", "_images")):
        raise ResultsError(
            f"The name of a set of images holds letters, digits and '_' and does not end in _p, _roc, _cm or "
            f"_images; '{set_name}' came."
        )
    return set_name
