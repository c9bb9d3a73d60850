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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from genrescope.audit.alignment import FRAMES_PER_SECOND, Alignment, PeakGrid, align, plausible
from genrescope.errors import ConfigError
from genrescope.features import FINGERPRINT_SPEC, Fingerprint, bands_at_speed, hash_peaks
from genrescope.types import FloatArray, IntArray

UInt32Array = npt.NDArray[np.uint32]
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
_CHECKED_PAIRS = 64
# Alignments are looked at in a table of this size, at places that are spread by an odd number.
_TABLE_BITS, _SPREAD = 21, np.uint64(0x9E3779B97F4A7C15)
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
    index = FingerprintIndex(fingerprints, threads=threads)
    found: list[Duplicate] = []
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for part in pool.map(lambda batch: index.search(batch, min_score, speeds), index.batches()):
            found += part
    best: dict[tuple[int, int], Duplicate] = {}
    for pair in sorted(found, key=lambda pair: (-pair.score, pair.first, pair.second)):
        best.setdefault((pair.first, pair.second), pair)
    return list(best.values())


class FingerprintIndex:
    """Hashes of many fingerprints, sorted: 8 bytes for each, and 8 for each different one.

    Parameters
    ----------
    fingerprints : sequence of Fingerprint
    share : float, optional
        Which part of all hashes to keep; None: a quarter, or as many as make 45 million.
    threads : int
        How many batches are hashed at once.
    """

    def __init__(
        self, fingerprints: Sequence[Fingerprint], share: float | None = None, *, threads: int = 1
    ) -> None:
        self.fingerprints = fingerprints
        peaks = sum(map(len, fingerprints))
        usual = min(_MAX_SHARE, _MAX_HASHES / max(peaks * _HASHES_PER_PEAK, 1))
        self.share = usual if share is None else share
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            parts = list(pool.map(self._indexed, self.batches()))
        hashes = np.concatenate([part.hashes for part in parts]) if parts else np.zeros(0, np.uint32)
        # The place in the lower half: sorting keys with it is faster than an indirect sort.
        keys = hashes.astype(np.uint64) << np.uint64(32) | np.arange(len(hashes), dtype=np.uint64)
        keys.sort()
        order = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        del keys
        values = hashes[order]
        del hashes
        # Where each different hash begins; one that none has at the end, so that every search ends at one.
        begins = np.ones(len(values), bool)
        np.not_equal(values[1:], values[:-1], out=begins[1:])
        starts = np.flatnonzero(begins).astype(np.uint32)
        self._values = np.append(values[starts], np.uint32(0))
        self._starts = np.append(starts, np.full(2, len(values), np.uint32))
        self._tracks = np.concatenate([part.tracks for part in parts] or [np.zeros(0, np.int32)])[order]
        self._frames = np.concatenate([part.frames for part in parts] or [np.zeros(0, np.float32)])[order]

    def __len__(self) -> int:
        return len(self._tracks)

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
        recordings = self._recordings(batch)
        votes = ((speed, self._votes(self._hashes(recordings, speed), speed)) for speed in speeds)
        parts = [_frequent(one, shift, speed) for speed, one in votes for shift in (0, _BIN_FRAMES // 2)]
        found: list[Duplicate | None] = []
        for some in _batched(_chosen(_concatenated(parts), len(batch)), _CHECKED_PAIRS):
            known = recordings | {pair.second: self.fingerprints[pair.second] for pair in some}
            found += [_verified(pair, known, min_score) for pair in _plausible(some, known)]
        return [pair for pair in found if pair is not None]

    def _indexed(self, batch: range) -> _Postings:
        """Return the hashes of a batch, without what only a query needs."""
        return self._hashes(self._recordings(batch), 1.0)._replace(anchors=np.zeros(0, np.int64))

    def _recordings(self, batch: range) -> dict[int, Fingerprint]:
        return {number: self.fingerprints[number] for number in batch}

    def _hashes(self, recordings: Mapping[int, Fingerprint], speed: float) -> _Postings:
        """Return the hashes of recordings, as played at a speed."""
        some = list(recordings.values())
        bands = np.concatenate([one.bands for one in some])
        frames = np.concatenate([one.frames for one in some])
        lengths = np.array([one.seconds * FRAMES_PER_SECOND + _GAP_FRAMES for one in some])
        places = np.floor(np.cumsum(lengths) - lengths)
        peaks = [len(one) for one in some]
        tracks, starts = np.repeat(np.array(list(recordings), np.int32), peaks), np.repeat(places, peaks)
        if speed != 1:
            bands, frames = bands_at_speed(bands, speed), frames / np.float32(speed)
            kept = (bands > 0) & (bands < _BANDS - 1)
            bands, frames, tracks, starts = bands[kept], frames[kept], tracks[kept], starts[kept]
        hashes, anchors = hash_peaks(bands, frames + starts, self.share)
        return _Postings(hashes, tracks[anchors], frames[anchors], anchors)

    def _votes(self, query: _Postings, speed: float) -> _Votes:
        """Return which hashes of a query are in the index, in recordings of higher number at equal speed."""
        # Looked up in their order, because neighboring ones are found in the same part of memory.
        order = np.argsort(query.hashes)
        hashes = query.hashes[order]
        entry = np.searchsorted(self._values[:-1], hashes)
        known = (self._values[entry] == hashes) & (entry < len(self._values) - 1)
        left, present = np.empty(len(order), np.int64), np.zeros(len(order), np.int64)
        left[order] = self._starts[entry]
        present[order] = np.where(known, self._starts[entry + 1] - self._starts[entry], 0)
        count = np.minimum(present, _MAX_MATCHES)
        begin = np.cumsum(count) - count
        source = np.repeat(np.arange(len(count)), count)
        place = np.arange(len(source)) + np.repeat(left - begin, count)
        # Of a frequent hash some, others for another hash, so that each recording is found by some others.
        many = np.flatnonzero(present > _MAX_MATCHES)[:, np.newaxis]
        rank = np.arange(_MAX_MATCHES)
        chosen = (rank * (present[many] / _MAX_MATCHES)).astype(np.int64) + query.hashes[many]
        place[begin[many] + rank] = left[many] + chosen % present[many]
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


class _Pair(NamedTuple):
    """Two recordings, and their supposed alignments, those with the most votes first."""

    first: int
    second: int
    supposed: list[_Supposed]


def _concatenated(parts: Sequence[_Candidates]) -> _Candidates:
    return _Candidates(*map(np.concatenate, zip(*parts, strict=True)))


def _frequent(votes: _Votes, shift: int, speed: float) -> _Candidates:
    """Return the alignments with votes of several peaks."""
    bins = np.floor((votes.to - votes.at + np.float32(shift)) / np.float32(_BIN_FRAMES)).astype(np.int64)
    # Recordings in 44 bits, of which a batch needs fewer, and the distance in 20.
    local = (votes.first - votes.first.min(initial=0)).astype(np.int64)
    keys = ((local << 24 | votes.second) << 20) | (bins + (1 << 19))
    # Most have votes of one peak only. Sorting all takes longest, so that first a table tells those whose
    # place in it was written by another peak; some alignments share a place.
    places = (keys.view(np.uint64) * _SPREAD >> np.uint64(64 - _TABLE_BITS)).view(np.int64)
    last, several = np.empty(1 << _TABLE_BITS, np.int64), np.zeros(1 << _TABLE_BITS, bool)
    last[places] = votes.anchors
    several[places[last[places] != votes.anchors]] = True
    chosen = np.flatnonzero(several[places])
    # A peak votes once for an alignment: its hashes share peaks, so that one agreement makes several.
    chosen = chosen[np.lexsort((votes.anchors[chosen], keys[chosen]))]
    keys, anchors = keys[chosen], votes.anchors[chosen]
    counted = np.ones(len(chosen), bool)
    counted[1:] = (keys[1:] != keys[:-1]) | (anchors[1:] != anchors[:-1])
    keys, chosen = keys[counted], chosen[counted]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    counts = np.diff(starts, append=len(keys))
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


def _chosen(candidates: _Candidates, recordings: int) -> Iterator[_Pair]:
    """Yield the pairs to be verified.

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
        first, second = int(candidates.first[of_pair[0]]), int(candidates.second[of_pair[0]])
        yield _Pair(first, second, _distinct(supposed))


def _batched(pairs: Iterable[_Pair], size: int) -> Iterator[list[_Pair]]:
    rest = iter(pairs)
    while some := list(islice(rest, size)):
        yield some


def _distinct(supposed: Sequence[_Supposed]) -> list[_Supposed]:
    """Return the alignments to be verified of those of a pair."""
    kept: list[_Supposed] = []
    for one in supposed:
        if len(kept) == _MAX_ALIGNMENTS or 2 * one.votes < supposed[0].votes:
            break
        if not any(one.is_like(earlier) for earlier in kept):
            kept.append(one)
    return kept


def _plausible(pairs: Sequence[_Pair], known: Mapping[int, Fingerprint]) -> Iterator[_Pair]:
    """Yield the pairs that agree where a supposed alignment was found, with these alignments."""
    flat = [(pair, one) for pair in pairs for one in pair.supposed]
    agree = plausible(
        [known[pair.first].at_speed(one.speed) for pair, one in flat],
        [known[pair.second] for pair, _ in flat],
        np.array([one.at for _, one in flat]),
        np.array([one.to for _, one in flat]),
    )
    kept = iter(agree.tolist())
    for pair in pairs:
        if supposed := [one for one, is_plausible in zip(pair.supposed, kept, strict=False) if is_plausible]:
            yield pair._replace(supposed=supposed)


def _verified(pair: _Pair, known: Mapping[int, Fingerprint], min_score: float) -> Duplicate | None:
    """Return what the best of the supposed alignments of a pair says."""
    first, second = known[pair.first], PeakGrid.of(known[pair.second])
    best: Alignment | None = None
    for one in pair.supposed:
        bound = max(min_score, best.score if best else 0.0)
        found = align(first, second, speed=one.speed, at=one.at, to=one.to, min_score=bound)
        best = found or best
        if best and best.score > _CERTAIN * min_score:
            break
    return None if best is None else _duplicate(pair.first, pair.second, best, known)


def _kind(alignment: Alignment, first: Fingerprint, second: Fingerprint) -> DuplicateKind:
    if abs(alignment.speed - 1) > _SAME_SPEED:
        return "faster" if alignment.speed > 1 else "slower"
    spans = (alignment.first_span, first.seconds), (alignment.span, second.seconds)
    whole = all(stop - start >= _SAME_COVER * seconds for (start, stop), seconds in spans)
    return "same_recording" if whole and abs(alignment.offset) <= _SAME_OFFSET_SECONDS else "recut"


def _duplicate(
    number: int, other: int, alignment: Alignment, fingerprints: Mapping[int, Fingerprint]
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
