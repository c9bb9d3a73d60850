"""torchvision for tests, also where its wheel does not load beside a CPU build of torch."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

# Kept for good: operators vanish with the library object that defined them.
OPERATORS: list[Any] = []

# Where make puts it: beside the packages, so that nothing but these tests meets a wheel that does not load.
APART = Path(sys.prefix) / "vision"


def usable_torchvision() -> Any:
    """Return torchvision, or None where it is not installed; missing operators are defined without a body.

    PyPI's wheel is built for CUDA; beside a CPU torch it misses ``nms`` and ``qnms``, which no backbone uses.
    """
    if find_spec("torchvision") is None:
        return None if not APART.exists() else _usable_from_apart()
    try:
        return import_module("torchvision")
    except RuntimeError:
        define: Any = torch.library.Library
        library = define("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        OPERATORS.append(library)
        return import_module("torchvision")


def _usable_from_apart() -> Any:
    sys.path.insert(0, str(APART))
    try:
        return usable_torchvision()
    finally:
        sys.path.remove(str(APART))


def torchvision_or_skip() -> Any:
    """Return torchvision; skip, saying why, where it is not installed."""
    torchvision = usable_torchvision()
    if torchvision is None:
        pytest.skip("torchvision, which networks are compared with, is not installed")
    return torchvision
