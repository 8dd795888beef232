"""What may be set beside the data set and the models: every field is a YAML key, a flag and a line of help.

Knows nothing about how settings fit together (``config``) or about what the values do.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from pydantic import BeforeValidator, ByteSize, Field, field_validator

from model_aggregation.input_options import InputOptions
from model_aggregation.recipes import RECIPES
from model_aggregation.setting_values import (
    AUGMENTATIONS,
    as_duration,
    none_is_nothing,
    number_as_text,
    seconds_of,
)

TRAINING = Parameter(group="Training")
EVALUATION = Parameter(group="Evaluation")
OUTPUT = Parameter(group="Output")

Augmentation = Literal["none", "horizontal", "flips", "light", "medical", "trivial", "randaugment"]
RuleOfCutoff = Literal["balanced_accuracy", "fixed", "youden", "min_sensitivity", "min_specificity", "cost", "earlier"]
TrainingLoss = Literal["cross_entropy", "bce_with_logits", "multi_margin", "focal", "cosine"]


class Options(InputOptions):
    """Every setting that may be left out."""

    # --- training -------------------------------------------------------------------------------------
    recipe: Annotated[str, TRAINING] = Field(
        "standard", description=f"Named set of settings to start from: {', '.join(RECIPES)}."
    )
    epochs: Annotated[int, TRAINING] = Field(10, ge=1, description="Passes over the training images.")
    batch_size: Annotated[int, TRAINING] = Field(32, ge=1, description="Images per batch.")
    accumulate: Annotated[int, TRAINING] = Field(
        1, ge=1, description="Batches whose gradients are added up before a step."
    )
    optimizer: Annotated[Literal["adamw", "adam", "sgd"], TRAINING] = Field("adamw", description="Optimiser.")
    learning_rate: Annotated[float, TRAINING] = Field(3e-4, gt=0, description="Highest learning rate.")
    weight_decay: Annotated[float | None, TRAINING] = Field(
        None, ge=0, description="Weight decay; default: 0.01 for adamw, 0 for adam and sgd."
    )
    momentum: Annotated[float, TRAINING] = Field(0.9, ge=0, lt=1, description="Momentum (sgd only).")
    schedule: Annotated[Literal["cosine", "constant"], TRAINING] = Field(
        "cosine", description="Course of the learning rate after the warm-up."
    )
    warmup_epochs: Annotated[float, TRAINING] = Field(
        0.5, ge=0, description="Epochs in which the learning rate rises from near 0 to its highest value."
    )
    loss: Annotated[TrainingLoss, TRAINING] = Field(
        "cross_entropy", description="Loss; 'bce_with_logits' takes one-hot targets."
    )
    label_smoothing: Annotated[float, TRAINING] = Field(
        0.0, ge=0, lt=1, description="Label smoothing (cross_entropy only)."
    )
    focal_gamma: Annotated[float, TRAINING] = Field(2.0, ge=0, description="Focusing of the loss 'focal'.")
    class_weights: Annotated[Literal["none", "balanced"], TRAINING] = Field(
        "none", description="'balanced' weighs each class by the inverse of its share of the training images."
    )
    freeze: Annotated[bool, TRAINING] = Field(
        True, description="Train only the new head at first; without pretrained weights nothing is frozen."
    )
    thaw_at: Annotated[int | None, TRAINING] = Field(
        1, ge=0, description="Epoch (from 0) from which the whole network is trained; none: never."
    )
    frozen_batch_norm: Annotated[Literal["keep", "update"], TRAINING] = Field(
        "keep", description="Statistics of batch norm layers that are frozen: kept, or updated by each batch."
    )
    drop_last: Annotated[bool, TRAINING] = Field(
        False, description="Leave out the last batch of an epoch when it is not full."
    )
    augmentation: Annotated[Augmentation, TRAINING] = Field(
        "horizontal",
        description="Random changes of training images, drawn anew for each image: "
        + "; ".join(f"'{name}' {meaning}" for name, meaning in AUGMENTATIONS.items())
        + ". The last two run per image in worker processes. 'magg augment' shows them.",
    )
    mixup: Annotated[float, TRAINING] = Field(
        0.0,
        ge=0,
        description="Blend each training image with another of its batch, in shares drawn from Beta(MIXUP, MIXUP), and "
        "their classes in the same shares; 0: off, usual 0.2.",
    )
    cutmix: Annotated[float, TRAINING] = Field(
        0.0,
        ge=0,
        description="Paste a rectangle of another image of the batch, its area drawn from Beta(CUTMIX, CUTMIX); the "
        "classes count by area; 0: off, usual 1. With mixup each image draws one of the two.",
    )
    clip_gradient: Annotated[float | None, TRAINING] = Field(
        None, gt=0, description="Largest norm of the gradient; default: no limit."
    )
    patience: Annotated[int | None, TRAINING] = Field(
        None, ge=1, description="Stop after so many epochs without a better validation; default: never."
    )
    best_by: Annotated[Literal["loss", "accuracy", "balanced_accuracy", "auc"], TRAINING] = Field(
        "loss", description="What makes an epoch the best, on validation images."
    )
    best_ties: Annotated[Literal["first", "last"], TRAINING] = Field(
        "first", description="Which of equally good epochs is the best."
    )
    test_weights: Annotated[Literal["best", "last"], TRAINING] = Field(
        "best", description="Weights that are tested: of the best epoch on validation, or of the last."
    )
    save_every: Annotated[int | None, TRAINING] = Field(
        None, ge=1, description="Keep the weights of every so many epochs in models/; default: none."
    )
    seed: Annotated[int, TRAINING] = Field(
        0, ge=0, lt=2**31, description="Seed of the split, the first weights, the order and the resamples."
    )
    seeds: Annotated[tuple[int, ...], TRAINING, Parameter(consume_multiple=True, negative=())] = Field(
        (),
        description="Train each model once with each of these seeds, on the same split; results stand as mean and "
        "standard deviation, never pooled.",
    )
    time_limit: Annotated[str | None, TRAINING, BeforeValidator(as_duration)] = Field(
        None,
        description="Time for the whole command, such as 90s, 30m, 6h or 1d12h: then the training ends, its best so "
        "far is tested, and what has not begun waits for the same command.",
    )
    run_time_limit: Annotated[str | None, TRAINING, BeforeValidator(as_duration)] = Field(
        None,
        description="Time for the training of one run, before a stop included; then its best so far is tested. The "
        "same command with more time goes on with it.",
    )
    device: Annotated[str, TRAINING] = Field("auto", description="auto, cpu, cuda, cuda:1, mps.")
    precision: Annotated[Literal["auto", "32", "bf16", "16"], TRAINING, BeforeValidator(number_as_text)] = Field(
        "auto",
        description="Arithmetic: 32-bit floats, or mixed with bfloat16 or float16; 'auto': 32 or bf16, whichever two "
        "timed steps of the model show to be faster on this machine.",
    )
    memory_format: Annotated[Literal["auto", "contiguous", "channels_last"], TRAINING] = Field(
        "auto", description="Order of a batch in memory; 'auto': whichever two timed steps show to be faster."
    )
    threads: Annotated[int | None, TRAINING] = Field(
        None, ge=1, description="Cores that a network computes on; default: those that are free when the run starts."
    )
    predict_batch_size: Annotated[int | None, TRAINING] = Field(
        None, ge=1, description="Images at once where nothing is learnt; default: the fastest of a few that are timed."
    )
    devices: Annotated[int, TRAINING] = Field(
        1,
        ge=1,
        description="GPUs (with --device cpu: processes) that train and test one model together, each a part of every "
        "batch; default: 1, or as many processes as torchrun or SLURM's srun started.",
    )
    jobs: Annotated[int | None, TRAINING] = Field(
        None,
        ge=0,
        description="Runs at the same time, each in a process of its own with its share of the threads; default: one "
        "for each GPU (or for --devices of them), else one. 0: in this process, one after the other, for debugging.",
    )
    engine: Annotated[Literal["local", "ray"], TRAINING] = Field(
        "local",
        description="Where runs are done: on this machine, or as tasks of a Ray cluster whose machines see data and "
        "log folder at the same paths (needs the extra 'cluster').",
    )
    address: Annotated[str | None, TRAINING] = Field(
        None,
        description="Address of the Ray cluster, such as 10.0.0.1:6379, or 'auto' on one of its machines; default: Ray "
        "starts on this machine alone.",
    )
    compile: Annotated[bool, TRAINING] = Field(
        False, description="Compile the training step (torch.compile): pays on a GPU; the first steps take long."
    )
    cache_features: Annotated[bool, TRAINING] = Field(
        True,
        description="While only the head learns, compute what enters it once for each view of an image and keep it "
        "until the whole network is trained.",
    )
    feature_views: Annotated[int, TRAINING] = Field(
        8,
        ge=1,
        description="Most draws of each training image that are computed while only the head learns, where images are "
        "changed by more than mirroring; later epochs see these draws again.",
    )
    workers: Annotated[int | None, TRAINING] = Field(
        None, ge=0, description="Processes that decode images; default: one per core, at most 8."
    )

    # --- evaluation -----------------------------------------------------------------------------------
    primary_metric: Annotated[str | None, EVALUATION] = Field(
        None,
        description="Metric that ranks models; default: auc for two classes, balanced_accuracy for more.",
    )
    cutoff_on: Annotated[Literal["validation", "test"], EVALUATION] = Field(
        "validation", description="Images that the cutoff is chosen on; 'test' makes results exploratory."
    )
    cutoff_rule: Annotated[RuleOfCutoff, EVALUATION] = Field(
        "balanced_accuracy",
        description="How the cutoff of two classes is chosen; 'earlier': as the earlier program did.",
    )
    cutoff_value: Annotated[float, EVALUATION] = Field(0.5, ge=0, le=1, description="The cutoff for the rule 'fixed'.")
    cutoff_target: Annotated[float, EVALUATION] = Field(
        0.95, gt=0, lt=1, description="The rate that 'min_sensitivity' or 'min_specificity' must reach."
    )
    cutoff_cost: Annotated[float, EVALUATION] = Field(
        1.0, gt=0, description="Cost of a missed positive for the rule 'cost'; a false alarm costs 1."
    )
    cutoff_lower: Annotated[float, EVALUATION] = Field(0.4, ge=0, le=1, description="Lowest cutoff allowed.")
    cutoff_upper: Annotated[float, EVALUATION] = Field(0.6, ge=0, le=1, description="Highest cutoff allowed.")
    plot_settings: Annotated[Path | None, EVALUATION] = Field(
        None, description="YAML with title, xlabel, ylabel, cutoff_ll and cutoff_ul of the ROC figure."
    )

    # --- output ---------------------------------------------------------------------------------------
    name: Annotated[str | None, OUTPUT, BeforeValidator(number_as_text)] = Field(
        None,
        description="Name of the run, for a comparison of the group; default: made from the data folder.",
    )
    comparison: Annotated[str | None, OUTPUT, BeforeValidator(number_as_text)] = Field(
        None, description="Existing or new comparison (group) that a single run is put into."
    )
    log_folder: Annotated[Path, OUTPUT] = Field(Path("log"), description="Folder that holds all results.")
    cache_folder: Annotated[Path | None, OUTPUT] = Field(
        None, description="Folder for decoded images; default: the user's cache folder."
    )
    cache_limit: Annotated[ByteSize | None, OUTPUT] = Field(  # type: ignore[assignment]
        "100GB",  # validated like a given value
        description="Most bytes that decoded images may take on the disk, such as 20GB; those used least recently go "
        "first. none: no limit.",
    )
    keep_cache: Annotated[bool, OUTPUT] = Field(
        True, description="Keep the decoded images for other runs; without it they are removed afterwards."
    )
    whole_model: Annotated[bool, OUTPUT] = Field(
        False, description="Also store the whole network as a pickle (last_model_all.pth, best_model_all.pth)."
    )
    tensorboard: Annotated[bool, OUTPUT] = Field(True, description="Write TensorBoard events to runs/.")

    @field_validator(
        "thaw_at", "patience", "clip_gradient", "save_every", "weight_decay", "workers", "cache_limit", "threads",
        "jobs", "predict_batch_size", "time_limit", "address", "run_time_limit", mode="before",
    )  # fmt: skip
    @classmethod
    def _no_word_is_nothing(cls, value: Any) -> Any:
        return none_is_nothing(value)

    def seconds(self, name: Literal["time_limit", "run_time_limit"]) -> float:
        """Return a limit in seconds; infinite without one."""
        given = getattr(self, name)
        return math.inf if given is None else seconds_of(given)

    def given(self) -> dict[str, Any]:
        """Return only the settings that were given, not the defaults."""
        return {key: getattr(self, key) for key in self.model_fields_set}
