"""Training: losses against references, schedules, freezing, the same bits twice, and continuing."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from training_samples import LABELS, LOGITS, Lab, continues_alike, same, settings_for

from model_aggregation.data.augmentation import augment
from model_aggregation.data.loading import plain_order, training_order
from model_aggregation.errors import TrainingError
from model_aggregation.models.inference import predict_logits, softmax
from model_aggregation.training.losses import balanced_class_weights, make_loss


def reference(name):
    one_hot = F.one_hot(LABELS, 3).float()
    probabilities = torch.softmax(LOGITS, 1)
    true = probabilities[torch.arange(3), LABELS]
    return {
        "cross_entropy": -true.log().mean(),
        "bce_with_logits": torch.nn.BCELoss()(torch.sigmoid(LOGITS), one_hot),
        "multi_margin": torch.nn.MultiMarginLoss()(LOGITS, LABELS),
        "focal": (-((1 - true) ** 2) * true.log()).mean(),
        "cosine": (1 - torch.nn.CosineSimilarity(1)(LOGITS, one_hot)).mean(),
    }[name]


@pytest.mark.parametrize("name", ["cross_entropy", "bce_with_logits", "multi_margin", "focal", "cosine"])
def test_losses(name):
    assert make_loss(settings_for(loss=name), None)(LOGITS, LABELS) == pytest.approx(reference(name).item(), rel=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "bce_with_logits", "multi_margin", "focal", "cosine"])
def test_class_weights_count_images_of_a_class_more(name):
    weights = torch.tensor([1.0, 2.0, 3.0])
    each = torch.stack(
        [make_loss(settings_for(loss=name), None)(LOGITS[i : i + 1], LABELS[i : i + 1]) for i in range(3)]
    )
    expected = (weights[LABELS] * each).sum() / weights[LABELS].sum()
    assert make_loss(settings_for(loss=name), weights)(LOGITS, LABELS) == pytest.approx(expected.item(), rel=1e-6)


def test_balanced_class_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    assert np.allclose(balanced_class_weights(labels, 3).numpy(), expected)


def test_flips_are_drawn_for_each_image():
    images = torch.arange(64 * 3 * 4 * 4, dtype=torch.int32).view(64, 3, 4, 4)
    changed = augment(images, "flips", torch.Generator().manual_seed(0))
    kinds = [0, 0, 0, 0]
    for image, result in zip(images, changed, strict=True):
        options = [image, image.flip(2), image.flip(1), image.flip(1, 2)]
        matches = [torch.equal(result, option) for option in options]
        assert sum(matches) == 1
        kinds[matches.index(True)] += 1
    assert min(kinds) >= 6  # 16 expected of each
    assert torch.equal(augment(images, "none", torch.Generator()), images)


def test_orders_hold_every_image_once():
    for count in range(1, 40):
        for order in (training_order(count, 4, seed=3), plain_order(count, 4)):
            assert sorted(np.concatenate(order).tolist()) == list(range(count))
            assert count == 1 or min(map(len, order)) > 1 or order[-1].tolist() == [count - 1]
    assert not any(len(batch) == 1 for batch in training_order(9, 4, seed=0))


def test_training_learns_and_keeps_the_best_epoch(tmp_path):
    lab = Lab(tmp_path, epochs=12, learning_rate=3e-3, warmup_epochs=0)
    progress = lab.run()
    losses = [row["val_loss"] for row in progress.history]
    assert progress.best_epoch == int(np.argmin(losses))
    best = torch.load(tmp_path / "best.pth", weights_only=True)
    assert same(lab.weights(), best)
    logits = predict_logits(lab.network, lab.training.validation.images, lab.training.fabric)
    assert (softmax(logits).argmax(1) == lab.training.validation.labels.numpy()).mean() > 0.9
    assert np.allclose(softmax(logits).sum(1), 1)
    measured = F.cross_entropy(logits, lab.training.validation.labels).item()
    assert measured == pytest.approx(losses[progress.best_epoch], rel=1e-5)
    assert 0 < progress.seconds_waited < progress.seconds


def test_two_trainings_are_identical_and_another_seed_is_not(tmp_path):
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        lab = Lab(tmp_path / name, epochs=2, seed=seed)
        lab.run()
        results.append(lab.weights())
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_a_training_that_continues_takes_the_same_steps(tmp_path):
    given = {"epochs": 4, "accumulate": 2, "clip_gradient": 1.0, "augmentation": "flips"}
    continues_alike(lambda folder: Lab(folder, **given), tmp_path, stop_at="epoch 3/4 train")
    for name in ("last.pth", "best.pth"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_freezing_ends_at_the_given_epoch(tmp_path):
    donor = Lab(tmp_path / "donor", epochs=1)
    torch.save(donor.network.module.state_dict(), tmp_path / "w.pth")
    given = {
        "pretrained": True,
        "weights": str(tmp_path / "w.pth"),
        "epochs": 3,
        "thaw_at": 2,
        "save_every": 1,
    }
    lab = Lab(tmp_path / "run", **given)
    start = lab.weights()
    progress = lab.run()
    assert [row["frozen"] for row in progress.history] == [True, True, False]
    after = [torch.load(tmp_path / "run" / "models" / f"{epoch}.pth", weights_only=True) for epoch in range(3)]
    body = [name for name in start if name not in lab.network.head]
    assert all(torch.equal(start[name], after[1][name]) for name in body)
    assert not all(torch.equal(start[name], after[2][name]) for name in body)
    assert not torch.equal(start["fc.weight"], after[0]["fc.weight"])


def test_without_pretrained_weights_nothing_is_frozen(tmp_path):
    progress = Lab(tmp_path, epochs=1, freeze=True, thaw_at=None).run()
    assert progress.history[0]["frozen"] is False


def test_early_stopping_and_no_validation(tmp_path):
    stopped = Lab(tmp_path / "a", epochs=50, patience=1, learning_rate=1e-12, warmup_epochs=0, schedule="constant")
    progress = stopped.run()
    assert progress.epoch < 50
    assert progress.epoch - 1 - progress.best_epoch == 1
    plain = Lab(tmp_path / "b", epochs=1, validation=False)
    assert plain.run().best_epoch is None
    assert not (tmp_path / "b" / "best.pth").exists()
    assert same(plain.weights(), torch.load(tmp_path / "b" / "last.pth", weights_only=True))


def test_a_loss_that_is_not_finite(tmp_path):
    with pytest.raises(TrainingError, match="not a finite number"):
        Lab(tmp_path / "a", epochs=2, learning_rate=1e30, warmup_epochs=0, schedule="constant").run()
    lab = Lab(tmp_path / "b", epochs=3)
    healthy = lab.training.journal.epoch

    def poison(row, number, epochs):
        healthy(row, number, epochs)
        if number == 1:
            torch.save(lab.weights(), tmp_path / "good.pth")
            lab.poisoned = True

    lab.training.journal.epoch = poison
    calls = []

    def break_in_the_second_epoch(module, inputs):
        calls.extend([1] if module.training else [])
        if len(calls) == 6:  # of 4 batches each
            lab.network.module.fc.weight.data.fill_(math.nan)

    lab.network.module.register_forward_pre_hook(break_in_the_second_epoch)
    progress = lab.run()
    assert progress.epoch == 1
    assert any("not a finite number" in line for line in lab.lines)
    assert same(lab.weights(), torch.load(tmp_path / "good.pth", weights_only=True))


@pytest.mark.parametrize(
    "given", [{"optimizer": "sgd"}, {"optimizer": "adam"}, {"precision": "bf16"}, {"best_by": "auc"}]
)
def test_other_settings_train(tmp_path, given):
    progress = Lab(tmp_path, epochs=2, learning_rate=1e-3, **given).run()
    assert progress.epoch == 2
    assert progress.history[1]["train_loss"] < progress.history[0]["train_loss"] + 0.5


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_classes_are_counted_at_the_end_of_the_head(tmp_path, head):
    lab = Lab(tmp_path, epochs=1, head=head, class_weights="balanced")
    assert lab.network.classes == 2
    lab.run()
