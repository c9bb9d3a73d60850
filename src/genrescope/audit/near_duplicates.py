"""Near-duplicates in an audit: fingerprints from the decoding of each file, pairs from all of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Generic, TypeVar, overload

import numpy as np

from genrescope.audit.copies import exact_sets
from genrescope.audit.duplicates import MIN_SCORE, Duplicate, find_near_duplicates
from genrescope.audit.records import AuditTrack, TrackPair
from genrescope.datasets import load_spectrogram
from genrescope.features import FINGERPRINT_SPEC, Fingerprint, FingerprintBuilder, fingerprint_log_mel
from genrescope.types import AudioInfo, FloatArray

FINGERPRINT: Final = "fingerprint"
"""Name of fingerprints in `FileFacts.extra`: base64 of `Fingerprint.pack`."""

VERSION_AGREEMENT: Final = 0.5
"""Recordings of which less of the peaks agree are called another version of a song."""

T = TypeVar("T")

# The score of a finding is that of an alignment, in nats: 0.62 at the least one, this at 90 and more.
_HIGHEST_SCORE, _VERSION_SCORE, _NATS = 0.95, 0.6, 200.0
# A fingerprint of fewer peaks says nothing.
_LEAST_PEAKS = 8


class FingerprintExtractor:
    """Computes the fingerprint of a file while it is decoded.

    Parameters
    ----------
    path : str
    info : AudioInfo
        Of the file; gives the sample rate.
    """

    def __init__(self, path: str, info: AudioInfo) -> None:
        import soxr  # loaded by `genrescope.audio.import_decoders` before a worker begins

        self._builder = FingerprintBuilder()
        rate = FINGERPRINT_SPEC.sample_rate
        self._resampler: soxr.ResampleStream | None = None
        if info.sample_rate != rate:
            self._resampler = soxr.ResampleStream(info.sample_rate, rate, 1, dtype="float32", quality="HQ")

    def add(self, mono: FloatArray) -> None:
        """Take the next samples.

        Parameters
        ----------
        mono : ndarray, shape (n,), float32
            At the file's own rate.
        """
        self._builder.add(mono if self._resampler is None else self._resampler.resample_chunk(mono))

    def result(self) -> str:
        """Return the packed fingerprint in base64."""
        if self._resampler is not None:
            self._builder.add(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        return _encoded(self._builder.result())


def extract_spectrogram(path: str) -> str:
    """Return the packed fingerprint of a stored log-mel spectrogram in base64; empty for other bands.

    Parameters
    ----------
    path : str
        As of `genrescope.datasets.load_spectrogram`, of `FINGERPRINT_SPEC`, such as a picture of GTZAN.

    Raises
    ------
    DataError
        As of `load_spectrogram`.
    """
    log_mel = load_spectrogram(Path(path))
    if log_mel.shape[0] != FINGERPRINT_SPEC.n_mels:
        return ""
    return _encoded(fingerprint_log_mel(log_mel))


def _encoded(fingerprint: Fingerprint) -> str:
    return base64.b64encode(fingerprint.pack()).decode("ascii")


class PackedFingerprints(Sequence[Fingerprint], Generic[T]):
    """Fingerprints that are kept packed, wherever that is, and unpacked where they are used.

    Parameters
    ----------
    recordings : sequence
        What the fingerprints are of.
    read : callable
        Called with one of them, from several threads, it returns its packed fingerprint; or None, if it is
        there no more, which counts as one without peaks.
    """

    def __init__(self, recordings: Sequence[T], read: Callable[[T], bytes | None]) -> None:
        self._recordings = recordings
        self._read = read

    def __len__(self) -> int:
        return len(self._recordings)

    @overload
    def __getitem__(self, number: int) -> Fingerprint: ...
    @overload
    def __getitem__(self, number: slice) -> PackedFingerprints[T]: ...
    def __getitem__(self, number: int | slice) -> Fingerprint | PackedFingerprints[T]:
        if isinstance(number, slice):
            return PackedFingerprints(self._recordings[number], self._read)
        return Fingerprint.unpack(self._read(self._recordings[number]) or bytes(4))


def search_pairs(
    tracks: Sequence[AuditTrack], stored: Mapping[str, bytes] = MappingProxyType({})
) -> Iterator[TrackPair]:
    """Yield the pairs of tracks that are the same sound, by their fingerprints.

    Of files that are copies to the byte or sample, only the first is compared with others.

    Parameters
    ----------
    tracks : sequence of AuditTrack
        With what workers found out. Tracks without a fingerprint are left out.
    stored : mapping of str to bytes
        Packed fingerprints of tracks that have none among their facts, by the SHA-256 of their file.
    """

    def read(track: AuditTrack) -> bytes | None:
        return _packed(track, stored)

    copies = {member.id for _, members in exact_sets(tracks) for member in members[1:]}
    known = [track for track in tracks if track.id not in copies and _is_usable(read(track))]
    for found in find_near_duplicates(PackedFingerprints(known, read)):
        yield _track_pair(found, known[found.first].id, known[found.second].id)


def _packed(track: AuditTrack, stored: Mapping[str, bytes]) -> bytes | None:
    text = track.facts.extra.get(FINGERPRINT)
    if not isinstance(text, str):
        return stored.get(track.facts.sha256)
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):  # a journal that was edited
        return None


def _is_usable(packed: bytes | None) -> bool:
    try:
        return packed is not None and len(Fingerprint.unpack(packed)) >= _LEAST_PEAKS
    except ValueError:
        return False


def _track_pair(found: Duplicate, first: str, second: str) -> TrackPair:
    seconds = found.second_span[1] - found.second_span[0]
    if found.agreement < VERSION_AGREEMENT:
        kind, alike = "other_version", "are alike, likely the same song in another version"
    elif found.kind in ("faster", "slower"):
        kind, alike = "wrong_speed", "are the same recording at another speed"
    else:
        kind, alike = "near_duplicate", "are the same recording"
    highest = _VERSION_SCORE if kind == "other_version" else _HIGHEST_SCORE
    details = [f"{found.agreement:.0%} of the spectral peaks agree"]
    if abs(found.offset) >= 0.1:
        details.append(f"the start of the first is at {found.offset:+.1f} s of the second")
    if found.kind in ("faster", "slower"):
        details.append(f"the second plays {abs(found.speed - 1):.1%} {found.kind}")
    return TrackPair(
        first,
        second,
        kind,
        min(0.5 + found.score / _NATS, highest),
        f"{first} and {second} {alike}, for {seconds:.1f} s: {'; '.join(details)}",
        {
            "offset_seconds": round(found.offset, 2),
            "speed": round(found.speed, 4),
            "alike_seconds": round(seconds, 2),
            "agreement_share": round(found.agreement, 3),
            "score_nats": round(found.score, 1),
            "least_score_nats": MIN_SCORE,
        },
        (_rounded(found.first_span), _rounded(found.second_span)),
    )


def _rounded(span: tuple[float, float]) -> tuple[float, float]:
    return round(max(span[0], 0.0), 2), round(span[1], 2)
