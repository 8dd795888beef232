"""Settings files of the earlier program, as its users have them: wrong values, names, data folders, notes."""

import io
import re
import sys

import pytest
import yaml
from command_line import magg  # noqa: F401  (fixture)
from PIL import Image

from model_aggregation.data.augmentation import load_transforms
from model_aggregation.earlier_settings import convert_earlier
from model_aggregation.errors import SettingsError
from model_aggregation.settings_files import convert_file, read_mapping, read_settings

OLD = {
    "run_name": "test_1", "cache": False, "sys_split": True, "save_wip_model": 2, "test": True, "validation": True,
    "test_best_model": True, "data_dir": "data", "weight_only": True, "weight_freeze": [True, 1], "device": "cpu",
    "source": "pytorch", "model_name": "alexnet", "channel": 3, "num_classes": 2, "ss_label": ["ng", "ok"],
    "batch_size": 8, "pretrained": True, "epoch": 2, "lr": 0.0001, "loss_num": 0, "log_folder": "log",
}  # fmt: skip


def without(*keys):
    return {key: value for key, value in OLD.items() if key not in keys}


def written(folder, values, encoding="utf-8", name="old.yaml"):
    path = folder / name
    path.write_bytes(yaml.safe_dump(values, allow_unicode=True, sort_keys=False).encode(encoding))
    return path


WRONG = {
    "run_name": (None, "run_name: expected text, but null was given"),
    "data_dir": (None, "data_dir: expected text, but null was given"),
    "model_name": (None, "model_name: expected text, but null was given"),
    "log_folder": (None, "log_folder: expected text, but null was given"),
    "device": (True, "device: expected text, but true was given; put it in quotes"),
    "source": ("keras", 'source: expected pytorch or timm, but "keras" was given'),
    "cache": ("no!", 'cache: expected true or false, but "no!" was given'),
    "sys_split": ("true", 'sys_split: expected true or false, but "true" was given'),
    "test": (None, "test: expected true or false, but null was given"),
    "validation": (1, "validation: expected true or false, but 1 was given"),
    "test_best_model": ("false", 'test_best_model: expected true or false, but "false" was given'),
    "weight_only": ("nope", 'weight_only: expected true or false, but "nope" was given'),
    "pretrained": ("false", 'pretrained: expected true or false, but "false" was given'),
    "save_wip_model": (True, "save_wip_model: expected a number of epochs, or false for never, but true was given"),
    "weight_freeze": ([True, True], "weight_freeze: expected [true or false, epoch or null], but [true, true]"),
    "channel": (True, "channel: expected 1 or 3, but true was given"),
    "num_classes": ("two", "num_classes: expected a whole number from 2"),
    "ss_label": ([True, False], "ss_label: expected [sensitive class, specific class], in quotes"),
    "batch_size": (True, "batch_size: expected a whole number from 1, but true was given"),
    "epoch": (0, "epoch: expected a whole number from 1, but 0 was given"),
    "lr": (True, "lr: expected a number above 0, but true was given"),
    "loss_num": (False, "loss_num: expected 0 to 4, but false was given"),
}


def test_values_of_a_wrong_type_are_refused_all_at_once_in_the_words_of_the_file():
    with pytest.raises(SettingsError) as caught:
        convert_earlier({**OLD, **{key: value for key, (value, _) in WRONG.items()}})
    assert set(WRONG) == set(OLD)
    problems = caught.value.problems
    assert [problem.split(":")[0] for problem in problems] == list(OLD)
    for (_, expected), problem in zip((WRONG[key] for key in OLD), problems, strict=True):
        assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("key", "value"), [("lr", "1e-4"), ("run_name", 2024), ("ss_label", [1, 0]), ("device", "cpu")]
)
def test_what_yaml_reads_in_another_way_is_still_understood(key, value):
    settings = convert_earlier({**OLD, key: value}).settings
    today = {"lr": "learning_rate", "run_name": "name", "ss_label": "positive"}.get(key, key)
    assert settings[today] == {"lr": 1e-4, "run_name": "run_2024", "ss_label": "1"}.get(key, value)


@pytest.mark.parametrize(("sys_split", "layout"), [(True, "classes"), (False, "splits")])
def test_sys_split_counts_wherever_the_data_folder_is_given(tmp_path, sys_split, layout):
    path = written(tmp_path, {**without("data_dir"), "sys_split": sys_split, "data": "images"})
    assert read_settings(path).layout == layout
    path = written(tmp_path, {**without("data_dir"), "sys_split": sys_split})
    assert read_settings(path, data="images").layout == layout
    assert read_settings(path, data="cache/test_1").layout == "splits"
    path = written(tmp_path, {**OLD, "sys_split": sys_split, "data_dir": "cache/test_1"})
    assert read_settings(path, data="images").layout == layout
    with pytest.raises(SettingsError, match="data_dir is missing"):
        read_settings(written(tmp_path, without("data_dir")))
    with pytest.raises(SettingsError, match="is a table, leave sys_split out"):
        read_settings(written(tmp_path, {**OLD, "data_dir": "images.csv"}))


LONG = "胸部_" + "a" * 70


@pytest.mark.parametrize(
    ("given", "name", "group"),
    [
        ("exp.v1", "exp.v1", "exp_v1"),
        (LONG, LONG, LONG),
        ("my-run (2)", "my_run__2_", "my_run__2_"),
        ("2024_a", "run_2024_a", "group_2024_a"),
        ("single", "run_single", "group_single"),
        ("NUL.x", "run_NUL.x", "NUL_x"),
        ("end.", "end", "end_"),
        ("肺_か\u3099", "肺_が", "肺_が"),
    ],
)
def test_names_are_kept_as_far_as_they_are_allowed(given, name, group):
    result = convert_earlier({**OLD, "run_name": given, "log_folder": f"Log\\{given}"})
    assert (result.settings["name"], result.settings["comparison"]) == (name, group)
    assert ("name" in result.notes) is (given not in (name, "肺_か\u3099"))
    assert ("not allowed" in result.notes["comparison"]) is (given not in (group, "肺_か\u3099"))


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({"validation": False}, "test_weights", "without validation there is no best epoch: the last is tested"),
        ({"validation": False}, "cutoff_on", "without validation images it is 0.5"),
        ({"pretrained": False}, "freeze", "without pretrained weights nothing is frozen"),
        ({"weight_freeze": [False, 3]}, "freeze", "the 3 of [false, 3] had no effect: nothing is frozen"),
        ({"weight_freeze": [True, None]}, "thaw_at", "never: only the head learns"),
        ({"weight_only": False}, "whole_model", "the whole network as a pickle"),
        ({"num_classes": 3}, "num_classes", 'ss_label ["ng", "ok"] has no meaning for three classes and more'),
    ],
)
def test_what_its_user_must_know_is_said(tmp_path, change, key, words):
    assert words in convert_earlier({**OLD, **change}).notes[key]
    assert words in convert_file(written(tmp_path, {**OLD, **change}))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({}, "test_weights"),
        ({"validation": False, "test_best_model": False}, "test_weights"),
        ({}, "freeze"),
        ({"weight_freeze": [False, None]}, "freeze"),
        ({"pretrained": False}, "thaw_at"),
        ({"num_classes": 3, "ss_label": None}, "num_classes"),
        ({"num_classes": 3, "ss_label": None}, "cutoff_on"),
    ],
)
def test_what_changes_nothing_is_not_said(change, key):
    assert key not in convert_earlier({**OLD, **change}).notes


def test_notes_name_the_key_of_the_file_and_leave_out_what_a_flag_decides(tmp_path):
    said = []
    read_settings(written(tmp_path, {**OLD, "pretrained": False}), say=said.append)
    assert any(
        line.startswith("earlier settings: cache is now keep_cache: false (images are not copied") for line in said
    )
    assert any("weight_freeze is now freeze: true (without pretrained" in line for line in said)
    said.clear()
    read_settings(written(tmp_path, {**OLD, "pretrained": False}), say=said.append, pretrained=True, keep_cache=True)
    assert not any("pretrained" in line or "cache" in line for line in said)


def test_weights_for_a_file_without_pretrained_say_what_to_change(tmp_path):
    path = written(tmp_path, {**OLD, "pretrained": False, "weight_freeze": [False, None]})
    with pytest.raises(SettingsError) as caught:
        read_settings(path, train=False, weights="w.pth")
    assert len(caught.value.problems) == 1
    assert re.search("weights.*pretrained: true.*--pretrained", caught.value.problems[0])
    assert read_settings(path, train=False, weights="w.pth", pretrained=True).weights == ("w.pth",)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_in_another_encoding_is_refused_and_not_guessed(tmp_path, encoding):
    text = "run_name: \xe9t\xe9\nlr: 1\n"
    (tmp_path / "old.yaml").write_bytes(text.encode(encoding))
    with pytest.raises(SettingsError, match=r"old\.yaml.*UTF-8"):
        read_mapping(tmp_path / "old.yaml")


def test_backslashes_in_double_quotes_are_explained(tmp_path):
    (tmp_path / "old.yaml").write_text('data_dir: "C:\\data\\ng"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="single quotes"):
        read_mapping(tmp_path / "old.yaml")


CP932_TRANSFORMS = """import torch
名前 = "表示"
use_transform = {"train": lambda image: torch.zeros(3, 8, 8), "val": lambda image: torch.zeros(3, 8, 8)}
"""


def test_a_transforms_file_in_cp932_is_refused_with_what_to_do_before_anything_is_read(magg, tmp_path):  # noqa: F811
    path = tmp_path / "変換.py"
    path.write_bytes(CP932_TRANSFORMS.encode("cp932"))
    old = written(tmp_path, OLD)
    text = magg("plan", old, "--transforms", path, expect=1)
    assert "is not UTF-8" in text
    assert "save it as UTF-8" in text
    assert "# -*- coding: cp932 -*-" in text
    path.write_bytes(b"# -*- coding: cp932 -*-\n" + CP932_TRANSFORMS.encode("cp932"))
    assert set(load_transforms(path)) == {"train", "val"}
    assert [found.name for found in tmp_path.iterdir() if found.is_dir()] == []


def test_a_printed_conversion_that_the_console_cannot_show_points_to_out(magg, tmp_path, monkeypatch):  # noqa: F811
    old = written(tmp_path, {**OLD, "data_dir": "胸部/été"})
    for encoding, lost in (("cp932", True), ("utf-8", False)):
        console = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", console)
            text = magg("convert", old)
        assert ("--out" in text) is lost
    assert magg("convert", old, "--out", tmp_path / "new.yaml")
    assert read_settings(tmp_path / "new.yaml").data.name == "été"


@pytest.fixture
def images(tmp_path):
    for name in ("ng", "ok"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(30):
            colour = (number * 8, 40, 200 if name == "ng" else 90 + number)
            Image.new("RGB", (12, 12), colour).save(tmp_path / "data" / name / f"{number}.png")


@pytest.mark.usefixtures("images")
def test_an_earlier_file_is_planned(magg, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    written(tmp_path, {**OLD, "pretrained": False, "log_folder": r"log\胸部"}, "cp932")
    text = magg("plan", "old.yaml")
    assert "test 12" in text
    assert "test 0.2 of all" in text
    assert not (tmp_path / "log").exists()
