"""Predicting new images with a finished run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from model_aggregation.config import Settings
from model_aggregation.data.decoding import IMAGE_SUFFIXES, reading_rule
from model_aggregation.data.dicom import holds_dicom
from model_aggregation.data.folder_walk import walk_folder
from model_aggregation.data.inspection import describe_file
from model_aggregation.data.loading import image_source
from model_aggregation.errors import DataError, ResultsError, SettingsError
from model_aggregation.evaluation.decision import decide
from model_aggregation.fabric import make_fabric
from model_aggregation.files import read_json
from model_aggregation.models.arithmetic import Arithmetic, Inference
from model_aggregation.models.build import Network, Preprocessing, build_network, fill_network, pixel_rule
from model_aggregation.models.earlier_weights import classes_of
from model_aggregation.models.inference import predict_logits, softmax
from model_aggregation.models.memory import NotEnoughMemoryError, free_memory
from model_aggregation.models.pickled_networks import PickledNetworkError
from model_aggregation.models.weights import StoredWeights, fit_weights, read_weights, read_weights_file
from model_aggregation.models.zoo import find_models, parse_model_name
from model_aggregation.named_code import code_of_run
from model_aggregation.progress import Reporter
from model_aggregation.results.checksums import refuse_changed_weights
from model_aggregation.results.earlier_network import (
    EarlierNetwork,
    earlier_network,
    earlier_runs_in,
    is_earlier_folder,
)
from model_aggregation.results.earlier_sources import NOTHING_GIVEN, EarlierSources
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.settings_files import stored_settings
from model_aggregation.startup import keep_freed_memory
from model_aggregation.trusted_code import require_trust

ERROR_COLUMN = "(error)"  # no class folder's usual name; "error" may well be a class


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network with the weights of a run, its classes and its cutoff (two classes; else None)."""

    network: Network
    classes: tuple[str, ...]
    positive: str | None
    cutoff: float | None
    settings: Settings
    inference: Inference

    def labels(self, probabilities: Any) -> list[str]:
        """Return the predicted class of each row: positive strictly above the cutoff, or the largest."""
        positive = None if self.positive is None else self.classes.index(self.positive)
        return [self.classes[index] for index in decide(probabilities, positive=positive, cutoff=self.cutoff)]


def load_trained(
    run: Path, earlier: EarlierSources = NOTHING_GIVEN, *, reporter: Reporter | None = None
) -> TrainedNetwork:
    """Build the network of a finished run with the weights that were tested.

    Parameters
    ----------
    earlier
        For a run of the earlier program: what its folder lacks, or what stands above it.
    reporter
        Told what was taken from where for such a run.

    Raises
    ------
    ResultsError
        If ``run`` is no folder of a finished run, or its weights are not what the run wrote.
    SettingsError
        If something is given for a run of the earlier program, and this is none.
    UntrustedCodeError
        If the run names code, and the user has not said yes to it.
    """
    if is_earlier_folder(run):
        return _load_earlier(run, earlier, reporter or Reporter())
    if given := earlier.given():
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise SettingsError(f"{flags}: for a run folder of the earlier program only, and {run} is none.")
    folder = RunFolder(run)
    if not folder.finished:
        inside = earlier_runs_in(run)[:10]
        hint = f" It holds runs of the earlier program; give one of {', '.join(inside)}." if inside else ""
        raise ResultsError(f"{run} is not the folder of a finished run (it has no metrics.json).{hint}")
    members = folder.read_environment().get("members") if folder.environment_json.is_file() else None
    if members:
        raise ResultsError(
            f"{folder.name} is pooled from the folds of a cross-validation and has no network of its own; give one of "
            f"{', '.join(members)}."
        )
    which = folder.tested_weights()
    refuse_changed_weights(folder, [folder.weight_pth(which), folder.weight_json(which)])
    try:
        facts = read_json(folder.weight_json(which))
    except OSError as error:
        raise ResultsError(f"{folder.weight_json(which)} is missing; the run cannot predict.") from error
    settings = stored_settings(facts["settings"], folder.weight_json(which))
    if settings.transforms is not None:
        settings = settings.model_copy(update={"transforms": folder.transforms_py})
    require_trust(code_of_run(facts, settings.transforms), folder.path)
    model = parse_model_name(facts["model"])
    network = build_network(model, len(facts["classes"]), settings, with_weights=False)
    weights = folder.weight_pth(which)
    fit_weights(network.module, read_weights(weights), head=frozenset(), origin=str(weights))
    preprocessing = Preprocessing.from_dict(facts["preprocessing"])
    network = Network(network.module, model, network.head, preprocessing, str(weights))
    cutoff = facts["cutoff"]["value"] if facts["cutoff"] else None
    known = facts.get("arithmetic")  # weights of an earlier version say nothing: then float32
    inference = Arithmetic.from_dict(known).inference if known else Inference()
    return TrainedNetwork(network, tuple(facts["classes"]), facts["positive"], cutoff, settings, inference)


def _load_earlier(run: Path, earlier: EarlierSources, reporter: Reporter) -> TrainedNetwork:
    """Build the network of a run of the earlier program, which sees images exactly as it did there."""
    found = earlier_network(run, earlier)
    for line in found.said:
        reporter.message(line)
    settings = found.settings
    [model] = find_models([str(settings.model)], settings.source)
    path, stored = read_first_weights(found)
    network = build_network(model, len(found.classes), settings, with_weights=False)
    outputs = classes_of(stored.state, network.head, network.module.state_dict().keys())
    if outputs not in (None, len(found.classes)):
        raise ResultsError(
            f"The network of {path} has {outputs} classes, but {found.classes_from} names {len(found.classes)}: "
            f"{', '.join(found.classes[:10])}. Give the names in the order of the class folders: --classes A B C"
        )
    fill_network(network, stored, origin=str(path), with_head=True)
    seen = str(settings.transforms) if settings.transforms else network.preprocessing.in_words()
    reporter.message(f"network: {model} of {path}, input {seen}")
    network = replace(network, weights_origin=str(path))
    inference = Inference(batch_size=1, fold=False)  # as there: either may move the fifth decimal of a probability
    return TrainedNetwork(network, found.classes, found.positive, found.cutoff, settings, inference)


def read_first_weights(found: EarlierNetwork) -> tuple[Path, StoredWeights]:
    """Return the first file of weights that is a state dict, else the first pickled network, which must be trusted.

    Raises
    ------
    PickledNetworkError
        If there are pickled networks only, and the user does not trust them.
    ModelError
        If a file cannot be read.
    """
    settings = found.settings
    refused: PickledNetworkError | None = None
    for path in found.weights:
        try:
            return path, read_weights_file(path)
        except PickledNetworkError as error:
            refused = refused or error
    if not settings.trust_pickle and refused is not None:
        raise refused
    path = found.weights[0]
    return path, read_weights_file(path, trust_pickle=True, pickle_folder=settings.pickle_folder)


def predict_folder(
    run: Path,
    source: Path,
    earlier: EarlierSources = NOTHING_GIVEN,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    reporter: Reporter | None = None,
) -> pd.DataFrame:
    """Return one row for each image in or below ``source`` (or for one image file).

    ``earlier`` is what the folder of a run of the earlier program lacks; what was taken from where is told to the
    ``reporter``. Columns: ``path``, ``predict_label``, one probability per class, ``(error)``. An image that cannot be
    read has an error and nothing else; it is never replaced. The network computes as it did in its run's own test,
    unless ``batch_size`` says how many images at once.

    Raises
    ------
    DataError
        If there are no images.
    ResultsError
        If the run is not finished.
    """
    reporter = reporter or Reporter()
    trained = load_trained(run, earlier, reporter=reporter)
    paths = _image_paths(source)
    rule = reading_rule(trained.settings.window, trained.settings.max_pixels)
    facts = [describe_file(str(path), rule) for path in paths]
    images = pd.DataFrame(
        {
            "path": [str(path) for path in paths],
            "error": ["" if fact["readable"] else fact["error"] for fact in facts],
            "content_hash": [fact["content_hash"] for fact in facts],
        }
    )
    readable = images[images["error"] == ""]
    probabilities = predict_images(trained, readable, device=device, batch_size=batch_size, reporter=reporter)
    labels = pd.Series(trained.labels(probabilities), index=readable.index, dtype=object)
    table = pd.concat(  # by place: a class may be called like one of the columns
        [
            images["path"],
            labels.reindex(images.index).fillna(""),
            pd.DataFrame(probabilities, index=readable.index).reindex(images.index),
            images["error"],
        ],
        axis=1,
    )
    table.columns = pd.Index(["path", "predict_label", *trained.classes, ERROR_COLUMN])
    return table


def _image_paths(source: Path) -> list[Path]:
    if source.is_file():
        if not _is_image(source):
            raise DataError(f"{source} is no image.")
        return [source.resolve()]
    if not source.is_dir():
        raise DataError(f"{source} is neither a folder nor an image.")
    files = (Path(path) for found in walk_folder(source.resolve()).files for path in found.paths())
    paths = [path for path in files if _is_image(path)]
    if not paths:
        raise DataError(f"There are no images in or below {source}.")
    return paths


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES or holds_dicom(str(path))


def predict_images(
    trained: TrainedNetwork, images: pd.DataFrame, *, device: str, reporter: Reporter, batch_size: int | None = None
) -> Any:
    """Return (N, C) float64 probabilities of readable images, given by their columns path and content_hash."""
    if not len(images):
        return torch.empty(0, len(trained.classes), dtype=torch.float64).numpy()
    settings = trained.settings.model_copy(update={"device": device})
    fabric = make_fabric(settings)
    rule = pixel_rule(trained.network.preprocessing, settings)
    source = image_source(images, None, rule, transforms=settings.transforms, workers=settings.workers or 0)
    keep_freed_memory()
    inference = replace(trained.inference, batch_size=batch_size or trained.inference.batch_size)
    while True:
        try:
            logits = predict_logits(
                trained.network,
                source,
                fabric,
                inference=inference,
                progress=lambda done, total: reporter.count("predicting", done, total),
            )
        except NotEnoughMemoryError as error:
            if inference.batch_size == 1:
                raise
            inference = replace(inference, batch_size=inference.batch_size // 2)
            reporter.message(f"{error} It goes on with {inference.batch_size} images at once.")
        else:
            return softmax(logits)
        free_memory()
