"""Quick gradients are torch's own."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from model_aggregation.config import make_settings
from model_aggregation.models.build import build_network
from model_aggregation.models.depthwise import _is_measured
from model_aggregation.models.quick_gradients import quick_gradients
from model_aggregation.models.zoo import parse_model_name

CPU = torch.device("cpu")
SHAPES = [  # kernel, stride, padding
    (3, 2, 1), (3, 2, 0), (5, 1, 2), (5, 2, 2), (5, 2, 0), (7, 1, 3), (9, 1, 4), (7, 2, 5), (4, 4, 0), (4, 1, 3),
    ((1, 5), 1, (0, 2)), ((5, 1), 2, (2, 0)), ((2, 11), (1, 2), (0, 5)), ((3, 3), (1, 2), 1),
]  # fmt: skip


def gradients(layer, images, precision, *, quick):
    """Return the outputs and the gradients of images, weight and bias."""
    images = images.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        if quick:
            with quick_gradients(CPU):
                output = layer(images)
        else:
            output = layer(images)
    wished = torch.linspace(-1, 1, output.numel()).reshape(output.shape)
    (output.float() * wished).sum().backward()
    assert output.dtype == precision
    found = [output, images.grad, layer.weight.grad, *([] if layer.bias is None else [layer.bias.grad])]
    return [value.detach().float() for value in found]


def closeness(first, second):
    """Return the largest difference as a share of the largest value."""
    return float((first - second).abs().max() / second.abs().max())


@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("kernel", "stride", "padding"), SHAPES)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_quick_gradients_are_those_of_torch(kernel, stride, padding, precision, order):
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, kernel, stride, padding, groups=6, bias=stride == 1)
    images = torch.randn(3, 6, 13, 11).contiguous(memory_format=order)
    plain = gradients(layer, images, torch.float32, quick=False)
    tolerance = 1e-5 if precision == torch.float32 else 1e-2
    quick = gradients(layer, images, precision, quick=True)
    assert len(quick) == len(plain)
    for found, expected in zip(quick, plain, strict=True):
        assert found.shape == expected.shape
        assert closeness(found, expected) < tolerance
    torchs = gradients(layer, images, precision, quick=False)
    assert torch.equal(quick[0], torchs[0])  # forward it is the same convolution
    for found, other, expected in zip(quick, torchs, plain, strict=True):
        assert closeness(found, expected) < 1.5 * closeness(other, expected) + 1e-5


@pytest.mark.parametrize("kernel", [5, 7, 9, 11])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [(1, 1), (2, 2), (5, 1), (1, 3)])
def test_images_narrower_than_a_kernel(kernel, stride, side):
    layer = nn.Conv2d(4, 4, kernel, stride, padding=kernel // 2, groups=4)
    images = torch.randn(2, 4, *side)
    plain, quick = (gradients(layer, images, torch.float32, quick=quick) for quick in (False, True))
    assert max(map(closeness, quick, plain)) < 1e-5


MEANS = {
    "layer": nn.AdaptiveAvgPool2d(1),
    "layer of a pair": nn.AdaptiveAvgPool2d((1, 1)),
    "kept": lambda images: images.mean((2, 3), keepdim=True),
    "method": lambda images: images.mean([-1, -2]),
    "function": lambda images: torch.mean(input=images, dim=(2, 3)),
    "pooled": lambda images: nn.functional.adaptive_avg_pool2d(input=images, output_size=1),
}


@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("mean", MEANS.values(), ids=MEANS)
def test_means_over_the_plane_are_those_of_torch_to_the_bit(mean, order):
    images = torch.randn(3, 8, 7, 5).contiguous(memory_format=order)

    def gradient(context):
        leaf = images.clone().requires_grad_()
        with context:
            squeezed = mean(leaf)
        assert ("_PlaneMeanBackward" in graph_of(squeezed)) == (context is not nothing)
        (leaf * squeezed.reshape(3, 8, 1, 1).sigmoid()).square().sum().backward()
        return squeezed, leaf.grad

    nothing = nullcontext()
    (quick, of_quick), (plain, of_plain) = gradient(quick_gradients(CPU)), gradient(nothing)
    assert torch.equal(quick, plain)
    assert torch.equal(of_quick, of_plain)
    assert of_quick.stride() == images.stride()


def test_other_means_are_left_alone():
    images = torch.randn(2, 4, 6, 6, requires_grad=True)
    with quick_gradients(CPU):
        for other in (images.mean(), images.mean(1), images.mean((1, 2)), nn.AdaptiveAvgPool2d(2)(images)):
            assert "PlaneMean" not in str(other.grad_fn)
        assert images.mean((2, 3), dtype=torch.float64).dtype == torch.float64
        with torch.no_grad():
            assert images.mean((2, 3)).grad_fn is None
    torch.testing.assert_close(images.detach().mean(-1), images.detach().sum(-1) / 6)


@pytest.mark.parametrize("name", ["timm:mobilenetv3_small_050", "timm:tf_efficientnet_lite0", "timm:test_convnext"])
def test_a_network_learns_with_them(name):
    """Layers that pad for themselves (``tf_…``) too."""
    settings = make_settings(data="x", model=name, pretrained=False, image_size=64)
    network = build_network(parse_model_name(name), 2, settings).module.eval()
    images = torch.randn(2, 3, 64, 64)

    def step():
        network.zero_grad()
        network(images).square().sum().backward()
        return {key: value.grad.clone() for key, value in network.named_parameters()}

    plain = step()
    with quick_gradients(CPU):
        quick = step()
        made_by = graph_of(network(images))
    assert ("_DepthwiseBackward" in made_by) == _is_measured()
    assert set(quick) == set(plain)
    for key, value in plain.items():
        assert torch.allclose(quick[key], value, rtol=1e-3, atol=1e-5 * float(value.abs().max()) + 1e-7), key


def graph_of(output):
    """Return the names of what made an output."""
    names, waiting = set(), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None:
            names.add(type(node).__name__)
            waiting += [before for before, _ in node.next_functions]
    return names


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 5, groups=2),
        nn.Conv2d(4, 8, 5, groups=4),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(1, 1, 5),
        nn.Conv2d(4, 4, 5, dilation=2, groups=4),
        nn.Conv2d(4, 4, 5, padding="same", groups=4),
        nn.Conv2d(4, 4, 5, padding=2, padding_mode="reflect", groups=4),
    ],
    ids=str,
)
def test_other_convolutions_give_what_they_give(layer):
    images = torch.randn(2, layer.in_channels, 12, 12)
    quick, plain = (gradients(layer, images, torch.float32, quick=quick) for quick in (True, False))
    assert all(closeness(*pair) < 1e-5 for pair in zip(quick, plain, strict=True))


def test_what_is_frozen_or_elsewhere_is_left_alone():
    layer, images = nn.Conv2d(4, 4, 5, groups=4).requires_grad_(False), torch.randn(2, 4, 12, 12)
    with quick_gradients(CPU):
        assert layer(images).grad_fn is None
    with quick_gradients(torch.device("cuda")):
        assert type(layer.requires_grad_()(images).grad_fn).__name__ == "ConvolutionBackward0"
