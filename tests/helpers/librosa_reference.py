"""Features as librosa computes them: golden values, and a live comparison in a process of its own.

librosa runs on numba, whose machine code crashes on some processors (a segmentation fault in ``chroma_stft``
on AMD EPYC with numba 0.68.1). No test therefore imports librosa: the golden values are numbers in
``tests/data/librosa_golden.npz``, made by ``python tests/librosa_reference.py golden``, and `live` asks a
child process, in which numba generates code for a generic processor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RATE = 22050
GOLDEN = Path(__file__).parent / "data" / "librosa_golden.npz"

Floats = npt.NDArray[np.float32]
_TIMEOUT_SECONDS = 300


class LibrosaCrashedError(Exception):
    """librosa ended its process, or is not installed: there is nothing to compare with."""


def music(seconds: float) -> npt.NDArray[np.int16]:
    """Return chords with a beat and noise, 16 bit, at `RATE`, so that no feature has a trivial input."""
    generator = np.random.default_rng(0)
    time = np.arange(int(seconds * RATE)) / RATE
    roots = 220 * 2 ** (generator.integers(0, 12, size=int(seconds * 2) + 1) / 12)
    root = np.repeat(roots, RATE // 2 + 1)[: len(time)]
    phase = 2 * np.pi * np.cumsum(root) / RATE
    chord = sum(np.sin(ratio * phase) / ratio for ratio in (1, 1.26, 1.5, 2, 3, 4, 5, 7))
    beat = np.exp(-8 * (time % 0.5))
    noise = generator.standard_normal(len(time))
    return np.asarray(np.round(4000 * chord * beat + 1500 * noise * beat + 30 * noise), np.int16)


def as_float(samples: npt.NDArray[np.int16]) -> Floats:
    """Return 16-bit samples between -1 and 1."""
    return samples.astype(np.float32) / np.float32(32768)


def live(clips: Mapping[str, Floats]) -> dict[str, Any]:
    """Return librosa's features of clips, ``clip/feature`` to array, computed in a child process.

    Raises
    ------
    LibrosaCrashedError
        librosa is not there, or crashed on this processor.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "clips.npz", Path(folder) / "features.npz"
        np.savez(source, **dict(clips))
        command = [sys.executable, __file__, "compute", str(source), str(result)]
        environment = os.environ | {"NUMBA_CPU_NAME": "generic"}
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_SECONDS
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise LibrosaCrashedError(f"librosa does not run on this machine: {reason}")
        with np.load(result) as arrays:
            return dict(arrays)


def golden() -> dict[str, Any]:
    """Return the committed arrays: the input ``music``, the features of it, and filter banks."""
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def features(y: Floats) -> dict[str, Floats]:
    """Return every feature of ``y`` by librosa's own functions, with their default settings."""
    import librosa

    of = librosa.feature
    log_mel = librosa.power_to_db(of.melspectrogram(y=y, sr=RATE), top_db=None)
    relative = librosa.power_to_db(of.melspectrogram(y=y, sr=RATE, n_fft=2048), ref=np.max, top_db=80)
    return {
        "log_mel": log_mel,
        "log_mel_relative": relative,
        "mfcc": of.mfcc(y=y, sr=RATE),
        # librosa warns, and estimates nothing useful, when it tunes silence.
        **({"chroma": of.chroma_stft(y=y, sr=RATE)} if np.any(y) else {}),
        "spectral_contrast": of.spectral_contrast(y=y, sr=RATE),
        "spectral_centroid": of.spectral_centroid(y=y, sr=RATE),
        "spectral_bandwidth": of.spectral_bandwidth(y=y, sr=RATE),
        "spectral_rolloff": of.spectral_rolloff(y=y, sr=RATE),
        "zero_crossing_rate": of.zero_crossing_rate(y),
        "rms": of.rms(y=y),
    }


def banks() -> dict[str, Floats]:
    """Return the filter banks that are compared, by librosa's own functions."""
    import librosa

    return {
        "bank/mel_22050": librosa.filters.mel(sr=RATE, n_fft=2048),
        "bank/mel_16000": librosa.filters.mel(sr=16000, n_fft=512, n_mels=40, fmin=300, fmax=7000),
        "bank/chroma": librosa.filters.chroma(sr=RATE, n_fft=2048, tuning=0.13),
    }


def _write_golden() -> None:
    import librosa
    import numba
    import scipy

    samples = music(3.0)
    clips = {"music": as_float(samples), "silence": np.zeros(RATE, np.float32)}
    arrays = {f"{clip}/{name}": value for clip, y in clips.items() for name, value in features(y).items()}
    modules = (librosa, numba, np, scipy)
    versions = json.dumps({module.__name__: module.__version__ for module in modules})
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, versions=np.array(versions), samples=samples, **arrays, **banks())
    print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes, {versions}")


def _compute(source: str, result: str) -> None:
    with np.load(source) as clips:
        arrays = {
            f"{clip}/{name}": value for clip in clips.files for name, value in features(clips[clip]).items()
        }
    np.savez(result, **arrays)


if __name__ == "__main__":
    if sys.argv[1:] == ["golden"]:
        _write_golden()
    else:
        _compute(*sys.argv[2:4])
