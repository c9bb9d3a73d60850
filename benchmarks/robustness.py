"""Does the answer survive what happens to files? The same clips in other formats, rates, channels, levels.

Run: python benchmarks/robustness.py GTZAN [MODEL]

Takes the test clips of ``fault-filtered`` that are here as sound; prints how often the top genre stays that
of the clip as it is, and how often it is right.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from genrescope import Classifier, datasets
from genrescope.audio import loading as audio
from genrescope.datasets import gtzan
from genrescope.types import Audio, FloatArray

CONTAINERS = {"libmp3lame": "mp3", "aac": "mp4"}


def wav(samples: FloatArray, rate: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def at_rate(clip: Audio, rate: int) -> bytes:
    return wav(soxr.resample(clip.samples, clip.sample_rate, rate, quality="HQ"), rate)


def encoded(clip: Audio, codec: str, kbit: int) -> bytes:
    """Encode at 44.1 kHz: that is what such files have."""
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


def widened(clip: Audio) -> bytes:
    """Pan to two channels of unlike level and delay, as stereo recordings are."""
    late = np.concatenate([np.zeros(20, np.float32), clip.samples[:-20]])
    return wav(np.stack([clip.samples, 0.7 * late], axis=1), clip.sample_rate)


CHANGES: dict[str, Callable[[Audio], bytes]] = {
    "WAV, 16 bit": lambda clip: wav(clip.samples, clip.sample_rate),
    "MP3, 128 kbit/s": lambda clip: encoded(clip, "libmp3lame", 128),
    "MP3, 64 kbit/s": lambda clip: encoded(clip, "libmp3lame", 64),
    "AAC, 96 kbit/s": lambda clip: encoded(clip, "aac", 96),
    **{
        f"{rate / 1000:g} kHz": (lambda clip, rate=rate: at_rate(clip, rate))
        for rate in (8000, 11025, 16000, 32000, 44100, 48000, 96000)
    },
    "two equal channels": lambda clip: wav(np.stack([clip.samples] * 2, axis=1), clip.sample_rate),
    "stereo, one side late and softer": widened,
    "6 dB less": lambda clip: wav(clip.samples / 2, clip.sample_rate),
}


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "default"
    classifier, sides = Classifier.from_pretrained(name), gtzan.load_index().fault_filtered
    tracks = [track for track in datasets.load_gtzan(folder).tracks if sides.get(track.id) == "test"]
    truth = np.array([track.label for track in tracks])
    plain = np.array([classifier.predict(track.path).genre for track in tracks])
    clips = [audio.load_audio(track.path) for track in tracks]
    print(f"{classifier.model.name}: {len(tracks)} clips, {np.mean(plain == truth):.1%} right as they are")
    every = np.ones(len(tracks), bool)
    for change, make in CHANGES.items():
        genres = np.array([classifier.predict(make(clip)).genre for clip in clips])
        every &= genres == plain
        print(f"{change:34} {np.mean(genres == plain):6.1%} unchanged, {np.mean(genres == truth):6.1%} right")
    print(f"{'all of them':34} {np.mean(every):6.1%} unchanged")


if __name__ == "__main__":
    main()
