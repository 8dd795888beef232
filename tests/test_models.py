"""Names, heads, weights and preprocessing of real small networks of both libraries."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from model_aggregation.config import make_settings
from model_aggregation.errors import ModelError, SettingsError
from model_aggregation.models.build import build_network, preprocessing_for
from model_aggregation.models.float32_head import float32_head
from model_aggregation.models.weights import read_weights
from model_aggregation.models.zoo import find_models, parse_model_name, weight_tags


def built(name, classes=3, **settings):
    given = {"pretrained": False, "image_size": 64, **settings}
    torch.manual_seed(0)
    return build_network(parse_model_name(name), classes, make_settings(data="x", model=name, **given))


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet18", {"fc.weight", "fc.bias"}),
        ("squeezenet1_1", {"classifier.1.weight", "classifier.1.bias"}),
        ("mobilenet_v3_small", {"classifier.3.weight", "classifier.3.bias"}),
        ("timm:test_vit", {"head.weight", "head.bias"}),
        ("timm:test_resnet", {"fc.weight", "fc.bias"}),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_head_is_found_and_frozen_training_moves_only_it(name, head, channels):
    network = built(name, channels=channels)
    assert network.head == head
    network.freeze()
    network.train_mode()
    before = {key: tensor.clone() for key, tensor in network.module.state_dict().items()}
    optimizer = torch.optim.SGD(network.module.parameters(), lr=0.1)
    images = torch.randn(4, channels, 64, 64)
    torch.nn.functional.cross_entropy(network.module(images), torch.tensor([0, 1, 2, 1])).backward()
    optimizer.step()
    changed = {key for key, tensor in network.module.state_dict().items() if not torch.equal(tensor, before[key])}
    assert changed  # something learned
    assert changed <= head  # batch norm statistics included: nothing but the head moved


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "timm:test_efficientnet", "timm:efficientnet_lite0"])
def test_a_new_head_starts_with_equal_classes(name):
    network = built(name)
    network.module.train()  # batch norm of an untrained body has no statistics yet
    with torch.no_grad():
        logits = network.module(torch.randn(8, 3, 64, 64))
    assert logits.abs().max() < 1
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(8) % 3)
    assert abs(loss.item() - np.log(3)) < 0.3


def test_building_twice_gives_the_same_network():
    first, second = built("timm:test_resnet"), built("timm:test_resnet")
    for key, tensor in first.module.state_dict().items():
        assert torch.equal(tensor, second.module.state_dict()[key])


def test_unknown_names_are_listed_with_the_nearest():
    with pytest.raises(ModelError) as caught:
        find_models(["resnet19", "timm:resnet18.nothing", "keras:x", "resnet18", "torchvision:resnet18"])
    text = str(caught.value)
    for words in ("did you mean resnet18", "published are", "'keras' is unknown", "named twice"):
        assert words in text


def test_tags_of_published_weights():
    assert weight_tags(parse_model_name("resnet50"))[0] == "IMAGENET1K_V2"
    assert find_models(["resnet50.IMAGENET1K_V1"])[0].tag == "IMAGENET1K_V1"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_from_a_file_keep_the_body_and_leave_the_head_fresh(tmp_path, suffix):
    donor = built("resnet18", classes=10)
    state = {
        f"module.{key}": value.half() if value.is_floating_point() else value
        for key, value in donor.module.state_dict().items()
    }
    path = tmp_path / f"重み{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state}, path)
    else:
        save_file(state, path)
    network = built("resnet18", pretrained=True, weights=str(path))
    assert network.weights_origin == str(path)
    body = network.module.conv1.weight
    assert body.dtype == torch.float32
    assert torch.equal(body, donor.module.conv1.weight.half().float())
    assert network.module.fc.weight.shape == (3, 512)


def test_first_layer_of_a_grey_network_is_the_sum_over_colours(tmp_path):
    donor = built("resnet18")
    path = tmp_path / "w.pth"
    torch.save(donor.module.state_dict(), path)
    grey = built("resnet18", pretrained=True, weights=str(path), channels=1)
    image = torch.rand(2, 1, 64, 64)
    donor.module.eval()
    grey.module.eval()
    with torch.no_grad():
        features = donor.module.conv1(image.expand(-1, 3, -1, -1))
        assert torch.allclose(grey.module.conv1(image), features, atol=1e-5)


def test_weights_that_do_not_fit_are_refused_with_a_list(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7), "other": torch.zeros(1)}, path)
    with pytest.raises(ModelError) as caught:
        built("resnet18", pretrained=True, weights=str(path))
    assert "other: the network has no such tensor" in str(caught.value)
    assert "missing in the file" in str(caught.value)


def test_a_pickled_network_is_never_loaded(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ModelError, match="more than weights"):
        read_weights(path)
    path.write_bytes(b"no zip, no pickle")
    with pytest.raises(ModelError):
        read_weights(path)


def test_preprocessing_belongs_to_the_model_and_can_be_overridden():
    own = preprocessing_for(parse_model_name("inception_v3"), make_settings(data="x", model="inception_v3"))
    assert (own.image_size, own.mean) == (299, (0.485, 0.456, 0.406))
    lite = make_settings(data="x", model="timm:tf_efficientnet_lite1")
    assert preprocessing_for(parse_model_name("timm:tf_efficientnet_lite1"), lite).image_size == 240
    other = make_settings(data="x", model="resnet18", image_size=50, normalize="0.1/0.2", channels=1)
    changed = preprocessing_for(parse_model_name("resnet18"), other)
    assert (changed.image_size, changed.mean, changed.std) == (50, (0.1,), (0.2,))
    pixels = torch.tensor([[[[51]]]], dtype=torch.uint8)
    assert changed.normalize(pixels).item() == pytest.approx((0.2 - 0.1) / 0.2)
    with pytest.raises(SettingsError, match="normalize"):
        preprocessing_for(parse_model_name("resnet18"), make_settings(data="x", model="a", normalize="1/0"))


def test_the_head_runs_in_float32_under_autocast():
    network = built("timm:test_resnet")
    images = torch.randn(2, 3, 64, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network.module(images).dtype == torch.bfloat16
        with float32_head(network):
            assert network.module(images).dtype == torch.float32
    assert type(network.module.fc) is torch.nn.Linear
