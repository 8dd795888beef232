"""Files that a run keeps for itself, zeroed in place while it trains: the run does not finish with other numbers."""

import sys

import numpy as np
import pytest
import torch
from fault_samples import GIVEN, earned, small_data
from test_speed_features import frozen_lab
from training_samples import Lab

import model_aggregation as ma
from model_aggregation.data.image_cache import cached_stores
from model_aggregation.errors import DamagedCacheError
from model_aggregation.training.feature_file import FeatureFile

NETWORK = """
import os
from pathlib import Path
from torch import nn

def zero(path):
    with open(path, "r+b") as file:
        file.write(bytes(os.path.getsize(path)))

def once(mark):
    first = not mark.exists()
    mark.touch()
    return first

class Small(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(4, num_classes)
        self.steps = 0

    def forward(self, images):
        self.steps += self.training
        place, then = Path(os.environ["PLACE"]), os.environ["THEN"]
        if self.training and self.steps == 2 and once(place.with_name("zeroed")):  # within the first epoch
            for store in place.glob("*.npy"):
                zero(store)
        if self.training and self.steps == 12 and then == "fail" and once(place.with_name("failed")):  # in the third
            raise RuntimeError("the power fails")
        return self.fc(self.features(images))

def small(num_classes):
    return Small(num_classes)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A module whose network zeroes every image store below ``PLACE`` in its second step, once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "zeroing.py").write_text(NETWORK, encoding="utf-8")
    small_data(tmp_path / "data")
    (tmp_path / "quiet").mkdir()
    monkeypatch.setenv("PLACE", str(tmp_path / "quiet" / "no store"))
    monkeypatch.setenv("THEN", "go on")
    yield tmp_path
    sys.modules.pop("zeroing", None)


def compare(project, name, **given):
    group = ma.compare(
        project / "data", ["zeroing:small"], log_folder=project / name / "log", cache_folder=project / "cache",
        **{**GIVEN, **given},
    )  # fmt: skip
    return group.runs[0]


@pytest.mark.parametrize("then", ["go on", "fail"])
def test_a_store_zeroed_in_place_ends_no_run_and_is_made_again(project, monkeypatch, then):
    assert compare(project, "undisturbed").state == "finished"
    monkeypatch.setenv("PLACE", str(project / "cache"))
    monkeypatch.setenv("THEN", then)
    before = [store.path for store in cached_stores(project / "cache")]
    assert len(before) == 1
    run = compare(project, "disturbed")
    assert run.state == "failed"
    folder = run.folder
    if then == "go on":
        reason = folder.failure_reason()
        assert str(before[0]) in reason
        assert "were changed while the run went on: 1 of 1 parts of 64 images" in reason
        assert "the same command trains from the beginning" in reason
        assert not before[0].exists()
        assert not folder.state_folder.exists()
        assert not folder.predictions_csv("test").exists()
    again = compare(project, "disturbed")
    assert again.state == "finished"
    assert earned(project / "disturbed") == earned(project / "undisturbed")
    said = folder.status_txt.read_text(encoding="utf-8")
    assert ("decoded images that it had used were changed: it starts again" in said) == (then == "fail")


def zero(path, *, header: int = 0):
    with path.open("r+b") as file:
        file.seek(header)
        file.write(bytes(path.stat().st_size - header))


def disturbed(lab: Lab, at: str, path) -> None:
    """Zero a file when the training says what begins with ``at``."""

    def disturb(text):
        if text.startswith(at):
            zero(path)

    lab.training.journal.note = disturb


@pytest.mark.parametrize("thaw_at", [2, None])
def test_features_zeroed_in_place_end_no_training(tmp_path, thaw_at):
    lab = frozen_lab(tmp_path, thaw_at=thaw_at, augmentation="none")
    disturbed(lab, "epoch 1/", tmp_path / "run" / "state.pt" / "features_train.npy")
    with pytest.raises(DamagedCacheError, match=r"features_train\.npy were changed while the run went on: 32 of 32"):
        lab.run()


def test_validation_features_are_read_again_too(tmp_path):
    lab = frozen_lab(tmp_path, thaw_at=None, augmentation="none")
    disturbed(lab, "epoch 3/", tmp_path / "run" / "state.pt" / "features_val.npy")
    with pytest.raises(DamagedCacheError, match=r"features_val\.npy"):
        lab.run()


def test_best_weights_changed_in_place_are_not_tested(tmp_path):
    lab = Lab(tmp_path, epochs=2)
    disturbed(lab, "epoch 2/", tmp_path / "best.pth")
    with pytest.raises(DamagedCacheError, match=r"best\.pth"):
        lab.run()


@pytest.mark.parametrize("header", [0, 128])
def test_features_changed_between_two_commands_are_noticed(tmp_path, header):
    path = tmp_path / "features.npy"
    values = np.random.default_rng(0).random((5, 3), dtype=np.float32)
    file = FeatureFile(path, 2, 5, (3,))
    views, positions = np.array([0, 0, 1]), np.array([1, 4, 2])
    file.write(views, positions, torch.from_numpy(values[:3]))
    file.keep(views, positions)
    del file
    assert not FeatureFile.is_damaged(path)
    again = FeatureFile(path, 2, 5, (3,))
    assert np.array_equal(again.read(views, positions).numpy(), values[:3])
    assert [list(part) for part in again.missing(np.zeros(5, int), np.arange(5))] == [[0, 0, 0], [0, 2, 3]]
    del again
    zero(path, header=header)
    assert FeatureFile.is_damaged(path)


def test_marks_of_an_earlier_version_are_taken_as_they_are(tmp_path):
    path = tmp_path / "features.npy"
    np.save(path, np.ones((1, 4, 3), dtype=np.float32))
    np.save(path.with_suffix(".done.npy"), np.array([[True, False, True, True]]))
    assert not FeatureFile.is_damaged(path)
    assert FeatureFile(path, 1, 4, (3,)).missing(np.zeros(4, int), np.arange(4))[1].tolist() == [1]
