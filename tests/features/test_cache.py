"""Features on disk: found by content and spec, computed again when either changes or an entry is damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genrescope.features import PAPER_LOG_MEL, FeatureCache
from genrescope.types import FloatArray


@pytest.fixture
def song(tmp_path: Path) -> Path:
    file = tmp_path / "song.wav"
    file.write_bytes(b"some sound")
    return file


class Computation:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> FloatArray:
        self.times += 1
        return np.arange(6, dtype=np.float32).reshape(2, 3)


def test_kept_features_are_found_even_when_the_file_moves(song: Path, tmp_path: Path) -> None:
    compute = Computation()
    first = FeatureCache(tmp_path / "cache").get_or_compute(song, PAPER_LOG_MEL, compute)
    moved = song.rename(tmp_path / "moved.wav")
    second = FeatureCache(tmp_path / "cache").get_or_compute(moved, PAPER_LOG_MEL, compute)
    np.testing.assert_array_equal(first, second)
    assert compute.times == 1


def test_other_content_and_other_specs_are_computed(song: Path, tmp_path: Path) -> None:
    compute = Computation()
    FeatureCache(tmp_path / "cache").get_or_compute(song, PAPER_LOG_MEL, compute)
    FeatureCache(tmp_path / "cache").get_or_compute(song, replace(PAPER_LOG_MEL, hop_length=256), compute)
    song.write_bytes(b"other sound")
    FeatureCache(tmp_path / "cache").get_or_compute(song, PAPER_LOG_MEL, compute)
    assert compute.times == 3


def test_a_damaged_entry_is_computed_again(song: Path, tmp_path: Path) -> None:
    compute = Computation()
    FeatureCache(tmp_path / "cache").get_or_compute(song, PAPER_LOG_MEL, compute)
    (entry,) = (tmp_path / "cache").rglob("*.npy")
    entry.write_bytes(entry.read_bytes()[:40])
    np.testing.assert_array_equal(
        FeatureCache(tmp_path / "cache").get_or_compute(song, PAPER_LOG_MEL, compute), compute()
    )


def test_without_a_folder_nothing_is_kept(song: Path, tmp_path: Path) -> None:
    compute = Computation()
    for _ in range(2):
        FeatureCache(None).get_or_compute(song, PAPER_LOG_MEL, compute)
    assert compute.times == 2
