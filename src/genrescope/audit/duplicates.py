"""Near-duplicate recordings: the same sound re-encoded, shifted, re-cut, faster or slower.

Two steps. Candidates: hashes of all recordings are sorted; recordings that share several hashes at the same
distance in time are candidates, as in Wang's "An Industrial-Strength Audio Search Algorithm" (ISMIR 2003). So
that copies at another speed are found, hashes of the peaks moved to some speeds are looked up as well.
Verification: the peaks of both are laid over each other, and the score is that of the best stretch, a log
likelihood ratio of "the same recording" against "chance", as local alignment of sequences has it (Karlin and
Altschul, "Methods for assessing the statistical significance of molecular sequence features by using general
scoring schemes", PNAS 87, 1990). How often peaks agree by chance is measured for each pair, at other
alignments of the same two recordings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from genrescope.audit.alignment import Alignment, PeakGrid, align
from genrescope.audit.fingerprint import (
    FINGERPRINT_SPEC,
    FRAMES_PER_SECOND,
    Fingerprint,
    UInt32Array,
    bands_at_speed,
    hash_peaks,
)
from genrescope.errors import ConfigError
from genrescope.types import FloatArray, IntArray

Int32Array = npt.NDArray[np.int32]
DuplicateKind = Literal["same_recording", "recut", "faster", "slower"]

MIN_SCORE: Final = 24.0
"""Score from which on a pair is a duplicate: the highest of 2 million pairs of unrelated music was 23."""

SPEEDS: Final = (1.0, 1.02, 1.04)
"""Speeds whose hashes are looked up; each finds copies up to 1 % faster and slower."""

_BANDS = FINGERPRINT_SPEC.n_mels
# An index keeps a quarter of the hashes, which find as many copies as all, and fewer from about 2 million
# seconds of sound on: 12 bytes each, and as many again while it is built.
_MAX_SHARE, _MAX_HASHES = 0.25, 45_000_000
_HASHES_PER_PEAK = 8.5
# Of a hash that more recordings have, such as one of a drum machine, only these are looked at.
_MAX_MATCHES = 100
# Votes for the same distance in time are counted in steps of this many frames, overlapping by half.
_BIN_FRAMES = 4
_MIN_VOTES = 2
# So many alignments of a pair are verified, fewer if one has twice the score that is needed.
_MAX_ALIGNMENTS, _CERTAIN = 3, 2.0
# So many pairs are verified for each recording, and all with so many votes.
_PAIRS_PER_RECORDING, _MANY_VOTES = 2.5, 8
_BATCH_PEAKS = 60_000
# Recordings of a batch are laid one after the other, so far apart that no hash joins two of them.
_GAP_FRAMES = 64.0

# Speeds that differ by less are the same: clocks of players and recorders are not more exact.
_SAME_SPEED = 0.003
_SAME_COVER, _SAME_OFFSET_SECONDS = 0.9, 0.3


@dataclass(frozen=True)
class Duplicate:
    """Two recordings, or parts of them, that are the same sound.

    Attributes
    ----------
    first, second : int
        Numbers of the recordings; ``first < second``.
    kind : {"same_recording", "recut", "faster", "slower"}
        The same from start to end; with another start or end; or the second one is faster or slower.
    score : float
        Log likelihood ratio of the best stretch, in nats; see `MIN_SCORE`.
    agreement : float
        Share of the peaks of that stretch that both have, from 0 to 1.
    offset : float
        Where the first recording's start lies in the second, in seconds; negative if before its start.
    speed : float
        How much faster the second one is; 1.03 is 3 %.
    first_span, second_span : tuple of float
        The stretch in both, from and to, in seconds.
    """

    first: int
    second: int
    kind: DuplicateKind
    score: float
    agreement: float
    offset: float
    speed: float
    first_span: tuple[float, float]
    second_span: tuple[float, float]


def find_near_duplicates(
    fingerprints: Sequence[Fingerprint],
    *,
    min_score: float = MIN_SCORE,
    speeds: Sequence[float] = SPEEDS,
    threads: int = 2,
) -> list[Duplicate]:
    """Return all pairs of recordings that are the same sound.

    Time grows little faster than the number of recordings: pairs that share no hashes are never looked at.

    Parameters
    ----------
    fingerprints : sequence of Fingerprint
    min_score : float
        Pairs with a lower score are left out.
    speeds : sequence of float
        Speeds, 1 or more, to look for; in both directions. ``(1.0,)``: no change of speed.
    threads : int
        How many batches are worked on at once.

    Returns
    -------
    list of Duplicate
        At most one for a pair, by falling score.

    Raises
    ------
    ConfigError
        ``invalid_argument``: a speed below 1.
    """
    index = FingerprintIndex(fingerprints)
    found: list[Duplicate] = []
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for part in pool.map(lambda batch: index.search(batch, min_score, speeds), index.batches()):
            found += part
    best: dict[tuple[int, int], Duplicate] = {}
    for pair in sorted(found, key=lambda pair: (-pair.score, pair.first, pair.second)):
        best.setdefault((pair.first, pair.second), pair)
    return list(best.values())


class FingerprintIndex:
    """Hashes of many fingerprints, sorted: 12 bytes for each.

    Parameters
    ----------
    fingerprints : sequence of Fingerprint
    share : float, optional
        Which part of all hashes to keep; None: a quarter, or as many as make 45 million.
    """

    def __init__(self, fingerprints: Sequence[Fingerprint], share: float | None = None) -> None:
        self.fingerprints = fingerprints
        peaks = sum(map(len, fingerprints))
        usual = min(_MAX_SHARE, _MAX_HASHES / max(peaks * _HASHES_PER_PEAK, 1))
        self.share = usual if share is None else share
        parts = [self._hashes(batch, 1.0) for batch in self.batches()]
        hashes = np.concatenate([part.hashes for part in parts]) if parts else np.zeros(0, np.uint32)
        # The place in the lower half: sorting keys with it is faster than an indirect sort.
        keys = hashes.astype(np.uint64) << np.uint64(32) | np.arange(len(hashes), dtype=np.uint64)
        keys.sort()
        order = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        del keys
        self._values = hashes[order]
        self._tracks = np.concatenate([part.tracks for part in parts] or [np.zeros(0, np.int32)])[order]
        self._frames = np.concatenate([part.frames for part in parts] or [np.zeros(0, np.float32)])[order]

    def __len__(self) -> int:
        return len(self._values)

    def batches(self) -> Iterator[range]:
        """Yield the numbers of all recordings in batches of about the same number of peaks."""
        start = held = 0
        for number, fingerprint in enumerate(self.fingerprints):
            held += len(fingerprint)
            if held >= _BATCH_PEAKS:
                yield range(start, number + 1)
                start, held = number + 1, 0
        if start < len(self.fingerprints):
            yield range(start, len(self.fingerprints))

    def search(
        self, batch: range, min_score: float = MIN_SCORE, speeds: Sequence[float] = SPEEDS
    ) -> list[Duplicate]:
        """Return the duplicates of some of the recordings.

        Parameters
        ----------
        batch : range
            Numbers of these recordings. Of two at the same speed, the first finds the second; of two at
            different speeds, the slower one finds the faster one.
        min_score, speeds : float, sequence of float
            As of `find_near_duplicates`.

        Raises
        ------
        ConfigError
            As `find_near_duplicates`.
        """
        if any(speed < 1 for speed in speeds):
            raise ConfigError("invalid_argument", f"speeds {speeds}", "give speeds of 1 or more")
        parts = [part for speed in speeds for part in self._candidates(batch, speed)]
        found = []
        for first, second, alignments in _chosen(_concatenated(parts), len(batch)):
            if pair := self._verify(first, second, alignments, min_score):
                found.append(pair)
        return found

    def _verify(
        self, number: int, other: int, supposed: list[_Supposed], min_score: float
    ) -> Duplicate | None:
        """Return the best of the supposed alignments of a pair, those with the most votes first."""
        first, second = self.fingerprints[number], PeakGrid(self.fingerprints[other])
        best: Duplicate | None = None
        tried: list[_Supposed] = []
        for one in supposed:
            if 2 * one.votes < supposed[0].votes:
                break
            if any(one.is_like(earlier) for earlier in tried):
                continue
            tried.append(one)
            bound = max(min_score, best.score if best else 0.0)
            alignment = align(first, second, speed=one.speed, at=one.at, to=one.to, min_score=bound)
            if alignment:
                best = _duplicate(number, other, alignment, self.fingerprints)
            if len(tried) == _MAX_ALIGNMENTS or (best and best.score > _CERTAIN * min_score):
                break
        return best

    def _hashes(self, batch: range, speed: float) -> _Postings:
        """Return the hashes of a batch, as played at a speed."""
        some = [self.fingerprints[number] for number in batch]
        bands = np.concatenate([one.bands for one in some])
        frames = np.concatenate([one.frames for one in some])
        tracks = np.repeat(np.arange(batch.start, batch.stop, dtype=np.int32), [len(one) for one in some])
        if speed != 1:
            bands, frames = bands_at_speed(bands, speed), frames / np.float32(speed)
            kept = (bands > 0) & (bands < _BANDS - 1)
            bands, frames, tracks = bands[kept], frames[kept], tracks[kept]
        lengths = np.array([one.seconds * FRAMES_PER_SECOND + _GAP_FRAMES for one in some])
        starts = np.floor(np.cumsum(lengths) - lengths)
        hashes, anchors = hash_peaks(bands, frames + starts[tracks - batch.start], self.share)
        return _Postings(hashes, tracks[anchors], frames[anchors], anchors)

    def _candidates(self, batch: range, speed: float) -> Iterator[_Candidates]:
        votes = self._votes(self._hashes(batch, speed), speed)
        for shift in (0, _BIN_FRAMES // 2):
            yield _frequent(votes, shift, speed)

    def _votes(self, query: _Postings, speed: float) -> _Votes:
        """Return which hashes of a query are in the index, in recordings of higher number at equal speed."""
        # In order, because neighboring keys are found in the same part of memory.
        order = np.argsort(query.hashes, kind="stable")
        hashes = query.hashes[order]
        left = np.searchsorted(self._values, hashes)
        present = np.searchsorted(self._values, hashes, side="right") - left
        count = np.minimum(present, _MAX_MATCHES)
        source = np.repeat(order, count)
        rank = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
        # Of a frequent hash some, others for another hash, so that each recording is found by some others.
        of_hash = np.repeat(present, count)
        step = of_hash / np.maximum(np.repeat(count, count), 1)
        start = np.repeat(hashes.astype(np.int64), count)
        place = np.repeat(left, count) + ((rank * step).astype(np.int64) + start) % of_hash
        first, second = query.tracks[source], self._tracks[place]
        kept = second > first if speed == 1 else second != first
        source, place = source[kept], place[kept]
        at, to = query.frames[source], self._frames[place]
        return _Votes(first[kept], second[kept], at, to, query.anchors[source])


class _Postings(NamedTuple):
    """Hashes, the recordings they are of, the frame of their first peak, and that peak's number."""

    hashes: UInt32Array
    tracks: Int32Array
    frames: FloatArray
    anchors: IntArray


class _Votes(NamedTuple):
    """Equal hashes: the recordings, the frames in both, and the peak in the first."""

    first: Int32Array
    second: Int32Array
    at: FloatArray
    to: FloatArray
    anchors: IntArray


class _Candidates(NamedTuple):
    """Pairs of recordings with a supposed alignment each, in arrays.

    Frame ``at`` of ``first``, as played at ``speed``, is frame ``to`` of ``second``, as ``votes`` peaks say.
    """

    first: IntArray
    second: IntArray
    speed: FloatArray
    at: FloatArray
    to: FloatArray
    votes: IntArray


class _Supposed(NamedTuple):
    """A supposed alignment of a pair, as of `_Candidates`."""

    speed: float
    at: float
    to: float
    votes: float

    def is_like(self, other: _Supposed) -> bool:
        """Return whether refining both would give the same."""
        distance = abs((self.to - self.at) - (other.to - other.at))
        return self.speed == other.speed and distance <= _BIN_FRAMES


def _concatenated(parts: Sequence[_Candidates]) -> _Candidates:
    return _Candidates(*map(np.concatenate, zip(*parts, strict=True)))


def _frequent(votes: _Votes, shift: int, speed: float) -> _Candidates:
    """Return the alignments with votes of several peaks."""
    bins = ((votes.to - votes.at + shift) // _BIN_FRAMES).astype(np.int64) + (1 << 19)
    # Recordings in 44 bits, of which a batch needs fewer, and the distance in 20.
    local = (votes.first - votes.first.min(initial=0)).astype(np.int64)
    keys = ((local << 24 | votes.second) << 20) | bins
    ordered = np.sort(keys)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    # One more, so that there is always one to compare with.
    known = np.append(repeated, np.iinfo(np.int64).max)
    chosen = np.nonzero(known[np.searchsorted(known, keys)] == keys)[0]
    # A peak votes once for an alignment: its hashes share peaks, so that one agreement makes several.
    chosen = chosen[np.lexsort((votes.anchors[chosen], keys[chosen]))]
    same_peak = (np.diff(keys[chosen]) == 0) & (np.diff(votes.anchors[chosen]) == 0)
    chosen = chosen[np.concatenate([np.ones(min(len(chosen), 1), bool), ~same_peak])]
    _, starts, counts = np.unique(keys[chosen], return_index=True, return_counts=True)
    frequent = counts >= _MIN_VOTES
    counts = counts[frequent]
    # The vote in the middle stands for all: from there, an alignment is refined in both directions.
    middle = chosen[starts[frequent] + counts // 2]
    return _Candidates(
        votes.first[middle].astype(np.int64),
        votes.second[middle].astype(np.int64),
        np.full(len(middle), speed),
        votes.at[middle],
        votes.to[middle],
        counts,
    )


def _chosen(candidates: _Candidates, recordings: int) -> Iterator[tuple[int, int, list[_Supposed]]]:
    """Yield the pairs to be verified, and their supposed alignments, those with the most votes first.

    Pairs that agree by chance grow with the square of the number of recordings. So that the time does not, no
    more than a few for each recording are verified, those with the most votes, besides those with many votes.
    """
    order = np.lexsort((-candidates.votes, candidates.second, candidates.first))
    pairs = candidates.first[order] << 32 | candidates.second[order]
    _, starts = np.unique(pairs, return_index=True)
    most = candidates.votes[order][starts]
    rank = np.empty(len(starts), np.int64)
    rank[np.argsort(-most, kind="stable")] = np.arange(len(starts))
    stops = np.append(starts[1:], len(order))
    for place in np.nonzero((rank < _PAIRS_PER_RECORDING * recordings) | (most >= _MANY_VOTES))[0]:
        of_pair = order[starts[place] : stops[place]]
        supposed = [
            _Supposed(*map(float, values))
            for values in zip(
                candidates.speed[of_pair],
                candidates.at[of_pair],
                candidates.to[of_pair],
                candidates.votes[of_pair],
                strict=True,
            )
        ]
        yield int(candidates.first[of_pair[0]]), int(candidates.second[of_pair[0]]), supposed


def _kind(alignment: Alignment, first: Fingerprint, second: Fingerprint) -> DuplicateKind:
    if abs(alignment.speed - 1) > _SAME_SPEED:
        return "faster" if alignment.speed > 1 else "slower"
    spans = (alignment.first_span, first.seconds), (alignment.span, second.seconds)
    whole = all(stop - start >= _SAME_COVER * seconds for (start, stop), seconds in spans)
    return "same_recording" if whole and abs(alignment.offset) <= _SAME_OFFSET_SECONDS else "recut"


def _duplicate(
    number: int, other: int, alignment: Alignment, fingerprints: Sequence[Fingerprint]
) -> Duplicate:
    """Describe an alignment, with the recording of lower number first."""
    if number > other:
        number, other, alignment = other, number, alignment.reversed()
    return Duplicate(
        first=number,
        second=other,
        kind=_kind(alignment, fingerprints[number], fingerprints[other]),
        score=alignment.score,
        agreement=alignment.agreement,
        offset=alignment.offset,
        speed=alignment.speed,
        first_span=alignment.first_span,
        second_span=alignment.span,
    )
