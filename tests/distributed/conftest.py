"""What the tests of actors share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def helpers_for_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes import the stubs."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
