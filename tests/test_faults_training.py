"""Broken states, little memory, little time and losses that are no numbers: what a training makes of them."""

import math
from dataclasses import replace

import pytest
import torch
from training_samples import Lab, same

from model_aggregation.errors import TrainingError
from model_aggregation.models.arithmetic import Arithmetic
from model_aggregation.models.memory import NotEnoughMemoryError
from model_aggregation.training.checkpoint import Checkpoints, stored_states
from model_aggregation.training.losses import balanced_class_weights
from model_aggregation.training.time_limit import TimeLimit

GIVEN = {"epochs": 5, "augmentation": "flips", "learning_rate": 3e-3}
FILES = ("last.pth", "best.pth")


def stopped_after(folder, epochs, **given):
    """Stop a training when it begins to note the epoch after ``epochs``."""
    lab = Lab(folder, **{**GIVEN, **given})

    def stop(text):
        if text.startswith(f"epoch {epochs + 1}/"):
            raise KeyboardInterrupt

    lab.training.journal.note = stop
    with pytest.raises(KeyboardInterrupt):
        lab.run()
    return lab


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    history = Lab(folder, **GIVEN).run().history
    return history, {name: (folder / name).read_bytes() for name in FILES}


def continued(folder, whole, **given):
    """Continue, and compare with the training that was left alone; returns what was said."""
    lab = Lab(folder, **{**GIVEN, **given})
    assert lab.run().history == whole[0]
    assert {name: (folder / name).read_bytes() for name in FILES} == whole[1]
    return "\n".join(lab.lines)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty])
def test_a_broken_state_falls_back_to_the_one_before(tmp_path, whole, damage):
    stopped_after(tmp_path, 3)
    newest, before = stored_states(tmp_path / "state.pt")
    assert (newest.name[:16], before.name[:16]) == ("checkpoint_00003", "checkpoint_00002")
    damage(newest)
    said = continued(tmp_path, whole)
    assert "state after epoch 3 is damaged" in said
    assert "epoch 3/5" in said
    assert "epoch 2/5" not in said


def test_without_a_whole_state_the_training_starts_again(tmp_path, whole):
    stopped_after(tmp_path, 3)
    for path in stored_states(tmp_path / "state.pt"):
        truncate(path)
    said = continued(tmp_path, whole)
    assert "it starts again" in said
    assert "epoch 1/5" in said


def test_best_weights_of_a_later_epoch_do_not_stand_for_the_state(tmp_path, whole):
    """A stop came after the best weights of epoch 4 were written and before its state."""
    lab = stopped_after(tmp_path, 3)
    assert [row["val_loss"] for row in whole[0]] == sorted((row["val_loss"] for row in whole[0]), reverse=True)
    states = Checkpoints(tmp_path / "state.pt", tmp_path / "best.pth", print)
    progress = states.load({})
    assert progress.best_epoch == 2
    before = (tmp_path / "best.pth").read_bytes()
    states.save_best(replace(progress, best_epoch=3), lab.network.module)
    assert (tmp_path / "best.pth").read_bytes() != before
    assert Checkpoints(tmp_path / "state.pt", tmp_path / "best.pth", print).load({}).best_epoch == 2
    assert (tmp_path / "best.pth").read_bytes() == before
    continued(tmp_path, whole)


def test_a_state_whose_best_weights_are_gone_is_not_used(tmp_path, whole):
    stopped_after(tmp_path, 3)
    (tmp_path / "best.pth").unlink()
    (tmp_path / "state.pt" / "best_2.pth").unlink()
    assert "best weights of the state after epoch 3" in continued(tmp_path, whole)


def test_frozen_features_survive_a_fall_back_over_the_end_of_the_freezing(tmp_path):
    donor = Lab(tmp_path / "donor", epochs=1)
    torch.save(donor.network.module.state_dict(), tmp_path / "w.pth")
    given = {"pretrained": True, "weights": str(tmp_path / "w.pth"), "thaw_at": 2, "head": "mlp"}
    history = Lab(tmp_path / "whole", **{**GIVEN, **given}).run().history
    stopped_after(tmp_path / "cut", 2, **given)
    newest, _ = stored_states(tmp_path / "cut" / "state.pt")
    truncate(newest)
    assert [row["frozen"] for row in history[:3]] == [True, True, False]
    continued(tmp_path / "cut", (history, {name: (tmp_path / "whole" / name).read_bytes() for name in FILES}), **given)


@pytest.mark.parametrize("given", [{}, {"class_weights": "balanced"}, {"accumulate": 2}])
def test_batches_learnt_in_parts_take_the_same_steps(tmp_path, given):
    """Layer norm sees each image by itself, so only rounding differs; the images are few of one class."""
    given = {"model": "timm:test_vit", "epochs": 2, "batch_size": 9, "optimizer": "sgd", **given}
    plain, parts = Lab(tmp_path / "plain", **given), Lab(tmp_path / "parts", **given)
    object.__setattr__(parts.training, "arithmetic", Arithmetic(batch_parts=4))
    histories = plain.run().history, parts.run().history
    for first, second in zip(*histories, strict=True):
        assert second["train_loss"] == pytest.approx(first["train_loss"], rel=1e-5)
    for first, second in zip(plain.weights().values(), parts.weights().values(), strict=True):
        assert torch.allclose(first, second, atol=1e-5)
    assert balanced_class_weights(plain.training.train.labels, 2) is not None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(tmp_path, error):
    lab = Lab(tmp_path, epochs=1)

    def fail(module, inputs):
        if module.training:
            raise error

    lab.network.module.register_forward_pre_hook(fail)
    with pytest.raises(NotEnoughMemoryError) as raised:
        lab.run()
    assert raised.value.action == "learning"
    lab.network.module.register_forward_pre_hook(lambda module, inputs: 1 / 0)
    with pytest.raises((NotEnoughMemoryError, ZeroDivisionError)):
        lab.run()


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self):
        return self.now


def limited(folder, *, whole=math.inf, run=math.inf, tick=1.0, **given):
    """A training whose every step takes ``tick`` seconds of its clock; 4 steps are an epoch."""
    lab, clock = Lab(folder, **{**GIVEN, **given}), Clock()
    object.__setattr__(lab.training, "time", TimeLimit(whole, run, clock))

    def step(module, inputs):
        clock.now += tick * module.training

    lab.network.module.register_forward_pre_hook(step)
    return lab


def test_a_training_without_time_ends_with_its_best_and_goes_on_with_more(tmp_path, whole):
    lab = limited(tmp_path, whole=10)
    progress = lab.run()
    assert (progress.epoch, progress.cut_short) == (2, "whole")
    assert progress.ended_early == "stopped by the time limit after epoch 2 of 5"
    assert progress.ended_early in lab.lines
    assert same(lab.weights(), torch.load(tmp_path / "best.pth", weights_only=True))
    assert len(progress.history) == 2
    continued(tmp_path, whole)


def test_a_first_epoch_that_is_too_long_is_cut_and_measured(tmp_path, whole):
    progress = limited(tmp_path, run=3).run()
    assert (progress.epoch, progress.best_epoch, progress.cut_short) == (0, 0, "run")
    assert progress.ended_early == "stopped by the time limit after 3 batches of epoch 1 of 5"
    assert progress.history[0]["cut_after_batches"] == 3
    assert (tmp_path / "best.pth").is_file()
    continued(tmp_path, whole)


def test_time_before_a_stop_counts_for_the_run(tmp_path):
    clock = Clock()
    limit = TimeLimit(100, 50, clock)
    clock.now += 20
    after = limit.for_training(seconds_before=45)
    assert (after.seconds_left, after.nearest) == (5, "run")
    assert limit.for_training(seconds_before=0).seconds_left == 50
    clock.now += 70
    assert (limit.for_training(0).seconds_left, limit.for_training(0).nearest) == (10, "whole")


def test_a_loss_that_is_no_number_ends_with_the_best_of_before(tmp_path):
    lab = Lab(tmp_path, **GIVEN)

    def poison(module, inputs):
        if module.training and len(stored_states(tmp_path / "state.pt")) == 2:
            module.fc.weight.data.fill_(math.nan)

    lab.network.module.register_forward_pre_hook(poison)
    progress = lab.run()
    assert (progress.epoch, progress.cut_short) == (2, None)
    assert "not a finite number in epoch 3 of 5" in progress.ended_early
    assert same(lab.weights(), torch.load(tmp_path / "best.pth", weights_only=True))
    with pytest.raises(TrainingError, match="first epoch"):
        Lab(tmp_path / "a", **{**GIVEN, "learning_rate": 1e30, "warmup_epochs": 0, "schedule": "constant"}).run()
