"""From a path or bytes to mono samples at any rate, or to an error that says what to do.

`AudioFile` opens a file and its decoder once, and gives its header, its info, excerpts, and a stream of all
of it. Everything is processed in one way, block by block: decode, mix to mono, check, resample.
`load_audio` joins the blocks of a stream, so that a stream and loaded audio hold the same numbers.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import TracebackType
from typing import BinaryIO

import numpy as np

from genrescope.audio.decoders import Decoder, open_decoder
from genrescope.audio.header import inspect_header
from genrescope.errors import AudioError, ConfigError
from genrescope.types import Audio, AudioInfo, FloatArray

Source = str | os.PathLike[str] | bytes

MIN_SECONDS = 1.0
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
    "audio_too_short": f"give at least {MIN_SECONDS:g} s of sound",
    "audio_not_finite": "export it again; a NaN or infinite sample is the mark of a broken export or effect",
    "audio_silent": "check that it is not muted, and that its channels do not cancel each other in mono",
    "audio_truncated": "copy or download it again, or leave strict mode to use what is there",
}


def _failure(code: str, source: str, what: str) -> AudioError:
    return AudioError(code, f"{source}: {what}", _HINTS[code])


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

    Parameters
    ----------
    decoder : Decoder
        At the beginning of the file.
    source : str
        The path, or ``<bytes>``.
    request : _Request
        What is wanted of the file: sample rate, start and end, strictness.
    close : callable
        Called when the stream is closed.

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

    def __init__(self, decoder: Decoder, source: str, request: _Request, close: Callable[[], None]) -> None:
        self._decoder = decoder
        self._close = close
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
        """End the iteration; close the file, where the stream opened it."""
        self._blocks.close()
        self._close()

    def _run(self) -> Generator[FloatArray, None, None]:
        for block in _resampled(self._native(), self.info.sample_rate, self.sample_rate):
            self._yielded += len(block)
            yield block
        if self._decoder.truncated:
            self.flags = ("truncated",)
        self._check_whole()

    def _native(self) -> Iterator[FloatArray]:
        """Yield the excerpt asked for, at the file's own rate, each block checked."""
        rate, duration = self.info.sample_rate, self._request.duration
        size = min(round(self._request.block_seconds * rate), _BLOCK_VALUES // self.info.channels)
        wanted = sys.maxsize if duration is None else max(1, round(duration * rate))
        for block in self._decoder.iter_blocks(round(self._request.start * rate), max(1, size)):
            part = block[: wanted - self._decoded]
            self._check(part)
            self._decoded += len(part)
            yield part
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

    def _check_whole(self) -> None:
        """Raise what only all of the samples together can tell."""
        start, duration = self._request.start, self._request.duration
        found = self._decoded / self.info.sample_rate
        needed = MIN_SECONDS if duration is None else min(MIN_SECONDS, duration)
        if self._request.strict and self.flags:
            raise _failure("audio_truncated", self.source, f"truncated: {found:.2f} s could be decoded")
        if not self._decoded and not start:
            raise _failure("audio_no_samples", self.source, "holds no samples")
        if self._decoded < round(needed * self.info.sample_rate):
            where = f" from {start:g} s on" if start else ""
            raise _failure("audio_too_short", self.source, f"only {found:.3f} s of sound{where}")
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
    AudioStream
        To be used in ``with``.

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
    file = AudioFile(source)
    return file.stream_request(request, close=file.close)


def load_audio(
    source: Source,
    *,
    sample_rate: int | None = None,
    start: float = 0.0,
    duration: float | None = None,
    strict: bool = False,
    block_seconds: float = 2.0,
) -> Audio:
    """Decode audio into memory: the blocks of `open_stream`, joined.

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
        About how much sound to decode at a time.

    Returns
    -------
    Audio
        Mono samples, float32, shape (n,), with their rate.

    Raises
    ------
    AudioError, ConfigError
        As `open_stream`, at once and while iterating.

    Examples
    --------
    >>> from genrescope import load_audio
    >>> clip = load_audio("song.mp3", sample_rate=22050, duration=30.0)
    """
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
    """An open audio file: opened once, its header inspected once, its decoder chosen once. For ``with``.

    Excerpts can be read in any order, and all of it as a stream, one at a time.

    Parameters
    ----------
    source : str, PathLike or bytes
        A path, or a whole file in memory.

    Attributes
    ----------
    source : str
        The path, or ``<bytes>``.
    header : HeaderInfo
        What the file says about its length and its end.
    info : AudioInfo
        What the file says about itself.

    Raises
    ------
    AudioError
        As `open_stream` at once.
    """

    def __init__(self, source: Source) -> None:
        self._file, self.source = _open(source)
        try:
            self.header = inspect_header(self._file)
            self._decoder = open_decoder(self._file, self.source, self.header)
        except BaseException:
            self._file.close()
            raise
        self._decoder_used = False
        self.info = _info(self._decoder)

    @property
    def truncated(self) -> bool:
        """Whether the file is known, so far, to hold less than it declares."""
        return self._decoder.truncated

    def excerpt(self, *, start: float, duration: float, sample_rate: int | None = None) -> Audio:
        """Decode an excerpt into memory.

        Parameters
        ----------
        start, duration : float
            In seconds.
        sample_rate : int, optional
            In Hz; None keeps the file's own.

        Returns
        -------
        Audio
            A resampler may give a sample more or less than ``duration * sample_rate``.

        Raises
        ------
        AudioError, ConfigError
            As `load_audio`.
        """
        request = _Request(sample_rate, start, duration, strict=False, block_seconds=duration)
        self._decoder_used = True
        stream = AudioStream(self._decoder, self.source, request, _do_nothing)
        blocks = list(stream)
        return Audio(np.concatenate(blocks), stream.sample_rate, source=self.source, flags=stream.flags)

    def stream(
        self, *, sample_rate: int | None = None, strict: bool = False, block_seconds: float = 2.0
    ) -> AudioStream:
        """Decode all of the file in blocks, from its start; the file stays open afterwards.

        Parameters
        ----------
        sample_rate : int, optional
            In Hz; None keeps the file's own.
        strict : bool
            Refuse a truncated file instead of flagging it.
        block_seconds : float
            About how much sound to decode at a time.

        Returns
        -------
        AudioStream
            As `open_stream` gives it, with the same errors while iterating.
        """
        return self.stream_request(_Request(sample_rate, 0.0, None, strict, block_seconds), close=_do_nothing)

    def stream_request(self, request: _Request, *, close: Callable[[], None]) -> AudioStream:
        """Return the stream of a ``request``; ``close`` is called when the stream is closed."""
        if self._decoder_used:
            # After seeks, a lossy decoder need not give the same numbers from the start again, and excerpts
            # that failed have marked it as truncated: a full decoding begins with a new decoder.
            self._decoder.close()
            self._decoder = open_decoder(self._file, self.source, self.header)
        self._decoder_used = True
        return AudioStream(self._decoder, self.source, request, close)

    def close(self) -> None:
        """Close the decoder and the file."""
        self._decoder.close()
        self._file.close()

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _do_nothing() -> None:
    """Leave a file open, since the stream that ends is not its owner."""


def import_decoders() -> None:
    """Import the libraries that decode and resample, before memory is limited or time is measured."""
    for name in ("av", "soundfile", "soxr"):
        importlib.import_module(name)


def info(source: Source) -> AudioInfo:
    """Read what a file says about itself, decoding none of its audio.

    Parameters
    ----------
    source : str, PathLike or bytes
        A path, or a whole file in memory.

    Raises
    ------
    AudioError
        As ``open_stream`` at once.
    """
    with AudioFile(source) as file:
        return file.info


def _open(source: Source) -> tuple[BinaryIO, str]:
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


def resample(audio: Audio, sample_rate: int) -> Audio:
    """Convert the rate of decoded audio, as decoding it at that rate does.

    Parameters
    ----------
    audio : Audio
    sample_rate : int
        In Hz.

    Returns
    -------
    Audio
        The same object where the rate is the same.

    Raises
    ------
    ConfigError
        ``invalid_argument`` for a rate that makes no sense.
    """
    _Request(sample_rate, 0.0, None, strict=False, block_seconds=1.0)
    if sample_rate == audio.sample_rate:
        return audio
    blocks = list(_resampled([audio.samples], audio.sample_rate, sample_rate))
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    return Audio(samples, sample_rate, audio.source, audio.flags)


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
