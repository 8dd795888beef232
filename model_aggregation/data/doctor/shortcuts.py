"""Whether something trivial already tells the classes apart: size, storage, brightness, colour, detail, border.

For each kind of trivial feature a logistic regression (standardised features, their squares and products) learns the
classes on four fifths of the images and predicts the last fifth, in turn; groups are kept whole. Its AUC, one class
against the rest, says how far a network could come without looking at what matters. A high AUC is no proof: bright
lesions make bright images.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from model_aggregation.data.finding import Finding
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.kept_tables import KeptTables

_COLUMNS = ["feature", "label", "auc", "n", "limit"]
_NOT_KEPT = KeptTables()
_FORMAT = 1  # of what is kept: another number, and the AUCs are computed again
_FOLDS = 5
_MOST_IMAGES = 10_000
_MOST_CLASSES = 50
_FEWEST_PER_CLASS = 10
_MOST_KINDS = 8  # different formats, or modes, that count as features of their own
_STANDARD_ERRORS = 4  # above 0.5, so that no AUC of a few images is taken for a shortcut

_MEANINGS = {
    "image size": "width, height, aspect ratio",
    "storage": "format, mode, EXIF orientation",
    "brightness": "mean and contrast",
    "colour": "mean red, green and blue against the grey",
    "detail": "variance of the Laplacian, bytes per pixel",
    "border": "brightness of the border, share of plain border",
}
_WARN_FROM = {"image size": 0.65, "storage": 0.65, "border": 0.8, "brightness": 0.8, "colour": 0.8, "detail": 0.8}


@dataclass(frozen=True, eq=False)
class Shortcuts:
    """``aucs``: one row per kind of feature and class (``feature``, ``label``, ``auc``, ``n``, ``limit``).

    ``limit`` is the AUC from which the feature counts as a shortcut; ``reason`` says why there are none.
    """

    aucs: pd.DataFrame
    reason: str = ""


def find_shortcuts(table: ImageTable, *, kept: KeptTables = _NOT_KEPT) -> Shortcuts:
    """Return how well trivial features predict the classes of a table that was inspected with ``appearance``.

    ``kept``: where the result for features that have not changed is taken from.
    """
    rows = _sampled(table.readable())
    empty = pd.DataFrame(columns=_COLUMNS)
    if rows["label"].nunique() < 2:
        return Shortcuts(empty, f"fewer than two classes have {_FEWEST_PER_CLASS} readable images")
    units = rows["group"].where(rows["group"] != "", rows["pixel_hash"])
    if units.groupby(rows["label"]).nunique().min() < _FOLDS:
        return Shortcuts(empty, f"a class has fewer than {_FOLDS} groups, too few to leave out one fifth in turn")
    features = _features(rows)
    key = [f"shortcuts {_FORMAT} {sklearn.__version__}".encode(), "\0".join([*rows["label"], *units]).encode()]
    key += [part for name, values in features.items() for part in (name.encode(), values.tobytes())]
    return Shortcuts(kept.get(key, lambda: _all_aucs(features, rows["label"], units)))


def shortcut_findings(shortcuts: Shortcuts) -> Iterator[Finding]:
    """Yield a warning for each kind of feature that predicts a class too well."""
    found = shortcuts.aucs[shortcuts.aucs["auc"] >= shortcuts.aucs["limit"]]
    for feature, classes in found.groupby("feature", sort=False):
        worst = classes.sort_values("auc", ascending=False)
        lines = tuple(
            f"{label} against the rest: AUC {auc:.3f}" for label, auc in zip(worst["label"], worst["auc"], strict=True)
        )
        message = (
            f"{feature} alone ({_MEANINGS[str(feature)]}) predicts the class {worst['label'].iloc[0]!r} with AUC "
            f"{worst['auc'].iloc[0]:.2f} on images left out: unless it belongs to what you mean, a network may learn "
            "it instead. Ask whether the classes were taken or stored differently; if so, take or store them alike"
        )
        yield Finding("warning", "shortcut", message, details=lines)


def _sampled(rows: pd.DataFrame) -> pd.DataFrame:
    """Return at most so many images, each class by its share, of the largest classes with enough images."""
    sizes = rows["label"].value_counts()
    kept = sizes[sizes >= _FEWEST_PER_CLASS].index[:_MOST_CLASSES]
    rows = rows[rows["label"].isin(kept)]
    if len(rows) <= _MOST_IMAGES:
        return rows
    order = rows["content_hash"].sort_values().index  # at random, and the same on every machine
    rows = rows.loc[order]
    place = rows.groupby("label").cumcount()
    wanted = np.ceil(rows.groupby("label")["label"].transform("size") * (_MOST_IMAGES / len(rows)))
    return rows[place < wanted.clip(lower=_FEWEST_PER_CLASS)].sort_values("id")


def _features(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the kinds of features, each (N, number of features); those equal in all images are left out."""
    width, height = rows["width"].astype(float), rows["height"].astype(float)
    look = {name: rows[f"look_{name}"].astype(float) for name in ("red", "green", "blue", "brightness", "contrast")}
    kinds = [_indicators(rows[name]) for name in ("format", "mode", "exif_orientation")]
    per_pixel = np.log(rows["bytes"].astype(float) / (width * height))
    columns: dict[str, list[Any]] = {
        "image size": [np.log(width), np.log(height), np.log(width / height)],
        "storage": kinds,
        "brightness": [look["brightness"], look["contrast"]],
        "colour": [look["red"] - look["green"], look["blue"] - look["green"]],
        "detail": [np.log1p(rows["look_sharpness"].astype(float)), per_pixel],
        "border": [rows["look_border"].astype(float), rows["look_border_share"].astype(float)],
    }
    joined = {name: pd.concat(parts, axis=1).to_numpy(dtype=float) for name, parts in columns.items()}
    varied = {name: values[:, values.std(axis=0) > 1e-9] for name, values in joined.items()}
    return {name: values for name, values in varied.items() if values.shape[1]}


def _indicators(column: pd.Series) -> pd.DataFrame:
    frequent = column.value_counts().index[:_MOST_KINDS]
    return pd.DataFrame({str(kind): (column == kind).astype(float) for kind in frequent}, index=column.index)


def _all_aucs(features: dict[str, np.ndarray], labels: pd.Series, units: pd.Series) -> pd.DataFrame:
    parts = [_aucs(name, values, labels, units) for name, values in features.items()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)


def _aucs(feature: str, values: np.ndarray, labels: pd.Series, units: pd.Series) -> pd.DataFrame:
    """Return the AUC of each class against the rest, from probabilities for images left out."""
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler(),
                          LogisticRegression(max_iter=300))  # fmt: skip
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the classes may be perfectly apart
        warnings.simplefilter("ignore", UserWarning)  # a class of few groups may be absent from a fold
        probabilities = cross_val_predict(model, values, labels, groups=units, cv=folds, method="predict_proba")
    rows = []
    for place, label in enumerate(sorted(labels.unique())):
        of_class = (labels == label).to_numpy()
        inside, outside = int(of_class.sum()), int((~of_class).sum())
        by_chance = np.sqrt((inside + outside + 1) / (12 * inside * outside))  # standard error where AUC = 0.5
        rows.append(
            {
                "feature": feature,
                "label": label,
                "auc": float(roc_auc_score(of_class, probabilities[:, place])),
                "n": inside,
                "limit": max(_WARN_FROM[feature], 0.5 + _STANDARD_ERRORS * by_chance),
            }
        )
    return pd.DataFrame(rows)
