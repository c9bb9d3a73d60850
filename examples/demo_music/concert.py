"""Pieces for the concert hall: a prelude for piano, a chorale for pipe organ, an air for strings."""

from __future__ import annotations

from functools import partial

import instruments
from effects import phrased
from notation import Note, root, voiced
from score import Score

PRELUDE = "G Em Am7 D7 Bm Em C Am7 D7 G7 C Cm G A7 D7 G"

CHORALE = (
    # soprano, alto, tenor, bass: eight bars in D major
    """A4:1 A4 B4 C#5 | D5:1.5 C#5:.5 B4:1 A4 | G4 F#4 E4 F#4 | E4:3 -:1
       E4:1 F#4 G4 A4 | B4 B4 A4:1.5 G4:.5 | F#4:1 G4 F#4 E4 | D4:4""",
    """F#4:1 F#4 G4 G4 | F#4 E4 D4 F#4 | E4 D4 C#4 D4 | C#4:3 -:1
       C#4:1 D4 D4 F#4 | G4 G4 F#4 E4 | D4 E4 D4 C#4 | A3:4""",
    """D4:1 D4 D4 E4 | A3 A3 G3 D4 | B3 A3 A3 A3 | A3:3 -:1
       A3:1 A3 B3 D4 | D4 E4 D4 C#4 | B3 B3 A3 G3 | F#3:4""",
    """D3:1 F#3 G3 E3 | F#3 A2 B2 D3 | E3 F#3 G3 D3 | A2:3 -:1
       A2:1 D3 G3 F#3 | G3 E3 D3 A2 | B2 G2 A2 A2 | D2:4""",
)

AIR = """D5:3 E5:.5 F5 | E5:2 A4:2 | Bb4:1.5 C5:.5 D5:1 Bb4 | A4:3 G4:.5 A4 | F4:1 G4:.5 A4 Bb4:1 D5 |
    C5:1.5 Bb4:.5 A4:2 | G4:1 Bb4 A4 C#4 | D4:4"""


def prelude() -> Score:
    """Break one chord per half bar into sixteenth notes, on a piano, and hold the bass."""
    score = Score(76, 8, loudness=-25, reverb=1.8, bright=3500, master=lambda x: phrased(x, 12.6, 12), seed=1)
    right = score.part(gain=-3, pan=0.2, wet=-10)
    left = score.part(gain=0, pan=-0.2, wet=-10)
    for beat, chord in score.changes(PRELUDE, 2):
        left.play(instruments.piano, beat, Note((root(chord, "G2"),), 2.0))
        left.play(instruments.piano, beat + 0.25, Note((root(chord, "G2") + 12,), 1.75), level=0.7)
        upper = voiced(chord, "D4")
        figure = [*upper[-3:], upper[0] + 12, *upper[:-4:-1]][:6]
        for step, each in enumerate(figure):
            level = 0.55 + 0.08 * step
            right.play(instruments.piano, beat + 0.5 + 0.25 * step, Note((each,), 0.6), level=level)
    return score


def chorale() -> Score:
    """Sing four voices on the principals of a pipe organ in a large church, the bass on the pedals."""
    score = Score(72, 8, loudness=-24, reverb=3.2, bright=2600, master=lambda x: phrased(x, 13.3, 6), seed=2)
    manual = partial(instruments.pipes, stops=(1.0, 2.0, 4.0))
    pedals = partial(instruments.pipes, stops=(0.5, 1.0, 2.0))
    for number, words in enumerate(CHORALE):
        part = score.part(gain=-number, pan=0.3 - 0.2 * number, wet=-5)
        part.sing(pedals if number == 3 else manual, 0, words, gate=0.98)
    return score


def air() -> Score:
    """Let a string orchestra play a slow air in D minor over plucked basses."""
    score = Score(76, 8, loudness=-24, reverb=2.2, bright=3000, master=lambda x: phrased(x, 12.6, 14), seed=3)
    violins = score.part(gain=-5, pan=-0.4, wet=-8)
    violins.sing(partial(instruments.strings, cutoff=2600.0, attack=0.15), 0, AIR, gate=1.0)
    inner = score.part(gain=-10, pan=0.2, wet=-8)
    low = score.part(gain=3, pan=0.4, wet=-8)
    bow = partial(instruments.strings, cutoff=1500.0, attack=0.2)
    pizzicato = partial(instruments.string, sustain=1.2, bright=0.05, hardness=600.0, place=0.3)
    chords = "Dm Bb A A7 Gm Bb Dm A7 Dm Gm F Dm Gm A7 Dm Dm"
    for beat, chord in score.changes(chords, 2):
        inner.play(bow, beat, Note(voiced(chord, "A3"), 2.0), gate=1.0)
        for later in (0, 1):
            low.play(pizzicato, beat + later, Note((root(chord, "E2"),), 1.0))
    return score
