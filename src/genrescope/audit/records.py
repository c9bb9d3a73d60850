"""What an audit knows of a track, and what a worker finds out about its file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from genrescope.audit.findings import Finding, Value
from genrescope.types import TrackKind


class TrackPair(NamedTuple):
    """Two tracks that a search holds for copies of each other.

    Attributes
    ----------
    first, second : str
        Ids of the tracks.
    kind : str
        ``byte_identical``, ``same_samples``, ``near_duplicate``, ``wrong_speed`` or ``other_version``.
    score : float
        How sure it is, from 0 to 1.
    message : str
        The evidence in a sentence; empty: the description of the kind.
    evidence : mapping of str to number or str
        Such as ``offset_seconds`` and ``speed``.
    spans : tuple of (float, float)
        What is alike in the first and in the second track, in seconds; empty: all.
    """

    first: str
    second: str
    kind: str = "near_duplicate"
    score: float = 1.0
    message: str = ""
    evidence: Mapping[str, Value] = {}
    spans: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class FileFacts:
    """What a worker found out about a file.

    Attributes
    ----------
    size : int
        In bytes.
    sha256 : str
        Of its bytes; empty where they cannot be read.
    sample_hash : str
        Of its samples; empty where they could not be decoded to the end.
    seconds : float
        Of sound that was decoded.
    sample_rate, channels : int
        0 where unknown.
    codec : str
        As of `AudioInfo`.
    truncated : bool
    album, album_artist, artist, genre : str
        Of its tags; empty where there are none.
    extra : mapping of str to object
        Results of further extractors by name, ready for JSON, such as where a fingerprint is kept.
    """

    size: int = 0
    sha256: str = ""
    sample_hash: str = ""
    seconds: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    codec: str = ""
    truncated: bool = False
    album: str = ""
    album_artist: str = ""
    artist: str = ""
    genre: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bit_rate(self) -> float:
        """Bits of the file per second of sound."""
        return 8 * self.size / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the facts, ready for JSON."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**values, "extra": dict(self.extra)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FileFacts:
        """Return the facts that `to_dict` gave.

        Parameters
        ----------
        values : mapping

        Raises
        ------
        ValueError
            They are of another version.
        """
        with contextlib.suppress(TypeError):
            facts = cls(**values)
            expected = cls()
            if all(
                isinstance(getattr(facts, name), (int, float) if isinstance(value, float) else type(value))
                for name, value in vars(expected).items()
            ):
                return facts
        raise ValueError("facts of another version")


@dataclass(frozen=True)
class FileResult:
    """The answer of a worker about one file.

    Attributes
    ----------
    facts : FileFacts
    findings : tuple of Finding
        Without tracks: the worker does not know their ids.
    """

    facts: FileFacts
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result, ready for JSON."""
        return {"facts": self.facts.to_dict(), "findings": [one.to_dict() for one in self.findings]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FileResult:
        """Return the result that `to_dict` gave.

        Parameters
        ----------
        values : mapping

        Raises
        ------
        ValueError
            It is of another version.
        """
        try:
            findings = tuple(Finding.from_dict(one) for one in values["findings"])
            return cls(FileFacts.from_dict(values["facts"]), findings)
        except (KeyError, TypeError) as reason:
            raise ValueError(f"a result of another version: {reason!r}") from None


@dataclass(frozen=True)
class AuditTrack:
    """A track to be audited.

    Attributes
    ----------
    id : str
        Unique in the audit.
    path : Path
    label : str
        The genre; empty where tracks have none.
    group : str
        As the data set has it; the id where nothing is known.
    kind : {"audio", "spectrogram", "table"}
    facts : FileFacts
        Of its file, once that was examined.
    """

    id: str
    path: Path
    label: str = ""
    group: str = ""
    kind: TrackKind = "audio"
    facts: FileFacts = FileFacts()

    def with_facts(self, facts: FileFacts) -> AuditTrack:
        """Return the track with what a worker found out.

        Parameters
        ----------
        facts : FileFacts
        """
        return replace(self, facts=facts)
