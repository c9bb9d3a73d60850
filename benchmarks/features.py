"""Time the paper's eight features and the log-mel of 30 s of sound: genrescope against librosa, one thread.

Run it as ``python benchmarks/features.py [audio file]``; without a file, sound is synthesized.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# numba 0.68.1, which librosa runs on, makes code for AMD EPYC processors that crashes.
os.environ.setdefault("NUMBA_CPU_NAME", "generic")
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["NUMBA_NUM_THREADS"] = "1"

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import librosa
import numpy as np

from genrescope.features import PAPER_LOG_MEL, SPECTROGRAM_LOG_MEL, extract
from genrescope.features import spectral as ours
from genrescope.types import FloatArray

RATE, SECONDS, RUNS = 22050, 30, 15


def music(seconds: float = SECONDS) -> FloatArray:
    """Synthesize chords with a beat and a little noise: every feature has something to do."""
    generator = np.random.default_rng(0)
    time_axis = np.arange(int(seconds * RATE)) / RATE
    roots = 220 * 2 ** (generator.integers(0, 12, size=int(seconds * 2) + 1) / 12)
    root = np.repeat(roots, RATE // 2 + 1)[: len(time_axis)]
    phase = 2 * np.pi * np.cumsum(root) / RATE
    chord = sum(np.sin(ratio * phase) / ratio for ratio in (1, 1.26, 1.5, 2, 3, 4, 5, 7))
    beat = np.exp(-8 * (time_axis % 0.5))
    noise = generator.standard_normal(len(time_axis))
    return (0.1 * chord * beat + 0.05 * noise * beat + 1e-3 * noise).astype(np.float32)


def eight_of_ours(samples: FloatArray) -> None:
    """Compute log-mel and the eight features from one spectrum."""
    spectrum = ours.Spectrum(samples, RATE)
    mel = ours.mel_spectrogram(spectrum)
    ours.decibels(mel)
    ours.mfcc(mel)
    ours.chroma(spectrum)
    ours.spectral_contrast(spectrum)
    ours.spectral_bandwidth(spectrum, ours.spectral_centroid(spectrum))
    ours.spectral_rolloff(spectrum)
    ours.zero_crossing_rate(samples)
    ours.rms(spectrum)


def eight_of_librosa(samples: FloatArray) -> None:
    """Call librosa once for each of the eight features, log-mel left out: its MFCC computes it inside."""
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


def milliseconds(*works: Callable[[], object]) -> list[float]:
    """Return the median time of each work, run in turns, so that a busy machine slows them alike."""
    for work in works:
        work()
    return [
        1000 * statistics.median(times)
        for times in zip(*(map(seconds, works) for _ in range(RUNS)), strict=True)
    ]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(name: str, own: Callable[[], object], theirs: Callable[[], object]) -> None:
    own_time, their_time = milliseconds(own, theirs)
    print(f"{name:34s} {own_time:8.1f} ms {their_time:8.1f} ms {their_time / own_time:6.1f} times faster")


def main(path: str | None = None) -> None:
    samples = librosa.load(path, sr=RATE, duration=SECONDS)[0] if path else music()
    segments = samples[np.newaxis]
    print(f"{len(samples) / RATE:.1f} s, one thread, median of {RUNS} runs")
    print(f"{'':34s} {'genrescope':>11s} {'librosa':>11s}")
    compare("eight features and log-mel", lambda: eight_of_ours(samples), lambda: eight_of_librosa(samples))
    for spec in (PAPER_LOG_MEL, SPECTROGRAM_LOG_MEL):
        compare(
            f"log-mel alone, hop {spec.hop_length}",
            partial(extract, segments, RATE, spec),
            partial(librosa_log_mel, samples, spec.hop_length),
        )


if __name__ == "__main__":
    main(*sys.argv[1:2])
