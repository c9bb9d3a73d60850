"""Known signals, files with them, and measurements of decoded signals."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import soundfile

Writer = Callable[[Path, np.ndarray, int], None]


def tone(
    seconds: float, rate: int, *, hertz: float = 440.0, amplitude: float = 0.5, channels: int = 1
) -> np.ndarray:
    """Return a sine in all channels, shape (n, channels)."""
    wave = amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave.astype(np.float32)[:, None], channels, axis=1)


def noise(seconds: float, rate: int, *, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return white noise at -20 dBFS, shape (n, channels)."""
    generator = np.random.default_rng(seed)
    return 0.1 * generator.standard_normal((round(seconds * rate), channels)).astype(np.float32)


def measure_tone(samples: np.ndarray, rate: int) -> tuple[float, float]:
    """Return frequency and amplitude of the strongest sine in the middle half of ``samples``."""
    quarter = len(samples) // 4
    middle = samples[quarter : 3 * quarter] * np.hanning(2 * quarter)
    spectrum = np.abs(np.fft.rfft(middle, n=8 * len(middle)))
    peak = int(spectrum.argmax())
    return peak * rate / (8 * len(middle)), float(spectrum[peak] * 2 / np.hanning(2 * quarter).sum())


def write(path: Path, samples: np.ndarray, rate: int, *, kind: str, coding: str) -> None:
    """Write a file with libsndfile, in blocks (its Vorbis encoder overflows the stack on long ones)."""
    channels = samples.shape[1]
    with soundfile.SoundFile(path, "w", rate, channels, subtype=coding, format=kind) as file:
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])


def encode(
    path: Path,
    samples: np.ndarray,
    rate: int,
    *,
    codec: str,
    container: str,
    bit_rate: int | None = None,
    muxer: dict[str, str] | None = None,
    coder: dict[str, str] | None = None,
) -> None:
    """Write a file with FFmpeg."""
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[samples.shape[1]]
    whole = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
    whole.sample_rate, whole.pts, whole.time_base = rate, 0, Fraction(1, rate)
    with av.open(str(path), "w", format=container, options=muxer or {}) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout, options=coder or {})
        if bit_rate:
            stream.bit_rate = bit_rate
        size = stream.codec_context.frame_size or 1024
        shaper = av.AudioResampler(stream.codec_context.format, layout, rate, frame_size=size)
        for frame in [*shaper.resample(whole), *shaper.resample(None), None]:
            file.mux(stream.encode(frame))


LOSSLESS: dict[str, Writer] = {
    "wav-8": partial(write, kind="WAV", coding="PCM_U8"),
    "wav-16": partial(write, kind="WAV", coding="PCM_16"),
    "wav-24": partial(write, kind="WAVEX", coding="PCM_24"),
    "wav-32": partial(write, kind="WAV", coding="PCM_32"),
    "wav-float": partial(write, kind="WAV", coding="FLOAT"),
    "wav-double": partial(write, kind="WAV", coding="DOUBLE"),
    "rf64": partial(write, kind="RF64", coding="PCM_16"),
    "w64": partial(write, kind="W64", coding="PCM_16"),
    "flac-16": partial(write, kind="FLAC", coding="PCM_16"),
    "flac-24": partial(write, kind="FLAC", coding="PCM_24"),
    "aiff": partial(write, kind="AIFF", coding="PCM_16"),
    "aiff-float": partial(write, kind="AIFF", coding="FLOAT"),
    "au": partial(write, kind="AU", coding="PCM_16"),
    "au-ulaw": partial(write, kind="AU", coding="ULAW"),
    "caf": partial(write, kind="CAF", coding="PCM_16"),
    "alac": partial(encode, codec="alac", container="ipod"),
    "wavpack": partial(encode, codec="wavpack", container="wv"),
}
MP3 = partial(encode, codec="libmp3lame", container="mp3", bit_rate=192_000)
MP3_VBR = partial(
    encode, codec="libmp3lame", container="mp3", coder={"flags": "+qscale", "global_quality": "236"}
)
LOSSY: dict[str, Writer] = {
    "ogg": partial(write, kind="OGG", coding="VORBIS"),
    "opus": partial(write, kind="OGG", coding="OPUS"),
    "opus-ffmpeg": partial(encode, codec="libopus", container="opus"),
    "mp3": partial(write, kind="MP3", coding="MPEG_LAYER_III"),
    "mp3-ffmpeg": MP3,
    "mp3-vbr": MP3_VBR,
    "mp3-no-length": partial(MP3_VBR, muxer={"write_xing": "0"}),
    "m4a": partial(encode, codec="aac", container="ipod"),
    "m4a-index-first": partial(encode, codec="aac", container="ipod", muxer={"movflags": "faststart"}),
    "aac": partial(encode, codec="aac", container="adts"),
    "wma": partial(encode, codec="wmav2", container="asf", bit_rate=128_000),
    "webm": partial(encode, codec="libopus", container="webm"),
    "mka": partial(encode, codec="aac", container="matroska"),
    "ac3": partial(encode, codec="ac3", container="ac3"),
}
