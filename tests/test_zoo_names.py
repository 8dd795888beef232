"""Every way to name networks: patterns, sets, repositories of the hub, functions of the user's own."""

import sys

import pytest
import torch

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.errors import ModelError
from model_aggregation.models import sets
from model_aggregation.models.build import build_network
from model_aggregation.models.sets import model_sets
from model_aggregation.models.zoo import find_models, parse_model_name
from model_aggregation.names import run_names

OWN = """
from torch import nn

def small(num_classes, channels=3):
    body = nn.Sequential(nn.Conv2d(channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(body, nn.Linear(8, num_classes))

def colour(num_classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))

def no_network(num_classes):
    return num_classes

def headless(num_classes):
    return nn.Conv2d(3, 8, 3)

def wrong():
    pass

def deep(num_classes, depth):
    pass

def nameless(num_classes, /):
    pass

class Pair(nn.Linear):
    def forward(self, images):
        return super().forward(images.mean((2, 3))), None

def pair(num_classes):
    return Pair(3, num_classes)

def maps(num_classes):
    return nn.Conv2d(3, num_classes, 3)

def other_size(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(7, num_classes))

def asked(num_classes, pretrained):
    assert pretrained is False
    return small(num_classes)

def itself(num_classes, pretrained=False):
    network = small(num_classes)
    if pretrained:
        nn.init.constant_(network[0][0].weight, 0.25)
    return network
"""


def names(*texts, **options):
    return [str(model) for model in find_models(list(texts), **options)]


def test_patterns_stand_for_all_that_they_fit_in_order_and_once():
    fitting = ["timm:efficientnet_b0", "timm:efficientnet_b1", "timm:efficientnet_b2", "timm:efficientnet_b3"]
    assert names("timm:efficientnet_b[0-3]") == fitting
    assert names("resnet?8") == ["torchvision:resnet18"]  # a bare pattern belongs to the source of the settings
    assert names("resnet18", default_source="timm") == ["timm:resnet18"]
    assert names("*:resnet18") == ["torchvision:resnet18", "timm:resnet18"]
    assert names("timm:efficientnet_b1", "timm:efficientnet_b[01]") == [fitting[1], fitting[0]]
    tags = names("resnet50.*")
    assert tags == ["torchvision:resnet50.IMAGENET1K_V2", "torchvision:resnet50.IMAGENET1K_V1"]
    assert "timm:resnet18.a1_in1k" in names("timm:resnet18.a*")


def test_a_pattern_that_fits_nothing_names_the_nearest():
    with pytest.raises(ModelError) as caught:
        find_models(["timm:eficientnet_b0*", "resnet18", "nothing:*", "@quik"])
    text = str(caught.value)
    assert "did you mean efficientnet_b0" in text
    assert "No model fits 'nothing:*'" in text
    assert "did you mean @quick" in text


def test_sets_bring_models_once_more_without_complaint():
    quick = list(model_sets()["quick"].models)
    assert names("@quick", "resnet18", "@quick") == quick
    with pytest.raises(ModelError, match="named twice"):
        find_models(["resnet18", "@quick", "torchvision:resnet18"])


@pytest.mark.parametrize("name", list(model_sets()))
def test_every_model_of_the_shipped_sets_is_known(name):
    assert model_sets()[name].about
    assert len(find_models([f"@{name}"])) == len(model_sets()[name].models)


def test_sets_of_the_users_own(tmp_path, monkeypatch):
    own = tmp_path / "私の.yaml"
    own.write_text("lungs:\n  about: 肺\n  models: [resnet18, 'timm:efficientnet_b[01]']\n", encoding="utf-8")
    assert names("@lungs", sets_file=own) == ["torchvision:resnet18", "timm:efficientnet_b0", "timm:efficientnet_b1"]
    monkeypatch.setattr(sets, "own_sets_file", lambda: own)  # the place is the machine's, not ours
    assert len(names("@lungs")) == 3
    for content, words in (
        ("quick:\n  models: [resnet18]\n", "names of the program's own sets: quick"),
        ("a:\n  modells: [resnet18]\n", "'models: "),
        ("a: [1", "must hold"),
        ("a:\n  models: ['@quick', 5]\n", "5 is no name"),
    ):
        own.write_text(content, encoding="utf-8")
        with pytest.raises(ModelError, match=words):
            find_models(["@a"], sets_file=own)
    with pytest.raises(ModelError, match="cannot be read"):
        find_models(["@a"], sets_file=tmp_path / "missing.yaml")


def test_repositories_of_the_hub_keep_their_name_on_every_way():
    for text in ("timm:hf_hub:timm/resnet18.a1-x", "hf_hub:timm/resnet18.a1-x", "timm:hf-hub:timm/resnet18.a1-x"):
        model = parse_model_name(text)
        assert model.on_hub
        assert str(model) == "timm:hf_hub:timm/resnet18.a1-x"
        assert find_models([text]) == [model]
        assert parse_model_name(str(model)) == model
    assert run_names("g", ["timm:hf_hub:a/b-c", "my.nets:small"]) == ["g_hf_hub_a_b_c", "g_my.nets_small"]
    settings = make_settings(data="x", model="timm:hf_hub:a/b-c", weights=["timm:hf_hub:a/b-c=w.pth"])
    assert [str(path) for path in settings.weights_by_model().values()] == ["w.pth"]


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A folder with a module of the user's, from which the program is started."""
    (tmp_path / "my_networks.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "my_networks"
    sys.modules.pop("my_networks", None)


def build(name, **given):
    settings = make_settings(data="x", model=name, **{"image_size": 32, "pretrained": False, **given})
    return build_network(parse_model_name(name), 3, settings)


def test_a_network_of_the_users_own_is_built_like_any_other(own_module):
    model = find_models(["my_networks:small"])[0]
    assert (str(model), model.own) == ("my_networks:small", True)
    for name, channels in (("small", 3), ("small", 1), ("colour", 1), ("asked", 3)):
        network = build(f"{own_module}:{name}", channels=channels)
        assert network.module(torch.randn(2, channels, 32, 32)).shape == (2, 3)
        assert len(network.head) == 2
        network.freeze()
        trainable = {key for key, value in network.module.named_parameters() if value.requires_grad}
        assert trainable == network.head


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_networks:smal", "did you mean small"),
        ("my_networks:wrong", "must take 'num_classes'"),
        ("my_networks:deep", r"called as deep\(num_classes=…\).* this fails: missing a required argument: 'depth'"),
        ("my_networks:nameless", "this fails: .*num_classes"),
        ("my_network:small", "A network of your own is MODULE:FUNCTION"),
        ("tim:resnet18", "did you mean timm"),
    ],
)
def test_what_is_wrong_with_the_name_of_an_own_network_is_said(own_module, name, words):
    with pytest.raises(ModelError, match=words):
        find_models([name])


def test_what_is_wrong_with_an_own_network_is_said(own_module):
    with pytest.raises(ModelError, match="it returned int"):
        build("my_networks:no_network")
    with pytest.raises(ModelError, match="no classification head"):
        build("my_networks:headless")
    with pytest.raises(ModelError, match=r"images \(1, 3, 32, 32\) into logits \(1, 3\); it returned tuple"):
        build("my_networks:pair")
    with pytest.raises(ModelError, match=r"into logits \(1, 3\); it returned \(1, 3, 30, 30\)"):
        build("my_networks:maps")
    with pytest.raises(ModelError, match=r"into logits \(1, 3\); it failed: RuntimeError: .*shapes"):
        build("my_networks:other_size")


def test_a_module_that_fails_says_so(own_module, tmp_path):
    (tmp_path / "broken_networks.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be imported: No module named 'nothing_of_this_name'"):
        find_models(["broken_networks:a"])


def test_an_own_network_goes_all_the_way(own_module, tmp_path, two_classes):
    given = {
        "positive": "肺炎", "pretrained": False, "freeze": False, "image_size": 32, "epochs": 1, "workers": 0,
        "tensorboard": False, "jobs": 0, "quiet": True, "cache_folder": tmp_path / "cache",
    }  # fmt: skip
    result = ma.compare(two_classes, ["my_networks:small", "my_networks:colour"], name="own", **given)
    assert [run.state for run in result.runs] == ["finished", "finished"]
    assert sorted(run.path.name for run in result.runs) == ["own_my_networks_colour", "own_my_networks_small"]
    table = ma.predict(result.runs[0].path, two_classes / "正常")
    assert len(table) == 60


def test_the_file_of_an_own_network_is_answered_with_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "small_of_mine.py").write_text("", encoding="utf-8")
    for file in ("nets/small_of_mine.py", "nets\\small_of_mine.py"):
        with pytest.raises(ModelError, match=r"started in: nets\.small_of_mine:make\.\)"):
            parse_model_name(f"{file}:make")
    with pytest.raises(ModelError, match=r"started in\.\)"):
        parse_model_name("nets/other.py:make")
