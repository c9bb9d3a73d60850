"""A classified file is opened once, its header inspected once, and its decoder opened once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import Classifier
from genrescope.audio import loading
from genrescope.library.scan_worker import create_handler
from helpers.small_data import RATE, drone


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often files and decoders are opened."""
    counts: Counter[str] = Counter()
    for name in ("_open", "inspect_header", "open_decoder"):
        original = getattr(loading, name)

        def counted(
            *arguments: object, original: object = original, name: str = name, **options: object
        ) -> object:
            counts[name] += 1
            assert callable(original)
            return original(*arguments, **options)

        monkeypatch.setattr(loading, name, counted)
    return counts


@pytest.mark.parametrize("seconds", [5, 30])
@pytest.mark.parametrize("excerpts", [False, True])
def test_one_opening(
    seconds: int, excerpts: bool, little_model: Path, tmp_path: Path, openings: Counter[str]
) -> None:
    soundfile.write(tmp_path / "a.flac", np.tile(drone(5.0, 1), seconds // 5), RATE)
    prediction = Classifier.from_pretrained(little_model).predict(tmp_path / "a.flac", excerpts=excerpts)
    assert openings == {"_open": 1, "inspect_header": 1, "open_decoder": 1}
    assert prediction.audio is not None
    assert (prediction.audio.format, prediction.audio.sample_rate) == ("flac", RATE)


def test_one_opening_in_a_scan(little_model: Path, tmp_path: Path, openings: Counter[str]) -> None:
    soundfile.write(tmp_path / "a.wav", drone(5.0, 1), RATE)
    job = {"path": str(tmp_path / "a.wav"), "size": 0, "mtime_ns": 0, "known": []}
    answer = create_handler(str(little_model), excerpts=True)(job)
    assert openings == {"_open": 1, "inspect_header": 1, "open_decoder": 1}
    assert answer["entry"]["format"] == "wav"


def test_excerpts_that_fail_do_not_change_the_result(little_model: Path, tmp_path: Path) -> None:
    """The fall-back to the full analysis begins with a new decoder on the same open file."""
    soundfile.write(tmp_path / "a.ogg", np.tile(drone(10.0, 1), 6), RATE)
    content = (tmp_path / "a.ogg").read_bytes()
    damaged = tmp_path / "b.ogg"
    damaged.write_bytes(content[: len(content) // 2])
    classifier = Classifier.from_pretrained(little_model)
    full = classifier.predict(damaged, timeline=True)
    fallback = classifier.predict(damaged, timeline=True, excerpts=True)
    assert fallback == full
    assert full.flags == ("truncated",)
