"""Code that comes with a run folder or a settings file runs only after a yes of the one who runs it."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from command_line import magg  # noqa: F401
from conftest import write_image

import model_aggregation as ma
from model_aggregation.errors import UntrustedCodeError
from model_aggregation.files import file_hash
from model_aggregation.trusted_code import code_folder, kept_file

TRANSFORMS = """
from pathlib import Path

import numpy as np
import torch

Path("transforms_ran").touch()


def change(image):
    return torch.from_numpy(np.array(image.convert("RGB").resize((16, 16)))).permute(2, 0, 1) / 255


train = val = change
"""
NETWORK = """
from pathlib import Path

from torch import nn

Path("network_ran").touch()


def small(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
"""
GIVEN = {
    "positive": "a", "pretrained": False, "epochs": 1, "image_size": 16, "workers": 0, "jobs": 0, "quiet": True,
    "tensorboard": False, "cache_folder": "cache", "threads": 1, "precision": "32", "memory_format": "contiguous",
}  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with images, transforms and a network; nothing is trusted yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for split, count in (("train", 8), ("val", 4), ("test", 4)):
        for label in "ab":
            for number in range(count):
                seed = number + 10 * len(split) + 100 * (label == "a")
                write_image(Path("data", split, label, f"{number}.png"), bright=label == "a", seed=seed)
    Path("my_transforms.py").write_text(TRANSFORMS, encoding="utf-8")
    Path("net_of_mine.py").write_text(NETWORK, encoding="utf-8")
    return tmp_path


def ran() -> list[str]:
    """Return what ran since the last time."""
    found = sorted(path.name for path in Path().glob("*_ran"))
    for name in found:
        Path(name).unlink()
    return found


@pytest.fixture
def run(here):
    """A run made here, with transforms and a network of one's own named by the user."""
    made = ma.train("data", "net_of_mine:small", transforms="my_transforms.py", name="made", **GIVEN)
    assert made.state == "finished"
    ran()
    return made


def received(run: ma.Run) -> Path:
    """Return a copy of the run folder in another place, as one comes from somebody else."""
    return shutil.copytree(run.path, Path("received", "log", run.name))


def test_a_run_folder_from_elsewhere_runs_nothing_without_a_yes(run):
    folder = received(run)
    with pytest.raises(UntrustedCodeError) as refused:
        ma.predict(folder, "data/test")
    text = str(refused.value)
    assert f"transforms: {folder / 'transforms.py'}" in text
    assert file_hash(folder / "transforms.py")[:16] in text
    assert "model: net_of_mine:small in" in text
    assert "--trust-code" in text
    with pytest.raises(UntrustedCodeError):
        ma.test(folder, "data", name="other", quiet=True)
    assert not ran()
    assert len(ma.predict(folder, "data/test", trust_code=True)) == 8
    assert "transforms_ran" in ran()
    with pytest.raises(UntrustedCodeError):  # it was not asked to be remembered
        ma.predict(folder, "data/test")


def test_a_run_folder_made_here_needs_no_question(run):
    assert len(ma.predict(run, "data/test")) == 8
    assert ma.run(run.path / "made.yaml", quiet=True).state == "finished"


def test_what_was_changed_in_a_run_folder_made_here_is_asked_for(run):
    (run.path / "transforms.py").write_text(TRANSFORMS + "\n# something else\n", encoding="utf-8")
    with pytest.raises(UntrustedCodeError) as refused:
        ma.predict(run, "data/test")
    assert "net_of_mine" not in str(refused.value)  # that one is as it was


def test_what_is_remembered_is_not_asked_for_again_until_it_changes(run, magg):  # noqa: F811
    folder = received(run)
    assert "names code that would run" in magg("predict", folder, "data/test", expect=1)
    magg("predict", folder, "data/test", "--trust-code", "--remember")
    magg("predict", folder, "data/test")
    assert kept_file().is_relative_to(Path.cwd())
    (folder / "transforms.py").write_text(TRANSFORMS.replace("255", "254"), encoding="utf-8")
    assert "transforms.py" in magg("predict", folder, "data/test", expect=1)


def written(**settings) -> Path:
    """Write a settings file as somebody may send it."""
    given = {"data": "data", "model": "timm:test_resnet", **GIVEN, "quiet": None, **settings}
    Path("sent").mkdir(exist_ok=True)
    path = Path("sent", "shared.yaml")
    path.write_text(yaml.safe_dump({key: value for key, value in given.items() if value is not None}), "utf-8")
    return path


class Runs:
    """A pickle of it runs code when it is loaded."""

    def __reduce__(self):
        return (Path.touch, (Path("pickle_ran"),))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"transforms": "my_transforms.py"}, "transforms: my_transforms.py"),
        ({"model": "net_of_mine:small"}, "model: net_of_mine:small in"),
        ({"model": None, "models": ["timm:test_resnet", "net_of_mine:small"]}, "model: net_of_mine:small in"),
        ({"weights": ["evil.pth"], "pretrained": True, "trust_pickle": True}, "trust_pickle: evil.pth"),
        ({"engine": "ray", "address": "192.0.2.1:6379", "jobs": None}, "address: 192.0.2.1:6379"),
        ({"model": None, "models": ["@sent"], "model_sets": "sets.yaml"}, "model: net_of_mine:small in"),
    ],
)
def test_a_settings_file_runs_nothing_without_a_yes(here, magg, settings, words):  # noqa: F811
    torch.save(Runs(), "evil.pth")
    Path("sets.yaml").write_text("sent:\n  models: ['net_of_mine:small', 'timm:test_resnet']\n", encoding="utf-8")
    path = written(**settings)
    for command in ("run", "plan"):
        text = magg(command, path, expect=1)
        assert "names code that would run on this machine" in text
        assert words in text
    assert not ran()
    assert not Path("log").exists()


def test_what_the_user_types_is_the_yes(here, magg):  # noqa: F811
    magg("run", written(transforms="no_such.py"), "--transforms", "my_transforms.py", "--name", "typed")
    assert "transforms_ran" in ran()


def test_a_set_from_a_file_is_no_yes_for_its_networks(here, magg):  # noqa: F811
    Path("sets.yaml").write_text("sent:\n  models: ['net_of_mine:small']\n", encoding="utf-8")
    for words in (("models", "@sent"), ("compare", "data", "--models", "@sent", "timm:test_vit", "--positive", "a")):
        assert "net_of_mine:small in" in magg(*words, "--model-sets", "sets.yaml", expect=1)
    assert not ran()
    assert "net_of_mine:small" in magg("models", "@sent", "--model-sets", "sets.yaml", "--trust-code")


def test_a_damaged_list_of_what_is_trusted_trusts_nothing_more(run):
    kept_file().write_bytes(b'{"sha256": \xff\n' + kept_file().read_bytes() + b'{"sha256": "' + b"\n[1]\n")
    with pytest.raises(UntrustedCodeError):
        ma.predict(run, "data/test")


def test_a_folder_of_python_files_is_known_by_all_of_them(tmp_path):
    (tmp_path / "one.py").write_text("1")
    before = code_folder("pickle_folder", tmp_path)
    (tmp_path / "two.py").write_text("2")
    assert code_folder("pickle_folder", tmp_path).sha256 != before.sha256
