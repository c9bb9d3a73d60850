"""From a path or bytes to mono samples at any rate, or to an error that says what to do.

`AudioFile` opens a file and its decoder once, and gives its header, its info, excerpts, and a stream of all
of it. Everything is processed in one way, block by block: decode, check, mix to mono, resample.
`load_audio` joins the blocks of a stream, so that a stream and loaded audio hold the same numbers.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import TracebackType
from typing import BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt

from genrescope.audio.decoders import Decoder, decode, open_decoder
from genrescope.audio.header import inspect_header
from genrescope.audio.mixing import Mixer, Planes, energy
from genrescope.audio.outliers import MAX_MAGNITUDE, SPIKE_MAGNITUDE, remove_spikes
from genrescope.audio.sections import SectionDecoder
from genrescope.audio.sources import (
    BYTES_NAME,
    SAMPLES_NAME,
    SampleDecoder,
    borrow,
    file_name,
    is_url,
    rate_beside_audio,
    url_refusal,
)
from genrescope.errors import AudioError, ConfigError
from genrescope.types import Audio, AudioInfo, AudioSection, FloatArray

# A path, a whole file in memory, a binary file object, or a part of a file.
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | AudioSection
# What is decoded already: mono with its rate, or an array beside a rate.
Samples = Audio | npt.NDArray[np.generic]

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
    "audio_read_failed": "check the disk or the network that it lies on, and try again",
    "audio_no_samples": "copy, download or export it again; its header is followed by no sound",
    "audio_too_short": f"give at least {MIN_SECONDS:g} s of sound",
    "audio_not_finite": "export it again; a NaN or infinite sample is the mark of a broken export or effect",
    "audio_out_of_range": "export it again, with samples from -1 to 1; it is damaged, or no audio",
    "audio_silent": "check that it is not muted",
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
    mixer : Mixer
        Of the channels of this file.
    source : str
        The path, or ``<bytes>``.
    request : _Request
        What is wanted of the file: sample rate, start and end, strictness.
    close : callable
        Called when the stream is closed.
    observe : callable, optional
        Called with each block before its channels are mixed, as of `AudioFile.stream`.

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
        Complete once the iteration has ended: ``truncated`` when the file holds less than it declares;
        ``header_mismatch`` when it holds more; ``spikes_removed`` when single samples of an impossible level
        were set to zero; ``channels_cancel`` when not all channels were averaged, since they cancel each
        other.
    """

    def __init__(
        self,
        decoder: Decoder,
        mixer: Mixer,
        source: str,
        request: _Request,
        close: Callable[[], None],
        observe: Callable[[Planes], None] | None = None,
    ) -> None:
        self._decoder = decoder
        self._observe = observe
        self._mixer = mixer
        self._close = close
        self._request = request
        self.source = source
        self.info = _info(self._decoder)
        self.sample_rate = request.sample_rate or self.info.sample_rate
        self.flags: tuple[str, ...] = ()
        self._decoded = 0
        self._yielded = 0
        self._spikes = 0
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
        self._mixer.end()
        found = {
            "truncated": self._decoder.truncated,
            "header_mismatch": self._decoder.header_mismatch,
            "spikes_removed": self._spikes > 0,
            "channels_cancel": self._mixer.chosen is not None,
        }
        self.flags = tuple(flag for flag, is_set in found.items() if is_set)
        self._check_whole()

    def _native(self) -> Iterator[FloatArray]:
        """Yield the excerpt asked for, mono at the file's own rate, each block checked."""
        rate, duration = self.info.sample_rate, self._request.duration
        size = min(round(self._request.block_seconds * rate), _BLOCK_VALUES // self.info.channels)
        wanted = sys.maxsize if duration is None else max(1, round(duration * rate))
        for planes in decode(self._decoder, self.source, round(self._request.start * rate), max(1, size)):
            left = wanted - self._decoded
            part = planes[:, :left] if isinstance(planes, np.ndarray) else [plane[:left] for plane in planes]
            if not len(part[0]):
                continue
            self._check(part)
            if self._observe is not None:
                self._observe(part)
            block = self._mixer.mix(part)
            # The peak is asked only whether it is that of silence.
            if self._peak < SILENCE_PEAK:
                self._peak = max(self._peak, *_peaks([block]))
            self._decoded += len(block)
            yield block
            if self._decoded >= wanted:
                return

    def _check(self, planes: Planes) -> None:
        # The sum of squares is never below the square of the peak, and a comparison with NaN is false: where
        # it is small, one pass over the samples is enough.
        with np.errstate(over="ignore", invalid="ignore"):
            if energy(planes) <= SPIKE_MAGNITUDE**2:
                return
        peaks = _peaks(planes)
        if not all(map(math.isfinite, peaks)):
            self._refuse(
                planes, math.inf, "audio_not_finite", "a sample at {at:.3f} s is not a finite number"
            )
        if max(peaks) > SPIKE_MAGNITUDE:
            self._spikes += remove_spikes(planes)
            if max(_peaks(planes)) > MAX_MAGNITUDE:
                what = f"samples beyond {MAX_MAGNITUDE:.0e} from {{at:.3f}} s on, where 1 is full scale"
                self._refuse(planes, MAX_MAGNITUDE, "audio_out_of_range", what)

    def _refuse(self, planes: Planes, limit: float, code: str, what: str) -> NoReturn:
        """Raise, with the time of the first sample that is NaN or whose magnitude exceeds ``limit``."""
        good = np.logical_and.reduce([np.abs(plane) < limit for plane in planes])
        at = self._request.start + (self._decoded + int(np.argmin(good))) / self.info.sample_rate
        raise _failure(code, self.source, what.format(at=at))

    def _check_whole(self) -> None:
        """Raise what only all of the samples together can tell."""
        start, duration = self._request.start, self._request.duration
        found = self._decoded / self.info.sample_rate
        needed = MIN_SECONDS if duration is None else min(MIN_SECONDS, duration)
        if self._request.strict and self._decoder.truncated:
            raise _failure("audio_truncated", self.source, f"truncated: {found:.2f} s could be decoded")
        if not self._decoded and not start:
            raise _failure("audio_no_samples", self.source, "holds no samples")
        if self._decoded < round(needed * self.info.sample_rate):
            where = f" from {start:g} s on" if start else ""
            raise _failure("audio_too_short", self.source, f"only {found:.3f} s of sound{where}")
        # Where the channels cancel, other ones are to be mixed: see `AudioFile.avoid_cancellation`.
        if self._peak < SILENCE_PEAK and not self._mixer.cancels:
            raise _failure("audio_silent", self.source, "silent throughout (mono peak below -90 dBFS)")


def open_stream(
    source: Source,
    *,
    sample_rate: int | None = None,
    start: float = 0.0,
    duration: float | None = None,
    strict: bool = False,
    block_seconds: float = 1.0,
) -> AudioStream:
    """Open audio for reading in blocks, in bounded memory.

    Channels are averaged; the rate is converted by soxr (quality HQ) without dependence on the block length.
    A file of several channels is decoded twice, at first to find out whether they cancel each other in the
    mean: then some of them are averaged, and the stream is flagged ``channels_cancel``.

    Parameters
    ----------
    source : str, PathLike, bytes or binary file
        A path, a whole file in memory, or a file object, which is read from its start and left open.
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
        ``audio_unreadable`` at once; ``audio_not_finite``, ``audio_out_of_range`` (samples beyond 2**32,
        unless they are single ones), ``audio_no_samples``, ``audio_too_short`` (under 1 s, or under
        ``duration`` where that is less), ``audio_silent``, ``audio_truncated`` while iterating.
    ConfigError
        ``invalid_argument`` for a rate, time or length that makes no sense.
    """
    request = _Request(sample_rate, start, duration, strict, block_seconds)
    file = AudioFile(source)
    try:
        if file.info.channels > 1:
            # What this decoding raises, the next one raises again.
            with suppress(AudioError), file.stream_request(request, close=_do_nothing) as stream:
                for _ in stream:
                    pass
            file.avoid_cancellation()
        return file.stream_request(request, close=file.close)
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
    block_seconds: float = 1.0,
) -> Audio:
    """Decode audio into memory: the blocks of `open_stream`, joined.

    Parameters
    ----------
    source : str, PathLike, bytes or binary file
        A path, a whole file in memory, or a file object, which is read from its start and left open.
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
    request = _Request(sample_rate, start, duration, strict, block_seconds)
    with AudioFile(source) as file:
        loaded = _load(file, request)
        return _load(file, request) if file.avoid_cancellation() else loaded


def _load(file: AudioFile, request: _Request) -> Audio:
    return _joined(file.stream_request(request, close=_do_nothing))


def _joined(stream: AudioStream) -> Audio:
    blocks = list(stream)
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return Audio(samples, stream.sample_rate, source=stream.source, flags=stream.flags)


class AudioFile:
    """An open audio file: opened once, its header inspected once, its decoder chosen once. For ``with``.

    Excerpts can be read in any order, and all of it as a stream, one at a time.

    Parameters
    ----------
    source : str, PathLike, bytes, binary file, AudioSection, Audio or ndarray
        A path, a whole file in memory, or a file object, which is read from its start and left open; a part
        of a file; decoded audio; or samples, shape (n,) or (n, channels): floats, 1 being full scale, or
        integers of 8, 16 or 32 bits. A file object with a true attribute ``is_remote`` is searched for joined
        streams only where its start, middle and end do not agree.
    sample_rate : int, optional
        In Hz, of samples in an array; for these alone.

    Attributes
    ----------
    source : str
        The path, or the name of the file object; ``<bytes>``, ``<file>`` or ``<samples>`` where there is
        none.
    info : AudioInfo
        What the file says about itself.

    Raises
    ------
    AudioError
        As `open_stream` at once.
    ConfigError
        ``invalid_argument``: samples without a rate, of another shape or type; what is none of these.
    """

    def __init__(self, source: Source | Samples, *, sample_rate: int | None = None) -> None:
        self._open_decoder: Callable[[], Decoder]
        if isinstance(source, (Audio, np.ndarray)):
            self._file: BinaryIO = BytesIO()
            self.source = source_name(source)
            self._decoder: Decoder = SampleDecoder(source, sample_rate)
            self._open_decoder = partial(SampleDecoder, source, sample_rate)
        else:
            if sample_rate is not None:
                raise rate_beside_audio(sample_rate)
            self._open_file(source)
        self._decoder_used = False
        self.info = _info(self._decoder)
        self._mixer = Mixer(self.info.channels, self.info.sample_rate)

    def _open_file(self, source: Source) -> None:
        self._file, self.source = _open(source)
        try:
            header = inspect_header(self._file, whole=not getattr(source, "is_remote", False))
            self._open_decoder = partial(open_decoder, self._file, self.source, header)
            if isinstance(source, AudioSection):
                self._open_decoder = partial(_open_section, source, self._open_decoder)
            self._decoder = self._open_decoder()
        except OSError as error:
            self._file.close()
            raise _failure("audio_read_failed", self.source, f"cannot be read: {error.strerror}") from error
        except BaseException:
            self._file.close()
            raise

    @property
    def truncated(self) -> bool:
        """Whether the file is known, so far, to hold less than it declares."""
        return self._decoder.truncated

    @property
    def suits_excerpts(self) -> bool:
        """Whether its length is known, so far, to be right, and positions can be reached without decoding."""
        decoder = self._decoder
        return decoder.seekable and not decoder.truncated and not decoder.header_mismatch

    def avoid_cancellation(self) -> bool:
        """Average other channels from now on, if all of them cancel each other in what was decoded so far.

        That is the last stream, or all excerpts. Channels are judged second by second: they cancel when
        their sum has less than 0.3 of the energy that it would have if they were independent, in more than a
        tenth of the seconds that are not silent. The loudest channel is then kept, and those that are not
        opposed to it or to each other. From then on, audio is flagged ``channels_cancel``.

        Returns
        -------
        bool
            Whether that changes anything: then what was decoded should be decoded again.
        """
        return self._mixer.choose()

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
        self._decoder.limit_reading(limited=True)
        try:
            return _joined(AudioStream(self._decoder, self._mixer, self.source, request, _do_nothing))
        finally:
            self._decoder.limit_reading(limited=False)

    def stream(
        self,
        *,
        sample_rate: int | None = None,
        strict: bool = False,
        block_seconds: float = 1.0,
        observe: Callable[[Planes], None] | None = None,
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
        observe : callable, optional
            Called with each block at the file's own rate, before its channels are mixed: one array of shape
            (n,), float32, for each channel, which it must not change.

        Returns
        -------
        AudioStream
            As `open_stream` gives it, with the same errors while iterating.
        """
        request = _Request(sample_rate, 0.0, None, strict, block_seconds)
        return self.stream_request(request, close=_do_nothing, observe=observe)

    def stream_request(
        self,
        request: _Request,
        *,
        close: Callable[[], None],
        observe: Callable[[Planes], None] | None = None,
    ) -> AudioStream:
        """Return the stream of a ``request``; see `stream` for ``observe``.

        Parameters
        ----------
        request : _Request
        close : callable
            Called when the stream is closed.
        observe : callable, optional
        """
        if self._decoder_used:
            # After seeks, a lossy decoder need not give the same numbers from the start again, and excerpts
            # that failed have marked it as truncated: a full decoding begins with a new decoder.
            self._decoder.close()
            self._decoder = self._open_decoder()
        self._decoder_used = True
        self._mixer.reset()
        return AudioStream(self._decoder, self._mixer, self.source, request, close, observe)

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
    source : str, PathLike, bytes or binary file
        As of `load_audio`.

    Raises
    ------
    AudioError
        As ``open_stream`` at once.
    """
    with AudioFile(source) as file:
        return file.info


def _open_section(section: AudioSection, open_file: Callable[[], Decoder]) -> Decoder:
    """Return a decoder of a part of a file; AudioError where the file ends before it."""
    decoder = open_file()
    seconds = decoder.seconds
    if seconds is not None and section.start >= seconds:
        decoder.close()
        raise AudioError(
            "audio_no_samples",
            f"{section.path}: ends at {seconds:.1f} s, and {section.name} begins at {section.start:.1f} s",
            "check that the cue sheet belongs to this file, and that the file is complete",
        )
    return SectionDecoder(decoder, section.start, section.end)


def source_name(source: Source | Samples) -> str:
    """Return what a source is called in results and errors.

    Parameters
    ----------
    source : str, PathLike, bytes, binary file, AudioSection, Audio or ndarray
        As of `AudioFile`.

    Returns
    -------
    str
        The path, or the name of the file object; ``<bytes>``, ``<file>`` or ``<samples>`` where there is
        none.
    """
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, AudioSection):
        return source.name or str(source.path)
    if isinstance(source, (Audio, np.ndarray)):
        return (source.source if isinstance(source, Audio) else "") or SAMPLES_NAME
    return BYTES_NAME if isinstance(source, bytes | bytearray | memoryview) else file_name(source)


def _open(source: Source) -> tuple[BinaryIO, str]:
    """Return an open file and its name, or raise why there is none."""
    if isinstance(source, bytes | bytearray | memoryview):
        if not len(source):
            raise _failure("audio_empty", BYTES_NAME, "empty")
        return BytesIO(source), BYTES_NAME
    if isinstance(source, AudioSection):
        file, _ = _open(source.path)
        return file, source_name(source)
    if not isinstance(source, str | os.PathLike):
        if hasattr(source, "read"):
            return borrow(source)
        raise ConfigError(
            "invalid_argument",
            f"{type(source).__name__} is no audio",
            "give a path, bytes, a binary file, or an array of samples with its sample_rate",
        )
    path, name = Path(source), os.fspath(source)
    try:
        _check_file(path, name)
        return path.open("rb"), name
    except (FileNotFoundError, NotADirectoryError):
        if is_url(name):
            raise AudioError("audio_missing", *url_refusal(name)) from None
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


def _peaks(planes: Planes) -> list[float]:
    """Return the largest and smallest sample as magnitudes, of each channel or all; both carry NaN along."""
    parts = [planes] if isinstance(planes, np.ndarray) else planes
    return [abs(float(extreme)) for part in parts for extreme in (part.min(), part.max())]


def _info(decoder: Decoder) -> AudioInfo:
    return AudioInfo(decoder.format, decoder.codec, decoder.sample_rate, decoder.channels, decoder.seconds)
