"""Measure how stable predictions are when clips are converted to other formats, rates, channels and levels.

Run: python benchmarks/robustness.py GTZAN [--model NAME] [--limit N]

Takes the test clips of the ``fault-filtered`` protocol whose audio is in the folder of GTZAN; prints for each
conversion how often the top genre stays that of the original clip, and how often it is correct.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from genrescope import Classifier, datasets, load_audio
from genrescope.types import Audio, FloatArray

CONTAINERS = {"libmp3lame": "mp3", "aac": "mp4"}


def encode_wav(samples: FloatArray, rate: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def resample(clip: Audio, rate: int) -> bytes:
    return encode_wav(soxr.resample(clip.samples, clip.sample_rate, rate, quality="HQ"), rate)


def encode(clip: Audio, codec: str, kbit: int) -> bytes:
    """Encode at 44.1 kHz, the usual rate of such files."""
    samples = soxr.resample(clip.samples, clip.sample_rate, 44100, quality="HQ")
    target = io.BytesIO()
    with av.open(target, "w", format=CONTAINERS[codec]) as container:
        stream = container.add_stream(codec, rate=44100, layout="mono")
        stream.bit_rate = 1000 * kbit
        for first in range(0, len(samples), 65536):
            block = np.ascontiguousarray(samples[None, first : first + 65536])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


def widen(clip: Audio) -> bytes:
    """Make two channels that differ in level and delay, as those of stereo recordings do."""
    delayed = np.concatenate([np.zeros(20, np.float32), clip.samples[:-20]])
    return encode_wav(np.stack([clip.samples, 0.7 * delayed], axis=1), clip.sample_rate)


CONVERSIONS: dict[str, Callable[[Audio], bytes]] = {
    "WAV, 16 bit": lambda clip: encode_wav(clip.samples, clip.sample_rate),
    "MP3, 128 kbit/s": lambda clip: encode(clip, "libmp3lame", 128),
    "MP3, 64 kbit/s": lambda clip: encode(clip, "libmp3lame", 64),
    "AAC, 96 kbit/s": lambda clip: encode(clip, "aac", 96),
    **{
        f"{rate / 1000:g} kHz": (lambda clip, rate=rate: resample(clip, rate))
        for rate in (8000, 11025, 16000, 32000, 44100, 48000, 96000)
    },
    "two equal channels": lambda clip: encode_wav(np.stack([clip.samples] * 2, axis=1), clip.sample_rate),
    "stereo, one channel delayed and softer": widen,
    "6 dB less": lambda clip: encode_wav(clip.samples / 2, clip.sample_rate),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gtzan", type=Path, help="folder of GTZAN")
    parser.add_argument("--model", default="default", help="packaged model or .onnx file")
    parser.add_argument("--limit", type=int, help="at most so many clips")
    options = parser.parse_args()
    classifier, parts = Classifier.from_pretrained(options.model), datasets.load_index().fault_filtered
    tracks = [track for track in datasets.load_gtzan(options.gtzan).tracks if parts.get(track.id) == "test"][
        : options.limit
    ]
    labels = np.array([track.label for track in tracks])
    original = np.array([classifier.predict(track.path).genre for track in tracks])
    clips = [load_audio(track.path) for track in tracks]
    accuracy = np.mean(original == labels)
    print(f"{classifier.model.name}: {len(tracks)} clips, {accuracy:.1%} correct without conversion")
    always = np.ones(len(tracks), bool)
    for conversion, convert in CONVERSIONS.items():
        genres = np.array([classifier.predict(convert(clip)).genre for clip in clips])
        always &= genres == original
        unchanged, correct = np.mean(genres == original), np.mean(genres == labels)
        print(f"{conversion:38} {unchanged:6.1%} unchanged, {correct:6.1%} correct")
    print(f"{'by all of them':38} {np.mean(always):6.1%} unchanged")


if __name__ == "__main__":
    main()
