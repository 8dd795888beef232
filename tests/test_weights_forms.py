"""Weights in other forms than the network's: prefixes, older names, other image sizes, classes and channels, parts."""

import re
from functools import partial

import pytest
import torch

from model_aggregation.config import make_settings
from model_aggregation.errors import ModelError
from model_aggregation.models.adapting import library_form
from model_aggregation.models.build import build_network
from model_aggregation.models.imports import timm_library, torchvision_models
from model_aggregation.models.weights import fit_weights, read_weights
from model_aggregation.models.zoo import parse_model_name


def network_for(name, *, classes=3, image_size=64, channels=3):
    settings = make_settings(data="x", model=name, pretrained=False, image_size=image_size, channels=channels)
    return build_network(parse_model_name(name), classes, settings)


def fitted(name, state, *, image_size=64, channels=3, **options):
    """Fit a state dict as a run does; return the network and what did not fit."""
    network = network_for(name, image_size=image_size, channels=channels)
    adapt = partial(library_form, parse_model_name(name), channels=channels, image_size=image_size)
    problems = fit_weights(network.module, state, head=network.head, origin="here", adapt=adapt, **options)
    return network, problems


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model.", "_orig_mod.", "state_dict.", "backbone."])
def test_what_wrappers_put_before_names_is_taken_off(prefix):
    state = network_for("timm:test_resnet", classes=10).module.state_dict()
    network, problems = fitted("timm:test_resnet", {f"{prefix}{name}": value for name, value in state.items()})
    assert problems == ()
    body = network.module.state_dict().keys() - network.head
    assert all(torch.equal(network.module.state_dict()[name], state[name]) for name in body)


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_vit2", "timm:deit_tiny_distilled_patch16_224"])
def test_position_embeddings_of_another_image_size_are_resized_as_timm_does(name):
    torch.manual_seed(0)
    architecture = name.partition(":")[2]
    create = timm_library().create_model
    state = create(architecture, num_classes=10, img_size=64).state_dict()
    network, _ = fitted(name, state, image_size=96)
    overlay = {"state_dict": state, "num_classes": 10, "hf_hub_id": "", "url": ""}
    reference = create(architecture, pretrained=True, num_classes=10, img_size=96, pretrained_cfg_overlay=overlay)
    assert network.module.pos_embed.shape[1] > state["pos_embed"].shape[1]
    assert torch.equal(network.module.pos_embed, reference.pos_embed)


def test_position_embeddings_of_torchvision_are_resized_and_older_names_known():
    torch.manual_seed(0)
    builder = torchvision_models().vit_b_32
    donor = builder(weights=None, num_classes=10, image_size=64)
    published = {  # as the files on torchvision's server are
        re.sub(r"mlp\.0\.", "mlp.linear_1.", re.sub(r"mlp\.3\.", "mlp.linear_2.", name)): value
        for name, value in donor.state_dict().items()
    }
    assert published.keys() != donor.state_dict().keys()
    same, problems = fitted("vit_b_32", published)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = donor.eval().encoder(_tokens(donor, images))
        assert torch.allclose(same.module.eval().encoder(_tokens(same.module, images)), features, atol=1e-5)
    assert problems == ()
    larger, _ = fitted("vit_b_32", published, image_size=96)
    assert larger.module.encoder.pos_embedding.shape == (1, 10, 768)
    assert torch.equal(larger.module.encoder.pos_embedding[:, 0], donor.encoder.pos_embedding[:, 0])


def _tokens(module, images):
    tokens = module._process_input(images)
    return torch.cat([module.class_token.expand(len(images), -1, -1), tokens], dim=1)


def test_names_of_published_densenets_are_known():
    donor = torchvision_models().densenet121(weights=None)
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)\.", r"\1.\2.", name): value
        for name, value in donor.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    network, problems = fitted("densenet121", old)
    assert problems == ()
    assert torch.equal(network.module.features.conv0.weight, donor.features.conv0.weight)


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_efficientnet", "resnet18", "squeezenet1_1", "googlenet"])
def test_one_channel_sums_the_first_layer(name):
    torch.manual_seed(0)
    colour = network_for(name)
    grey, problems = fitted(name, colour.module.state_dict(), channels=1)
    assert problems == ()
    first = next(key for key, value in colour.module.state_dict().items() if value.ndim == 4)
    own, donor = grey.module.state_dict()[first], colour.module.state_dict()[first]
    assert torch.allclose(own, donor.sum(dim=1, keepdim=True), atol=1e-6)


@pytest.mark.parametrize("aux", ["googlenet", "inception_v3"])
def test_auxiliary_classifiers_of_a_file_are_left_out(aux):
    donor = getattr(torchvision_models(), aux)(weights=None, init_weights=False, aux_logits=True)
    _, problems = fitted(aux, donor.state_dict(), image_size=96)
    assert problems == ()


def test_partial_weights_are_refused_unless_allowed():
    state = dict(list(network_for("timm:test_resnet").module.state_dict().items())[:10])
    with pytest.raises(ModelError, match=r"--allow-partial-weights takes what fits\):\n(.|\n)*missing in the file"):
        fitted("timm:test_resnet", state)
    network, problems = fitted("timm:test_resnet", state, allow_partial=True)
    assert problems
    assert all(torch.equal(network.module.state_dict()[name], value) for name, value in state.items())
    with pytest.raises(ModelError, match=r"nothing fits.*\n.*no such tensor"):  # not a part of anything
        fitted("timm:test_resnet", {"other.weight": torch.zeros(2)}, allow_partial=True)


@pytest.mark.parametrize("container", ["state_dict", "model_state_dict", "model", "net"])
def test_containers_of_checkpoints_are_opened(tmp_path, container):
    state = network_for("timm:test_resnet").module.state_dict()
    torch.save({container: state, "epoch": 3}, tmp_path / "重み.pth")
    assert read_weights(tmp_path / "重み.pth").keys() == state.keys()
