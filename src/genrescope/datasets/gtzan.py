"""What the literature knows of GTZAN: artists, replicas, published splits.

The facts lie in ``datasets/data/gtzan.json``, with their sources; ``scripts/build_gtzan_index.py`` rebuilds
them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from genrescope.utils import package_data

_SIDES = {"r": "train", "v": "validation", "t": "test"}


@dataclass(frozen=True)
class GtzanIndex:
    """GTZAN's index. Tracks are named as in ``blues.00000``.

    Attributes
    ----------
    groups : mapping of track to group
        All 1000 tracks. One group per artist; where the artist is unknown, the published artist group.
        Byte-identical tracks share a group. Stricter than the published groups, which divide 23 artists.
    sides : mapping of track to {"train", "validation", "test"}
        The fault-filtered split of Kereliuk, Sturm and Larsen (2015): 443, 197, 290; 70 tracks removed.
    folds : mapping of track to {"1", "2", "3"}
        The artist-filtered folds of Foleiss and Tavares, as published; 52 tracks removed.
    replicas : mapping of track to track
        The byte-identical partner of 28 tracks.
    corrupt : frozenset of tracks
        Damaged in the copies that circulate.
    """

    groups: Mapping[str, str]
    fault_filtered: Mapping[str, str]
    folds: Mapping[str, str]
    replicas: Mapping[str, str]
    corrupt: frozenset[str]
    citations: tuple[str, ...]

    def canonical_id(self, name: str) -> str | None:
        """Return the track that ``name`` is, or is a numbered piece of (``blues.00000.3``); else None."""
        if name in self.groups:
            return name
        track, _, piece = name.rpartition(".")
        return track if piece.isdecimal() and track in self.groups else None


@cache
def load_index() -> GtzanIndex:
    """Read GTZAN's index, once."""
    text = package_data("datasets", "gtzan.json").read_text(encoding="utf-8")
    content = json.loads(text)
    genres: dict[str, dict[str, str]] = content["genres"]
    names = [f"{genre}.{number:05d}" for genre in genres for number in range(100)]
    groups = [group for genre in genres.values() for group in _expand(genre["groups"])]
    folds = "".join(genre["folds"] for genre in genres.values())
    sides = "".join(genre["sides"] for genre in genres.values())
    return GtzanIndex(
        groups=dict(zip(names, groups, strict=True)),
        fault_filtered={name: _SIDES[side] for name, side in zip(names, sides, strict=True) if side != "-"},
        folds={name: fold for name, fold in zip(names, folds, strict=True) if fold != "-"},
        replicas=_partners(content["replicas"]),
        corrupt=frozenset(content["corrupt"]),
        citations=tuple(content["about"]["citations"]),
    )


def _expand(runs: str) -> list[str]:
    """Read ``4x3 7x1`` as four names: three of group 4, one of group 7."""
    pairs = (run.split("x") for run in runs.split())
    return [f"gtzan-{int(group):03d}" for group, length in pairs for _ in range(int(length))]


def _partners(pairs: list[Any]) -> dict[str, str]:
    """Map each track of a pair to the other."""
    return {track: other for first, second in pairs for track, other in ((first, second), (second, first))}
