"""What TensorBoard shows: our tags for each epoch; by the earlier program's recipe its tags for each batch."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import model_aggregation as ma

SIZE = 16


def events_of(two_classes, folder, **given):
    run = ma.train(
        two_classes, "timm:test_resnet", positive="肺炎", pretrained=False, epochs=2, image_size=32, batch_size=SIZE,
        jobs=0, workers=0, quiet=True, log_folder=folder / "log", cache_folder=folder / "cache", name="one", **given,
    )  # fmt: skip
    accumulator = EventAccumulator(str(folder / "runs" / "one"))
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    images = run.folder.read_images()["split"].value_counts()
    return {tag: accumulator.Scalars(tag) for tag in tags}, images


def values(points):
    return np.array([point.value for point in points])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_recipe_of_the_earlier_program_gives_its_tags_for_each_batch(two_classes, tmp_path):
    events, images = events_of(two_classes, tmp_path, recipe="earlier")
    learnt, judged = images["train"] // SIZE, -(-images["val"] // SIZE)  # an incomplete last batch is not learnt
    for tag, batches in (("train/loss", learnt), ("train/acc", learnt), ("val/loss", judged), ("val/acc", judged)):
        assert [point.step for point in events[tag]] == list(range(2 * batches)), tag
        epochs = values(events[f"epoch/{tag}"])
        weights = np.minimum(SIZE, images["val"] - SIZE * np.arange(batches)) if tag.startswith("val") else None
        means = [np.average(part, weights=weights) for part in values(events[tag]).reshape(2, batches)]
        np.testing.assert_allclose(means, epochs, rtol=1e-5)
    assert "batch/loss" not in events


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_recipes_have_a_point_for_each_epoch(two_classes, tmp_path):
    events, _ = events_of(two_classes, tmp_path)
    for tag in ("train/loss", "train/acc", "val/loss", "val/acc"):
        assert len(events[tag]) == 2
    assert not [tag for tag in events if tag.startswith("epoch/")]
