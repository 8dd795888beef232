"""Fixtures and files for tests of weights: no network, empty caches, a small data set, random weights in a folder."""

import socket

import pytest
import torch
from conftest import write_image
from safetensors.torch import save_file

from model_aggregation.config import make_settings
from model_aggregation.models.build import build_network
from model_aggregation.models.zoo import parse_model_name


@pytest.fixture
def no_network(monkeypatch):
    """Refuse every socket and note that one was asked for; errors alone could be swallowed on the way."""
    asked = []

    def refuse(*words, **more):
        asked.append(words)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    return asked


@pytest.fixture(autouse=True)
def empty_caches(tmp_path, monkeypatch):
    """What was downloaded on this machine before does not matter."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def put(folder, model, name):
    """Put random weights of a model into a folder under a name; return them."""
    settings = make_settings(data="x", model=model, pretrained=False, image_size=64)
    state = build_network(parse_model_name(model), 10, settings).module.state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / name) if name.endswith(".safetensors") else torch.save(state, folder / name)
    return state


@pytest.fixture
def data(tmp_path):
    for number, label in enumerate("ab"):
        for image in range(15):
            write_image(tmp_path / "data" / label / f"{image}.png", bright=number == 1, seed=1000 * number + image)
    return tmp_path / "data"
