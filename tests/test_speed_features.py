"""A frozen network computed once: the same training as the plain way, for less."""

import numpy as np
import pytest
import torch
from training_samples import Lab, same

from model_aggregation.data.augmentation import augment, draw_views, flip, view_count
from model_aggregation.models.arithmetic import Arithmetic, Inference
from model_aggregation.training import features as features_module
from model_aggregation.training.checkpoint import stored_states
from model_aggregation.training.time_limit import TimeLimit


def frozen_lab(folder, *, fold=False, **given):
    """A lab that starts from weights of a file, so that its network is frozen at first."""
    fixed = {"epochs": 3, "thaw_at": 2, "learning_rate": 3e-3, "precision": "32", "test_weights": "last"}
    fixed |= {"head": "mlp"} if "model" not in given else {}
    folder.mkdir(parents=True, exist_ok=True)
    given = fixed | given
    donor = Lab(folder / "donor", **{key: given[key] for key in ("model", "head", "image_size") if key in given})
    torch.save(donor.network.module.state_dict(), folder / "weights.pth")
    lab = Lab(folder / "run", pretrained=True, weights=str(folder / "weights.pth"), **given)
    object.__setattr__(lab.training, "arithmetic", Arithmetic(inference=Inference(batch_size=8, fold=fold)))
    return lab


@pytest.mark.parametrize(
    "given",
    [
        {"augmentation": "flips"},
        {"augmentation": "none", "accumulate": 2, "clip_gradient": 1.0, "drop_last": True, "batch_size": 5},
        {"model": "squeezenet1_1", "augmentation": "horizontal"},
        {"model": "timm:test_vit", "augmentation": "flips"},
        {"model": "timm:deit_tiny_distilled_patch16_224", "augmentation": "none", "epochs": 2, "thaw_at": None},
        {"model": "timm:efficientvim_m1", "augmentation": "none", "epochs": 2, "thaw_at": None, "image_size": 64},
        {"model": "timm:test_efficientnet", "optimizer": "sgd", "class_weights": "balanced"},
    ],
)
def test_training_on_features_is_training_on_images(tmp_path, given):
    plain = frozen_lab(tmp_path / "plain", cache_features=False, **given)
    stored = frozen_lab(tmp_path / "stored", **given)
    history = plain.run().history
    again = stored.run().history
    for one, other in zip(history, again, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    for name, tensor in plain.weights().items():
        assert torch.allclose(tensor.float(), stored.weights()[name].float(), atol=1e-5), name


def test_folding_changes_features_by_rounding_only(tmp_path):
    plain = frozen_lab(tmp_path / "plain", thaw_at=None)
    folded = frozen_lab(tmp_path / "folded", thaw_at=None, fold=True)
    plain.run()
    folded.run()
    for name, tensor in plain.weights().items():
        assert torch.allclose(tensor.float(), folded.weights()[name].float(), atol=1e-4), name


def test_each_view_of_an_image_is_computed_once_and_only_if_drawn(tmp_path, monkeypatch):
    lab = frozen_lab(tmp_path, epochs=6, thaw_at=5, augmentation="flips")
    computed, train = [], lab.training.train.images
    forward = features_module.FrozenFeatures._compute

    def counted(self, file, images, views, positions, **more):
        if file is self.train:
            computed.extend(zip(*map(np.ndarray.tolist, file.missing(views, positions)), strict=True))
        return forward(self, file, images, views, positions, **more)

    monkeypatch.setattr(features_module.FrozenFeatures, "_compute", counted)
    lab.run()
    assert len(computed) == len(set(computed))
    assert len(train) < len(computed) <= 4 * len(train)
    assert not list((tmp_path / "run").glob("features*"))  # nothing is left once all is trained


@pytest.mark.parametrize("stop_at", ["epoch 1/5 train", "epoch 2/5 train", "features"])
def test_a_frozen_training_that_continues_takes_the_same_steps(tmp_path, stop_at):
    given = {"epochs": 5, "thaw_at": 3, "augmentation": "flips"}
    whole = frozen_lab(tmp_path / "whole", **given)
    history = whole.run().history
    cut = frozen_lab(tmp_path / "cut", **given)

    def stop_at_line(text):
        if text.startswith(stop_at):
            raise KeyboardInterrupt

    def stop_at_count(what, done, total, note="", *, steady=True):
        if what.startswith(stop_at) and stored_states(cut.training.files.state):  # while the second epoch is computed
            raise KeyboardInterrupt

    cut.training.journal.note = stop_at_line
    cut.training.reporter.count = stop_at_count
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    goes_on_alike(cut, whole, history, **given)


def goes_on_alike(cut, whole, history, **given):
    """Do the training again where one was cut, and compare with a whole one."""
    again = Lab(cut.files.state.parent, pretrained=True, weights=str(cut.settings.weights[0]), learning_rate=3e-3,
                precision="32", test_weights="last", head="mlp", **given)  # fmt: skip
    object.__setattr__(again.training, "arithmetic", whole.training.arithmetic)
    assert again.run().history == history
    assert same(whole.weights(), again.weights())


@pytest.mark.parametrize(
    ("chunks", "accumulate", "learnt", "why"),
    [
        (2, 1, 2, "after 2 batches of epoch 1 of 4"),
        (0.5, 2, 2, "after 2 batches of epoch 1 of 4"),  # the batches of one step at least
        (6.5, 1, 0, "after epoch 1 of 4"),  # 4 of training, 2 of validation, the views that the second epoch draws anew
    ],
)
def test_time_that_is_over_while_features_are_computed(tmp_path, chunks, accumulate, learnt, why):
    given = {"epochs": 4, "thaw_at": 3, "augmentation": "flips", "accumulate": accumulate}
    whole = frozen_lab(tmp_path / "whole", **given)
    history = whole.run().history
    cut = frozen_lab(tmp_path / "cut", **given)
    computed = []

    def count(what, done, total, note="", *, steady=True):
        computed.extend([what] * (what == "features of images"))

    cut.training.reporter.count = count
    limit = TimeLimit(run=1000 * chunks, clock=lambda: 1000.0 * len(computed))  # an epoch takes less than 500 s
    object.__setattr__(cut.training, "time", limit)
    progress = cut.run()
    assert progress.ended_early == f"stopped by the time limit {why}"
    assert progress.history[-1].get("cut_after_batches", 0) == learnt
    assert progress.best_epoch == 0
    assert len(computed) == {2: 2 + 2, 0.5: 2 + 2, 6.5: 7}[chunks]  # the validation images are looked at
    goes_on_alike(cut, whole, history, **given)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"frozen_batch_norm": "update"}, "frozen_batch_norm: update"),
        ({"model": "halving_networks:halved", "epochs": 1}, "neither one sequence"),
    ],
)
def test_where_features_cannot_be_stored_the_reason_is_said(tmp_path, monkeypatch, given, reason):
    (tmp_path / "halving_networks.py").write_text(
        "from torch import nn\n"
        "class Halved(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "        self.fc = nn.Linear(4, classes)\n"
        "    def forward(self, images):\n"
        "        return self.fc(self.body(images)) / 2\n"
        "def halved(num_classes):\n    return Halved(num_classes)\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    lab = frozen_lab(tmp_path, **given)
    lab.run()
    assert sum(reason in line for line in lab.lines) == 1


def test_no_room_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(features_module, "fits_on_disk", lambda folder, numbers: False)
    lab = frozen_lab(tmp_path)
    lab.run()
    assert sum("no room on the disk" in line for line in lab.lines) == 1


@pytest.mark.parametrize("name", ["none", "horizontal", "flips"])
def test_views_are_what_augment_draws(name):
    images = torch.arange(40 * 3 * 4 * 4, dtype=torch.int32).view(40, 3, 4, 4)
    views = draw_views(40, name, torch.Generator().manual_seed(3))
    assert torch.equal(flip(images, views), augment(images, name, torch.Generator().manual_seed(3)))
    assert sorted(views.unique().tolist()) == list(range(view_count(name)))
    turned = [images, images.flip(3), images.flip(2), images.flip(2, 3)]
    for number, view in enumerate(views.tolist()):
        assert torch.equal(flip(images, views)[number], turned[view][number])


def test_a_frozen_body_computes_as_in_evaluation(tmp_path):
    lab = frozen_lab(tmp_path, model="mobilenet_v3_small", image_size=32)
    lab.network.freeze()
    lab.network.train_mode()
    active = {name for name, layer in lab.network.module.named_modules() if layer.training}
    assert active == {"classifier.2", "classifier.3"}  # the dropout before the last layer belongs to the head
    lab.network.thaw()
    lab.network.train_mode()
    assert all(layer.training for layer in lab.network.module.modules())
