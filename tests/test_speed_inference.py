"""Inference: folded, channels-last and in batches, it gives what the plain network gives."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from model_aggregation.config import make_settings
from model_aggregation.data.image_store import ImageStore
from model_aggregation.data.loading import StoredImages
from model_aggregation.data.prefetch import ResidentImages, prefetched
from model_aggregation.models.arithmetic import Inference, Mode
from model_aggregation.models.build import build_network
from model_aggregation.models.folding import fold_batch_norm
from model_aggregation.models.heads import find_head_part
from model_aggregation.models.inference import copied_for_inference, example_images, predict_logits
from model_aggregation.models.zoo import parse_model_name

CPU = torch.device("cpu")


def network_with_statistics(name, **given):
    """A network whose batch norm layers have statistics and weights unlike those of a new one."""
    settings = make_settings(data="x", model=name, pretrained=False, **{"image_size": 64, **given})
    torch.manual_seed(0)
    network = build_network(parse_model_name(name), 3, settings)
    for layer in network.module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 2)
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_(std=0.1)
    return network


def images_of(network, count=21):
    size = network.preprocessing.image_size
    pixels = np.random.default_rng(0).integers(0, 256, size=(count, size, size, 3)).astype(np.uint8)
    return StoredImages(ImageStore(pixels), np.arange(count)[::-1].copy())


def plain_logits(network, images):
    pixels = torch.from_numpy(images.store.pixels[images.rows]).permute(0, 3, 1, 2).float() / 255
    own = network.preprocessing
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (own.mean, own.std))
    with torch.no_grad():
        return network.module.eval()((pixels - mean) / std).double()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(
    "name",
    ["resnet18", "mobilenet_v3_small", "densenet121", "squeezenet1_1", "timm:test_efficientnet", "timm:test_vit"],
)
def test_predictions_are_those_of_the_plain_network(name, layout):
    network = network_with_statistics(name)
    images = images_of(network)
    before = {key: tensor.clone() for key, tensor in network.module.state_dict().items()}
    expected = plain_logits(network, images)
    network.module.train()
    logits = predict_logits(
        network, images, Fabric(accelerator="cpu", devices=1), inference=Inference(Mode("32", layout), 8)
    )
    assert logits.dtype == torch.float64
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert network.module.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.module.state_dict().items())


def test_bfloat16_stays_near_and_its_head_is_float32():
    network = network_with_statistics("resnet18")
    images = images_of(network)
    expected = plain_logits(network, images)
    mode = Mode("bf16", "channels_last")
    logits = predict_logits(network, images, Fabric(accelerator="cpu", devices=1), inference=Inference(mode, 8))
    assert 1e-6 < (logits - expected).abs().max() / expected.abs().max() < 0.05
    assert len(logits.unique()) == logits.numel()  # bfloat16 logits would make ties


@pytest.mark.parametrize(("name", "layers"), [("resnet18", 20), ("mobilenet_v3_small", 34), ("timm:test_resnet", 15)])
def test_every_batch_norm_behind_a_convolution_is_folded(name, layers):
    network = network_with_statistics(name)
    image = example_images(network, 1, CPU)
    expected = network.module.eval()(image)
    assert fold_batch_norm(network.module, image) == layers
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.module.modules())
    assert torch.allclose(network.module(image), expected, atol=1e-5 * expected.abs().max().item())


class UsedTwice(nn.Module):
    """The output of the convolution goes into the batch norm and past it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.norm.running_mean.fill_(0.5)

    def forward(self, images):
        features = self.conv(images)
        return (self.norm(features) + features).mean((2, 3))


class CalledTwice(nn.Module):
    """One convolution, two batch norms."""

    def __init__(self):
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.first.running_mean.fill_(0.5)

    def forward(self, images):
        return self.second(self.conv(self.first(self.conv(images)))).mean((2, 3))


@pytest.mark.parametrize("kind", [UsedTwice, CalledTwice])
def test_what_cannot_be_folded_is_left_as_it_was(kind):
    torch.manual_seed(0)
    module = kind().eval()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    assert fold_batch_norm(module, torch.randn(1, 3, 8, 8)) == 0
    assert module.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())


@pytest.mark.parametrize(
    ("name", "given", "entrance"),
    [
        ("resnet18", {}, "fc"),
        ("resnet18", {"head": "mlp"}, "fc.0"),
        ("squeezenet1_1", {}, "classifier.0"),  # its dropout belongs to the head
        ("mobilenet_v3_small", {}, "classifier.2"),
        ("timm:test_vit", {}, "head"),
        ("timm:dla34", {}, "fc"),  # a convolution, flattened by the network
        ("timm:deit_tiny_distilled_patch16_224", {"image_size": 32}, "head head_dist"),  # their mean
        ("timm:levit_128s", {"image_size": 64}, "head.linear head_dist.linear"),  # behind batch norms
        ("timm:crossvit_9_240", {"image_size": 240}, "head.0 head.1"),  # one for each of two branches
        ("timm:efficientvim_m1", {"image_size": 64}, "heads.0 heads.1 heads.2 heads.3"),  # with weights of the body
    ],
)
def test_the_end_of_a_network_gives_its_logits(name, given, entrance):
    network = network_with_statistics(name, **given)
    images = example_images(network, 3, CPU)
    part = find_head_part(network.module, network.head, images)
    assert part is not None
    assert " ".join(part.entrances) == entrance
    with (
        copied_for_inference(network, CPU, Inference(fold=False)) as (module, _),
        part.features_in(module) as features,
    ):
        module(images[:1])
        logits = module(images)
        entered = features()
        assert tuple(entered.shape) == (3, *part.shape)
        part.layers.eval()
        assert torch.allclose(part.layers(entered), logits, atol=1e-6)


class Weighed(torch.nn.Module):
    """Two heads, one of which counts more, or as much as the image says."""

    def __init__(self, weight):
        super().__init__()
        self.weight, self.body = weight, torch.nn.Flatten()
        self.heads = torch.nn.ModuleList([torch.nn.Linear(12, 3), torch.nn.Linear(12, 3)])

    def forward(self, images):
        first, second = (head(self.body(images)) for head in self.heads)
        share = images.mean((1, 2, 3))[:, None].sigmoid() if self.weight is None else self.weight
        return share * first + (1 - share) * second


@pytest.mark.parametrize(("weight", "found"), [(0.5, True), (0.7, True), (None, False)])
def test_heads_are_an_end_of_their_own_unless_the_image_weighs_them(weight, found):
    head = frozenset(f"heads.{number}.{name}" for number in range(2) for name in ("weight", "bias"))
    part = find_head_part(Weighed(weight), head, torch.randn(2, 3, 2, 2))
    assert (part is not None) == found


def test_prefetched_items_come_in_order_with_their_errors():
    made = []

    def items():
        for number in range(10):
            made.append(number)
            if number == 6:
                raise OSError("the disk is gone")
            yield number

    reader = prefetched(items())
    for expected in range(6):
        assert next(reader) == expected
        assert len(made) <= expected + 4  # not all at once
    with pytest.raises(OSError, match="the disk is gone"):
        next(reader)
    assert list(prefetched(iter([]))) == []
    reader = prefetched(iter(range(100)))
    assert [next(reader), next(reader)] == [0, 1]
    reader.close()


def test_images_in_device_memory_give_the_same_batches():
    network = network_with_statistics("timm:test_resnet")
    images = images_of(network)
    resident = ResidentImages(torch.from_numpy(images.store.pixels[images.rows]))
    order = [np.array([4, 2, 9]), np.array([0, 20])]
    for own, other in zip(
        images.batches(order, training=True, seed=0), resident.batches(order, training=True, seed=0), strict=True
    ):
        assert torch.equal(own, other)
    assert len(resident) == len(images)
