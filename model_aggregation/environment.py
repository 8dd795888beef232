"""The machine and the software that a run was made with."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from model_aggregation.config import Settings, make_settings
from model_aggregation.errors import SettingsError
from model_aggregation.launch import launch
from model_aggregation.software import versions
from model_aggregation.startup import SPIN_COUNT, may_keep_freed_memory

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def with_launched_devices(settings: Settings) -> Settings:
    """Return the settings with as many devices as processes were launched for this command.

    Raises
    ------
    SettingsError
        If the settings contradict the launcher, or there are fewer GPUs than they ask for.
    """
    launched = launch()
    if launched is None:
        if settings.devices > 1:
            _check_devices(settings.device, settings.devices, "--devices")
        return settings
    if settings.devices not in (1, launched.ranks):
        raise SettingsError(
            f"--devices {settings.devices}: {launched.ranks} processes were launched; leave --devices out."
        )
    if settings.jobs not in (None, 1):
        raise SettingsError(f"--jobs {settings.jobs}: processes that were launched together do one run at a time.")
    if device_choice(settings.device)[0] == "cuda" and torch.cuda.device_count() > 1:  # one: the launcher divides them
        _check_devices(settings.device, launched.local_rank + 1, "the launcher's processes on this machine")
    return make_settings(**{**settings.given(), "devices": launched.ranks})


def _check_devices(device: str, count: int, asked_by: str) -> None:
    kind = device_choice(device)[0]
    there = {"cpu": count, "mps": 1}.get(kind) or torch.cuda.device_count()
    if there < count:
        gpus = f"{there} GPU{'s' if there > 1 else ''}"
        raise SettingsError(
            f"{asked_by}: expected {count} devices for one network, but this machine has {gpus} ({kind}); ask for "
            "fewer, or start more machines with torchrun or srun."
        )


def device_choice(device: str) -> tuple[str, Any]:
    """Return accelerator and devices for Fabric: 'auto' takes CUDA, then Apple's GPU, then the CPU.

    >>> device_choice("cpu")
    ('cpu', 1)
    """
    kind, _, number = device.partition(":")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name]), 1
    if kind not in there or (number and (kind != "cuda" or not number.isdigit())):
        raise SettingsError(f"--device: expected auto, cpu, cuda, cuda:NUMBER or mps, but '{device}' was given.")
    if not there[kind]:
        raise SettingsError(
            f"--device {device}: this machine or this build of PyTorch has no {kind}; try --device cpu."
        )
    if kind == "cuda" and number:
        if int(number) >= torch.cuda.device_count():
            raise SettingsError(f"--device {device}: there are {torch.cuda.device_count()} CUDA devices, from cuda:0.")
        return "cuda", [int(number)]
    return kind, 1


def describe_environment(fabric: "Fabric") -> dict[str, Any]:
    """Return versions, device, threads, the command and the program's git state, ready for JSON."""
    device = fabric.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": str(device),
        "device_name": name,
        "devices": fabric.world_size,
        "strategy": "one device" if fabric.world_size == 1 else "DDP (Fabric)",
        "threads": torch.get_num_threads(),
        "idle_threads": f"{SPIN_COUNT}={os.environ.get(SPIN_COUNT, 'not set')}",
        "freed_memory": "kept" if may_keep_freed_memory() else "left to the system",
        "platform": platform.platform(),
        "command": shlex.join(sys.argv),
        "git": _git_state(),
        "versions": versions(),
    }


@cache
def _git_state() -> str | None:
    """Return the commit of the program's own checkout, with ``+`` when files are changed; None outside of git."""
    git = shutil.which("git")
    folder = Path(__file__).resolve().parent
    if git is None or not (folder.parent / ".git").exists():
        return None
    outputs = []
    for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        result = subprocess.run(  # noqa: S603  (fixed words, no shell)
            [git, "-C", str(folder), *words], capture_output=True, text=True, encoding="utf-8", check=False
        )
        if result.returncode:
            return None
        outputs.append(result.stdout.strip())
    return outputs[0] + ("+" if outputs[1] else "")
