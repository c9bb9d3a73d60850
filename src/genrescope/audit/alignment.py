"""Lay the peaks of two fingerprints over each other, and score how well they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from genrescope.features import FINGERPRINT_SPEC, Fingerprint
from genrescope.types import BoolArray, Float64Array, FloatArray, IntArray

FRAMES_PER_SECOND: Final = FINGERPRINT_SPEC.frames_per_second

_BANDS: Final = FINGERPRINT_SPEC.n_mels
# Peaks agree within so many frames and bands.
_FRAME_TOLERANCE, _BAND_TOLERANCE = 1.25, 0.9
# A share of the peaks within so many frames of the place where an alignment was found must agree. Near the
# place, a speed that is a little off does not matter.
_CHECK_FRAMES, _LEAST_SHARE = 120.0, 0.2
# Alignments that are checked together are so far apart.
_PLACE_FRAMES = 2 * _CHECK_FRAMES + 20.0
# An alignment is then refined on more frames: by slopes, because speeds are tried in steps, and shifts.
_FIT_FRAMES = 240.0
_FIT_SLOPES = np.linspace(-0.01, 0.01, 11)
_FIT_SHIFTS = np.arange(-2.0, 3.0)
# Then by least squares on stretches that double. Fewer peaks in common than this are no alignment.
_LEAST_HITS = 6
# Peaks that lie farther than this from all of the other recording are neither alike nor different.
_LARGEST_GAP = 2.0 * FRAMES_PER_SECOND
# One chord or drum fill agrees in many recordings: a stretch is longer, or half of a short recording.
_LEAST_SECONDS = 4.0
# Share of peaks that agree in two copies of one recording, by that which agrees by chance: low values, so
# that bad copies score as well.
_COPY_RATE, _COPY_RATE_PER_CHANCE = 0.35, 0.6
_LEAST_CHANCE, _MOST_CHANCE = 0.03, 0.3
# Other alignments are this many frames away: farther than a peak is wide, up to 12 s.
_SHIFTS = np.arange(6, 290, 2, dtype=np.float32)
# Every eighth of them first.
_CHANCE_LAGS = (_SHIFTS[::8], np.delete(_SHIFTS, slice(None, None, 8)))
# A peak is looked for in its own cell of a grid and in those around it, the nearest of which is written last.
_NEIGHBORS = sorted(
    ((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)),
    key=lambda step: abs(step[0]) + abs(step[1]),
)[::-1]


@dataclass(frozen=True)
class Alignment:
    """How two recordings lie over each other: second ``t`` of one is ``t / speed + offset`` of the other.

    Attributes
    ----------
    score : float
        Log likelihood ratio, in nats, of the best stretch: copies against unrelated recordings.
    agreement, chance : float
        Share of the peaks of that stretch that both have, and what is expected by chance.
    speed : float
        How much faster the second one plays; 1.03 is 3 %.
    offset : float
        Where the start of the first lies in the second, in seconds.
    span : tuple of float
        The stretch, in seconds of the second.
    """

    score: float
    agreement: float
    chance: float
    speed: float
    offset: float
    span: tuple[float, float]

    @property
    def first_span(self) -> tuple[float, float]:
        """The stretch, in seconds of the first."""
        start, stop = self.span
        return (start - self.offset) * self.speed, (stop - self.offset) * self.speed

    def reversed(self) -> Alignment:
        """Return the same alignment with the second recording as the first."""
        return replace(self, speed=1 / self.speed, offset=-self.offset * self.speed, span=self.first_span)


def plausible(
    firsts: Sequence[Fingerprint], seconds: Sequence[Fingerprint], at: Float64Array, to: Float64Array
) -> BoolArray:
    """Tell which supposed alignments agree near the place where they were found; most are chance.

    Parameters
    ----------
    firsts : sequence of Fingerprint
        Of each alignment, as played at its speed.
    seconds : sequence of Fingerprint
        The others.
    at, to : ndarray, shape (alignments,)
        A frame of the first and the frame of the second that it agrees with.

    Returns
    -------
    ndarray, shape (alignments,), bool
    """
    # All are laid one after the other, so that one look-up serves them all.
    places = _PLACE_FRAMES * np.arange(0.5, len(firsts), dtype=np.float64)
    bands, frames, counts = _near(firsts, at, places, _CHECK_FRAMES)
    grid = PeakGrid(*_near(seconds, to, places, _CHECK_FRAMES + 4.0)[:2], _PLACE_FRAMES * len(firsts))
    agree = grid.nearest(bands, frames + _FIT_SHIFTS[:, np.newaxis].astype(np.float32)) >= 0
    sums = np.concatenate([np.zeros((len(_FIT_SHIFTS), 1), np.int64), np.cumsum(agree, axis=1)], axis=1)
    stops = np.cumsum(counts)
    hits = (sums[:, stops] - sums[:, stops - counts]).max(axis=0)
    enough: BoolArray = hits >= np.maximum(_LEAST_HITS, _LEAST_SHARE * counts)
    return enough


def _near(
    recordings: Sequence[Fingerprint], around: Float64Array, places: Float64Array, reach: float
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return the peaks within ``reach`` frames of a frame of each, moved to places, and their numbers."""
    ranges = [
        one.frames.searchsorted((frame - reach, frame + reach))
        for one, frame in zip(recordings, around.tolist(), strict=True)
    ]
    counts = np.array([stop - start for start, stop in ranges])
    bands = np.concatenate([one.bands[slice(*span)] for one, span in zip(recordings, ranges, strict=True)])
    frames = np.concatenate([one.frames[slice(*span)] for one, span in zip(recordings, ranges, strict=True)])
    return bands, (frames + np.repeat(places - around, counts)).astype(np.float32), counts


def align(
    first: Fingerprint, second: PeakGrid, *, speed: float, at: float, to: float, min_score: float
) -> Alignment | None:
    """Refine a supposed alignment of two fingerprints, which is `plausible`, and score it.

    Parameters
    ----------
    first : Fingerprint
    second : PeakGrid
        Of the other fingerprint.
    speed : float
        How much faster the second plays, within 1 %.
    at, to : float
        A frame of the first, as played at this speed, and the frame of the second that it agrees with.
    min_score : float
        In nats, more than 0.

    Returns
    -------
    Alignment or None
        None where the score is lower.
    """
    moved = first.at_speed(speed)
    slope, intercept = _fitted(moved, second, at, to)
    speed /= slope
    moved = first.at_speed(speed)
    places = moved.frames + np.float32(intercept)
    inside = (places > -1) & (places < second.frames + 1) & second.is_known(places)
    bands, places = moved.bands[inside], places[inside]
    if len(places) < _LEAST_HITS:
        return None
    hits = second.nearest(bands, places) >= 0
    # At the least chance first, which takes no time and tells that most alignments are none.
    chance = _LEAST_CHANCE
    # Of more alignments, no more than needed to see that a pair is none: the score falls as chance rises.
    for lags in _CHANCE_LAGS:
        if _best_stretch(hits, chance)[0] < min_score:
            return None
        chance = max(chance, _chance(bands, places, second, lags))
    score, start, stop = _best_stretch(hits, chance)
    seconds = places[[start, stop - 1]] / FRAMES_PER_SECOND
    least_seconds = min(_LEAST_SECONDS, second.frames / FRAMES_PER_SECOND / 2, first.seconds / 2)
    if score < min_score or seconds[1] - seconds[0] < least_seconds:
        return None
    return Alignment(
        score=score,
        agreement=float(hits[start:stop].mean()),
        chance=chance,
        speed=speed,
        offset=intercept / FRAMES_PER_SECOND,
        span=(float(seconds[0]), float(seconds[1])),
    )


class PeakGrid:
    """Peaks by place, to find those near others.

    Parameters
    ----------
    bands, frames : ndarray, shape (peaks,), float32
        As of `Fingerprint`.
    length : float
        Of the recording, in frames.
    """

    def __init__(self, bands: FloatArray, frames: FloatArray, length: float) -> None:
        self.peak_bands, self.peak_frames = bands, frames
        self.frames = max(length, float(frames[-1]) if len(frames) else 0.0)
        # One cell more at all sides, which places outside are clipped to. Frame by frame, so that peaks that
        # are near in time are near in memory.
        self._grid = np.full((int(self.frames) + 5, _BANDS + 4), -1, np.int32)
        rows, columns = self._cells(self.peak_bands, self.peak_frames)
        numbers = np.arange(len(rows), dtype=np.int32)
        # The neighboring cells first, because a peak's own cell must not be overwritten.
        for row, column in _NEIGHBORS:
            self._grid[rows + row, columns + column] = numbers
        self._grid[0] = self._grid[-1] = -1

    @classmethod
    def of(cls, fingerprint: Fingerprint) -> PeakGrid:
        """Return the grid of a whole fingerprint.

        Parameters
        ----------
        fingerprint : Fingerprint
        """
        return cls(fingerprint.bands, fingerprint.frames, fingerprint.seconds * FRAMES_PER_SECOND)

    def _cells(self, bands: FloatArray, frames: FloatArray) -> tuple[IntArray, IntArray]:
        rows = np.minimum(np.maximum(np.rint(frames) + 1, 0), len(self._grid) - 1)
        columns = np.minimum(np.maximum(np.rint(bands) + 1, 1), _BANDS + 1)
        return rows.astype(np.int64), columns.astype(np.int64)

    def is_known(self, frames: FloatArray) -> BoolArray:
        """Tell where peaks are near: not where all is silent, or where a fingerprint of excerpts has a gap.

        Parameters
        ----------
        frames : ndarray, shape (n,), float32
        """
        bounds = np.concatenate([[-np.inf], self.peak_frames, [np.inf]])
        place = np.searchsorted(self.peak_frames, frames)
        known: BoolArray = np.minimum(frames - bounds[place], bounds[place + 1] - frames) <= _LARGEST_GAP
        return known

    def nearest(self, bands: FloatArray, frames: FloatArray) -> IntArray:
        """Return the number of a peak at each place, or -1.

        Parameters
        ----------
        bands, frames : ndarray, broadcast against each other, float32
            Places.
        """
        rows, columns = self._cells(bands, frames)
        found = self._grid[rows, columns].astype(np.int64)
        near = np.abs(self.peak_frames[found] - frames) <= _FRAME_TOLERANCE
        near &= np.abs(self.peak_bands[found] - bands) <= _BAND_TOLERANCE
        return np.where(near & (found >= 0), found, -1)


def _fitted(first: Fingerprint, second: PeakGrid, at: float, to: float) -> tuple[float, float]:
    """Return slope and intercept of the line from the frames of one to those of the other."""
    near = slice(*np.searchsorted(first.frames, (at - _FIT_FRAMES, at + _FIT_FRAMES)))
    bands, lags = first.bands[near], first.frames[near] - np.float32(at)
    places = lags + (_FIT_SLOPES[:, np.newaxis, np.newaxis] * lags + _FIT_SHIFTS[:, np.newaxis] + to)
    hits = (second.nearest(bands, places.astype(np.float32)) >= 0).sum(axis=-1)
    # Of equally good ones that nearest to what was supposed.
    cost = np.abs(_FIT_SLOPES[:, np.newaxis]) * 10 + np.abs(_FIT_SHIFTS) * 0.1
    best = np.unravel_index(np.argmax(hits - cost), hits.shape)
    slope, shift = 1 + float(_FIT_SLOPES[best[0]]), to + float(_FIT_SHIFTS[best[1]])
    reach = _FIT_FRAMES
    length = max(float(first.frames[-1]) - at, at)
    while True:
        near = slice(*np.searchsorted(first.frames, (at - reach, at + reach)))
        lags = first.frames[near] - np.float32(at)
        found = second.nearest(first.bands[near], (slope * lags + shift).astype(np.float32))
        lags, targets = lags[found >= 0], second.peak_frames[found[found >= 0]]
        if len(lags) >= _LEAST_HITS and np.ptp(lags) > _FIT_FRAMES / 4:
            slope, shift = _line(lags, targets)
        if reach > length or not 0.95 < slope < 1.05:
            return slope, shift - slope * at
        reach *= 2


def _line(abscissas: FloatArray, ordinates: FloatArray) -> tuple[float, float]:
    """Return slope and intercept by least squares."""
    x, y = abscissas.astype(np.float64), ordinates.astype(np.float64)
    centered = x - x.mean()
    slope = float(centered @ y / (centered @ centered))
    return slope, float(y.mean() - slope * x.mean())


def _chance(bands: FloatArray, places: FloatArray, second: PeakGrid, lags: FloatArray) -> float:
    """Return the share of peaks that agree at the best of other alignments, ``lags`` earlier or later.

    Not the mean: recordings with the same beat agree wherever their beats do, and only a copy agrees better
    at one alignment than at the others.
    """
    shifts = np.concatenate([-lags, lags])[:, np.newaxis]
    moved = np.mod(places + shifts, np.float32(second.frames + 1))
    rate = float((second.nearest(bands, moved) >= 0).mean(axis=1).max())
    return min(max(rate, _LEAST_CHANCE), _MOST_CHANCE)


def _best_stretch(hits: BoolArray, chance: float) -> tuple[float, int, int]:
    """Return the largest sum of log likelihood ratios of consecutive peaks, and the range of these peaks."""
    copies = _COPY_RATE + _COPY_RATE_PER_CHANCE * chance
    gain = np.log(copies / chance), np.log((1 - copies) / (1 - chance))
    sums: Float64Array = np.concatenate([[0.0], np.cumsum(np.where(hits, *gain))])
    lowest = np.minimum.accumulate(sums)
    stop = int(np.argmax(sums - lowest))
    return float(sums[stop] - lowest[stop]), int(np.argmin(sums[: stop + 1])), stop
