"""The evaluation repeated for each value of a column: site, scanner, age band.

What it does not know: whether a difference between two values is more than chance; nothing is tested here.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from model_aggregation.analysis.run_sets import RunSets
from model_aggregation.errors import PredictionsError
from model_aggregation.evaluation import Evaluation, Predictions
from model_aggregation.files import write_csv

MISSING = "(missing)"
MOST_VALUES = 100

Subgroups = dict[str, dict[str, Evaluation]]
"""By the name of the set of images (or of the table), and by value."""


def run_subgroups(run: RunSets, column: str) -> Subgroups:
    """Evaluate each set of a run once per value of a metadata column of its images.

    Raises
    ------
    PredictionsError
        If no set has the column, or it has more than 100 values.
    """
    tables = {name: image_set.images for name, image_set in run.sets.items()}
    if not any(column in table for table in tables.values()):
        columns = list(dict.fromkeys(str(name) for table in tables.values() for name in table.columns))
        raise unknown_column(column, columns, "the images of the run")
    found: Subgroups = {}
    for name, table in tables.items():
        texts = table[column] if column in table else pd.Series("", index=table.index)
        values = dict(zip(table["path"], value_texts(texts), strict=True))
        image_set = run.sets[name]

        def evaluate(part: Predictions, unreadable: Sequence[str], name: str = name) -> Evaluation:
            return run.evaluate(name, part, unreadable)

        found[name] = subgroups(image_set.predictions, column, values, evaluate, tuple(image_set.unreadable))
    return found


def unknown_column(column: str, columns: Sequence[str], where: str) -> PredictionsError:
    """Return the error for a column that is not there, with the nearest one."""
    near = difflib.get_close_matches(column, columns, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return PredictionsError(f"--by {column}: {where} have no such column.{hint} There are: {', '.join(columns)}.")


def value_texts(column: pd.Series) -> list[str]:
    """Return the values as text, those that are missing or blank as ``(missing)``.

    >>> value_texts(pd.Series(["a", "", None, 3]))
    ['a', '(missing)', '(missing)', '3']
    """
    texts = ["" if missing else str(value).strip() for value, missing in zip(column, column.isna(), strict=True)]
    return [text or MISSING for text in texts]


def subgroups(
    predictions: Predictions,
    column: str,
    values: Mapping[str, str],
    evaluate: Callable[[Predictions, Sequence[str]], Evaluation],
    unreadable: Sequence[str] = (),
) -> dict[str, Evaluation]:
    """Evaluate the images of each value; values in sorted order, the missing one last.

    Parameters
    ----------
    values
        The value of each image, by its id.
    evaluate
        Evaluates a part of the predictions with the part's unreadable images.

    Raises
    ------
    PredictionsError
        For more than 100 values.
    """
    own = pd.Series([values[name] for name in predictions.ids], dtype=object)
    distinct = sorted({*own, *(values[name] for name in unreadable)}, key=lambda value: (value == MISSING, value))
    if len(distinct) > MOST_VALUES:
        raise PredictionsError(
            f"--by {column}: the column has {len(distinct)} different values, {MOST_VALUES} are the most. "
            "Put them into bands."
        )
    return {
        value: evaluate(
            predictions.take((own == value).to_numpy(dtype=bool)),
            [name for name in unreadable if values[name] == value],
        )
        for value in distinct
    }


def subgroup_table(column: str, found: Subgroups) -> pd.DataFrame:
    """Return the tidy table: column, subgroup (its value), split, then the columns of ``metrics.csv``."""
    tables = [
        evaluation.to_table().assign(column=column, subgroup=value, split=name)
        for name, values in found.items()
        for value, evaluation in values.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    first = ["column", "subgroup", "split"]
    return table[[*first, *table.columns.drop(first)]]


def write_subgroups(path: Path, column: str, found: Subgroups) -> None:
    """Write ``subgroups.csv``, whole or absent."""
    write_csv(path, subgroup_table(column, found))
