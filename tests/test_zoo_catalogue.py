"""The list of networks: sizes that are shipped are those that are counted, filters, sorting, files, words."""

import json

import pandas as pd
import pytest
from command_line import magg  # noqa: F401  (a fixture)

from model_aggregation.errors import ModelError
from model_aggregation.models import counting
from model_aggregation.models.catalogue import Question, catalogue
from model_aggregation.models.counting import CLASSES, count, count_key, keep_counts, known_counts, library_version
from model_aggregation.models.imports import timm_library, torchvision_models
from model_aggregation.models.libraries import input_facts
from model_aggregation.models.zoo import SOURCES, ModelName, known_architectures, parse_model_name


def shipped_versions():
    return {(entry.source, entry.version) for entry in known_counts().values()}


def is_shipped(source):
    return (source, library_version(source)) in shipped_versions()


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "vit_b_32", "regnet_y_400mf", "maxvit_t"])
def test_counts_are_those_that_torchvision_publishes(name):
    entry = torchvision_models().get_model_weights(name).IMAGENET1K_V1
    counted = count(ModelName("torchvision", name), 224)
    assert counted.parameters == entry.meta["num_params"]
    assert counted.multiply_adds / 1e9 == pytest.approx(entry.meta["_ops"], abs=0.001)


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit", "timm:convnextv2_atto", "alexnet", "googlenet"])
def test_shipped_counts_are_those_that_are_counted(name):
    model = parse_model_name(name)
    if not is_shipped(model.source):
        pytest.skip("another version is installed than the one that was counted")
    size = input_facts(model).size
    assert known_counts()[count_key(model, size)] == count(model, size)


@pytest.mark.parametrize("source", SOURCES)
def test_every_network_of_the_counted_version_is_in_the_table(source):
    if not is_shipped(source):
        pytest.skip("another version is installed than the one that was counted")
    models = [ModelName(source, name) for name in known_architectures(source)]
    known = known_counts()
    missing = [str(model) for model in models if count_key(model, input_facts(model).size) not in known]
    assert not missing


def test_parameters_are_those_of_the_real_network():
    module = timm_library().create_model("test_efficientnet", num_classes=CLASSES)
    expected = sum(parameter.numel() for parameter in module.parameters())
    assert count(ModelName("timm", "test_efficientnet"), 160).parameters == expected


def test_conditions_that_nothing_meets_are_said_and_written(tmp_path, magg):  # noqa: F811
    assert "No model meets all of these conditions." in magg("models", "resnet18", "--input-size", 33)
    magg("models", "resnet18", "--input-size", 33, "--csv", tmp_path / "none.csv", "--json", tmp_path / "none.json")
    assert list(pd.read_csv(tmp_path / "none.csv").columns)[:3] == ["model", "weights", "parameters"]
    assert json.loads((tmp_path / "none.json").read_text(encoding="utf-8")) == []
    assert magg("models", "resnet8", expect=1).count("resnet18 ") == 1  # both libraries have it


def test_counts_of_another_version_are_made_when_asked_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "_kept_file", lambda: tmp_path / "counts.csv")
    monkeypatch.setattr(counting, "library_version", lambda source: "99.0")
    question = Question(("timm:test_vit", "timm:test_resnet"), max_parameters=1e6)
    unknown = catalogue(question)
    assert (unknown.entries, unknown.uncounted) == ((), 2)
    told = []
    answer = catalogue(question, count_unknown=True, told=lambda *words: told.append(words))
    assert [entry.model for entry in answer.entries] == ["timm:test_vit", "timm:test_resnet"]
    assert len(told) == 2
    assert len(catalogue(question).entries) == 2  # kept for the next time
    keep_counts([])
    assert len(catalogue(question).entries) == 2


def test_filters_and_orders():
    question = Question(("resnet*",), source="torchvision", pretrained=True, max_parameters=30e6)
    entries = catalogue(question, order="accuracy").entries
    assert [entry.model for entry in entries] == [f"torchvision:resnet{depth}" for depth in (50, 34, 18)]
    assert entries[0].top1 == pytest.approx(80.858)
    sizes = [entry.multiply_adds for entry in catalogue(question, order="speed").entries]
    assert sizes == sorted(sizes)
    assert {entry.image_size for entry in catalogue(Question(("timm:*_384",), image_size=384)).entries} == {384}
    free = catalogue(Question(("timm:resnet18.*",), license="CC-BY-NC")).entries
    assert {entry.license for entry in free} == {"cc-by-nc-4.0"}
    assert catalogue(Question(("timm:test_vit4",))).entries[0].top1 is None  # not in timm's package


def test_names_that_fit_nothing_are_all_listed():
    with pytest.raises(ModelError) as caught:
        catalogue(Question(("resnt18", "@quik", "timm:eficientnet_b0", "zzz*")))
    for words in ("did you mean resnet18", "did you mean @quick", "did you mean efficientnet_b0", "'zzz*'"):
        assert words in str(caught.value)


def test_a_tag_that_no_library_publishes_is_answered_with_those_that_are():
    with pytest.raises(ModelError) as caught:
        catalogue(Question(("resnet18.ours",)))
    assert "published are: IMAGENET1K_V1" in str(caught.value)
    assert "published are: a1_in1k" in str(caught.value)
    assert [entry.model for entry in catalogue(Question(("resnet18.a1_in1k",))).entries] == ["timm:resnet18.a1_in1k"]


def test_weights_on_this_machine_are_seen(tmp_path):
    (tmp_path / "resnet18-f37072fd.pth").write_bytes(b"")
    (tmp_path / "test_resnet.safetensors").write_bytes(b"")
    question = Question(("torchvision:resnet18", "timm:test_resnet", "timm:test_vit"))
    files = {entry.model: entry.file for entry in catalogue(question, weights_dir=tmp_path).entries}
    assert files["torchvision:resnet18"] == tmp_path / "resnet18-f37072fd.pth"
    assert files["timm:test_resnet"] == tmp_path / "test_resnet.safetensors"
    (tmp_path / "test_vit.ours.safetensors").write_bytes(b"")
    for patterns in ((), ("*:test_*", "resnet18")):
        here = catalogue(Question(patterns, here=True), weights_dir=tmp_path).entries
        assert {"torchvision:resnet18", "timm:test_resnet", "timm:test_vit.ours"} <= {entry.model for entry in here}
        assert all(entry.file and entry.file.is_file() for entry in here)
    named = catalogue(Question(("test_vit.ours",)), weights_dir=tmp_path).entries
    assert [(entry.weights, entry.file) for entry in named] == [("ours", tmp_path / "test_vit.ours.safetensors")]


def test_the_command_prints_and_writes(magg, tmp_path):  # noqa: F811
    text = magg("models", "torchvision:resnet18", "timm:resnet18", "--sort", "speed")
    assert "11.7 M" in text
    assert "1.81 G" in text
    assert "nothing was timed" in text
    files = ["--csv", tmp_path / "表.csv", "--json", tmp_path / "m.json"]
    assert "2 models." in magg("models", "resnet18", *files)
    table = pd.read_csv(tmp_path / "表.csv")
    assert list(table["parameters"]) == [11689512, 11689512]
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))[1]["top1"] is None
    assert "such as 30M" in magg("models", "--max-params", "many", expect=1)
    assert "1 model." in magg("models", "@quick", "--max-params", "2.4M", "--csv", tmp_path / "b.csv")
    assert ".json file" in magg("models", "resnet18", "--json", "x.csv", expect=1)
