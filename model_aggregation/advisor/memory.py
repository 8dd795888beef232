"""How much memory the training of a network takes: counted from one pass over two images, not guessed from its size."""

import psutil
import torch
from torch import Tensor, nn

from model_aggregation.config import Settings
from model_aggregation.models.build import Network
from model_aggregation.models.inference import example_images
from model_aggregation.training.job import is_frozen

_IMAGES = 2
_STATE = {"adamw": 2, "adam": 2, "sgd": 1}  # numbers that an optimiser keeps for each weight


def training_bytes(network: Network, settings: Settings, device: torch.device) -> int:
    """Return the bytes of weights, gradients, optimiser state, and of what a batch keeps for its backward pass.

    Counted in float32; mixed precision takes less. The peak is higher: what is held only for a moment is not counted
    (measured on a CPU at 32 images: 1.1 to 1.3 times as much), and the program and its libraries come on top. The
    network is left thawed, without gradients.
    """
    never_thawed = all(is_frozen(settings, epoch, pretrained=network.pretrained) for epoch in range(settings.epochs))
    network.freeze() if never_thawed else network.thaw()
    network.train_mode()
    tensors = network.module.state_dict().values()
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    learning = sum(4 * weight.numel() for weight in network.module.parameters() if weight.requires_grad)
    images = example_images(network, _IMAGES, device)
    kept = _kept_bytes(network.module, images) + images.numel() * 4
    network.thaw()
    return weights + learning * (1 + _STATE[settings.optimizer]) + kept * settings.batch_size // _IMAGES


def _kept_bytes(module: nn.Module, images: Tensor) -> int:
    """Return the bytes that a forward pass keeps for the backward pass, each piece of memory once, without weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in module.state_dict().values()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    statistics = {name: value.clone() for name, value in module.named_buffers()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(images)
    for name, value in module.named_buffers():
        value.copy_(statistics[name])  # a pass in training moves the statistics of batch norm
    return sum(kept.values())


def most_bytes(device: torch.device) -> int:
    """Return the memory that the device has in all: that of a GPU, else of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return psutil.virtual_memory().total
