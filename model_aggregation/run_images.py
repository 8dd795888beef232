"""The images of a run: which the image store keeps, and where the pixels of each split come from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from model_aggregation.cache_folder import default_cache_folder
from model_aggregation.config import Settings
from model_aggregation.data.image_cache import Cache
from model_aggregation.data.image_store import ImageStore, open_store
from model_aggregation.data.loading import ImageSource, image_source
from model_aggregation.data.store_building import CHUNK
from model_aggregation.errors import DamagedCacheError
from model_aggregation.models.build import pixel_rule
from model_aggregation.plan import Plan
from model_aggregation.progress import Reporter
from model_aggregation.run_plan import RunPlan
from model_aggregation.training.image_policies import change_of_single_images
from model_aggregation.training.job import LabelledImages

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split: their table (``path``, ``label``), and where their pixels come from."""

    table: pd.DataFrame
    images: ImageSource

    def labelled(self, classes: tuple[str, ...]) -> LabelledImages:
        """Return the images with their classes as numbers."""
        codes = pd.Categorical(self.table["label"], categories=list(classes)).codes
        return LabelledImages(self.images, torch.from_numpy(codes.astype(np.int64)))


@dataclass
class Decodes:
    """How many times an image file was decoded."""

    count: int = 0


@dataclass(frozen=True, eq=False)
class RunImages:
    """The splits of a run that have images, how many files were decoded for it so far, and the store of the pixels."""

    splits: dict[str, Split]
    decodes: Decodes = field(default_factory=Decodes)
    store: ImageStore | None = None

    def check(self, fabric: "Fabric", forget: Callable[[], None] = lambda: None) -> None:
        """Read all stored pixels again; of several ranks each reads its own store, and all of them raise.

        ``forget`` removes what was made of the pixels, before any rank raises.

        Raises
        ------
        DamagedCacheError
            If some are not those that were decoded; the store is then removed.
        """
        if self.store is None:
            return
        changed = len(self.store.changed_chunks)
        if changed:
            self.store.remove_damaged()
        of_all = int(cast(Tensor, fabric.all_reduce(torch.tensor(changed), reduce_op="sum")))
        if of_all:
            forget()
            fabric.barrier()
            raise DamagedCacheError(
                f"The decoded images in {self.store.path} were changed while the run went on: {changed or of_all} of "
                f"{len(self.store.checksums)} parts of {CHUNK} images are not what was decoded."
            )


@dataclass(frozen=True, eq=False)
class _CountedImages:
    """Images that are decoded whenever they are needed, and counted."""

    images: ImageSource
    decodes: Decodes

    @property
    def augments(self) -> bool:
        return self.images.augments

    @property
    def can_prefetch(self) -> bool:
        return self.images.can_prefetch

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, order: list[np.ndarray], *, training: bool, seed: int) -> Iterator[Tensor]:
        for batch in self.images.batches(order, training=training, seed=seed):
            self.decodes.count += len(batch)
            yield batch


def load_images(plan: Plan, run: RunPlan, reporter: Reporter) -> RunImages:
    """Return the images of a run; what its store lacks is decoded now."""
    settings, tables, decodes = run.settings, run.splits(["path", "label"]), Decodes()
    rule = pixel_rule(run.preprocessing, settings)
    store = None

    def stored(done: int, total: int) -> None:
        decodes.count = done
        reporter.count(f"decoding images at {rule.image_size} px", done, total)

    if settings.transforms is None and tables:
        store = open_store(
            stored_images(plan),
            rule,
            cache=cache_of(settings),
            workers=settings.workers,
            progress=stored,
        )
        if store is None:
            reporter.message("  no room on the disk for decoded images: they are decoded again in each epoch")
    workers = worker_count(settings)
    sources = {
        name: image_source(
            table if store is None else run.table.part(name, ["content_hash"]),
            store,
            rule,
            transforms=settings.transforms,
            change=change_of_single_images(settings.augmentation) if name == "train" else None,
            workers=workers,
        )
        for name, table in tables.items()
    }
    if store is None:
        sources = {name: _CountedImages(source, decodes) for name, source in sources.items()}
    return RunImages({name: Split(table, sources[name]) for name, table in tables.items()}, decodes, store)


def worker_count(settings: Settings) -> int:
    """Return how many processes make training images."""
    return min(8, torch.get_num_threads()) if settings.workers is None else settings.workers


def cache_of(settings: Settings) -> Cache:
    """Return where decoded images are kept, and how many bytes of them."""
    return Cache(settings.cache_folder or default_cache_folder(), settings.cache_limit)


def stored_images(plan: Plan) -> pd.DataFrame:
    """Return ``path`` and ``content_hash`` of what a store holds: all readable images with a split, used or not."""
    readable = plan.table.readable(["path", "content_hash", "split"])
    used = readable["split"] != ""
    return (readable if used.all() else readable[used])[["path", "content_hash"]]
