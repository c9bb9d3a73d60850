"""Where a clip is cut into the pieces that a model sees, and how much each piece counts.

Pieces start at 0, hop, 2 hop, ... as long as they fit. Sound left over behind the last of them gets one more
piece, aligned to the end of the clip: it overlaps its predecessor and holds real sound instead of padding. A
rest shorter than 5 % of a piece and than 0.25 s gets none; its seconds are added to the last piece's weight,
so that one sample more or less from a resampler does not change the number of pieces. A clip shorter than one
piece fills it by repeating from its start.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from genrescope.errors import AudioError, ConfigError
from genrescope.types import Audio, Float64Array, FloatArray, IntArray, Segments

NEGLIGIBLE_SHARE = 0.05
NEGLIGIBLE_SECONDS = 0.25


def split(clip: Audio, *, seconds: float, hop_seconds: float | None = None) -> Segments:
    """Cut a clip into segments.

    Parameters
    ----------
    clip : Audio
    seconds : float
        Length of a segment; ``int(round(seconds * clip.sample_rate))`` samples.
    hop_seconds : float, optional
        From one start to the next; at most ``seconds``. None: ``seconds``, no overlap.

    Returns
    -------
    Segments
        ``samples`` of shape (segments, n), at least one segment; ``weights`` sum to the clip's length.

    Raises
    ------
    AudioError
        ``audio_no_samples`` for an empty clip.
    ConfigError
        ``invalid_argument`` for a length or hop that makes no sense.
    """
    if not len(clip.samples):
        raise _no_samples(clip.source or "the clip")
    _, hop = _grid(clip.sample_rate, seconds, hop_seconds)
    # A batch that no clip of this length can fill comes out whole, at the end.
    batch = len(clip.samples) // hop + 2
    (segments,) = split_stream(
        [clip.samples], clip.sample_rate, seconds=seconds, hop_seconds=hop_seconds, batch=batch
    )
    return segments


def segment_grid(
    total_seconds: float, *, seconds: float, hop_seconds: float | None = None
) -> tuple[Float64Array, Float64Array]:
    """Lay out segments where there are no samples to cut, only a length; the rule of `split`.

    Parameters
    ----------
    total_seconds : float
        Length of the track.
    seconds, hop_seconds : float
        Length of a segment, and from the start of one to that of the next; None: as long as a segment.

    Returns
    -------
    starts, weights : ndarray, shape (segments,), seconds
        To the microsecond.

    Raises
    ------
    AudioError, ConfigError
        As `split`.
    """
    ticks = 1_000_000
    length, hop = _grid(ticks, seconds, hop_seconds)
    total = round(total_seconds * ticks)
    if total < 1:
        raise _no_samples("a clip of no length")
    starts, ends = _last_spans(total, length, hop, ticks)
    return starts / ticks, np.diff(ends, prepend=0) / ticks


def split_stream(
    blocks: Iterable[FloatArray],
    sample_rate: int,
    *,
    seconds: float,
    hop_seconds: float | None = None,
    batch: int = 4,
) -> Iterator[Segments]:
    """Cut a clip that arrives in blocks into the same segments as `split`, ``batch`` at a time.

    Holds one batch and one block in memory, and one full segment back: the end of the clip decides what the
    last ones weigh and where they lie.

    Parameters
    ----------
    blocks : iterable of ndarray, shape (n,), float32
        Consecutive pieces of the clip, of any lengths.
    sample_rate : int
        In Hz.
    seconds, hop_seconds : float
        As for `split`.
    batch : int
        Largest number of segments in a batch.

    Raises
    ------
    AudioError, ConfigError
        As `split`.
    """
    length, hop = _grid(sample_rate, seconds, hop_seconds)
    if batch < 1:
        raise ConfigError("invalid_argument", f"batch = {batch} segments", "give at least 1")
    regular: IntArray = np.arange(batch, dtype=np.int64) * hop
    covered = 0
    for base, samples, is_last in _overlapping_chunks(blocks, size=batch * hop + length, step=batch * hop):
        starts, ends = regular, regular + length
        if is_last:
            starts, ends = _last_spans(len(samples), length, hop, sample_rate)
        for first in range(0, len(starts), batch):
            part = slice(first, first + batch)
            yield _gather(samples, base, starts[part], ends[part], covered, length, sample_rate)
            covered = base + int(ends[part][-1])


def _overlapping_chunks(
    blocks: Iterable[FloatArray], *, size: int, step: int
) -> Iterator[tuple[int, FloatArray, bool]]:
    """Join blocks into overlapping stretches of at least ``size`` samples, ``step`` apart.

    Yields the place of each stretch in the clip, its samples, and whether it is the last one, which holds
    what is left: fewer than ``size`` samples, but at least ``size - step`` if there was one before it.
    """
    pending: list[FloatArray] = []
    held = base = 0
    for block in blocks:
        pending.append(block)
        held += len(block)
        if held < size:
            continue
        samples = np.concatenate(pending)
        while len(samples) >= size:
            yield base, samples, False
            base += step
            samples = samples[step:]
        pending, held = [samples], len(samples)
    if not held:
        raise _no_samples("the stream")
    yield base, pending[0] if len(pending) == 1 else np.concatenate(pending), True


def _grid(sample_rate: int, seconds: float, hop_seconds: float | None) -> tuple[int, int]:
    """Return length and hop in samples."""
    hop_seconds = seconds if hop_seconds is None else hop_seconds
    length, hop = _samples("seconds", seconds, sample_rate), _samples("hop_seconds", hop_seconds, sample_rate)
    if hop > length:
        raise ConfigError(
            "invalid_argument",
            f"hop_seconds = {hop_seconds:g} is more than seconds = {seconds:g}: sound would be left out",
            "give a hop of at most the segment's length",
        )
    return length, hop


def _samples(name: str, seconds: float, sample_rate: int) -> int:
    count = round(seconds * sample_rate) if math.isfinite(seconds) else 0
    if count < 1:
        raise ConfigError(
            "invalid_argument", f"{name} = {seconds} holds no samples", "give a positive number of seconds"
        )
    return count


def _last_spans(n: int, length: int, hop: int, sample_rate: int) -> tuple[IntArray, IntArray]:
    """Return starts and ends of the segments over the last ``n`` samples of a clip; the ends reach ``n``."""
    starts: IntArray = np.arange(0, max(n - length, 0) + 1, hop, dtype=np.int64)
    rest = n - (int(starts[-1]) + length)
    if rest > 0 and not _is_negligible(rest, length, sample_rate):
        starts = np.append(starts, n - length)
    ends = starts + length
    ends[-1] = n
    return starts, ends


def _is_negligible(rest: int, length: int, sample_rate: int) -> bool:
    return rest < NEGLIGIBLE_SHARE * length and rest < NEGLIGIBLE_SECONDS * sample_rate


def _gather(
    samples: FloatArray,
    base: int,
    starts: IntArray,
    ends: IntArray,
    covered: int,
    length: int,
    sample_rate: int,
) -> Segments:
    """Gather the segments at ``starts`` of ``samples``, which begin ``base`` samples into the clip.

    ``covered`` is how far into the clip the segments before these reach.
    """
    if len(samples) < length:
        samples = np.resize(samples, length)  # repeats it from its start
    if (np.diff(starts) == length).all():  # end to end: no need to copy
        pieces = samples[starts[0] : starts[-1] + length].reshape(-1, length)
    else:
        pieces = np.stack([samples[start : start + length] for start in starts])
    reached: IntArray = np.diff(base + ends, prepend=covered)
    return Segments(
        samples=pieces.astype(np.float32, copy=False),
        sample_rate=sample_rate,
        starts=(base + starts) / sample_rate,
        weights=reached / sample_rate,
    )


def _no_samples(source: str) -> AudioError:
    return AudioError("audio_no_samples", f"{source}: no samples to cut", "give a clip with sound in it")
