"""Notation of music: pitches, melodies and chord names.

Tunes are words, ``pitch:beats``: ``"A4:1 C5:.5 -:.5"``. ``-`` rests, ``C4+E4+G4:2`` is a chord, ``D4>E4:1``
slides, and a word without beats lasts as long as the word before it. ``|`` may stand between bars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"": 0, "#": 1, "b": -1}
QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7),
    "6": (0, 4, 7, 9),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m9": (0, 3, 10, 14),
    "maj9": (0, 4, 11, 14),
    "9": (0, 4, 10, 14),
    "13": (0, 4, 10, 21),
    "m7b5": (0, 3, 6, 10),
    "dim": (0, 3, 6, 9),
}


@dataclass(frozen=True)
class Note:
    """One word of a tune: pitches that sound together, for so many beats, from ``offset`` semitones off."""

    pitches: tuple[int, ...]
    beats: float = 1.0
    offset: float = 0.0


def pitch(name: str) -> int:
    """Return the MIDI pitch of a name such as ``C4`` (60), ``F#3`` or ``Bb2``; ValueError for another."""
    parts = re.fullmatch(r"([A-G])([#b]?)(-?\d)", name)
    if parts is None:
        raise ValueError(f"not a pitch: {name!r}")
    letter, accidental, octave = parts.groups()
    return 12 * (int(octave) + 1) + SEMITONES[letter] + ACCIDENTALS[accidental]


def tune(words: str) -> Iterator[Note]:
    """Read a tune, note by note; ValueError for a word that is not one."""
    beats = 1.0
    for word in words.replace("|", " ").split():
        names, _, length = word.partition(":")
        beats = float(length) if length else beats
        start, _, end = names.rpartition(">")
        pitches = () if end == "-" else tuple(pitch(name) for name in end.split("+"))
        yield Note(pitches, beats, float(pitch(start) - pitches[0]) if start else 0.0)


def _intervals(chord: str) -> tuple[int, tuple[int, ...]]:
    """Split a chord name into the pitch class of its root and the intervals above."""
    parts = re.fullmatch(r"([A-G])([#b]?)(.*)", chord)
    if parts is None or parts.group(3) not in QUALITIES:
        raise ValueError(f"not a chord: {chord!r}")
    letter, accidental, quality = parts.groups()
    return (SEMITONES[letter] + ACCIDENTALS[accidental]) % 12, QUALITIES[quality]


def root(chord: str, low: str) -> int:
    """Return the root of ``chord``, in the octave that begins at ``low``."""
    floor = pitch(low)
    return floor + (_intervals(chord)[0] - floor) % 12


def stacked(chord: str, low: str) -> tuple[int, ...]:
    """Return the chord built upwards from its root, which lies in the octave that begins at ``low``."""
    return tuple(root(chord, low) + interval for interval in _intervals(chord)[1])


def voiced(chord: str, low: str) -> tuple[int, ...]:
    """Return the chord within the octave that begins at ``low``, so that chord follows chord closely."""
    floor = pitch(low)
    first, intervals = _intervals(chord)
    return tuple(sorted(floor + (first + interval - floor) % 12 for interval in intervals))
