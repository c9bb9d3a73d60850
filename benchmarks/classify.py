"""Time the default model on 30 s of music, from a file to an answer, against decoding the file alone.

Run: python benchmarks/classify.py [AUDIO FILE] [MODEL]

One thread; without a file, sound is synthesized. Decoding alone is PyAV's loop over the frames, into nothing.
Both are timed in turn in one run; the ratio of medians is what to quote.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import soxr

from genrescope import Classifier
from genrescope.audio import loading as audio
from genrescope.types import FloatArray

SECONDS, RUNS = 30, 15
FORMATS = {
    "MP3, 128 kbit/s, 44.1 kHz stereo": ("mp3", "libmp3lame", 44100, 2, 128_000),
    "MP3, 64 kbit/s, 22.05 kHz mono": ("mp3", "libmp3lame", 22050, 1, 64_000),
    "FLAC, 44.1 kHz stereo": ("flac", "flac", 44100, 2, 0),
    "M4A (AAC), 128 kbit/s, 44.1 kHz stereo": ("mp4", "aac", 44100, 2, 128_000),
    "Opus, 96 kbit/s, 48 kHz stereo": ("ogg", "libopus", 48000, 2, 96_000),
}


def music() -> FloatArray:
    """Synthesize a beat, a chord and noise at 44.1 kHz."""
    time_axis = np.arange(SECONDS * 44100) / 44100
    chord = sum(np.sin(2 * np.pi * 110 * ratio * time_axis) / ratio for ratio in (1, 1.5, 2, 2.5, 3, 5, 7))
    noise = np.random.default_rng(0).standard_normal(len(time_axis))
    return ((0.15 * chord + 0.05 * noise) * np.exp(-4 * (time_axis % 0.5))).astype(np.float32)


def encoded(samples: FloatArray, container: str, codec: str, rate: int, channels: int, bits: int) -> bytes:
    sound = soxr.resample(samples, 44100, rate)
    wide = np.stack([sound] * channels)
    layout, target = ("mono", "stereo")[channels - 1], io.BytesIO()
    with av.open(target, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        if bits:
            stream.bit_rate = bits
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
        for first in range(0, wide.shape[1], 65536):
            block = np.ascontiguousarray(wide[:, first : first + 65536])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, first
            for converted in resampler.resample(frame):
                output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return target.getvalue()


def decode(content: bytes) -> None:
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.audio[0]
        stream.thread_type = "NONE"
        for _ in container.decode(stream):
            pass


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    samples = music()
    if len(sys.argv) > 1:
        samples = audio.load_audio(Path(sys.argv[1]), sample_rate=44100).samples[: SECONDS * 44100]
    classifier = Classifier.from_pretrained(sys.argv[2] if len(sys.argv) > 2 else "default")
    print(f"{classifier.model.name}, {len(samples) / 44100:.0f} s, one thread, medians of {RUNS}")
    for name, chosen in FORMATS.items():
        content = encoded(samples, *chosen)
        classifier.predict(content)
        pairs = [
            (milliseconds(lambda: decode(content)), milliseconds(lambda: classifier.predict(content)))  # noqa: B023
            for _ in range(RUNS)
        ]
        alone, whole = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name:40} decoding {alone:6.1f} ms, answer {whole:6.1f} ms, ratio {whole / alone:.2f}")


if __name__ == "__main__":
    main()
