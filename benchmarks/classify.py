"""Time the classification of 30 s of audio, from a file to a prediction, against decoding the file alone.

Run: python benchmarks/classify.py [AUDIO FILE] [--model NAME] [--runs N]

One thread; without a file, audio is synthesized. The audio is encoded in several formats. Decoding alone is
PyAV's loop over the frames, which are discarded. Both are timed alternately in one run, and the ratio of the
medians is printed: it depends less on the load of the machine than the times do.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import soxr

from genrescope import Classifier, load_audio
from genrescope.types import FloatArray

SECONDS = 30
FORMATS = {
    "MP3, 128 kbit/s, 44.1 kHz stereo": ("mp3", "libmp3lame", 44100, 2, 128_000),
    "MP3, 64 kbit/s, 22.05 kHz mono": ("mp3", "libmp3lame", 22050, 1, 64_000),
    "FLAC, 44.1 kHz stereo": ("flac", "flac", 44100, 2, 0),
    "M4A (AAC), 128 kbit/s, 44.1 kHz stereo": ("mp4", "aac", 44100, 2, 128_000),
    "Opus, 96 kbit/s, 48 kHz stereo": ("ogg", "libopus", 48000, 2, 96_000),
}


def synthesize() -> FloatArray:
    """Synthesize a beat, a chord and noise at 44.1 kHz."""
    time_axis = np.arange(SECONDS * 44100) / 44100
    chord = sum(np.sin(2 * np.pi * 110 * ratio * time_axis) / ratio for ratio in (1, 1.5, 2, 2.5, 3, 5, 7))
    noise = np.random.default_rng(0).standard_normal(len(time_axis))
    return ((0.15 * chord + 0.05 * noise) * np.exp(-4 * (time_axis % 0.5))).astype(np.float32)


def encode(samples: FloatArray, container: str, codec: str, rate: int, channels: int, bits: int) -> bytes:
    resampled = np.stack([soxr.resample(samples, 44100, rate)] * channels)
    layout, target = ("mono", "stereo")[channels - 1], io.BytesIO()
    with av.open(target, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        if bits:
            stream.bit_rate = bits
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
        for first in range(0, resampled.shape[1], 65536):
            block = np.ascontiguousarray(resampled[:, first : first + 65536])
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


def milliseconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", nargs="?", type=Path, help="audio file; its first 30 s are used")
    parser.add_argument("--model", default="default", help="packaged model or .onnx file")
    parser.add_argument("--runs", type=int, default=15, help="repetitions of each measurement")
    options = parser.parse_args()
    samples = synthesize()
    if options.audio:
        samples = load_audio(options.audio, sample_rate=44100, duration=SECONDS).samples
    classifier = Classifier.from_pretrained(options.model)
    print(f"{classifier.model.name}, {len(samples) / 44100:.0f} s, one thread, medians of {options.runs}")
    for name, settings in FORMATS.items():
        content = encode(samples, *settings)
        classifier.predict(content)
        pairs = [
            (milliseconds(lambda: decode(content)), milliseconds(lambda: classifier.predict(content)))  # noqa: B023
            for _ in range(options.runs)
        ]
        decoding, total = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"{name:40} decoding {decoding:6.1f} ms, prediction {total:6.1f} ms, ratio {total / decoding:.2f}"
        )


if __name__ == "__main__":
    main()
