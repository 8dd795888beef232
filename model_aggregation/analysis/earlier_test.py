"""Testing the network of a run of the earlier program: as a run of its own, by a command that is told.

Its folder stays as it is: results that this program writes into it would make it one of its own runs, without the
images, splits and versions that belong to one.
"""

import os
import shlex
import subprocess
from pathlib import Path

from model_aggregation.config import nearest
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.scan import Layout, scan
from model_aggregation.errors import DataError, ResultsError, SettingsError
from model_aggregation.names import default_name
from model_aggregation.prediction import read_first_weights
from model_aggregation.results.earlier_network import EarlierNetwork, earlier_network
from model_aggregation.results.earlier_sources import EarlierSources


def refuse_earlier_test(
    run: Path, data: Path, earlier: EarlierSources, *, layout: Layout, options: list[str], name: str | None
) -> None:
    """Stop with the command that tests the network of a run of the earlier program on all test images of ``data``.

    Parameters
    ----------
    options
        What else is typed, such as ``--skip-unreadable``.
    name
        The name of the set, part of the new run's name.

    Raises
    ------
    ResultsError
        Always, with the command or with what it lacks.
    DataError
        If the classes of the images are not those of the network.
    """
    found = earlier_network(run, earlier)
    weights, _ = read_first_weights(found)
    table = scan(data, layout=layout)
    _check_classes(table, found, data)
    words = ["magg", "run", found.settings_file, "--no-train", "--pretrained", "--data", data]
    if data.is_dir():
        words += ["--layout", "splits" if table.presplit else "classes"]
    words += [] if table.presplit else ["--test-share", "1"]
    words += ["--weights", weights, *_trust(earlier), *_of_two_classes(found, earlier), *options]
    words += ["--name", f"{default_name(run.resolve().name)}_{name or default_name(data.resolve().stem)}"]
    words += _log_folder(run, found)
    raise ResultsError(
        f"{run} is a run of the earlier program, whose files stay as they are. Its network is tested as a run of its "
        f"own (that these images are none of those it learnt from, nobody but you can know):\n\n"
        f"    {_typed(list(map(str, words)))}\n"
    )


def _check_classes(table: ImageTable, found: EarlierNetwork, data: Path) -> None:
    """Refuse other classes, or the same in another order: the outputs of the network have no names."""
    problems = [f"'{name}': {nearest(name, found.classes)}" for name in table.classes if name not in found.classes]
    problems += [f"no image of '{name}'" for name in found.classes if name not in table.classes]
    if not problems and table.classes != found.classes:
        problems = [f"their order is {', '.join(table.classes)}, that of the network {', '.join(found.classes)}"]
    if problems:
        raise DataError(
            f"The classes of {data} must be those of the network: {', '.join(found.classes[:10])} "
            f"({found.classes_from}).",
            problems,
        )


def _trust(earlier: EarlierSources) -> list[str]:
    words = [] if earlier.transforms is None else ["--transforms", str(earlier.transforms)]
    words += ["--trust-pickle"] if earlier.trust_pickle else []
    return words if earlier.pickle_folder is None else [*words, "--pickle-folder", str(earlier.pickle_folder)]


def _of_two_classes(found: EarlierNetwork, earlier: EarlierSources) -> list[str]:
    if len(found.classes) != 2:
        return []
    if found.positive is None:
        raise SettingsError("Which of the two classes is the positive one? Its settings name none; give --positive.")
    words = ["--cutoff-rule", "fixed", "--cutoff-value", str(found.cutoff)]
    if earlier.positive is not None:
        other = next(name for name in found.classes if name != found.positive)
        words += ["--positive", found.positive, "--negative", other]
    return words


def _log_folder(run: Path, found: EarlierNetwork) -> list[str]:
    """Return where the new run goes, if the settings would not put it into the log folder of the old one."""
    folder = run.resolve().parent
    folder = folder.parent if found.settings.comparison else folder
    return [] if found.settings.log_folder.resolve() == folder else ["--log-folder", str(folder)]


def _typed(words: list[str]) -> str:
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
