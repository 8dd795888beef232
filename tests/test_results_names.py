"""Names of runs and groups: the rules, and that made names always keep them."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_samples import make_run

from model_aggregation.errors import SettingsError
from model_aggregation.names import (
    check_group_name,
    check_path_lengths,
    check_run_name,
    default_name,
    model_slug,
    not_shown_by_companion,
    run_names,
    same_name,
)
from model_aggregation.results.index import Index
from model_aggregation.results.run_folder import RunFolder

MODELS = st.builds("{}:{}".format, st.sampled_from(["torchvision", "timm"]), st.text(min_size=1, max_size=12))


@pytest.mark.parametrize("name", ["a", "Run_1", "run.v2", "胸部_X線", "é1", "null", "singles"])
def test_good_run_names_are_kept(name: str) -> None:
    assert check_run_name(name) == name


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("", "begin with a letter"),
        ("1run", "begin with a letter"),
        ("_run", "begin with a letter"),
        ("a-b", "'-'"),
        ("a b", "' '"),
        ("a'b", "may not contain"),
        ('a"b', "may not contain"),
        ("a/b", "'/'"),
        ("..", "begin with a letter"),
        ("run.", "end with a dot"),
        ("single", "without a group"),
        ("Single", "without a group"),
        ("CON", "device"),
        ("nul.v2", "device"),
        ("com1", "device"),
        ("run\n", "may not contain"),
    ],
)
def test_bad_run_names_are_refused_with_the_reason(name: str, word: str) -> None:
    with pytest.raises(SettingsError, match="--name") as caught:
        check_run_name(name)
    assert any(word in problem for problem in caught.value.problems)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        check_run_name("1-a.")
    assert len(caught.value.problems) == 3


def test_a_group_has_no_dots() -> None:
    with pytest.raises(SettingsError, match="group"):
        check_group_name("a.b")


def test_decomposed_letters_are_composed() -> None:
    decomposed = unicodedata.normalize("NFD", "ガン")
    assert decomposed != "ガン"
    assert check_group_name(decomposed) == "ガン"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-data 2", "my_data_2"),
        ("胸部 X線", "胸部_X線"),
        ("2024", "data_2024"),
        ("CON", "data_CON"),
        ("single", "data_single"),
        ("!!!", "data"),
        ("", "data"),
        ("images.v2", "images_v2"),
    ],
)
def test_default_names(folder: str, name: str) -> None:
    assert default_name(folder) == name


@given(st.text(max_size=80))
def test_every_default_name_is_allowed_and_stays(folder: str) -> None:
    name = default_name(folder)
    assert check_group_name(name) == check_run_name(name) == name
    assert default_name(name) == name


@pytest.mark.parametrize(
    ("model", "slug"),
    [
        ("timm:hf_hub:a/b-c", "hf_hub_a_b_c"),
        ("hf_hub:a/b-c", "hf_hub_a_b_c"),
        ("timm:resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("resnet18", "resnet18"),
        ("my_nets:small", "my_nets_small"),
        ("timm:x.", "x"),
    ],
)
def test_model_slugs(model: str, slug: str) -> None:
    assert model_slug(model) == slug


@given(MODELS)
def test_every_run_name_with_a_slug_is_allowed(model: str) -> None:
    assert run_names("group", [model]) == [f"group_{model_slug(model)}"]


@given(st.lists(MODELS, unique=True, max_size=6))
def test_run_names_differ_for_windows_or_are_refused(models: list[str]) -> None:
    try:
        names = run_names("group", models)
    except SettingsError as error:
        assert error.problems  # noqa: PT017
        return
    assert len(names) == len(models)
    assert len({same_name(name) for name in names}) == len(models)


def test_the_source_is_put_before_colliding_models_only() -> None:
    models = ["torchvision:ResNet18", "timm:resnet18", "timm:vit"]
    assert run_names("g", models) == ["g_torchvision_ResNet18", "g_timm_resnet18", "g_vit"]


def test_a_name_made_by_the_source_may_collide_again() -> None:
    models = ["torchvision:x", "timm:x", "torchvision:timm_x"]
    assert run_names("g", models) == ["g_torchvision_x", "g_timm_x", "g_torchvision_timm_x"]


@pytest.mark.parametrize("models", [["timm:a", "timm:a"], ["timm:a-b", "timm:a/b"]])
def test_models_that_cannot_be_told_apart_are_named(models: list[str]) -> None:
    with pytest.raises(SettingsError, match="share one") as caught:
        run_names("g", models)
    assert models[1] in caught.value.problems[0]


def test_too_long_paths_are_refused() -> None:
    short = Path(Path.cwd().anchor) / "t"  # the place of the tests must not count
    check_path_lengths(RunFolder(short / "run").all_paths("torchvision:resnet18"))
    with pytest.raises(SettingsError, match="240 characters"):
        check_path_lengths(RunFolder(short / ("r" * 230)).all_paths("resnet18"))
    with pytest.raises(SettingsError, match="240 bytes"):
        check_path_lengths(RunFolder(short / ("胸" * 80)).all_paths("resnet18"))


def test_what_the_companion_viewer_cannot_show() -> None:
    shown = ["肺.png", "a b", "a-b", "a--b"]
    hidden = ["a,b", "a\nb", "a---b", "a&b", "a#b", "a+b", "5%"]
    assert not_shown_by_companion(shown + hidden) == hidden


def test_a_run_folder_that_was_renamed_is_taken(tmp_path):
    make_run(tmp_path / "log" / "g" / "first")
    (tmp_path / "log" / "g" / "first" / "first.yaml").touch()
    (tmp_path / "log" / "g" / "first" / "first_status.txt").touch()
    folder = RunFolder((tmp_path / "log" / "g" / "first").rename(tmp_path / "log" / "g" / "second"))
    assert folder.name == "second"
    assert folder.predictions_csv("test").name == "first_test.csv"
    assert len(folder.read_predictions()) == 40
    Index(tmp_path / "log").rebuild()
    assert list(Index(tmp_path / "log").runs()["run_name"]) == ["second"]
    (folder.path / "other.yaml").touch()
    (folder.path / "other_status.txt").touch()
    assert RunFolder(folder.path).predictions_csv("test").name == "second_test.csv"  # two names: which one is a guess
