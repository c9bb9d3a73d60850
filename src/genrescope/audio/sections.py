"""A part of a file as if it were a file: a track of an album that is one file."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from genrescope.audio.decoders import Decoder
from genrescope.audio.mixing import Planes


class SectionDecoder:
    """A decoder that begins and ends within the file of another one; see `Decoder`.

    Parameters
    ----------
    decoder : Decoder
        Of the whole file; closed with this one.
    start : float
        In seconds.
    end : float or None
        In seconds; None: the end of the file.
    """

    def __init__(self, decoder: Decoder, start: float, end: float | None) -> None:
        self._decoder = decoder
        self._first = round(start * decoder.sample_rate)
        self._length = sys.maxsize if end is None else round(end * decoder.sample_rate) - self._first
        self._ends_within = end is not None
        self.format, self.codec = decoder.format, decoder.codec
        self.sample_rate, self.channels = decoder.sample_rate, decoder.channels
        whole = decoder.seconds
        length = self._length / self.sample_rate
        self.seconds: float | None = (
            (length if self._ends_within else None) if whole is None else min(length, whole - start)
        )

    @property
    def truncated(self) -> bool:
        """See `Decoder`."""
        return self._decoder.truncated

    @truncated.setter
    def truncated(self, value: bool) -> None:
        """Pass ``value`` on to the decoder of the file."""
        self._decoder.truncated = value

    @property
    def header_mismatch(self) -> bool:
        """See `Decoder`."""
        return self._decoder.header_mismatch

    @header_mismatch.setter
    def header_mismatch(self, value: bool) -> None:
        """Pass ``value`` on to the decoder of the file."""
        self._decoder.header_mismatch = value

    @property
    def seekable(self) -> bool:
        """See `Decoder`."""
        return self._decoder.seekable

    @seekable.setter
    def seekable(self, value: bool) -> None:
        """Pass ``value`` on to the decoder of the file."""
        self._decoder.seekable = value

    @property
    def failure(self) -> OSError | None:
        """See `Decoder`."""
        return self._decoder.failure

    def limit_reading(self, *, limited: bool) -> None:
        """Limit the reading of excerpts where ``limited``; see `Decoder`."""
        self._decoder.limit_reading(limited=limited)

    def iter_blocks(self, start: int, size: int) -> Iterator[Planes]:
        """Yield blocks of samples from ``start`` of the section on, ``size`` at a time; see `Decoder`."""
        left = self._length - start
        if left <= 0:
            return
        for planes in self._decoder.iter_blocks(self._first + start, size):
            count = len(planes[0])
            # Slices, as of any other block: of an array (channels, n), or of each of a list of channels.
            yield planes if count <= left else _first_samples(planes, left)
            left -= count
            if left <= 0:
                return

    def close(self) -> None:
        """Close the decoder of the file."""
        self._decoder.close()


def _first_samples(planes: Planes, count: int) -> Planes:
    return planes[:, :count] if isinstance(planes, np.ndarray) else [plane[:count] for plane in planes]
