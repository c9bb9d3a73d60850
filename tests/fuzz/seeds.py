"""Short sound files in all formats, written by code: what is mutated."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from helpers.sounds import LOSSLESS, LOSSY, MP3, encode, noise, tone, write

RATE = 48_000
SECONDS = 8.0
Maker = Callable[[Path], None]


def seeds(names: list[str] | None = None) -> dict[str, bytes]:
    """Return the content of sound files by name; of all names, or of some."""
    makers = _makers()
    with tempfile.TemporaryDirectory() as folder:
        made = {}
        for name in sorted(makers) if names is None else names:
            path = Path(folder, name)
            makers[name](path)
            made[name] = path.read_bytes()
    return made


def _makers() -> dict[str, Maker]:
    stereo = _music(2)
    makers: dict[str, Maker] = {
        name: partial(_write, writer, stereo) for name, writer in (LOSSLESS | LOSSY).items()
    }
    inverted = stereo * np.float32([1, -1])
    surround = _music(6)
    spikes = stereo.copy()
    spikes[::50_000] = 1e30
    float_wav, flac = LOSSLESS["wav-float"], LOSSLESS["flac-16"]
    return makers | {
        "inverted.wav": partial(_write, float_wav, inverted),
        "inverted.ogg": partial(_write, LOSSY["ogg"], inverted),
        "spikes.wav": partial(_write, float_wav, spikes),
        "mono.mp3": partial(_write, MP3, stereo[:, :1]),
        "surround.flac": partial(_write, flac, surround),
        "surround.m4a": partial(_write, LOSSY["m4a"], surround),
        "adpcm.wav": partial(_write, partial(encode, codec="adpcm_ms", container="wav"), stereo),
        "mp2.mpg": partial(_write, partial(encode, codec="mp2", container="mp2"), stereo),
        "svx": partial(_write, partial(write, kind="SVX", coding="PCM_16"), stereo[:, :1]),
        "mulaw.au": partial(_write, partial(write, kind="AU", coding="ALAW"), stereo),
    }


def _write(writer: Callable[[Path, np.ndarray, int], None], samples: np.ndarray, path: Path) -> None:
    writer(path, np.ascontiguousarray(samples), RATE)


def _music(channels: int) -> np.ndarray:
    """Return tones of changing loudness with noise, shape (n, channels)."""
    swell = np.linspace(0.1, 1, round(SECONDS * RATE), dtype=np.float32)[:, None]
    voices = tone(SECONDS, RATE, hertz=220, channels=channels) + tone(SECONDS, RATE, hertz=1760)
    return np.clip(swell * 0.5 * voices + 0.2 * noise(SECONDS, RATE, channels=channels), -1, 1)
