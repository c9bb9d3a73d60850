"""A score: parts with sounds at beats, and their mix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from effects import at_loudness, fade, limit, reverberate, room, room_tone
from notation import Note, tune
from signals import Samples, amplitude, count, slide

Voice = Callable[[float, float, int], Samples]  # pitch, seconds, take -> samples
Drum = Callable[[int], Samples]  # take -> samples
Chain = Callable[[Samples], Samples]

LEVELS = {"x": 1.0, "o": 0.65, "-": 0.3, "X": 1.25}
ROOM_TONE = -38.0  # dB, relative to the music
TAKES = 4  # different renderings of one note; more would take time and not be audible


@dataclass(frozen=True)
class Event:
    """A scheduled sound: its time in seconds, its level, and the function that makes it."""

    second: float
    level: float
    sound: partial[Samples]


@dataclass
class Part:
    """One player: a place in the mix, and what it is to play.

    Attributes
    ----------
    score : Score
        Whose tempo and swing it follows.
    gain : float
        In dB.
    pan : float
        -1 left to 1 right.
    wet : float
        How much of it goes to the room, in dB relative to itself.
    chain : callable
        What the whole part goes through: an amplifier, a guitar's body.
    """

    score: Score
    gain: float = 0.0
    pan: float = 0.0
    wet: float = -14.0
    chain: Chain | None = None
    events: list[Event] = field(default_factory=list)

    def play(self, voice: Voice, beat: float, note: Note, gate: float = 0.95, level: float = 1.0) -> None:
        """Play a note from ``beat`` on, for the fraction ``gate`` of its length."""
        begin = self.score.second(beat)
        length = round(gate * (self.score.second(beat + note.beats) - begin), 4)
        for each in note.pitches:
            sound = partial(sounded, voice, each, length, len(self.events) % TAKES, note.offset)
            self._add(begin, level, sound)

    def sing(self, voice: Voice, beat: float, words: str, gate: float = 0.95, shift: int = 0) -> None:
        """Play a tune from ``beat`` on, transposed by ``shift`` semitones."""
        for note in tune(words):
            moved = tuple(each + shift for each in note.pitches)
            self.play(voice, beat, Note(moved, note.beats, note.offset), gate)
            beat += note.beats

    def strum(
        self, voice: Voice, beat: float, note: Note, seconds: float = 0.025, level: float = 1.0
    ) -> None:
        """Play a chord string by string, low to high; high to low when ``seconds`` is negative."""
        order = sorted(note.pitches, reverse=seconds < 0)
        step = abs(seconds) * self.score.tempo / 60.0 / max(1, len(order))
        for number, each in enumerate(order):
            self.play(voice, beat + number * step, Note((each,), note.beats), level=level)

    def beat(self, drum: Drum, beat: float, pattern: str, unit: float = 0.25, level: float = 1.0) -> None:
        """Play a drum pattern, one character per ``unit`` beats: x loud, X louder, o softer, - faint."""
        for step, mark in enumerate(pattern.replace(" ", "")):
            if mark in LEVELS:
                sound = partial(drum, len(self.events) % TAKES)
                self._add(self.score.second(beat + step * unit), level * LEVELS[mark], sound)

    def _add(self, second: float, level: float, sound: partial[Samples]) -> None:
        """Add a sound with small random deviations of time and level, as of a human player."""
        late, force = self.score.players.normal(0.0, (0.003, 0.06))
        self.events.append(Event(max(0.0, second + late), level * (1.0 + force), sound))

    def samples(self, seconds: float) -> Samples:
        """Return what the part plays in the first ``seconds``."""
        track = np.zeros(count(seconds))
        made: dict[tuple[object, ...], Samples] = {}
        for event in self.events:
            start = count(event.second)
            if start < len(track):
                key = (event.sound.func, *event.sound.args)
                if key not in made:
                    made[key] = event.sound()
                sound = made[key][: len(track) - start]
                track[start : start + len(sound)] += event.level * sound
        return self.chain(track) if self.chain else track


def sounded(voice: Voice, pitch: float, seconds: float, take: int, offset: float) -> Samples:
    """Play one note, slid into from ``offset`` semitones off."""
    note = voice(pitch, seconds, take)
    return slide(note, offset) if offset else note


class Score:
    """A piece: tempo, swing, room and parts.

    Parameters
    ----------
    tempo : float
        Beats per minute.
    bars : int
        Its length, four beats each.
    swing : float
        Where the second half of every ``unit`` beats falls: 0.5 is straight, 0.67 a triplet.
    unit : float
        1 swings eighth notes, 0.5 swings sixteenths.
    loudness : float
        Root mean square of the mix, in dB of full scale.
    reverb, bright : float
        The room: seconds to fall by 60 dB, and the low-pass of its walls in Hz.
    master : callable
        What each channel of the mix goes through before it is limited.
    seed : int
        Of the random deviations of timing, and of the room.
    """

    def __init__(
        self,
        tempo: float,
        bars: int,
        *,
        swing: float = 0.5,
        unit: float = 1.0,
        loudness: float = -17.0,
        reverb: float = 0.9,
        bright: float = 4500.0,
        master: Chain | None = None,
        seed: int = 0,
    ) -> None:
        self.tempo, self.bars, self.swing, self.unit = tempo, bars, swing, unit
        self.loudness, self.reverb, self.bright, self.master = loudness, reverb, bright, master
        self.seed = seed
        self.players = np.random.default_rng(seed)
        self.parts: list[Part] = []

    def part(
        self, gain: float = 0.0, pan: float = 0.0, wet: float = -14.0, chain: Chain | None = None
    ) -> Part:
        """Add a part and return it."""
        self.parts.append(Part(self, gain, pan, wet, chain))
        return self.parts[-1]

    def changes(self, chords: str, beats: int = 4) -> list[tuple[int, str]]:
        """Return the beat at which each chord comes, one every ``beats``; together they fill the piece."""
        names = chords.split()
        return list(zip(range(0, 4 * self.bars, beats), names, strict=True))

    def second(self, beat: float) -> float:
        """Return when ``beat`` falls, swing included, in seconds."""
        whole, within = divmod(beat / self.unit, 1.0)
        swung = np.interp(within, [0.0, 0.5, 1.0], [0.0, self.swing, 1.0])
        return float((whole + swung) * self.unit * 60.0 / self.tempo)

    @property
    def seconds(self) -> float:
        """Length in seconds, with a breath after the last bar."""
        return self.second(4 * self.bars) + 1.0

    def mix(self, seconds: float | None = None) -> Samples:
        """Return the piece, or its first ``seconds``, in stereo: shape (2, n), peak below 0.95."""
        length = min(self.seconds, seconds or self.seconds)
        stereo = np.zeros((2, count(length)))
        send = np.zeros(count(length))
        for part in self.parts:
            dry = amplitude(part.gain) * part.samples(length)
            angle = (part.pan + 1.0) * np.pi / 4.0
            stereo += np.outer([np.cos(angle), np.sin(angle)], dry)
            send += amplitude(part.wet) * dry
        stereo += reverberate(send, room(self.reverb, self.bright, self.seed))
        if self.master:
            stereo = np.stack([self.master(channel) for channel in stereo])
        mixed = limit(at_loudness(stereo, self.loudness))
        return fade(mixed + room_tone(length, self.loudness + ROOM_TONE, self.seed), min(2.0, length / 4.0))
