"""Weights of the earlier program: its files load, and its networks give the probabilities that they gave there."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import magg  # noqa: F401  (fixture)
from earlier_networks import (
    as_it_saw,
    earlier_class,
    earlier_network,
    probabilities,
    settings_of,
    settle,
    two_layers,
    write_images,
    write_settings,
    write_weights,
)
from PIL import Image
from torch import nn

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.errors import ModelError, SettingsError, UntrustedCodeError
from model_aggregation.models.build import build_network
from model_aggregation.models.earlier_weights import todays_names
from model_aggregation.models.weights import read_weights_file
from model_aggregation.models.zoo import parse_model_name
from model_aggregation.settings_files import read_settings

CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder of a user of the earlier program, with images in data/."""
    monkeypatch.chdir(tmp_path)
    write_images(Path("data"), CLASSES)
    return tmp_path


def network_for(name, source="timm", **options):
    torch.manual_seed(0)
    network = earlier_network(source, name, len(CLASSES), **options)
    size = 299 if name.startswith("inception") else 224
    return settle(network, torch.cat([as_it_saw(path, size) for path in sorted(Path("data/test").rglob("*.png"))]))


def predicted(run, image, **given):
    return ma.predict(run, image, quiet=True, device="cpu", **given)[list(CLASSES)].to_numpy()[0]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("source", "name", "pretrained"),
    [
        ("timm", "test_resnet", False),
        ("timm", "test_vit", True),
        ("timm", "test_efficientnet", False),
        ("pytorch", "resnet18", True),
        ("pytorch", "efficientnet_b0", False),
        ("pytorch", "googlenet", False),
        ("pytorch", "googlenet", True),
    ],
)
def test_probabilities_are_those_of_the_earlier_network(source, name, pretrained):
    network = network_for(name, source, pretrained=pretrained)
    run = Path("log/group/old")
    write_settings(run, settings_of(name, source, 3, pretrained=pretrained))
    torch.save(network.state_dict(), run / "last_model_weight.pth")
    for image in (Path("data/test/cat/0.png"), Path("data/test/owl/1.png")):
        assert np.allclose(predicted(run, image), probabilities(network, image), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("here")
def test_every_file_of_a_run_folder_loads(here):
    run, image = Path("log/old"), Path("data/test/dog/0.png")
    write_settings(run, settings_of("test_resnet", "timm", 3))
    with earlier_class(here) as wrapper:
        network = network_for("test_resnet", wrapper=wrapper)
        write_weights(run, network)
    expected = probabilities(network, image)
    assert len(list(run.rglob("*.pth"))) == 5
    for path in run.rglob("*.pth"):
        trust = {"trust_pickle": True, "pickle_folder": here} if path.name in PICKLED else {}
        assert np.allclose(predicted(run, image, weights=path, **trust), expected, rtol=0, atol=1e-5), path


PICKLED = ("best_model_weight.pth", "last_model_all.pth")


def test_heads_below_the_last_child_are_renamed_and_others_stay():
    new = {"heads.head.0.weight", "heads.head.0.bias", "heads.head.3.weight", "heads.head.3.bias"}
    head = {f"heads.{name}": value for name, value in two_layers(768, 3, "torchvision").state_dict().items()}
    body = {"encoder.ln.weight": torch.ones(3)}
    assert todays_names(body | head, frozenset(new)).keys() == body.keys() | new
    assert todays_names(body | head, frozenset({"heads.head.weight", "heads.head.bias"})).keys() == body.keys() | new
    published = body | {"classifier.0.weight": torch.ones(4, 4), "classifier.3.weight": torch.ones(4, 4)}
    published |= {"classifier.6.weight": torch.ones(4, 4)}
    assert todays_names(published, frozenset({"classifier.6.weight", "classifier.6.bias"})) == published


def test_a_head_in_torchvision_has_no_dropout_before_it_and_keeps_its_names():
    settings = make_settings(data="x", model="efficientnet_b0", recipe="earlier", pretrained=False)
    network = build_network(parse_model_name("efficientnet_b0"), 3, settings)
    dropouts = [name for name, layer in network.module.classifier.named_modules() if isinstance(layer, nn.Dropout)]
    assert dropouts == ["1.2"]
    assert network.head == {f"classifier.1.{layer}.{kind}" for layer in (0, 3) for kind in ("weight", "bias")}
    earlier = earlier_network("torchvision", "efficientnet_b0", 3)
    earlier.load_state_dict(
        {name.replace("classifier.1", "classifier"): t for name, t in network.module.state_dict().items()}
    )
    images = torch.randn(4, 3, 64, 64)
    outputs = []
    for module in (network.module, earlier):
        torch.manual_seed(1)
        outputs.append(module.train()(images))
    assert torch.equal(*outputs)  # stochastic depth and dropout draw the same numbers


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("given", [{"recipe": "earlier"}, {}])
def test_as_a_start_of_training_all_but_the_head_is_taken(given):
    network = network_for("test_resnet")
    torch.save(network.state_dict(), "old.pth")
    settings = make_settings(data="x", model="timm:test_resnet", weights="old.pth", **given)
    ours = build_network(parse_model_name("timm:test_resnet"), 3, settings)
    state = ours.module.state_dict()
    assert all(torch.equal(state[name], value) for name, value in network.model.state_dict().items())
    if not given:
        with pytest.raises(ModelError, match=r"Its head has two layers, .*: --head mlp makes the same here"):
            build_network(parse_model_name("timm:test_resnet"), 3, settings.model_copy(update={"train": False}))
    last = max(name for name in ours.head if name.endswith("weight"))
    assert not torch.allclose(state[last], network.add_layer[3].weight[:, : state[last].shape[1]])


@pytest.mark.usefixtures("here")
def test_a_training_that_starts_from_them_says_what_is_taken(magg):  # noqa: F811
    write_weights(Path("log/old"), network_for("test_resnet"))
    path = write_settings(Path("sets"), settings_of("test_resnet", "timm", 3))
    words = ("--pretrained", "--weights", Path("log/old/best_model_all.pth"), "--name", "start", "--jobs", 0)
    words += ("--image-size", 32, "--no-tensorboard")
    assert "best_model_all.pth: all but the head, which starts anew" in magg("run", path, *words)


@pytest.mark.usefixtures("here")
def test_a_run_without_training_gives_them_too(magg):  # noqa: F811
    network = network_for("test_resnet")
    torch.save(network.state_dict(), "w.pth")
    path = write_settings(Path("sets"), settings_of("test_resnet", "timm", 3))
    text = magg("run", path, "--no-train", "--pretrained", "--weights", "w.pth", "--name", "t", "--jobs", 0)
    assert "the weights of" in text
    table = pd.read_csv("log/t/t_test.csv")
    expected = np.stack([probabilities(network, Path(path)) for path in table["path"]])
    assert np.allclose(table[list(CLASSES)].to_numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("here")
def test_a_network_that_began_random_does_not_rescale_its_input():
    network, said = network_for("googlenet", "torchvision"), []
    torch.save(network.state_dict(), "w.pth")
    path = write_settings(Path("sets"), settings_of("googlenet", "pytorch", 3))
    given = {"train": False, "pretrained": True, "weights": "w.pth"}
    settings = read_settings(path, say=said.append, **given)
    assert any("transform_input: false (the network began with random weights" in line for line in said)
    ours = build_network(parse_model_name("googlenet"), 3, settings)
    images = as_it_saw(Path("data/test/cat/0.png"), 224)
    with torch.no_grad():
        assert torch.allclose(ours.module.eval()(images), network(images), atol=1e-5)
    path = write_settings(Path("sets"), settings_of("googlenet", "pytorch", 3, pretrained=True))
    assert read_settings(path, **given).rescales_input
    with pytest.raises(SettingsError, match="transform_input has an effect only if a model is torchvision's inception"):
        ma.make_plan(data="data", model="resnet18", pretrained=False, transform_input=False)


@pytest.mark.usefixtures("here")
def test_images_are_decoded_as_they_were():
    network, run = network_for("test_resnet"), Path("log/old")
    write_settings(run, settings_of("test_resnet", "timm", 3))
    torch.save(network.state_dict(), run / "last_model_weight.pth")
    rough = Image.effect_noise((120, 90), 90).resize((1200, 900)).convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    rough.save("turned.jpg", exif=turned, quality=60)
    see_through = rough.convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize(rough.size))
    see_through.save("see_through.png")
    for image in ("turned.jpg", "see_through.png"):
        assert np.allclose(predicted(run, image), probabilities(network, image), rtol=0, atol=1e-5), image


def test_a_pickled_network_needs_trust_and_its_folder(here, magg):  # noqa: F811
    run = Path("log/old")
    write_settings(run, settings_of("test_resnet", "timm", 3, test_best_model=True))
    with earlier_class(here) as wrapper:
        network = network_for("test_resnet", wrapper=wrapper)
        torch.save(network, run / "best_model_weight.pth")
    folder = here / "program"
    folder.mkdir()
    (here / "available_model_timm.py").rename(folder / "available_model_timm.py")
    for name in ("torch", "random", "timm", "onnx"):
        (folder / f"{name}.py").write_text("raise SystemExit('this file must not be imported')\n", encoding="utf-8")
    words = ("predict", run, "data/test/cat/0.png")
    text = magg(*words, expect=1)
    assert "a pickled network of the class available_model_timm.FineTuning" in text
    assert "--trust-pickle --pickle-folder FOLDER (the folder that holds available_model_timm.py)" in text
    text = magg(*words, "--trust-pickle", expect=1)
    assert "class available_model_timm.FineTuning, which cannot be found" in text
    assert "--trust-pickle --pickle-folder FOLDER" in text
    assert "must name the folder that holds" in magg(*words, "--trust-pickle", "--pickle-folder", here, expect=1)
    before = (set(sys.modules), list(sys.path), list(sys.meta_path))
    text = magg(*words, "--trust-pickle", "--pickle-folder", folder)
    row = text.splitlines()[-1] if text.splitlines()[-1].endswith(",") else text.splitlines()[1]
    found = np.array(row.split(",")[2:5], dtype=float)
    assert np.allclose(found, probabilities(network, Path("data/test/cat/0.png")), rtol=0, atol=1e-5)
    assert "available_model_timm" not in sys.modules
    assert (list(sys.path), list(sys.meta_path)) == before[1:]
    with pytest.raises(SettingsError, match=r"pickle_folder has an effect with trust_pickle"):
        make_settings(data="x", model="resnet18", weights="w.pth", pickle_folder=folder)


@pytest.mark.usefixtures("here")
def test_a_settings_file_that_names_the_folder_of_a_pickle_needs_a_yes():
    Path("w.pth").touch()
    given = {"weights": "w.pth", "trust_pickle": True, "pickle_folder": ".", "pretrained": True}
    path = write_settings(Path("sets"), settings_of("test_resnet", "timm", 3, **given))
    with pytest.raises(UntrustedCodeError) as caught:
        ma.make_plan(path)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["pickle_folder", "trust_pickle"]


def test_a_pickled_network_that_rescales_its_input_is_not_taken_for_one_that_does_not(tmp_path):
    network = earlier_network("torchvision", "googlenet", 3, pretrained=True)
    torch.save(network, tmp_path / "w.pth")
    assert read_weights_file(tmp_path / "w.pth", trust_pickle=True).transform_input is True
    given = {"data": "x", "model": "googlenet", "recipe": "earlier", "train": False, "weights": str(tmp_path / "w.pth")}
    settings = make_settings(**given, trust_pickle=True, transform_input=False)
    with pytest.raises(ModelError, match=r"rescales its input itself, which this one would not; .*--transform-input"):
        build_network(parse_model_name("googlenet"), 3, settings)
    assert build_network(parse_model_name("googlenet"), 3, make_settings(**given, trust_pickle=True))
