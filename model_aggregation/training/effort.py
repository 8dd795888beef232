"""What a run reports of its speed, so that a regression shows: images a second, and how near that is to the machine."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model_aggregation.models.arithmetic import Arithmetic, Mode
from model_aggregation.models.build import Network
from model_aggregation.models.inference import example_images
from model_aggregation.training.checkpoint import Progress
from model_aggregation.training.measurement import seconds_of_pass

_CHANNELS, _SIDE, _IMAGES = 256, 28, {"cpu": 4, "mps": 32, "cuda": 256}  # of the convolution that is the measure
_ROUNDS = 4


def timing_of(
    network: Network, arithmetic: Arithmetic, fabric: Fabric, progress: Progress, *, tested: int, test_seconds: float
) -> dict[str, Any]:
    """Return the figures of training and of the test of ``tested`` images; None stands for what was not done.

    ``…_flop_share`` are operations of convolutions and matrix products of the network, per second, as a share of those
    of one large convolution in the same precision on the same devices, timed now. Learning from an image counts as
    three passes, looking at it with a frozen body as one; epochs on stored features are not in it.
    """
    trained = progress.seconds > 0
    operations = operations_of_pass(network, fabric.device)

    def share(passes_per_second: float, mode: Mode) -> float | None:
        if operations is None:
            return None
        peak = convolution_peak(mode, fabric.device) * fabric.world_size
        return round(operations * passes_per_second / peak, 4)

    passes = progress.passes / progress.pass_seconds if progress.passes else None
    speed = tested / test_seconds if tested else None
    return {
        "train_seconds": round(progress.seconds, 3),
        "train_images_per_second": round(progress.images_seen / progress.seconds, 2) if trained else None,
        "data_wait_share": round(progress.seconds_waited / progress.seconds, 4) if trained else None,
        "train_flop_share": share(passes, arithmetic.training) if passes else None,
        "test_seconds": round(test_seconds, 3) if tested else None,
        "test_images_per_second": round(speed, 2) if speed else None,
        "test_flop_share": share(speed, arithmetic.inference.mode) if speed else None,
    }


def operations_of_pass(network: Network, device: torch.device) -> int | None:
    """Return the floating-point operations of one image forward; None if the network cannot be counted.

    A multiplication and an addition are two.
    """
    training = network.module.training
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            network.module.eval()(example_images(network, 2, device))
    except Exception:  # noqa: BLE001  (a network of one's own may do what the counter does not know)
        return None
    finally:
        network.module.train(training)
    return counter.get_total_flops() // 2 or None


def convolution_peak(mode: Mode, device: torch.device) -> float:
    """Return the operations per second of one large convolution in a mode."""
    mode = replace(mode, memory_format="channels_last")  # the quicker one for convolutions
    layer = nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1, bias=False).to(device, memory_format=mode.layout)  # type: ignore[call-overload]
    count = _IMAGES.get(device.type, _IMAGES["cpu"])
    images = torch.randn(count, _CHANNELS, _SIDE, _SIDE, device=device).contiguous(memory_format=mode.layout)
    with torch.no_grad(), mode.autocast(device):
        layer.weight.requires_grad_(True)  # autocast keeps the cast weights of a layer only if it could learn
        fastest = min(seconds_of_pass(partial(layer, images), device) for _ in range(_ROUNDS))
    return 2 * count * _SIDE**2 * _CHANNELS**2 * 9 / fastest
