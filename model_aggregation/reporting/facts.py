"""What a report may say beyond the numbers: facts that an evaluation does not hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from model_aggregation.evaluation import EvaluationOptions


@dataclass(frozen=True)
class ReportFacts:
    """Facts for the methods section; what is not given is not claimed.

    Cutoff, its rule, resamples, seeds of the resamples and groups stand in the evaluations themselves.

    Parameters
    ----------
    models
        Names of the models.
    training
        Whole sentences on how they were trained, printed as they are.
    model_names
        The model of each run, by the name of the run.
    seeds
        Seeds of the trainings.
    reference_seed
        With several seeds: the lowest, whose runs are compared.
    repeated
        What was repeated, such as ``("seeds", "folds")``; mean and SD over it stand in ``repeats.csv``.
    without_reference
        Models that have no finished run of the reference seed.
    images
        Number of images by set and class, of all sets: ``{"train": {"ok": 100, "ng": 50}, …}``.
    split_origin
        How the sets came about; completes "The division into sets was …".
    group_meaning
        What a group is, such as ``patient``.
    chosen_on
        Sets used for choosing (the epoch, the cutoff, the model), such as ``("val",)``.
    selection
        By what the model was selected there; completes "The model was selected by …".
    primary_metric
        The metric declared as the primary one.
    test_evaluations
        How often the images were evaluated so far, this evaluation included, by set of images.
    test_duplicates
        Test images whose exact pixels also occur in another set and that were kept on purpose; 0 when it was looked
        for and none was found.
    comparison_options
        The options that the comparison was computed with.
    versions
        Versions by name of the software.
    """

    models: tuple[str, ...] = ()
    training: str | None = None
    model_names: Mapping[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    reference_seed: int | None = None
    repeated: tuple[str, ...] = ()
    without_reference: tuple[str, ...] = ()
    images: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    split_origin: str | None = None
    group_meaning: str | None = None
    chosen_on: tuple[str, ...] = ()
    selection: str | None = None
    primary_metric: str | None = None
    test_evaluations: Mapping[str, int] = field(default_factory=dict)
    test_duplicates: int | None = None
    comparison_options: EvaluationOptions | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
