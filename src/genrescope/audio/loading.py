"""From a path or bytes to mono samples at a rate of one's choice, or to an error that says what to do.

Everything passes through one road, block by block: decode, mix to mono, check, resample. ``load`` is that
road walked to its end, so a stream and a loaded clip hold the same numbers.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import TracebackType
from typing import BinaryIO

import numpy as np

from genrescope.audio.decoders import Decoder, open_decoder
from genrescope.errors import AudioError, ConfigError
from genrescope.types import Audio, FloatArray

Source = str | os.PathLike[str] | bytes

SHORTEST_SECONDS = 1.0
# -90 dBFS: the last bit of 16-bit audio flickers at -90.3 dBFS, and that is still silence.
SILENCE_PEAK = 10 ** (-90 / 20)
# 16 MiB of decoded samples, so that no header can ask for a block that fills the memory.
_BLOCK_VALUES = 2**22

_HINTS = {
    "audio_missing": "check the spelling, and that the disk is mounted",
    "audio_is_directory": "name a file in it; the commands that take many files also walk folders",
    "audio_permission_denied": "ask for the right to read it (chmod u+r), or run as a user who has it",
    "audio_empty": "copy or download it again; it has 0 bytes",
    "audio_unreadable": "name a regular file with sound in it",
    "audio_no_samples": "copy, download or export it again; its header is followed by no sound",
    "audio_too_short": f"give at least {SHORTEST_SECONDS:g} s of sound",
    "audio_not_finite": "export it again; a NaN or infinite sample is the mark of a broken export or effect",
    "audio_silent": "check that it is not muted, and that its channels do not cancel each other in mono",
    "audio_truncated": "copy or download it again, or leave strict mode to use what is there",
}


def _failure(code: str, source: str, what: str) -> AudioError:
    return AudioError(code, f"{source}: {what}", _HINTS[code])


@dataclass(frozen=True)
class AudioInfo:
    """What a file says about itself.

    Attributes
    ----------
    format, codec : str
        Container and coding, such as ``wav`` and ``pcm_16``, in the words of the library that decodes it.
    sample_rate : int
        In Hz.
    channels : int
    seconds : float or None
        Length; None where only decoding the whole file could tell.
    """

    format: str
    codec: str
    sample_rate: int
    channels: int
    seconds: float | None


@dataclass(frozen=True)
class _Request:
    """What to read: the options of ``open_stream``, known to make sense."""

    sample_rate: int | None
    start: float
    duration: float | None
    strict: bool
    block_seconds: float

    def __post_init__(self) -> None:
        rate, duration = self.sample_rate, self.duration
        checks = {
            "sample_rate": rate is None or rate > 0,
            "start": math.isfinite(self.start) and self.start >= 0,
            "duration": duration is None or (math.isfinite(duration) and duration > 0),
            "block_seconds": math.isfinite(self.block_seconds) and self.block_seconds > 0,
        }
        for name, makes_sense in checks.items():
            if not makes_sense:
                what = f"{name} = {getattr(self, name)} makes no sense for audio"
                raise ConfigError("invalid_argument", what, "give a positive, finite number")


class AudioStream:
    """Decoded audio in blocks: iterate it once, within ``with``.

    Iterating yields float32 mono arrays of shape (n,), n varying, at ``sample_rate`` Hz, and needs memory for
    a few blocks only. What can be judged only at the end of the sound (too short, silent, truncated in strict
    mode) is raised there.

    Attributes
    ----------
    source : str
        The path, or ``<bytes>``.
    info : AudioInfo
    sample_rate : int
        Of the blocks, in Hz.
    seconds : float
        Length of what was yielded so far.
    flags : tuple of str
        Complete once the iteration has ended: ``truncated`` when the file holds less than it declares.
    """

    def __init__(
        self, file: BinaryIO, source: str, request: _Request, decoder: Decoder | None = None
    ) -> None:
        self._file = file
        self._decoder = decoder or open_decoder(file, source)
        self._request = request
        self.source = source
        self.info = _info(self._decoder)
        self.sample_rate = request.sample_rate or self.info.sample_rate
        self.flags: tuple[str, ...] = ()
        self._decoded = 0
        self._yielded = 0
        self._peak = 0.0
        self._blocks = self._run()

    @property
    def seconds(self) -> float:
        """Length of what was yielded so far."""
        return self._yielded / self.sample_rate

    def __iter__(self) -> Iterator[FloatArray]:
        return self._blocks

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the decoder and the file."""
        self._blocks.close()
        self._decoder.close()
        self._file.close()

    def _run(self) -> Generator[FloatArray, None, None]:
        for block in _resampled(self._native(), self.info.sample_rate, self.sample_rate):
            self._yielded += len(block)
            yield block
        if self._decoder.truncated:
            self.flags = ("truncated",)
        self._judge()

    def _native(self) -> Iterator[FloatArray]:
        """Yield the excerpt asked for, at the file's own rate, each block checked."""
        rate, duration = self.info.sample_rate, self._request.duration
        size = min(round(self._request.block_seconds * rate), _BLOCK_VALUES // self.info.channels)
        wanted = sys.maxsize if duration is None else max(1, round(duration * rate))
        for block in self._decoder.iter_blocks(round(self._request.start * rate), max(1, size)):
            piece = block[: wanted - self._decoded]
            self._check(piece)
            self._decoded += len(piece)
            yield piece
            if self._decoded >= wanted:
                return

    def _check(self, block: FloatArray) -> None:
        # Largest and smallest sample carry any NaN or infinity with them: two passes do both checks.
        peak = max(abs(float(block.max())), abs(float(block.min())))
        if not math.isfinite(peak):
            first = self._decoded + int(np.argmin(np.isfinite(block)))
            at = self._request.start + first / self.info.sample_rate
            raise _failure("audio_not_finite", self.source, f"a sample at {at:.3f} s is not a finite number")
        self._peak = max(self._peak, peak)

    def _judge(self) -> None:
        """Raise what only the whole sound can tell."""
        start, duration = self._request.start, self._request.duration
        found = self._decoded / self.info.sample_rate
        needed = SHORTEST_SECONDS if duration is None else min(SHORTEST_SECONDS, duration)
        if self._request.strict and self.flags:
            raise _failure("audio_truncated", self.source, f"truncated: {found:.2f} s could be decoded")
        if not self._decoded and not start:
            raise _failure("audio_no_samples", self.source, "holds no samples")
        if self._decoded < round(needed * self.info.sample_rate):
            place = f" from {start:g} s on" if start else ""
            raise _failure("audio_too_short", self.source, f"only {found:.3f} s of sound{place}")
        if self._peak < SILENCE_PEAK:
            raise _failure("audio_silent", self.source, "silent throughout (mono peak below -90 dBFS)")


def open_stream(
    source: Source,
    *,
    sample_rate: int | None = None,
    start: float = 0.0,
    duration: float | None = None,
    strict: bool = False,
    block_seconds: float = 2.0,
) -> AudioStream:
    """Open audio for reading in blocks, in bounded memory.

    Channels are averaged; the rate is converted by soxr (quality HQ) without dependence on the block length.

    Parameters
    ----------
    source : str, PathLike or bytes
        A path, or a whole file in memory.
    sample_rate : int, optional
        In Hz; None keeps the file's own.
    start, duration : float
        The excerpt, in seconds; ``duration`` None reads to the end.
    strict : bool
        Refuse a truncated file instead of flagging it.
    block_seconds : float
        About how much sound to decode at a time; 16 MiB of it at most.

    Returns
    -------
    Stream

    Raises
    ------
    AudioError
        ``audio_missing``, ``audio_is_directory``, ``audio_permission_denied``, ``audio_empty``,
        ``audio_unreadable`` at once; ``audio_not_finite``, ``audio_no_samples``, ``audio_too_short`` (under
        1 s, or under ``duration`` where that is less), ``audio_silent``, ``audio_truncated`` while iterating.
    ConfigError
        ``invalid_argument`` for a rate, time or length that makes no sense.
    """
    request = _Request(sample_rate, start, duration, strict, block_seconds)
    file, name = _opened(source)
    try:
        return AudioStream(file, name, request)
    except BaseException:
        file.close()
        raise


def load_audio(
    source: Source,
    *,
    sample_rate: int | None = None,
    start: float = 0.0,
    duration: float | None = None,
    strict: bool = False,
    block_seconds: float = 2.0,
) -> Audio:
    """Decode audio into memory: the blocks of ``open_stream``, joined. Same parameters, same errors."""
    with open_stream(
        source,
        sample_rate=sample_rate,
        start=start,
        duration=duration,
        strict=strict,
        block_seconds=block_seconds,
    ) as stream:
        blocks = list(stream)
        samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return Audio(samples, stream.sample_rate, source=stream.source, flags=stream.flags)


class AudioFile:
    """An open file of which excerpts are read, in any order: for ``with``.

    Attributes
    ----------
    source : str
    info : AudioInfo
    """

    def __init__(self, source: Source) -> None:
        """Open ``source``; raises as ``open_stream`` at once."""
        self._file, self.source = _opened(source)
        try:
            self._decoder = open_decoder(self._file, self.source)
        except BaseException:
            self._file.close()
            raise
        self.info = _info(self._decoder)

    @property
    def truncated(self) -> bool:
        """Whether the file is known, so far, to hold less than it declares."""
        return self._decoder.truncated

    def excerpt(self, *, start: float, duration: float, sample_rate: int | None = None) -> Audio:
        """Decode an excerpt; same parameters, same errors as ``load``."""
        request = _Request(sample_rate, start, duration, strict=False, block_seconds=duration)
        stream = AudioStream(self._file, self.source, request, self._decoder)
        blocks = list(stream)
        return Audio(np.concatenate(blocks), stream.sample_rate, source=self.source, flags=stream.flags)

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._decoder.close()
        self._file.close()


def import_decoders() -> None:
    """Load the libraries that decode and resample, before memory is bounded or time is taken."""
    for name in ("av", "soundfile", "soxr"):
        importlib.import_module(name)


def info(source: Source) -> AudioInfo:
    """Read what a file says about itself, decoding none of its sound.

    Raises
    ------
    AudioError
        As ``open_stream`` at once.
    """
    with AudioFile(source) as recording:
        return recording.info


def _opened(source: Source) -> tuple[BinaryIO, str]:
    """Return an open file and its name, or raise why there is none."""
    if isinstance(source, bytes):
        if not source:
            raise _failure("audio_empty", "<bytes>", "empty")
        return BytesIO(source), "<bytes>"
    path, name = Path(source), os.fspath(source)
    try:
        _check_file(path, name)
        return path.open("rb"), name
    except (FileNotFoundError, NotADirectoryError):
        raise _failure("audio_missing", name, "no such file") from None
    except PermissionError:
        raise _failure("audio_permission_denied", name, "may not be read") from None
    except (OSError, ValueError) as error:
        raise _failure("audio_unreadable", name, f"cannot be opened: {error}") from error


def _check_file(path: Path, name: str) -> None:
    status = path.stat()
    if S_ISDIR(status.st_mode):
        if not os.access(path, os.R_OK | os.X_OK):
            raise _failure("audio_permission_denied", name, "a folder that may not be read")
        raise _failure("audio_is_directory", name, "a folder, not a file")
    # Opening a pipe or a device could wait for ever.
    if not S_ISREG(status.st_mode):
        raise _failure("audio_unreadable", name, "a device, pipe or socket, not a regular file")
    if status.st_size == 0:
        raise _failure("audio_empty", name, "empty")


def _resampled(blocks: Iterable[FloatArray], rate: int, wanted: int) -> Iterator[FloatArray]:
    """Convert the rate of a stream of blocks (soxr, https://sourceforge.net/projects/soxr)."""
    if rate == wanted:
        yield from blocks
        return
    import soxr

    resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    for block in blocks:
        if len(converted := resampler.resample_chunk(block)):
            yield converted
    if len(rest := resampler.resample_chunk(np.zeros(0, np.float32), last=True)):
        yield rest


def _info(decoder: Decoder) -> AudioInfo:
    return AudioInfo(decoder.format, decoder.codec, decoder.sample_rate, decoder.channels, decoder.seconds)
