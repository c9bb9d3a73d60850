"""The processor that networks are trained on."""

from __future__ import annotations

import torch

from genrescope.errors import ConfigError
from genrescope.utils import did_you_mean

DEVICES = ("auto", "cpu", "cuda")


def select_device(name: str) -> torch.device:
    """Return the device that a name stands for.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}
        ``auto``: a GPU if there is one that torch can use, otherwise the CPU.

    Raises
    ------
    ConfigError
        ``invalid_argument``: no such name, or no GPU.
    """
    if name not in DEVICES:
        raise ConfigError("invalid_argument", f"unknown device {name!r}", did_you_mean(name, DEVICES))
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError(
            "invalid_argument", "torch finds no GPU here", "use --device auto, or install torch for CUDA"
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")
