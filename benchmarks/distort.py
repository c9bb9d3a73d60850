"""Time every effect, and the chain that draws from them, on 10 s of sound at 32 kHz, on one core.

Run it as ``python benchmarks/distort.py [audio file]``; without a file, sound is synthesized. Counted is the
processor's time, so that a busy machine changes little.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from genrescope.audio import loading as audio
from genrescope.augmentation import effects
from genrescope.augmentation import random_effects as distort
from genrescope.types import FloatArray

RATE, SECONDS, RUNS, CHAINS = 32000, 10, 7, 300
BANDS = [
    effects.EqualizerBand("low_shelf", 100, 6),
    effects.EqualizerBand("peak", 900, -6, 1),
    effects.EqualizerBand("peak", 3000, 6),
]


def music() -> FloatArray:
    """Synthesize a chord that swells twice a second, and noise: every codec has something to do."""
    time_axis = np.arange(SECONDS * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * 110 * ratio * time_axis) / ratio for ratio in (1, 2, 2.5, 3, 4, 5, 7))
    noise = np.random.default_rng(0).standard_normal(len(time_axis))
    return ((0.2 * chord + 0.05 * noise) * np.exp(-4 * (time_axis % 0.5))).astype(np.float32)


def milliseconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def works(samples: FloatArray) -> dict[str, Callable[[], object]]:
    generator = np.random.default_rng(0)
    noise = partial(effects.add_noise, samples, RATE, generator, snr_db=20)
    room = partial(effects.reverb, samples, RATE, generator, wet_db=-6)
    return {
        "amplify": partial(effects.gain, samples, 6),
        "mix": partial(effects.mix, samples, samples[::-1], 6),
        "equalize, three bands": partial(effects.equalize, samples, RATE, BANDS),
        "band_limit": partial(effects.band_limit, samples, RATE, low_hertz=100, high_hertz=4000),
        "add_noise, white": partial(noise, color="white"),
        "add_noise, pink": partial(noise, color="pink"),
        "soft_clip": partial(effects.soft_clip, samples, 6),
        "compress": partial(effects.compress, samples, RATE, threshold_db=-10, ratio=4),
        "reverberate, 1.2 s": partial(room, decay_seconds=1.2),
        "shift_time": partial(effects.roll, samples, RATE, 2),
        "change_speed": partial(effects.resample_speed, samples, 1.1),
        "change_tempo": partial(effects.change_tempo, samples, RATE, 1.1),
        "shift_pitch": partial(effects.shift_pitch, samples, RATE, 2),
        "transcode, mp3 at 64 kbit/s": partial(effects.codec_roundtrip, samples, RATE, "mp3", 64),
        "transcode, aac at 64 kbit/s": partial(effects.codec_roundtrip, samples, RATE, "aac", 64),
        "transcode, opus at 64 kbit/s": partial(effects.codec_roundtrip, samples, RATE, "opus", 64),
    }


def main(path: str | None = None) -> None:
    samples = audio.load_audio(path, sample_rate=RATE).samples[: SECONDS * RATE] if path else music()
    print(f"{len(samples) / RATE:.1f} s at {RATE} Hz, processor time, median of {RUNS} runs")
    for name, work in works(samples).items():
        work()
        print(f"{name:30s} {statistics.median(milliseconds(work) for _ in range(RUNS)):7.1f} ms")
    for strength in (0.5, 1.0, 2.0):
        times = [
            milliseconds(
                partial(
                    distort.apply_random_effects,
                    samples,
                    RATE,
                    np.random.default_rng(seed),
                    strength=strength,
                )
            )
            for seed in range(CHAINS)
        ]
        print(
            f"chain, strength {strength:3.1f}, {CHAINS} draws {statistics.mean(times):7.1f} ms on average,"
            f" {max(times):.0f} at most"
        )


if __name__ == "__main__":
    main(*sys.argv[1:2])
