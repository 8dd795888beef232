"""The folder of one run: where each file lies, and writing and reading each, whole or absent.

A run is finished once ``metrics.json``, the last file written, is there.
"""

import json
import re
import shutil
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from model_aggregation.errors import ChangedResultsError, ModelAggregationError, ResultsError, listed
from model_aggregation.files import json_text, write_csv, write_json, write_text
from model_aggregation.results import checksums, tables
from model_aggregation.results.plot_settings import PlotSettings
from model_aggregation.results.run_paths import RunPaths

_FINDINGS_IN_A_LINE = 2
_HASHES = ("content_hash", "pixel_hash")  # 144 bytes of an image

RunState = Literal["finished", "failed", "interrupted"]


class RunFolder(RunPaths):
    """The files of one run; nothing is created before something is written.

    >>> RunFolder(Path("log/lungs/lungs_resnet18")).state()
    'interrupted'
    """

    # --- state --------------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether this program has written a run here; a failed run of the earlier program counts too.

        Its results do not, nor an error that it left beside them.
        """
        if self.environment_json.is_file() or self.metrics_json.is_file():
            return True
        predicted = (self.predictions_csv("test"), self.predicted_labels_csv("test"))
        if not self.error_txt.is_file() or not any(path.is_file() for path in predicted):
            return self.error_txt.is_file()
        try:
            return not is_traceback(self.read_error())
        except ResultsError:
            return True

    @property
    def finished(self) -> bool:
        """Whether the run ended with all its results."""
        return self.metrics_json.is_file()

    @property
    def failed(self) -> bool:
        """Whether the run ended with an error."""
        return self.error_txt.is_file() and not self.finished

    def state(self) -> RunState:
        """Return what the files say; a run that is still going on looks interrupted."""
        if self.finished:
            return "finished"
        return "failed" if self.failed else "interrupted"

    def external_sets(self) -> list[str]:
        """Return the names of the external sets that the run was tested on, sorted."""
        found = re.compile(rf"{re.escape(self.name)}_(\w+)\.json")
        names = [match[1] for path in self.path.glob("*.json") if (match := found.fullmatch(path.name))]
        return sorted(name for name in names if self._named(f"_{name}_images.csv").is_file())

    def tested_weights(self) -> Literal["best", "last"]:
        """Return which weights the settings have tested: those of the best epoch where there are any."""
        last = self.read_settings().get("test_weights") == "last"
        return "best" if self.weight_pth("best").is_file() and not last else "last"

    # --- writing --------------------------------------------------------------------------------------------

    def write_predictions(self, set_name: str, table: pd.DataFrame, *, predicted: Sequence[str] | None = None) -> None:
        """Write the probabilities of one set, and with ``predicted`` also the file of predicted labels.

        Parameters
        ----------
        set_name
            ``val``, ``test`` or the name of an external set.
        table
            Columns ``path`` (absolute), ``correct_label``, then one of probabilities per class, in any order.
        predicted
            Class names, one per row; needed for ``test``.

        Raises
        ------
        ValueError
            For other columns, or ``test`` without predicted labels.
        """
        if set_name == "test" and predicted is None:
            raise ValueError("the test predictions need their predicted labels")
        if predicted is not None:
            write_csv(self.predicted_labels_csv(set_name), tables.predictions_table(table, predicted))
        write_csv(self.predictions_csv(set_name), tables.predictions_table(table))

    def write_roc(self, roc: pd.DataFrame, *, set_name: str = "test") -> None:
        """Write the ROC table with the columns ``CutOff, TPR, FPR, Balanced Accuracy``."""
        tables.write_roc(self.roc_csv(set_name), roc)

    def write_roc_figure(
        self,
        roc: pd.DataFrame | None,
        metrics: Mapping[str, Any],
        *,
        plot: PlotSettings | None = None,
        set_name: str = "test",
    ) -> None:
        """Draw the ROC curve; ``metrics`` is the object of this set in ``metrics.json``."""
        from model_aggregation.results.figures import write_roc_figure  # matplotlib: half a second for readers

        write_roc_figure(self.roc_png(set_name), roc, metrics, plot or PlotSettings())

    def write_confusion(
        self, matrix: Sequence[Sequence[int]], classes: Sequence[str], *, set_name: str = "test"
    ) -> None:
        """Write the confusion matrix; rows are correct labels, columns predicted ones."""
        tables.write_confusion(self.confusion_xlsx(set_name), matrix, classes)

    def write_metrics(
        self, metrics: Mapping[str, Mapping[str, Any]], table: pd.DataFrame, *, of_run: bool = True
    ) -> None:
        """Write ``metrics.csv``, of a run the checksums of its files, and then ``metrics.json``, which marks the end.

        ``metrics`` holds one object per evaluated set; an error of an earlier attempt is removed.
        """
        text = json_text(dict(metrics))
        write_csv(self.metrics_csv, table)
        self.clear_error()
        if of_run:
            checksums.write_checksums(self, self.external_sets(), text)
        write_text(self.metrics_json, text)

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write versions, device, seed, fingerprints and times."""
        write_json(self.environment_json, dict(environment))

    def write_error(self, error: BaseException) -> None:
        """Write why the run failed: the reason in words with every single finding, an empty line, the traceback."""
        words = f"{type(error).__name__}: {error}"
        if isinstance(error, ModelAggregationError):
            words = "\n".join([error.message, *listed(error.problems, len(error.problems))])
        self.write_failure(words, "".join(traceback.format_exception(error)))

    def write_failure(self, reason: str, details: str) -> None:
        """Write why the run failed: the reason in words, an empty line, what helps to find the cause."""
        reason = re.sub(r"\n\s*\n", "\n", reason.strip())
        write_text(self.error_txt, (f"{reason}\n\n{details}").encode(errors="replace").decode())

    def clear_error(self) -> None:
        """Remove the error of an earlier attempt."""
        self.error_txt.unlink(missing_ok=True)

    def remove_state(self) -> None:
        """Remove the states and the features of a finished run; one that was cut short may still go on."""
        facts = self.read_environment() if self.environment_json.is_file() else {}
        if self.state_folder.is_dir() and not facts.get("cut_short"):
            shutil.rmtree(self.state_folder)

    def append_status(self, line: str) -> None:
        """Add a line to the log a person reads."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self.status_txt.open("a", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(line.rstrip("\n") + "\n")

    # --- reading --------------------------------------------------------------------------------------------

    def read_settings(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        try:
            return dict(yaml.safe_load(tables.read_text(self.settings_yaml)) or {})
        except (yaml.YAMLError, ValueError, TypeError) as error:
            raise ResultsError(f"{self.settings_yaml} holds no settings: {error}") from error

    def read_images(self, *, hashes: bool = True) -> pd.DataFrame:
        """Return ``images.csv``, every value as text, with or without the hashes of files and pixels."""
        return tables.read_words(self.images_csv, without=() if hashes else _HASHES)

    def read_set_images(self, set_name: str) -> pd.DataFrame:
        """Return the images of an external set, every value as text."""
        return tables.read_words(self.set_images_csv(set_name))

    def read_set_facts(self, set_name: str) -> dict[str, Any]:
        """Return where an external set came from and which weights predicted it."""
        return _read_object(self.set_facts_json(set_name))

    def read_predictions(self, set_name: str = "test") -> pd.DataFrame:
        """Return ``path, correct_label,<classes>``: labels as str, probabilities as float64."""
        return tables.read_predictions(self.predictions_csv(set_name))

    def read_predicted_labels(self, set_name: str = "test") -> pd.DataFrame:
        """Return ``path, correct_label, predict_label,<classes>``; predicted names end in ``_p``."""
        return tables.read_predictions(self.predicted_labels_csv(set_name))

    def read_roc(self, set_name: str = "test") -> pd.DataFrame:
        """Return the ROC table."""
        return tables.read_numbers(self.roc_csv(set_name), tables.ROC_COLUMNS)

    def read_confusion(self, set_name: str = "test") -> pd.DataFrame:
        """Return the confusion matrix, also of an old run folder, where it is named ``…_bc_cm.xlsx``."""
        path = self.confusion_xlsx(set_name)
        old = self._named(f"_{set_name}_bc_cm.xlsx")
        return tables.read_confusion(old if old.is_file() and not path.is_file() else path)

    def read_metrics(self) -> dict[str, dict[str, Any]]:
        """Return ``metrics.json``: one object per evaluated set.

        Raises
        ------
        ChangedResultsError
            If it is not what the run wrote or, of an earlier version, holds numbers that cannot be right.
        """
        return _checked_metrics(self)

    def read_metrics_table(self) -> pd.DataFrame:
        """Return ``metrics.csv``: value, low, high and n as float64, the rest as text; errors as for the metrics."""
        if checksums.Checksums.read(self).is_changed(self.metrics_csv):
            raise _changed(self, self.metrics_csv, "is not what the run wrote")
        return tables.read_numbers(self.metrics_csv, tables.METRIC_NUMBERS)

    def read_environment(self) -> dict[str, Any]:
        """Return ``environment.json``."""
        return _read_object(self.environment_json)

    def read_error(self) -> str:
        """Return the reason and the traceback of a failed run."""
        return tables.read_text(self.error_txt)

    def failure_reason(self) -> str | None:
        """Return why the run failed, in one line with its first findings, or None when it did not."""
        return reason_line(self.read_error()) if self.failed else None


def is_traceback(error: str) -> bool:
    """Tell whether the text of ``error.txt`` is a traceback and nothing else, as the earlier program wrote it."""
    return error.lstrip().startswith("Traceback (most recent call last):")


def reason_line(error: str) -> str:
    """Return what the text of ``error.txt`` says, in one line: the reason, or of a mere traceback its exception."""
    if is_traceback(error):
        return exception_line(error)
    lines = error.partition("\n\n")[0].splitlines()
    others = [number for number, line in enumerate(lines) if line.startswith("  - ")][_FINDINGS_IN_A_LINE:]
    words = [line.strip() for number, line in enumerate(lines) if number not in others]
    return " ".join([*words, *([f"… and {len(others)} more in error.txt"] if others else [])])


def exception_line(text: str) -> str:
    """Return the exception that a traceback ends with, in one line; of chained ones the last.

    >>> exception_line("Traceback:\\n  File 'a.py', line 1\\n    f()\\nKeyError: 'x'\\nand more")
    "KeyError: 'x'"
    """
    lines = [line for line in text.splitlines() if line.strip()]
    frames = [place for place, line in enumerate(lines) if line.startswith("  File ")]
    after = lines[frames[-1] :] if frames else lines[-1:]
    return next((line for line in after if not line.startswith(" ")), lines[-1] if lines else "").strip()


def _checked_metrics(folder: RunFolder) -> dict[str, Any]:
    content = _read_bytes(folder.metrics_json)
    metrics = _object(folder.metrics_json, content)
    fault = checksums.fault_of_metrics(folder, content)
    if fault is not None:
        raise _changed(folder, folder.metrics_json, fault)
    return metrics


def _changed(folder: RunFolder, path: Path, fault: str) -> ChangedResultsError:
    return ChangedResultsError(f'{path} {fault}. Make it anew from the predictions: magg analyze "{folder.path}".')


def _read_object(path: Path) -> dict[str, Any]:
    return _object(path, _read_bytes(path))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror or error}.") from error


def _object(path: Path, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ResultsError(f"{path} is damaged: {error}. Evaluate the run again with magg analyze.") from error
    if not isinstance(found, dict):
        raise ResultsError(f"{path} should hold a JSON object; it holds {type(found).__name__}.")
    return found
