"""What audio can come from besides a path: bytes and file objects, which are files, and arrays of samples."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from genrescope.audio.mixing import Planes
from genrescope.errors import AudioError, ConfigError
from genrescope.types import Audio, FloatArray

SAMPLES_NAME, BYTES_NAME, FILE_NAME = "<samples>", "<bytes>", "<file>"
# More columns than any layout of loudspeakers has: the array is most likely (channels, n).
_MAX_CHANNELS = 64
# A scheme of at least two letters: one letter is a drive of Windows. One slash: as `pathlib.Path` has it.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/])")
_MIN_RATE, _MAX_RATE = 1_000, 10_000_000
# Full scale of integers, as decoders have it; 8 bits without sign are centered at 128, as in WAV.
_FULL_SCALE = {"int8": 2.0**7, "uint8": 2.0**7, "int16": 2.0**15, "int32": 2.0**31}


class BorrowedFile:
    """A file object of the caller's: read from its start, left open, its position restored.

    Its name is not passed on: it may be that of a member of an archive, or of another file by now.

    Parameters
    ----------
    file : binary file, seekable
        Opened for reading.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = file.tell()

    def read(self, count: int = -1) -> bytes:
        """Return up to ``count`` bytes; negative: all."""
        return self._file.read(count)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to ``offset``, counted as ``whence`` says in ``io.IOBase.seek``, and return the position."""
        self._file.seek(offset, whence)
        return self._file.tell()

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._file.tell()

    def close(self) -> None:
        """Restore the position, and leave the file open."""
        with suppress(OSError, ValueError):
            self._file.seek(self._position)


def file_name(file: object) -> str:
    """Return the name that a ``file`` object states, or ``<file>``; a number is a descriptor, no name."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) and name else FILE_NAME


def borrow(file: object) -> tuple[BinaryIO, str]:
    """Return a file object as `BorrowedFile`, and its name; what cannot be sought is read into memory.

    Parameters
    ----------
    file : object
        With a method ``read``.

    Raises
    ------
    AudioError
        ``audio_empty``; ``audio_unreadable``: closed, or not open for reading; ``audio_read_failed``.
    ConfigError
        ``invalid_argument``: opened as text.
    """
    stream, name = cast(BinaryIO, file), file_name(file)
    try:
        if not isinstance(stream.read(0), bytes):
            raise ConfigError("invalid_argument", f"{name}: opened as text", "open it with mode 'rb'")
        # A stream of the network, a pipe; some that can be sought do not say so.
        if not getattr(stream, "seekable", lambda: True)():
            content = stream.read()
            if not content:
                raise _empty(name)
            return io.BytesIO(content), name
        borrowed = BorrowedFile(stream)
        if not borrowed.seek(0, io.SEEK_END):
            raise _empty(name)
        borrowed.seek(0)
    except (AttributeError, ValueError) as reason:  # ValueError: closed, or not for reading
        raise AudioError(
            "audio_unreadable", f"{name}: cannot be read: {reason}", "give a file that is open for reading"
        ) from None
    except OSError as reason:
        raise AudioError(
            "audio_read_failed",
            f"{name}: cannot be read: {reason.strerror or reason}",
            "check the disk or the network that it lies on, and try again",
        ) from None
    return cast(BinaryIO, borrowed), name


def is_url(name: str) -> bool:
    """Return whether a name is the address of something in a network, such as ``https://...``.

    Parameters
    ----------
    name : str
        Also one that went through `pathlib.Path`, which leaves one slash of two.
    """
    return _URL.match(name) is not None


def url_refusal(name: str) -> tuple[str, str]:
    """Return message and hint for an address in place of a file.

    Parameters
    ----------
    name : str
        As of `is_url`.
    """
    address = _URL.sub(r"\1://", name, count=1)
    return (
        f"{address}: an address, not a file; nothing is downloaded",
        f"download it first, or pipe it in: curl -sL {address} | genrescope classify -",
    )


class SampleDecoder:
    """Samples in memory in place of a decoder: what is checked and mixed of a file is of an array, too.

    Parameters
    ----------
    source : Audio or ndarray, shape (n,) or (n, channels)
        Floats, 1 being full scale, or integers of 8, 16 or 32 bits.
    sample_rate : int or None
        In Hz, of an array; None for `Audio`, which has its own.

    Raises
    ------
    ConfigError
        ``invalid_argument``: no sample rate, or one beside `Audio`; an array of another shape or type.
    """

    format = "samples"
    failure: OSError | None = None
    seekable = True
    header_mismatch = False

    def __init__(self, source: Audio | npt.NDArray[np.generic], sample_rate: int | None) -> None:
        if isinstance(source, Audio):
            if sample_rate is not None:
                raise rate_beside_audio(sample_rate)
            samples: npt.NDArray[np.generic] = source.samples
            rate, flags = source.sample_rate, source.flags
        else:
            samples, rate, flags = source, _checked_rate(sample_rate), ()
        self._planes = _as_planes(samples)
        self.codec = samples.dtype.name
        self.sample_rate = rate
        self.channels = len(self._planes)
        self.seconds: float | None = self._planes.shape[1] / rate
        self.truncated = "truncated" in flags

    def limit_reading(self, *, limited: bool) -> None:
        """Do nothing, whether ``limited`` or not: nothing is read."""

    def iter_blocks(self, start: int, size: int) -> Iterator[Planes]:
        """Yield copies of the samples from ``start`` on, ``size`` at a time; see `Decoder`."""
        for first in range(start, self._planes.shape[1], size):
            yield np.array(self._planes[:, first : first + size])

    def close(self) -> None:
        """Do nothing: nothing is open."""


def rate_beside_audio(sample_rate: int) -> ConfigError:
    """Build the error for a ``sample_rate`` that was given beside audio that has its own."""
    return ConfigError(
        "invalid_argument",
        f"sample_rate = {sample_rate} beside audio that has its own",
        "leave it out: it is for samples in an array",
    )


def _checked_rate(rate: int | None) -> int:
    # Some libraries state the rate as a float.
    if rate is None or not _MIN_RATE <= rate <= _MAX_RATE or rate != int(rate):
        raise ConfigError(
            "invalid_argument",
            f"samples at {rate} Hz" if rate is not None else "samples without a sample rate",
            f"give their sample_rate in Hz, from {_MIN_RATE} to {_MAX_RATE}",
        )
    return int(rate)


def _as_planes(samples: npt.NDArray[np.generic]) -> FloatArray:
    """Return samples as (channels, n), float32, 1 being full scale."""
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 0 < samples.shape[1] <= _MAX_CHANNELS):
        raise ConfigError(
            "invalid_argument",
            f"samples of shape {samples.shape}",
            "give shape (n,), or (n, channels) as soundfile reads it; transpose what is (channels, n)",
        )
    values = scale_samples(samples)
    return values[None] if values.ndim == 1 else values.T


def scale_samples(samples: npt.NDArray[np.generic]) -> FloatArray:
    """Return samples as float32, 1 being full scale, as decoders do.

    Parameters
    ----------
    samples : ndarray
        Floats, or integers of 8, 16 or 32 bits.

    Returns
    -------
    ndarray, float32
        Of the same shape, a copy. What is too large for float32 is infinite.

    Raises
    ------
    ConfigError
        ``invalid_argument``: samples of another type.
    """
    kind = samples.dtype.name
    if not np.issubdtype(samples.dtype, np.floating) and kind not in _FULL_SCALE:
        raise ConfigError(
            "invalid_argument",
            f"samples of type {kind}",
            f"give floats from -1 to 1, or {', '.join(_FULL_SCALE)}",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        values = samples.astype(np.float32)
    if kind in _FULL_SCALE:
        if kind == "uint8":
            values -= np.float32(128)
        values *= np.float32(1 / _FULL_SCALE[kind])
    return values


def _empty(name: str) -> AudioError:
    return AudioError("audio_empty", f"{name}: empty", "copy or download it again; it has 0 bytes")
