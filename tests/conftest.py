"""What every test file may use: the shared music, found or skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("GENRESCOPE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of shared research data; skip, saying so, where it is absent."""
    if not (SHARED / "data" / "gtzan" / "tracks.csv").exists():
        pytest.skip(f"shared data absent: {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def gtzan(shared: Path) -> Path:
    """Return the folder of GTZAN: audio, spectrogram pictures, tables."""
    return shared / "data" / "gtzan"
