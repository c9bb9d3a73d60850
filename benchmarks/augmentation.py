"""Time every effect of `genrescope.augmentation`, and random chains of them, on 10 s of audio at 32 kHz.

Run: python benchmarks/augmentation.py [AUDIO FILE] [--chains N]

One thread; without a file, audio is synthesized. CPU time is measured, which depends little on the
load of the machine.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from genrescope import load_audio
from genrescope.augmentation import apply_random_effects, effects
from genrescope.types import FloatArray

RATE, SECONDS, RUNS = 32000, 10, 7
BANDS = [
    effects.EqualizerBand("low_shelf", 100, 6),
    effects.EqualizerBand("peak", 900, -6, 1),
    effects.EqualizerBand("peak", 3000, 6),
]


def synthesize() -> FloatArray:
    """Synthesize chords, two a second, and noise, so that codecs have tonal and noisy parts to encode."""
    time_axis = np.arange(SECONDS * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * 110 * ratio * time_axis) / ratio for ratio in (1, 2, 2.5, 3, 4, 5, 7))
    noise = np.random.default_rng(0).standard_normal(len(time_axis))
    return ((0.2 * chord + 0.05 * noise) * np.exp(-4 * (time_axis % 0.5))).astype(np.float32)


def milliseconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return 1000 * (time.process_time() - start)


def single_effects(samples: FloatArray) -> dict[str, Callable[[], object]]:
    generator = np.random.default_rng(0)
    noise = partial(effects.add_noise, samples, RATE, generator, snr_db=20)
    reverb = partial(effects.reverb, samples, RATE, generator, wet_db=-6)
    return {
        "gain": partial(effects.gain, samples, 6),
        "mix": partial(effects.mix, samples, samples[::-1], 6),
        "equalize, three bands": partial(effects.equalize, samples, RATE, BANDS),
        "band_limit": partial(effects.band_limit, samples, RATE, low_hertz=100, high_hertz=4000),
        "add_noise, white": partial(noise, color="white"),
        "add_noise, pink": partial(noise, color="pink"),
        "soft_clip": partial(effects.soft_clip, samples, 6),
        "compress": partial(effects.compress, samples, RATE, threshold_db=-10, ratio=4),
        "reverb, 1.2 s": partial(reverb, decay_seconds=1.2),
        "roll": partial(effects.roll, samples, RATE, 2),
        "resample_speed": partial(effects.resample_speed, samples, 1.1),
        "change_tempo": partial(effects.change_tempo, samples, RATE, 1.1),
        "shift_pitch": partial(effects.shift_pitch, samples, RATE, 2),
        "codec_roundtrip, mp3 at 64 kbit/s": partial(effects.codec_roundtrip, samples, RATE, "mp3", 64),
        "codec_roundtrip, aac at 64 kbit/s": partial(effects.codec_roundtrip, samples, RATE, "aac", 64),
        "codec_roundtrip, opus at 64 kbit/s": partial(effects.codec_roundtrip, samples, RATE, "opus", 64),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", nargs="?", type=Path, help="audio file; its first 10 s are used")
    parser.add_argument("--chains", type=int, default=300, help="random chains for each strength")
    options = parser.parse_args()
    samples = synthesize()
    if options.audio:
        samples = load_audio(options.audio, sample_rate=RATE, duration=SECONDS).samples
    print(f"{len(samples) / RATE:.1f} s at {RATE} Hz, CPU time, median of {RUNS} runs")
    for name, effect in single_effects(samples).items():
        effect()
        print(f"{name:34s} {statistics.median(milliseconds(effect) for _ in range(RUNS)):7.1f} ms")
    for strength in (0.5, 1.0, 2.0):
        times = [
            milliseconds(
                partial(
                    apply_random_effects,
                    samples,
                    RATE,
                    np.random.default_rng(seed),
                    strength=strength,
                )
            )
            for seed in range(options.chains)
        ]
        print(
            f"random chain, strength {strength:3.1f}: mean {statistics.mean(times):7.1f} ms,"
            f" maximum {max(times):.0f} ms, of {options.chains}"
        )


if __name__ == "__main__":
    main()
