"""What a :class:`LogReader` returns: plain frozen values. ``notes`` say what could not be read, in whole sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from model_aggregation.results.leaderboard_rows import Row, plain_records
from model_aggregation.results.live import LiveState

ALL_IMAGES = "-"
"""In place of a set's name: the rows of ``images.csv``, train images too (no set can have this name)."""

Notes = tuple[str, ...]


@dataclass(frozen=True)
class GroupRow:
    """One line of the home page: a comparison, or a single run.

    ``group`` and ``run`` make the address; ``run`` is None for a group. ``states`` counts the runs by state
    (``earlier`` for results of the earlier program). ``best_*`` belong to the best model on validation images
    (None where no run has any: a ranking by test numbers chooses nothing); the value is that of the test images.
    Of a model with several seeds ``best_run`` is what the names of its runs have in common, the value their mean.
    ``changed`` is local time, ``YYYY-MM-DD hh:mm:ss``.
    """

    group: str
    run: str | None
    kind: Literal["group", "single"]
    models: int
    states: Mapping[str, int]
    best_run: str | None = None
    best_model: str | None = None
    metric: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    changed: str | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """The name to show."""
        return self.run or self.group

    @property
    def running(self) -> bool:
        """Whether a run is going on now."""
        return bool(self.states.get("running"))


@dataclass(frozen=True)
class GroupsView:
    """Every group and single run, the running ones first, then the latest change first."""

    rows: tuple[GroupRow, ...]
    notes: Notes = ()


@dataclass(frozen=True)
class Progress:
    """Where a running (or ended) run stands: the last lines of its status file, newest last."""

    run: str
    state: str
    lines: tuple[str, ...]
    live: LiveState | None = None
    """What the run last said of itself, where it is not finished."""


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """The ranking of a group, as :func:`model_aggregation.results.leaderboard.leaderboard` returns it.

    ``table`` has its columns, then ``image_size, test_seconds, train_images_per_second, device, started, finished,
    seed, number_of_classes, has_folder``. ``progress`` holds the running runs by name. ``rank_sets`` says how many
    models cannot be distinguished from the best, or why that is not known; ``compared_runs`` gives, by the
    ``run_name`` of a model with several seeds, the run of its first.
    """

    group: str
    table: pd.DataFrame
    primary_metric: str
    basis: str
    metrics: tuple[str, ...]
    test_evaluations: int | None
    labels: Mapping[str, str]
    warnings: tuple[str, ...]
    progress: Mapping[str, Progress]
    notes: Notes = ()
    rank_sets: str | None = None
    compared_runs: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of the table, missing values as None."""
        return plain_records(self.table)


@dataclass(frozen=True)
class FileEntry:
    """A file of a run folder that may be opened or downloaded; ``name`` is relative to the folder, with ``/``."""

    name: str
    size_bytes: int
    kind: str
    """``table``, ``sheet``, ``picture``, ``text``, ``settings``, ``weights`` or ``other``."""
    changed: str


@dataclass(frozen=True, eq=False)
class RunView:
    """Everything of one run but its predictions.

    ``metrics`` is ``metrics.json`` unchanged (empty when the run has none), ``metrics_table`` is ``metrics.csv``,
    ``history`` has one row per epoch, ``cutoff`` is the stored one (two classes), ``error_is_traceback`` whether
    ``error.txt`` holds no reason in words. Of a run of the earlier program ``metrics`` is what its predictions give
    (empty without them) and ``earlier`` its row of the index.
    """

    group: str
    name: str
    path: str
    model: str | None
    state: str
    reason: str | None
    settings: Mapping[str, Any]
    settings_text: str
    environment: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    metrics_table: pd.DataFrame
    history: pd.DataFrame
    classes: tuple[str, ...]
    positive: str | None
    cutoff: float | None
    sets: tuple[str, ...]
    """Sets with predictions: ``val``, ``test``, then the external ones."""
    files: tuple[FileEntry, ...]
    status: tuple[str, ...]
    error: str
    error_is_traceback: bool
    methods: str
    earlier: Mapping[str, Any] | None
    members: tuple[str, ...]
    part_of: str | None
    notes: Notes = ()

    @property
    def primary_metric(self) -> str | None:
        """The metric that ranks the run's group."""
        return self.environment.get("primary_metric")


@dataclass(frozen=True)
class Picture:
    """An encoded image, or why there is none (``data`` is then empty). ``tag`` changes when the image does."""

    data: bytes
    media_type: str
    tag: str
    note: str | None = None


@dataclass(frozen=True)
class SampleImage:
    """An image of the data page: its address is (group, run, ALL_IMAGES, ``index``)."""

    index: int
    image_id: str
    label: str
    split: str


@dataclass(frozen=True, eq=False)
class DataView:
    """The images of a run or group: ``counts`` and ``groups`` by class (rows) and split (columns).

    ``run`` is the run whose ``images.csv`` was read. ``folds`` has the columns ``fold, label, split, images``, from
    ``splits_f<fold>.csv``. ``findings`` is ``findings.csv``, ``subgroups`` is ``subgroups.csv``; empty tables where
    there is none.
    """

    group: str
    run: str | None
    counts: pd.DataFrame
    groups: pd.DataFrame
    unreadable: int
    samples: tuple[SampleImage, ...]
    findings: pd.DataFrame
    subgroups: pd.DataFrame
    folds: pd.DataFrame
    notes: Notes = ()


@dataclass(frozen=True)
class Mark:
    """A marked image with its comment."""

    group: str
    run: str
    set_name: str
    image_id: str
    comment: str = ""


@dataclass(frozen=True)
class MarkedList:
    """A named list of marked images."""

    name: str
    marks: tuple[Mark, ...]
    changed: str | None = None
    note: str | None = None
