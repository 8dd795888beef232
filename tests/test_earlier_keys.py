"""All 22 keys of the earlier program's settings, with every value that its defaults, documentation and files hold."""

import shutil
from pathlib import Path

import pytest
import yaml
from command_line import magg  # noqa: F401
from conftest import write_image
from earlier_folder import settings_of

import model_aggregation as ma
from model_aggregation.errors import SettingsError
from model_aggregation.settings_files import convert_file, read_settings

MEANINGS = [
    ("run_name", "cifar10", {"name": "cifar10"}),
    ("run_name", "auto-byouri_6w_wrn50_1", {"name": "auto_byouri_6w_wrn50_1"}),
    ("run_name", 2024, {"name": "run_2024"}),
    ("cache", True, {"keep_cache": True}),
    ("cache", False, {"keep_cache": False}),
    ("sys_split", False, {"layout": "splits"}),
    ("sys_split", True, {"layout": "classes"}),
    ("save_wip_model", None, {"save_every": None}),
    ("save_wip_model", 5, {"save_every": 5}),
    ("test", True, {"test": True}),
    ("test", False, {"test": False}),
    ("validation", True, {"validation": True}),
    ("validation", False, {"validation": False}),
    ("test_best_model", True, {"test_weights": "best"}),
    ("test_best_model", False, {"test_weights": "last"}),
    ("data_dir", "data\\cifar10_2", {"data": Path("data/cifar10_2")}),
    ("data_dir", "C:\\Users\\me\\Documents\\parts_6wari", {"data": Path("C:/Users/me/Documents/parts_6wari")}),
    ("data_dir", "cache/cifar10_timm_vgg11_bn", {"layout": "splits", "data": Path("cache/cifar10_timm_vgg11_bn")}),
    ("weight_only", True, {"whole_model": False}),
    ("weight_only", False, {"whole_model": True}),
    ("weight_freeze", [False, None], {"freeze": False}),
    ("weight_freeze", [True, None], {"freeze": True, "thaw_at": None}),
    ("weight_freeze", [True, 3], {"freeze": True, "thaw_at": 3}),
    ("weight_freeze", [True, 5], {"freeze": True, "thaw_at": 5}),
    ("device", "cuda:0", {"device": "cuda:0"}),
    ("device", "cpu", {"device": "cpu"}),
    ("source", "pytorch", {"source": "torchvision"}),
    ("source", "timm", {"source": "timm"}),
    ("model_name", "wide_resnet50_2", {"model": "wide_resnet50_2"}),
    ("model_name", "ResNet18", {"model": "resnet18"}),
    ("channel", 3, {"channels": 3}),
    ("channel", 1, {"channels": 1}),
    ("num_classes", 10, {"num_classes": 10}),
    ("ss_label", ["airplane", "automobile"], {"positive": "airplane", "negative": "automobile"}),
    ("ss_label", ["", ""], {"positive": None, "negative": None}),
    ("batch_size", 128, {"batch_size": 128}),
    ("pretrained", True, {"pretrained": True}),
    ("pretrained", False, {"pretrained": False}),
    ("epoch", 60, {"epochs": 60}),
    ("lr", 10e-5, {"learning_rate": 1e-4}),
    ("lr", "10e-5", {"learning_rate": 1e-4}),
    ("loss_num", 0, {"loss": "cross_entropy"}),
    ("loss_num", 1, {"loss": "bce_with_logits"}),
    ("loss_num", 2, {"loss": "multi_margin"}),
    ("loss_num", 3, {"loss": "bce_with_logits"}),
    ("loss_num", 4, {"loss": "cosine"}),
    ("log_folder", "log", {"log_folder": Path("log"), "comparison": None}),
    ("log_folder", "log/cifar10_timm", {"log_folder": Path("log"), "comparison": "cifar10_timm"}),
    ("log_folder", "log\\GROUP", {"log_folder": Path("log"), "comparison": "GROUP"}),
]


def written(folder: Path, **changes: object) -> Path:
    """Write settings as the earlier program did."""
    path = folder / "old.yaml"
    path.write_text(yaml.dump({**settings_of("old"), **changes}), encoding="cp932")
    return path


@pytest.mark.parametrize(("key", "value", "expected"), MEANINGS, ids=str)
def test_every_key_and_value(tmp_path, key, value, expected):
    changes = {key: value}
    if key == "weight_freeze":  # without pretrained weights it froze nothing
        changes["pretrained"] = True
    if key == "num_classes":
        changes["ss_label"] = ["", ""]
    path = written(tmp_path, **changes)
    settings = read_settings(path)
    assert {name: getattr(settings, name) for name in expected} == expected
    (tmp_path / "new.yaml").write_text(convert_file(path), encoding="utf-8")
    assert read_settings(tmp_path / "new.yaml") == settings


def test_every_key_is_tried():
    assert {key for key, _, _ in MEANINGS} == settings_of("old").keys()
    assert len(settings_of("old")) == 22


@pytest.mark.parametrize("left_out", [("source", "channel"), ("source", "channel", "ss_label")])
def test_files_of_its_first_versions_lack_keys(tmp_path, left_out):
    plain = {key: value for key, value in settings_of("old", model_name="resnet18").items() if key not in left_out}
    (tmp_path / "old.yaml").write_text(yaml.dump(plain))
    assert (read_settings(tmp_path / "old.yaml").source, read_settings(tmp_path / "old.yaml").channels) == (
        "torchvision",
        3,
    )


def test_the_channels_of_torchvision_had_no_effect(tmp_path):
    said = []
    path = written(tmp_path, source="pytorch", model_name="resnet18", channel=1)
    assert read_settings(path, say=said.append).channels == 3
    assert any("had no effect with torchvision" in line for line in said)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channel": 4}, "channel: 4: the earlier program read images as RGB"),
        ({"loss_num": 5}, "loss_num: 5 is CTC"),
        ({"ss_label": ["ng", ""]}, "ss_label: expected"),
        ({"ss_label": ["ng"]}, "ss_label: expected"),
        ({"channel": 0}, "channel: expected 1 or 3"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, changes, words):
    with pytest.raises(SettingsError, match=words):
        read_settings(written(tmp_path, **changes))


@pytest.fixture
def old_run(tmp_path, monkeypatch):
    """A run of the earlier program beside its settings, and images; returns the settings file."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val", "test"):
        for label in ("cat", "dog", "owl"):
            for number in range(6):
                path = Path("data", "parts", split, label, f"{number}.png")
                write_image(path, bright=label == "cat", seed=number + 10 * len(split) + 100 * len(label + split))
    folder = Path("log", "group", "group_one")
    folder.mkdir(parents=True)
    plain = settings_of("group_one", "log\\group", num_classes=3, ss_label=["", ""])
    (folder / "group_one.yaml").write_text(yaml.dump(plain))
    (folder / "group_one_status.txt").write_text("you select model is test_resnet\n")
    return folder / "group_one.yaml"


def test_settings_beside_an_old_run_are_offered_under_another_name(old_run, magg):  # noqa: F811
    before = {path.name: path.read_bytes() for path in old_run.parent.iterdir()}
    for command in ("run", "plan"):
        text = magg(command, old_run, expect=1)
        assert "belongs to a run of the earlier program, whose results stay as they are" in text
        assert f"magg run {old_run} --name group_one_2" in text
    with pytest.raises(SettingsError, match="group_one_2"):
        ma.run(old_run, quiet=True)
    quick = ("--image-size", 32, "--jobs", 0, "--workers", 0, "--no-tensorboard", "--cache-folder", "cache")
    assert "group_one_2" in magg("run", old_run, "--name", "group_one_2", *quick)
    assert {path.name: path.read_bytes() for path in old_run.parent.iterdir()} == before
    assert "group_one_3" in magg("run", old_run, expect=1)
    made = ma.Run("log/group/group_one_2")
    assert made.state == "finished"
    assert set(ma.leaderboard("group")["run_name"]) == {"group_one_2"}


def test_an_old_run_is_not_continued_by_our_own_settings(old_run, magg):  # noqa: F811
    shutil.move("log/group/group_one", "log/group_one")
    flags = ("--model", "timm:test_resnet", "--no-pretrained", "--epochs", 1, "--jobs", 0, "--workers", 0)
    text = magg("train", "data/parts", *flags, "--name", "group_one", "--cache-folder", "cache", expect=1)
    assert "is a run of the earlier program, which stays as it is" in text
    assert "Undefined" not in text


def test_data_and_models_of_flags_stand_above_the_file(old_run, magg):  # noqa: F811
    shutil.copytree("data/parts", "other")
    text = magg("plan", old_run, "--name", "new", "--data", "other", "--models", "timm:test_vit", "timm:test_resnet")
    assert "new_test_vit" in text
    assert "new_test_resnet" in text
    assert "nowhere does not exist" in magg("run", old_run, "--name", "new", "--data", "nowhere", expect=1)
    assert "test_byobnet" in magg("plan", old_run, "--name", "new", "--model", "timm:test_byobnet")


@pytest.mark.parametrize("place", [".", "log/group/group_one", "log"])
def test_its_transforms_are_named_and_not_run(old_run, magg, place):  # noqa: F811
    Path(place, "use_transform.py").write_text("raise SystemExit('it ran')\n")
    text = magg("plan", old_run, "--name", "new")
    assert "use_transform.py is not used" in text
    assert "give --transforms" in text
    Path(place, "use_transform.py").rename("mine.py")
    assert "is not used" not in magg("plan", old_run, "--name", "new")


def test_a_name_that_is_too_long_is_refused_before_anything_is_read(old_run, magg):  # noqa: F811
    text = magg("plan", old_run, "--name", "n" * 300, expect=1)
    assert "may have a path of more than 240 characters" in text
