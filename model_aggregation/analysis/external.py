"""Testing a finished run on other images, with its own weights and its frozen cutoff; nothing is trained or chosen.

What it does not know: near duplicates. An image that was saved again is not recognised among those of the training.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.analysis.earlier_test import refuse_earlier_test
from model_aggregation.analysis.groups import refresh_tables
from model_aggregation.analysis.run_sets import (
    OWN_SETS,
    Metrics,
    evaluate_run,
    log_folder_of,
    refresh_index,
)
from model_aggregation.analysis.shared_images import learnt_images, shared_images
from model_aggregation.config import nearest
from model_aggregation.data.decoding import reading_rule
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.inspection import inspect
from model_aggregation.data.scan import Layout, scan
from model_aggregation.errors import DataError, ResultsError, SettingsError
from model_aggregation.files import file_hash, write_csv, write_json
from model_aggregation.names import check_group_name, check_path_lengths, default_name, same_name
from model_aggregation.prediction import TrainedNetwork, load_trained, predict_images
from model_aggregation.progress import Reporter
from model_aggregation.results.checksums import forget_files, refuse_changed
from model_aggregation.results.earlier_network import is_earlier_folder
from model_aggregation.results.earlier_sources import NOTHING_GIVEN, EarlierSources
from model_aggregation.results.locks import run_lock
from model_aggregation.results.records import group_of
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.tables import predictions_table
from model_aggregation.software import versions

_RESERVED_ENDINGS = ("_p", "_roc", "_cm", "_images")


@dataclass(frozen=True)
class ExternalData:
    """Images that a finished run is tested on.

    Parameters
    ----------
    source
        A folder or a table, as for training. Where it has splits, only ``test`` is used.
    name
        The name of the set; default: made from the name of the folder.
    group, layout
        As for training.
    skip_unreadable
        Leave unreadable images out and report them, instead of stopping.
    allow_duplicates
        Accept images that the run was trained on or chosen by, with a warning in the results.
    """

    source: Path
    name: str | None = None
    group: str | None = None
    layout: Layout = "auto"
    skip_unreadable: bool = False
    allow_duplicates: bool = False


def evaluate_external(
    run: Path,
    data: ExternalData,
    earlier: EarlierSources = NOTHING_GIVEN,
    *,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> tuple[str, Metrics]:
    """Test a finished run on other images and store the results beside its own; return the set's name and all numbers.

    Parameters
    ----------
    earlier
        What a run folder of the earlier program lacks for the command that tests it.

    Raises
    ------
    ResultsError
        If the run is not finished, its files are not what it wrote, or its set of this name holds other images. For a
        run of the earlier program with the command that tests it.
    SettingsError
        If the name of the set is not allowed, or something is given for a run of the earlier program, and it is none.
    DataError
        If there are no test images, classes the run does not know, unreadable images, or images it has learnt from.
    """
    reporter = reporter or Reporter()
    if is_earlier_folder(run):
        options = _typed_options(data, device)
        refuse_earlier_test(run, data.source, earlier, layout=data.layout, options=options, name=data.name)
    folder = RunFolder(run.resolve())
    name = _set_name(data)
    check_path_lengths([folder.predicted_labels_csv(name), folder.set_images_csv(name), folder.roc_png(name)])
    with _locked(folder):
        refuse_changed(folder, folder.external_sets())
        trained = load_trained(folder.path, earlier)
        table, part = _scanned(data, trained.classes)
        reading = reading_rule(trained.settings.window, trained.settings.max_pixels)
        table = inspect(table, progress=partial(reporter.count, "reading images"), rule=reading)
        images = table.frame.assign(split=name)
        _check_images(folder, images, data, trained)
        _check_name_is_free(folder, name, images)
        readable = images[images["readable"].astype(bool)].reset_index(drop=True)
        predictions = _predict(trained, readable, device, reporter)
        forget_files(folder, [folder.set_images_csv(name), folder.predictions_csv(name), folder.set_facts_json(name)])
        write_csv(folder.set_images_csv(name), _image_facts(replace(table, frame=images)))
        write_csv(folder.predictions_csv(name), predictions)
        write_json(folder.set_facts_json(name), _facts(folder, name, data, part))
        metrics = evaluate_run(folder)
        folder.append_status(f"tested on {name}: {len(readable)} images of {data.source}")
        refresh_index(folder)
        refresh_tables(folder)
    return name, metrics


def _typed_options(data: ExternalData, device: str) -> list[str]:
    """Return the flags of a run that mean what was said of the data."""
    flags = {"--skip-unreadable": data.skip_unreadable, "--allow-duplicates": data.allow_duplicates}
    words = [flag for flag, given in flags.items() if given]
    words += [] if data.group is None else ["--group", data.group]
    return words if device == "auto" else [*words, "--device", device]


@contextmanager
def _locked(folder: RunFolder) -> Iterator[None]:
    """Hold the run where it lies in a log folder, so that no other process writes its results meanwhile."""
    log_folder = log_folder_of(folder)
    if log_folder is None:
        yield
        return
    with run_lock(log_folder, group_of(folder, log_folder), folder.name):
        yield


def _set_name(data: ExternalData) -> str:
    if data.name is None:
        source = data.source.resolve()
        name = default_name(source.stem if source.is_file() else source.name)
        if same_name(name) in OWN_SETS:
            name = f"data_{name}"
        return f"{name}_set" if name.endswith(_RESERVED_ENDINGS) else name
    name = check_group_name(data.name)
    if same_name(name) in OWN_SETS:
        raise SettingsError(f"--name {name}: train, val and test are the run's own sets; give the set another name.")
    if name.endswith(_RESERVED_ENDINGS):
        endings = ", ".join(_RESERVED_ENDINGS)
        raise SettingsError(f"--name {name}: files of a set end in {endings}, so its name may not; give another.")
    return name


def _scanned(data: ExternalData, classes: tuple[str, ...]) -> tuple[ImageTable, str]:
    """Return the images to test on with their labels checked, and which part of the data they are."""
    table = scan(data.source, group=data.group, layout=data.layout)
    part = "all images"
    if table.presplit:
        part = "the test images"
        frame = table.frame[table.frame["split"] == "test"].reset_index(drop=True)
        if frame.empty:
            raise DataError(
                f"{data.source} has splits, but no test images. To use all images give a table without the column "
                "split, or the folder of one split."
            )
        table = replace(table, frame=frame)
    sizes = table.frame["label"].value_counts().sort_index()
    unknown = [name for name in sizes.index if name not in classes]
    if unknown:
        raise DataError(
            f"{data.source} holds classes that the run does not know; names must match exactly. "
            f"The run knows: {', '.join(classes[:10])}{' …' if len(classes) > 10 else ''}.",
            [f"'{name}': {sizes[name]} images; {nearest(name, classes)}" for name in unknown],
        )
    return table, part


def _check_images(folder: RunFolder, images: pd.DataFrame, data: ExternalData, trained: TrainedNetwork) -> None:
    twice = images.loc[images["id"].duplicated() | images["path"].duplicated(), "id"].unique()
    if len(twice):
        raise DataError(f"{data.source}: images are listed more than once; keep one of each:", list(twice))
    lost = images[~images["readable"].astype(bool)]
    if len(lost) and not data.skip_unreadable:
        raise DataError(
            f"{len(lost)} images cannot be read; repair or remove them, or leave them out with --skip-unreadable:",
            [f"{name}: {error}" for name, error in zip(lost["id"], lost["error"], strict=True)],
        )
    if len(lost) == len(images):
        raise DataError(f"{data.source}: none of its {len(images)} images can be read.")
    shared = shared_images(images, learnt_images(trained.settings, folder.read_images()))
    if shared and not data.allow_duplicates:
        raise DataError(
            f"{len(shared)} of {len(images)} images are among those that the run was trained on or chosen by: the "
            "numbers would be too high. Remove them, or accept this with --allow-duplicates:",
            shared,
        )


def _check_name_is_free(folder: RunFolder, name: str, images: pd.DataFrame) -> None:
    """Refuse a set that is there with other images; the same images may be tested again."""
    there = [known for known in folder.external_sets() if same_name(known) == same_name(name)]
    if not there:
        return
    if there[0] != name:
        raise ResultsError(
            f"The run has a set {there[0]}, which differs from {name} only in case. Give another --name."
        )
    columns = ["id", "label", "content_hash"]
    before, now = (
        {tuple(row) for row in table[columns].astype(str).to_numpy().tolist()}
        for table in (folder.read_set_images(name), images)
    )
    if before != now:
        lines = [f"no longer there, or changed: {row[0]} ({row[1]})" for row in sorted(before - now)]
        lines += [f"not there before, or changed: {row[0]} ({row[1]})" for row in sorted(now - before)]
        raise ResultsError(
            f"The run was already tested on a set {name}, and it held other images. Give this one another --name.",
            lines,
        )


def _predict(trained: TrainedNetwork, images: pd.DataFrame, device: str, reporter: Reporter) -> pd.DataFrame:
    values = predict_images(trained, images, device=device, reporter=reporter)
    words = images[["path", "label"]].rename(columns={"label": "correct_label"})
    return predictions_table(pd.concat([words, pd.DataFrame(values, columns=list(trained.classes))], axis=1))


def _image_facts(table: ImageTable) -> pd.DataFrame:
    own = ["id", "path", "label", "split", "group", *table.metadata_columns, "readable", "content_hash", "pixel_hash"]
    return table.frame[own]


def _facts(folder: RunFolder, name: str, data: ExternalData, part: str) -> dict[str, Any]:
    weights = folder.weight_pth(folder.tested_weights())
    return {
        "set": name,
        "data": str(data.source.resolve()),
        "part": part,
        "group": data.group,
        "skip_unreadable": data.skip_unreadable,
        "allow_duplicates": data.allow_duplicates,
        "weights": weights.name,
        "weights_sha256": file_hash(weights),
        "tested": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        "versions": versions(),
    }
