"""Settings: every mistake is named, recipes stand below what is given, files repeat a run."""

import pytest
import yaml

from model_aggregation.config import Settings, make_settings
from model_aggregation.errors import SettingsError
from model_aggregation.options import Options
from model_aggregation.settings_files import read_settings, settings_mapping, write_settings


def test_all_problems_are_reported_at_once():
    with pytest.raises(SettingsError) as caught:
        make_settings(data="x", model="a", epoch=3, batch_size=0, optimizer="adan")
    text = str(caught.value)
    assert "did you mean epochs?" in text
    assert "batch_size" in text
    assert "optimizer" in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give either 'model'"),
        ({"model": "a", "models": ["b"]}, "give either 'model'"),
        ({"models": ["a", "b"], "weights": "file.pth"}, "MODEL=FILE"),
        ({"model": "a", "cutoff_lower": 0.7}, "above cutoff_upper"),
        ({"model": "a", "loss": "focal", "label_smoothing": 0.1}, "cross_entropy only"),
        ({"model": "a", "recipe": "standart"}, "did you mean standard?"),
    ],
)
def test_values_that_exclude_each_other(given, words):
    with pytest.raises(SettingsError, match=words.replace("'", ".")):
        make_settings(data="x", **given)


def test_recipe_stands_below_what_is_given():
    settings = make_settings(data="x", model="a", recipe="scratch", learning_rate=0.5)
    assert settings.pretrained is False
    assert settings.learning_rate == 0.5


def test_a_written_file_repeats_the_settings(tmp_path):
    settings = make_settings(data="胸部 X線", models=["a", "timm:b"], weights=["timm:b=w.pth"], thaw_at=None)
    write_settings(settings, tmp_path / "s.yaml")
    assert read_settings(tmp_path / "s.yaml") == settings
    assert "胸部" in (tmp_path / "s.yaml").read_text(encoding="utf-8")


def test_flags_stand_above_the_file(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("data: x\nmodel: a\nepochs: 3\nlearning_rate: 1e-4\n", encoding="utf-8")
    settings = read_settings(path, epochs=7)
    assert (settings.epochs, settings.learning_rate) == (7, 1e-4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs: 3\nepochs: 4\n", "twice"),
        ("- a\n- b\n", "key: value"),
        ("a: [", "not valid YAML"),
    ],
)
def test_broken_files(tmp_path, text, words):
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=words):
        read_settings(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path / "missing.yaml")


def test_every_setting_has_a_sentence_and_survives_yaml():
    for name, field in Settings.model_fields.items():
        assert (field.description or "").endswith("."), name
    mapping = settings_mapping(make_settings(data="x", model="a"))
    assert set(mapping) | {"models", "seeds"} == set(Settings.model_fields)
    assert make_settings(**yaml.safe_load(yaml.safe_dump(mapping))).epochs == Options().epochs


def test_yaml_as_people_write_it(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("data: x\nmodel: a\nprecision: 32\npositive: 1\nthaw_at: none\nname: 7\n", encoding="utf-8")
    settings = read_settings(path)
    assert (settings.precision, settings.positive, settings.thaw_at, settings.name) == ("32", "1", None, "7")
    path.write_text("data: x\nmodel: a\nrecipe: [a]\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="unknown"):
        read_settings(path)


def test_a_recipe_given_as_a_flag_stands_above_the_file(tmp_path):
    path = tmp_path / "s.yaml"
    write_settings(make_settings(data="x", model="a"), path)
    settings = read_settings(path, recipe="scratch", epochs=3)
    assert (settings.learning_rate, settings.freeze, settings.pretrained) == (1e-3, False, False)
    back = tmp_path / "back.yaml"
    write_settings(settings, back)
    assert read_settings(back, recipe="standard").learning_rate == Options().learning_rate


def test_files_with_an_equals_sign_are_files(tmp_path):
    settings = make_settings(data="x", model="a", weights=str(tmp_path / "lr=3.pth"))
    assert list(settings.weights_by_model()) == [""]
