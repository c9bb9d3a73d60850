"""Two decoders, libsndfile and FFmpeg, behind one protocol: blocks of samples at the file's own rate.

libsndfile (through soundfile) comes first. FFmpeg (through PyAV) takes what libsndfile cannot open, MP3, and
the files whose length libsndfile would have to guess, because it stops reading at its guess.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO, Protocol

import numpy as np

from genrescope.audio.ffmpeg import FFmpegDecoder
from genrescope.audio.files import DecoderFile
from genrescope.audio.header import HeaderInfo, inspect_header, log_reports_truncation
from genrescope.audio.mixing import Planes
from genrescope.errors import AudioError
from genrescope.types import FloatArray

# Two MPEG frames: encoders disagree about whether the frame that states the length counts itself.
_TOLERANCE_FRAMES = 2304
# Beyond these a header is damaged, and converting the rate could fill the memory.
_MIN_RATE, _MAX_RATE = 1_000, 10_000_000


class Decoder(Protocol):
    """What both decoders offer.

    Attributes
    ----------
    format, codec : str
        Container and coding, in the words of the library.
    sample_rate : int
        In Hz.
    channels : int
    seconds : float or None
        The length that the file states; None where it states none.
    truncated : bool
        Turns true when less than that is found.
    header_mismatch : bool
        Turns true when more than that is found.
    seekable : bool
        Whether an excerpt can be decoded without all before it.
    failure : OSError or None
        The last failure of the system to read the file.
    """

    format: str
    codec: str
    sample_rate: int
    channels: int
    seconds: float | None
    truncated: bool
    header_mismatch: bool
    seekable: bool

    @property
    def failure(self) -> OSError | None:
        """The last failure of the system to read the file."""
        ...

    def limit_reading(self, *, limited: bool) -> None:
        """Let the next excerpt read only a share of the file; or remove the limit.

        Parameters
        ----------
        limited : bool
            False: read without a limit.
        """
        ...

    def iter_blocks(self, start: int, size: int) -> Iterator[Planes]:
        """Yield blocks: an array of shape (channels, n), or a list of arrays of shape (n,), each a new one.

        May be called again, for another start, when the iteration before is given up.

        Parameters
        ----------
        start : int
            First sample of a channel, counted from 0.
        size : int
            About how many samples a block is to have.
        """
        ...

    def close(self) -> None:
        """Release the library's handles; the file stays open."""
        ...


def open_decoder(file: BinaryIO, name: str, header: HeaderInfo | None = None) -> Decoder:
    """Choose the decoder for an open file, by trying.

    Parameters
    ----------
    file : binary file, seekable
    name : str
        What to call it in an error.
    header : HeaderInfo, optional
        Of this file, where it was inspected already.

    Returns
    -------
    Decoder

    Raises
    ------
    AudioError
        ``audio_unreadable`` when neither library knows the format, or the header makes no sense.
    """
    header = header or inspect_header(file)
    try:
        decoder = _first_able(file, name, header)
    except MemoryError as error:
        raise _too_large(name) from error
    if not _MIN_RATE <= decoder.sample_rate <= _MAX_RATE or not decoder.channels:
        decoder.close()
        raise _unreadable(name, f"{decoder.channels} channels at {decoder.sample_rate} Hz, says its header")
    decoder.truncated |= header.truncated
    decoder.header_mismatch |= header.header_mismatch
    if header.chained or (header.header_mismatch and not header.corrects_length):
        decoder.seconds = None
    return decoder


def _first_able(file: BinaryIO, name: str, header: HeaderInfo) -> Decoder:
    file.seek(0)
    by_libsndfile = None if header.needs_ffmpeg or header.is_mpeg else _open_with_libsndfile(file, header)
    # In Ogg, libsndfile takes half as long again as FFmpeg for Vorbis, and four times as long for Opus.
    if by_libsndfile is not None and by_libsndfile.knows_length and by_libsndfile.format != "ogg":
        return by_libsndfile
    file.seek(0)
    try:
        return FFmpegDecoder(file, header)
    except MemoryError:
        raise
    # PyAV passes on errors of many types from damaged files, so that no list of them is complete.
    except Exception as error:
        file.seek(0)
        if by_libsndfile is None and not header.is_mpeg:
            by_libsndfile = _open_with_libsndfile(file, header)
        if by_libsndfile is not None:
            return by_libsndfile
        raise _unreadable(name, _reason(error)) from error


def decode(decoder: Decoder, name: str, start: int, size: int) -> Iterator[Planes]:
    """Yield the blocks of a decoder; whatever it raises becomes an error of the file.

    Parameters
    ----------
    decoder : Decoder
    name : str
        What to call the file in an error.
    start, size : int
        As of `Decoder.iter_blocks`.

    Raises
    ------
    AudioError
        ``audio_unreadable``, ``audio_read_failed`` where the system fails to read it, or ``memory_limit``.
    """
    try:
        yield from decoder.iter_blocks(start, size)
    except MemoryError as error:
        raise _too_large(name) from error
    except Exception as error:
        raise _unreadable(name, _reason(error)) from error
    if decoder.failure is not None:
        raise AudioError(
            "audio_read_failed",
            f"{name}: cannot be read to its end ({_reason(decoder.failure)})",
            "check the disk or the network that it lies on, and try again",
        ) from decoder.failure


def _too_large(name: str) -> AudioError:
    return AudioError(
        "memory_limit",
        f"{name}: needs more memory than there is",
        "give a shorter or smaller file, or allow more memory",
    )


def _unreadable(name: str, why: str) -> AudioError:
    return AudioError(
        "audio_unreadable",
        f"{name}: not audio that can be decoded ({why})",
        "check that it plays; if it does, convert it: ffmpeg -i FILE out.flac",
    )


def _open_with_libsndfile(file: BinaryIO, header: HeaderInfo) -> SoundFileDecoder | None:
    try:
        return SoundFileDecoder(file, header)
    except MemoryError:
        raise
    # A TypeError, too: soundfile refuses names that end in .raw, whatever the file holds.
    except Exception:
        return None


class SoundFileDecoder:
    """libsndfile: wav, flac, ogg, opus, aiff, au and their relatives.

    Parameters
    ----------
    file : binary file, seekable
    header : HeaderInfo
        Of this file.
    """

    def __init__(self, file: BinaryIO, header: HeaderInfo) -> None:
        self._source, self._header = file, header
        self._callbacks = DecoderFile(file, header.patches)
        self._is_limited = False
        descriptor = None if header.patches else _descriptor(file)
        self._is_direct = descriptor is not None
        self._file = _open_sound_file(descriptor or self._callbacks)
        self.format = str(self._file.format).lower()
        self.codec = str(self._file.subtype).lower()
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self._frames = int(self._file.frames)
        self._moved = False
        self.header_mismatch = False
        self.seekable = True
        self.truncated = log_reports_truncation(self._file.extra_info)
        # libsndfile gives 2**63 - 1 frames where the file does not say.
        self.knows_length = 0 < self._frames < 2**62
        self.seconds = self._frames / self.sample_rate if self.knows_length else None

    def iter_blocks(self, start: int, size: int) -> Iterator[Planes]:
        """Yield blocks of samples from ``start`` on, ``size`` at a time; see `Decoder`."""
        # A search in a damaged FLAC file may read all of it at every step, and what libsndfile reads without
        # callbacks cannot be counted.
        if self._is_limited and self._is_direct and self.format == "flac":
            self._file.close()
            self._callbacks.seek(0)
            self._file, self._is_direct, self._moved = _open_sound_file(self._callbacks), False, False
        position = self._seek(start)
        while position is not None and position < self._frames:
            buffer = np.empty((size, self.channels), dtype=np.float32)
            found = self._read(buffer, position)
            if not found:
                is_short = position < self._frames - _TOLERANCE_FRAMES
                self.truncated |= is_short
                # libsndfile ends at the first damaged frame of FLAC.
                if is_short and self.format == "flac" and not self._is_limited:
                    yield from self._continue_with_ffmpeg(position, size)
                return
            position += found
            yield buffer[:found].T

    def _continue_with_ffmpeg(self, position: int, size: int) -> Iterator[Planes]:
        """Yield what follows damage: FFmpeg leaves out a damaged frame, and goes on with the next one."""
        try:
            decoder = FFmpegDecoder(self._source, self._header)
        except MemoryError:
            raise
        except Exception:
            return
        # Seeks may fail in a damaged file, or search all of it.
        decoder.seekable = False
        with closing(decoder):
            yield from decoder.iter_blocks(position, size)

    def _seek(self, start: int) -> int | None:
        """Go to a sample; None where the file cannot be read from there."""
        try:
            # A new handle is at the start already, and in a damaged file a seek can fail.
            moved, self._moved = self._moved, True
            return int(self._file.seek(min(start, self._frames))) if start or moved else 0
        except Exception:
            self.truncated = True
            return None

    def _read(self, buffer: FloatArray, position: int) -> int:
        """Fill ``buffer``; return how many frames are good, also when the decoder failed half-way."""
        try:
            return len(self._file.read(out=buffer))
        except Exception:
            self.truncated = True
        try:
            return max(0, int(self._file.tell()) - position)
        except Exception:
            return 0

    @property
    def failure(self) -> OSError | None:
        """See `Decoder`."""
        return self._callbacks.failure

    def limit_reading(self, *, limited: bool) -> None:
        """Limit the reading of excerpts where ``limited``; see `Decoder`."""
        self._is_limited = limited
        self._callbacks.limit_reading(limited=limited)

    def close(self) -> None:
        """Close libsndfile's handle."""
        self._file.close()


def _open_sound_file(source: int | DecoderFile) -> Any:
    import soundfile

    file = soundfile.SoundFile(source)
    # Where it can, soundfile seeks after each read to where the file is already, which costs time.
    file.seekable = lambda: False
    return file


def _descriptor(file: BinaryIO) -> int | None:
    """Open a file on disk once more, for libsndfile to read without a call to Python each time."""
    name = getattr(file, "name", None)
    if not isinstance(name, str) or os.name != "posix":
        return None
    return os.open(name, os.O_RDONLY)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
