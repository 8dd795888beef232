"""Optimiser and course of the learning rate."""

import math

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from model_aggregation.config import Settings
from model_aggregation.models.build import Network

_DEFAULT_DECAY = {"adamw": 0.01, "adam": 0.0, "sgd": 0.0}


def make_optimizer(network: Network, settings: Settings) -> Optimizer:
    """Return the optimiser over all parameters; frozen ones have no gradient and are passed over until thawed.

    A step is one kernel for Adam; not for SGD, whose kernel fails on parameters that were frozen in the first step, and
    not with float16, whose scaled gradients could not be clipped then.
    """
    decay = settings.weight_decay
    decay = _DEFAULT_DECAY[settings.optimizer] if decay is None else decay
    parameters = network.module.parameters()
    rate = settings.learning_rate
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, weight_decay=decay, fused=settings.precision != "16")


def make_schedule(optimizer: Optimizer, settings: Settings, steps_per_epoch: int) -> LambdaLR:
    """Return the schedule, to be stepped after each optimiser step."""
    total = settings.epochs * steps_per_epoch
    warmup = min(round(settings.warmup_epochs * steps_per_epoch), total)
    return LambdaLR(optimizer, lambda step: rate_factor(step, total, warmup, settings.schedule))


def rate_factor(step: int, total: int, warmup: int, schedule: str) -> float:
    """Return the factor on the learning rate at ``step`` (from 0) of ``total``.

    It rises linearly over ``warmup`` steps; then it stays 1 (constant) or falls to 0 as half a cosine
    (Loshchilov and Hutter 2017, without restarts).

    >>> [round(rate_factor(step, 6, 2, "cosine"), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
