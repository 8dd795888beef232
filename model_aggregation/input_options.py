"""What may be set about data and models: every field is a YAML key, a flag and a line of help.

Knows nothing about how settings fit together (``config``) or about what the values do.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from model_aggregation.setting_values import (
    as_words,
    current_source,
    model_and_file,
    none_is_nothing,
    number_as_text,
    numbers_as_text,
    text_as_number,
)

DATA = Parameter(group="Data")
MODEL = Parameter(group="Model")

Source = Literal["torchvision", "timm"]
ImageSize = Annotated[int, Field(ge=8)] | Literal["earlier"] | None


class InputOptions(BaseModel):
    """Every setting of data and models that may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), validate_default=True)
    # --- data -----------------------------------------------------------------------------------------
    train: Annotated[bool, DATA] = Field(
        True, description="Train; without it the network of a --weights file is tested as it is."
    )
    validation: Annotated[bool, DATA] = Field(
        True, description="Use the validation images; without them the last epoch is tested with the cutoff 0.5."
    )
    test: Annotated[bool, DATA] = Field(True, description="Predict and evaluate the test images.")
    positive: Annotated[str | None, DATA, BeforeValidator(number_as_text)] = Field(
        None,
        description="Class counted as positive (two classes): sensitivity is the share of it that is found.",
    )
    group: Annotated[str | None, DATA] = Field(
        None,
        description="Unit that must not be torn apart, such as a patient: a column of the table, or a regular "
        "expression on the path with a part named 'group', e.g. '(?P<group>P\\d+)_'.",
    )
    negative: Annotated[str | None, DATA, BeforeValidator(number_as_text)] = Field(
        None, description="The other of two classes; only checked against the data (the specific class of before)."
    )
    num_classes: Annotated[int | None, DATA] = Field(
        None, ge=2, description="Number of classes; only checked against the data."
    )
    layout: Annotated[Literal["auto", "classes", "splits"], DATA] = Field(
        "auto",
        description="How a folder is read: 'classes' = DATA/class/image, 'splits' = DATA/train/class/image; "
        "'auto' tells them apart and stops when it cannot.",
    )
    split: Annotated[Path | None, DATA] = Field(
        None, description="Table (splits.csv) that says which image is for train, val and test."
    )
    test_share: Annotated[float, DATA] = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of all images kept for the test, when the split is made here; 1 (train: false) tests all.",
    )
    train_share: Annotated[float, DATA] = Field(
        0.8,
        gt=0,
        lt=1,
        description="Share of the remaining images used for training; the rest is validation.",
    )
    split_seed: Annotated[int | None, DATA] = Field(
        None, ge=0, lt=2**31, description="Seed of a split or of folds made here; default: the seed."
    )
    folds: Annotated[int | None, DATA] = Field(
        None,
        ge=2,
        description="k-fold cross-validation: every image is tested once, by a network that learnt from other folds; "
        "stratified by class, groups kept whole.",
    )
    fold: Annotated[int | None, DATA] = Field(None, ge=1, description="Do only this one of the folds, from 1.")
    skip_unreadable: Annotated[bool, DATA] = Field(
        False, description="Leave unreadable images out and record them, instead of stopping."
    )
    allow_duplicates: Annotated[bool, DATA] = Field(
        False,
        description="Go on although the same picture is in test and in another split; the report says so.",
    )
    channels: Annotated[Literal[1, 3], DATA, BeforeValidator(text_as_number)] = Field(
        3, description="Channels of the network's input: 3 (colour) or 1 (grey)."
    )
    alike: Annotated[float | None, DATA] = Field(
        0.95,
        ge=0.5,
        le=1,
        description="Correlation of thumbnails from which two pictures count as near duplicates, which a split made "
        "here keeps together; none: only equal pictures.",
    )
    window: Annotated[str | None, DATA, BeforeValidator(numbers_as_text), Parameter(allow_leading_hyphen=True)] = Field(
        None,
        description="CENTRE,WIDTH: the values that become 0 to 255 in DICOM files and in grey images of 16 and 32 bits "
        "and floats; default: the file's own window, or its full range.",
    )
    max_pixels: Annotated[int, DATA] = Field(
        178_956_970, ge=2, description="Most pixels of an image; larger ones count as unreadable (decompression bombs)."
    )
    decoding: Annotated[Literal["standard", "earlier"], DATA] = Field(
        "standard",
        description="How images are decoded: 'standard' (turned as EXIF says, transparency on black, large JPEGs at a "
        "reduced size), or as the 'earlier' program did (none of these), to test its weights.",
    )

    # --- model ----------------------------------------------------------------------------------------
    model_sets: Annotated[Path | None, MODEL] = Field(
        None,
        description="YAML file of named sets (@NAME) beside those of the program; default: model_sets.yaml in the "
        "user's configuration folder.",
    )
    source: Annotated[Source, MODEL, BeforeValidator(current_source)] = Field(
        "torchvision", description="Library of models named without one ('pytorch' means torchvision)."
    )
    pretrained: Annotated[bool, MODEL] = Field(
        True, description="Start from pretrained weights; without them from random ones."
    )
    weights: Annotated[
        tuple[str, ...], MODEL, BeforeValidator(as_words), Parameter(consume_multiple=True, negative=())
    ] = Field((), description="File of pretrained weights (.safetensors, .pth) for the only model, or MODEL=FILE.")
    weights_dir: Annotated[Path | None, MODEL] = Field(
        None,
        description="Folder of pretrained weights, looked into before anything is downloaded; files are called as the "
        "library calls them, or MODEL.safetensors, MODEL.pth ('magg weights fetch' fills one).",
    )
    offline: Annotated[bool, MODEL] = Field(
        False, description="Download nothing: pretrained weights must be on this machine (as with HF_HUB_OFFLINE=1)."
    )
    allow_partial_weights: Annotated[bool, MODEL] = Field(
        False, description="Start with those tensors of a weights file that fit, although others do not."
    )
    trust_pickle: Annotated[bool, MODEL] = Field(
        False, description="Load weights from a pickled network; loading runs whatever code the file holds."
    )
    pickle_folder: Annotated[Path | None, MODEL] = Field(
        None,
        description="Folder whose Python files the classes of a trusted pickle come from, such as that of the earlier "
        "program, which holds available_model_timm.py; nothing else there is imported.",
    )
    transform_input: Annotated[bool | None, MODEL] = Field(
        None,
        description="Whether torchvision's Inception and GoogLeNet rescale their input themselves, as their published "
        "weights need it; default: with pretrained weights.",
    )
    head: Annotated[Literal["linear", "mlp"], MODEL] = Field(
        "linear",
        description="The new classifier: one linear layer, or the earlier program's two with ReLU and dropout between.",
    )
    image_size: Annotated[ImageSize, MODEL, BeforeValidator(text_as_number)] = Field(
        None,
        description="Height and width in pixels that the network sees; default: the model's own; 'earlier': 224, and "
        "299 for Inception.",
    )
    resize: Annotated[Literal["squash", "crop", "pad"], MODEL] = Field(
        "squash",
        description="How an image becomes a square: 'squash' (nothing is cut off), 'crop' (the shorter side "
        "resized and the middle taken, as the library does for these weights: edges are lost), or 'pad' (the shape "
        "kept, the rest black).",
    )
    interpolation: Annotated[Literal["model", "nearest", "bilinear", "bicubic", "lanczos"], MODEL] = Field(
        "model", description="How images are resized; 'model': as its weights expect."
    )
    normalize: Annotated[str, MODEL] = Field(
        "model",
        description="Mean and standard deviation: 'model' (its own), 'imagenet', 'half' (0.5 and 0.5), or numbers "
        "for each channel as 'MEAN,…/STD,…'.",
    )
    transforms: Annotated[Path | None, MODEL] = Field(
        None,
        description="Python file with 'train' and 'val', each a callable from a PIL image to a tensor; takes the "
        "place of resizing, augmentation and normalisation.",
    )

    @field_validator(
        "image_size", "num_classes", "split_seed", "folds", "fold", "window", "alike", "pickle_folder",
        "transform_input", mode="before",
    )  # fmt: skip
    @classmethod
    def _none_is_nothing(cls, value: Any) -> Any:
        return none_is_nothing(value)

    @property
    def rescales_input(self) -> bool:
        """Whether networks that can rescale their input themselves do so."""
        return self.pretrained if self.transform_input is None else self.transform_input

    def weights_by_model(self) -> dict[str, Path]:
        """Return the file of weights for each model named in ``weights``; the name is empty for the only model."""
        return dict(model_and_file(word) for word in self.weights)
