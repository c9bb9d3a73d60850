"""Time the paper's eight features and log-mel spectrograms of 30 s of audio: genrescope against librosa.

Run: python benchmarks/features.py [AUDIO FILE] [--runs N]

One thread; without a file, audio is synthesized.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# numba 0.68.1, which librosa uses, generates code that crashes on AMD EPYC processors.
os.environ.setdefault("NUMBA_CPU_NAME", "generic")
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["NUMBA_NUM_THREADS"] = "1"

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import librosa
import numpy as np

from genrescope import load_audio
from genrescope.features import PAPER_LOG_MEL, SPECTROGRAM_LOG_MEL, extract, spectral
from genrescope.types import FloatArray

RATE, SECONDS = 22050, 30


def synthesize(seconds: float = SECONDS) -> FloatArray:
    """Synthesize chords with a beat and noise, so that no feature is computed of a trivial input."""
    generator = np.random.default_rng(0)
    time_axis = np.arange(int(seconds * RATE)) / RATE
    roots = 220 * 2 ** (generator.integers(0, 12, size=int(seconds * 2) + 1) / 12)
    root = np.repeat(roots, RATE // 2 + 1)[: len(time_axis)]
    phase = 2 * np.pi * np.cumsum(root) / RATE
    chord = sum(np.sin(ratio * phase) / ratio for ratio in (1, 1.26, 1.5, 2, 3, 4, 5, 7))
    beat = np.exp(-8 * (time_axis % 0.5))
    noise = generator.standard_normal(len(time_axis))
    return (0.1 * chord * beat + 0.05 * noise * beat + 1e-3 * noise).astype(np.float32)


def genrescope_features(samples: FloatArray) -> None:
    """Compute log-mel and the eight features from one spectrum."""
    spectrum = spectral.Spectrum(samples, RATE)
    mel = spectral.mel_spectrogram(spectrum)
    spectral.decibels(mel)
    spectral.mfcc(mel)
    spectral.chroma(spectrum)
    spectral.spectral_contrast(spectrum)
    spectral.spectral_bandwidth(spectrum, spectral.spectral_centroid(spectrum))
    spectral.spectral_rolloff(spectrum)
    spectral.zero_crossing_rate(samples)
    spectral.rms(spectrum)


def librosa_features(samples: FloatArray) -> None:
    """Call librosa once for each of the eight features; its MFCC computes the log-mel spectrogram itself."""
    librosa.feature.mfcc(y=samples, sr=RATE)
    librosa.feature.chroma_stft(y=samples, sr=RATE)
    librosa.feature.spectral_contrast(y=samples, sr=RATE)
    librosa.feature.spectral_centroid(y=samples, sr=RATE)
    librosa.feature.spectral_bandwidth(y=samples, sr=RATE)
    librosa.feature.spectral_rolloff(y=samples, sr=RATE)
    librosa.feature.zero_crossing_rate(samples)
    librosa.feature.rms(y=samples)


def librosa_log_mel(samples: FloatArray, hop_length: int) -> None:
    mel = librosa.feature.melspectrogram(y=samples, sr=RATE, hop_length=hop_length)
    librosa.power_to_db(mel, top_db=None)


def milliseconds(runs: int, *functions: Callable[[], object]) -> list[float]:
    """Return the median time of each function; they alternate, so that load slows all alike."""
    for function in functions:
        function()
    return [
        1000 * statistics.median(times)
        for times in zip(*(map(seconds, functions) for _ in range(runs)), strict=True)
    ]


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(name: str, runs: int, own: Callable[[], object], other: Callable[[], object]) -> None:
    own_time, other_time = milliseconds(runs, own, other)
    print(f"{name:34s} {own_time:8.1f} ms {other_time:8.1f} ms {other_time / own_time:6.1f} times faster")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", nargs="?", type=Path, help="audio file; its first 30 s are used")
    parser.add_argument("--runs", type=int, default=15, help="repetitions of each measurement")
    options = parser.parse_args()
    samples = synthesize()
    if options.audio:
        samples = load_audio(options.audio, sample_rate=RATE, duration=SECONDS).samples
    segments = samples[np.newaxis]
    print(f"{len(samples) / RATE:.1f} s, one thread, median of {options.runs} runs")
    print(f"{'':34s} {'genrescope':>11s} {'librosa':>11s}")
    compare(
        "eight features and log-mel",
        options.runs,
        partial(genrescope_features, samples),
        partial(librosa_features, samples),
    )
    for spec in (PAPER_LOG_MEL, SPECTROGRAM_LOG_MEL):
        compare(
            f"log-mel alone, hop {spec.hop_length}",
            options.runs,
            partial(extract, segments, RATE, spec),
            partial(librosa_log_mel, samples, spec.hop_length),
        )


if __name__ == "__main__":
    main()
