"""No process of ours imports from the working directory, whatever Python files lie there and however it is started."""

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest
from conftest import write_image

from model_aggregation.models.custom_modules import import_module, module_spec
from model_aggregation.processes import path_without_working_directory, starting_processes

NAMES = ("model_aggregation", "torch", "random", "types", "yaml", "numpy", "timm", "PIL", "pydicom", "tempfile")

NETWORK = """
import torchvision
from layers import body
from torch import nn


def small(num_classes, channels=3):
    return nn.Sequential(body(channels), nn.Linear(8, num_classes))
"""
LAYERS = """
from torch import nn


def body(channels):
    return nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
TRANSFORMS = """
import torchvision

use_transform = dict.fromkeys(("train", "val"), torchvision.transforms.ToTensor())
"""

SPAWNED = """
import os
import sys
import model_aggregation as ma
from model_aggregation import processes

processes._FORKS = False  # as on Windows
sys.path.append(".")
os.environ["PYTHONPATH"] = os.getcwd()
run = ma.train(
    "data", "small_network:small", positive="a", pretrained=False, epochs=1, image_size=16, devices=2, device="cpu",
    name="spawned", tensorboard=False, cache_folder="cache", quiet=True,
)
print(run.state)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with images (more than are read in one process), a network, transforms, and files in the way."""
    folder = tmp_path_factory.mktemp("old") / "フォルダー"
    for split, count in (("train", 60), ("val", 25), ("test", 25)):
        for label in "ab":
            for number in range(count):
                path = folder / "data" / split / label / f"{number}.png"
                write_image(path, bright=label == "a", seed=number + 100 * len(split) + 1000 * (label == "a"))
    for name in NAMES:
        in_the_way = f"open('imported_{name}', 'w').close()\nraise SystemExit('imported from the working directory')\n"
        (folder / f"{name}.py").write_text(in_the_way, encoding="utf-8")
    for name, content in (("small_network", NETWORK), ("layers", LAYERS), ("use_transform", TRANSFORMS)):
        (folder / f"{name}.py").write_text(content, encoding="utf-8")
    return folder


def called(folder, *words):
    """Run this Python there, without the working directory in its own path, as the installed ``magg`` does."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    command = [sys.executable, "-P", "-X", "utf8", *words]
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert not [path.name for path in folder.glob("imported_*")]
    return result.stdout


def test_the_command_with_a_network_and_transforms_of_the_users_own(folder):
    """The server of runs, processes that read many files, and those that load images for a user's transforms."""
    flags = "--positive a --no-pretrained --epochs 1 --image-size 16 --workers 2 --no-tensorboard --cache-folder cache"
    own = ["--model", "small_network:small", "--transforms", "use_transform.py", "--whole-model", "--name", "own"]
    script = "from model_aggregation.command import main; main()"
    assert "log/own" in called(folder, "-c", script, "train", "data", *own, *flags.split()).replace("\\", "/")
    shown = called(folder, "-c", script, "predict", "log/own", "data/test/a/0.png")
    assert shown.count("\n") == 2


def test_spawned_ranks_of_a_script(folder):
    """Two processes for one run, spawned, by a script whose own path has the working directory."""
    assert called(folder, "-c", SPAWNED).strip() == "finished"


def test_the_path_of_new_processes(monkeypatch, tmp_path):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    here = ["", ".", str(tmp_path), f"{tmp_path}{os.sep}", str(tmp_path / "other" / "..")]
    monkeypatch.setattr(sys, "path", [*here, *sys.path])
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*here, "other"]))
    with starting_processes(), starting_processes():
        assert not set(here) & set(sys.path)
        assert (os.environ["PYTHONSAFEPATH"], os.environ["PYTHONPATH"]) == ("1", "other")
    assert sys.path[: len(here)] == here
    assert "PYTHONSAFEPATH" not in os.environ
    assert os.environ["PYTHONPATH"] == os.pathsep.join([*here, "other"])


def test_two_threads_that_start_processes_leave_everything_as_it_was():
    main, inside = sys.modules["__main__"], Event()

    def first():
        with starting_processes():
            inside.set()
            time.sleep(0.3)  # the second comes meanwhile

    def second():
        with starting_processes():
            pass

    one, two = Thread(target=first), Thread(target=second)
    one.start()
    inside.wait(10)
    two.start()
    one.join()
    two.join()
    assert sys.modules["__main__"] is main


def test_what_a_command_opens_is_started_as_the_user_would(folder):
    code = (
        "import os, sys\nfrom model_aggregation import cli, command\n"
        "cli.main = lambda: print('PYTHONSAFEPATH' in os.environ, sys.path[0] == os.environ['PYTHONPATH'])\n"
        "command.main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder / "data")}
    environment.pop("PYTHONSAFEPATH", None)
    words = [sys.executable, "-P", "-c", code]
    told = subprocess.run(words, cwd=folder / "data", env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False"]


def test_the_folder_of_the_package_itself_stays(monkeypatch):
    home = str(Path(sys.modules["model_aggregation"].__file__).parents[1])
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "path", [home, *sys.path])
    assert home in path_without_working_directory()


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Modules in the working directory; what is imported from there is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    (tmp_path / "first_of_mine.py").write_text("import second_of_mine\n\n\ndef later():\n    import third_of_mine\n")
    for name in ("second_of_mine", "third_of_mine", "not_named"):
        (tmp_path / f"{name}.py").write_text("")
    package = tmp_path / "package_of_mine" / "inner"
    package.mkdir(parents=True)
    (package / "nets.py").write_text("from . import more\n")
    (package / "more.py").write_text("import second_of_mine\n")
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_that_is_named_comes_with_what_it_imports_itself(modules):
    import_module("first_of_mine").later()
    assert {"first_of_mine", "second_of_mine", "third_of_mine"} <= sys.modules.keys()
    with pytest.raises(ImportError):
        __import__("not_named")
    assert str(modules) not in sys.path


def test_a_module_in_packages_is_found_without_being_run(modules):
    spec = module_spec("package_of_mine.inner.nets")
    assert spec is not None
    assert Path(spec.origin) == modules / "package_of_mine" / "inner" / "nets.py"
    assert "package_of_mine" not in sys.modules
    assert import_module("package_of_mine.inner.nets").more.__name__ == "package_of_mine.inner.more"
    assert module_spec("package_of_mine.nothing") is None
    assert module_spec("../package_of_mine") is None
