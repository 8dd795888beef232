"""The machine and the software that a run was made with."""

import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from model_aggregation.config import Settings
from model_aggregation.errors import SettingsError
from model_aggregation.models.arithmetic import Precision
from model_aggregation.software import versions
from model_aggregation.startup import SPIN_COUNT, keep_freed_memory

_PRECISIONS = {"auto": "32-true", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def make_fabric(settings: Settings, precision: Precision | None = None) -> Fabric:
    """Return Fabric for the device of the settings, and for their precision unless another was settled.

    Raises
    ------
    SettingsError
        If the device is unknown or not there.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the status file says the precision
    accelerator, devices = device_choice(settings.device)
    name = _PRECISIONS[precision or settings.precision]
    return Fabric(accelerator=accelerator, devices=devices, precision=name)  # type: ignore[arg-type]


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


def describe_environment(fabric: Fabric) -> dict[str, Any]:
    """Return versions, device, threads, the command and the program's git state, ready for JSON."""
    device = fabric.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "idle_threads": f"{SPIN_COUNT}={os.environ.get(SPIN_COUNT, 'not set')}",
        "freed_memory": "kept" if keep_freed_memory() else "left to the system",
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
