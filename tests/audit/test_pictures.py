"""Spectrograms as PNG: what they show, and that their size is bounded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from PIL import Image

from genrescope.audit import draw_spectrogram, draw_spectrograms, pictures
from genrescope.errors import AudioError

RATE = 22050


def brightness(png: bytes) -> npt.NDArray[np.int64]:
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"), np.int64).sum(axis=2)


def test_the_picture_shows_which_tone_sounds_when(tmp_path: Path) -> None:
    time = np.arange(3 * RATE) / RATE
    low, high = (np.sin(2 * np.pi * frequency * time) for frequency in (300, 6000))
    soundfile.write(tmp_path / "two.wav", np.concatenate([low, high]), RATE)
    shades = brightness(draw_spectrogram(str(tmp_path / "two.wav")))
    assert shades.shape[0] == 64
    middle = shades.shape[1] // 2
    first = int(shades[:, : middle - 3].mean(axis=1).argmax())
    second = int(shades[:, middle + 3 :].mean(axis=1).argmax())
    # The highest band is at the top.
    assert second < 25 < 50 < first


def test_the_width_is_bounded_whatever_the_length(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(150 * 8000)
    soundfile.write(tmp_path / "long.wav", noise, 8000)
    for seconds in (1, 150):
        soundfile.write(tmp_path / "some.wav", noise[: seconds * 8000], 8000)
        png = draw_spectrogram(str(tmp_path / "some.wav"))
        with Image.open(io.BytesIO(png)) as picture:
            assert 50 <= picture.width <= 400
        assert len(png) < 30_000


def test_columns_of_many_blocks_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(1).standard_normal(32_000 * 40).astype(np.float32)
    monkeypatch.setattr(pictures, "_WIDTH", 100)
    widths = set()
    for step in (len(samples), 5000):
        columns = pictures._Columns()
        for start in range(0, len(samples), step):
            columns.add(samples[start : start + step])
        widths.add(columns.picture().shape)
    assert {width for _, width in widths} <= {76, 77, 78, 79}


def test_files_that_cannot_be_drawn_are_left_out(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good.wav", np.full(RATE, 0.1), RATE)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError):
        draw_spectrogram(str(tmp_path / "bad.wav"))
    told: list[tuple[int, int]] = []
    paths = [str(tmp_path / name) for name in ("good.wav", "bad.wav", "absent.wav")]
    drawn = dict(draw_spectrograms(paths, on_progress=lambda *numbers: told.append(numbers)))
    assert list(drawn) == paths[:1]
    assert drawn[paths[0]].startswith(b"\x89PNG")
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert list(draw_spectrograms([])) == []
