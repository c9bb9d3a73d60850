"""The processor that networks are trained on."""

from __future__ import annotations

import torch

from genrescope.errors import ConfigError
from genrescope.utils import did_you_mean

DEVICES = ("auto", "cpu", "cuda", "mps")


def select_device(name: str, count: int = 1) -> torch.device:
    """Return the device that a name stands for.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "mps"}
        ``auto``: a GPU if there is one that torch can use with CUDA or ROCm, otherwise the CPU. ``mps``, the
        GPU of a Mac, is used where it is asked for only.
    count : int
        How many of them are wanted; of the CPU, how many processes.

    Raises
    ------
    ConfigError
        ``invalid_argument``: no such name, no GPU, or fewer than ``count``.
    """
    if name not in DEVICES:
        raise ConfigError("invalid_argument", f"unknown device {name!r}", did_you_mean(name, DEVICES))
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError(
            "invalid_argument", "torch finds no GPU here", "use --device auto, or install torch for CUDA"
        )
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("invalid_argument", "torch finds no GPU of a Mac here", "use --device auto")
    default = "cuda" if available else "cpu"
    chosen = torch.device(default if name == "auto" else name)
    _check_count(chosen, count)
    return chosen


def _check_count(device: torch.device, count: int) -> None:
    if count < 1:
        raise ConfigError("invalid_argument", f"{count} devices", "give at least one")
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type, count)
    if count > there:
        raise ConfigError(
            "invalid_argument",
            f"{count} devices, and torch finds {there} here",
            f"use --devices {there}, or --device cpu",
        )
