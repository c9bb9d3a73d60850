"""Pieces for a band: blues, country, jazz, rock, metal."""

from __future__ import annotations

from functools import partial

import drums
import instruments
from effects import air, amplifier, body, deep, drive
from notation import Note, pitch, root, stacked, voiced
from score import Part, Score, Voice
from signals import Samples, bell

BLUES = "A7 D7 A7 A7 D7 D7 A7 A7 E7 D7 A7 E7"
BLUES_LEAD = """-:.5 E4 G4>A4:1 C5:.5 A4 G4:1 | D5>E5:1.5 D5:.5 C5 A4 -:1 | -:1 C5:.5 A4 G4>A4:2 |
    -:.5 A4 C5 D5 D5>E5:1 G5 | F#5>G5:1.5 F5:.5 D5:1 C5 | A4:.5 C5 D5:1 -:2 |
    C5>C#5:1 A4:.5 G4 E4 G4 A4:1 | -:2 E5:.5 D5 C5 A4 | B4:1 D5 D5>E5:1.5 G5:.5 |
    F#5>G5:1 D5:.5 C5 A4:1 F4 | A4:.5 C5 C#5 E5 A5:1 G5:.5 E5 | D5>E5:2 -:1 B4:.5 C5"""

COUNTRY = "G G C G G D C D G C D G"
STEEL = """-:4 | B4+D5:2 A4>B4:1 G4:1 | C5>E5:2 D5:1 C5 | A4>B4:3 -:1 | -:4 | C5>D5:2 A4:1 F#4 |
    E4>G4:2 C5:1 D5 | D5>F#5:3 -:1 | -:4 | E5:1 D5:.5 C5 G4:2 | F#4>A4:1 D5 C5:.5 B4 A4:1 | A4>B4:4"""
COUNTRY_VOICE = """B3:1 B3:.5 A3 G3:1 D3 | -:4 | E4:1 E4:.5 D4 C4:1 E4 | D4:2 -:2 |
    B3:1 B3:.5 A3 G3:1 B3 | -:4 | C4:1 E4:.5 D4 C4:1 E4 | D4:2 -:2 | G4:1 G4:.5 F#4 E4:1 D4 | -:4 |
    D4:.5 D4 C4 A3 F#3:1 A3 | G3:3 -:1"""

JAZZ = "Dm9 G13 Cmaj9 A7 Dm9 G13 Em7 A7 Fmaj9 Bb9 Em7 A7 Dm9 G13 Cmaj9 G13"
JAZZ_LEAD = """-:1 F4:.5 A4 C5 E5 D5:1 | B4:.5 D5 C5 A4 G4:1 E4 | D#4>E4:1.5 G4:.5 B4:1 D5 |
    C#5:.5 Bb4 G4 E4 F4:2 | -:.5 A4 D5 F5 E5 C5 A4:1 | Ab4:.5 B4 D5 F5 E5:1 D5 | C#5>D5:1.5 B4:.5 G4:2 |
    -:.5 C#5 E5 G5 Bb5:1 A5 | G5:1 E5:.5 C5 A4:2 | -:1 Ab4:.5 C5 D5:1 F5 | E5:.5 D5 B4 G4 F#4:1 D4 |
    C#4:.5 E4 G4 Bb4 A4:2 | F4:.5 A4 C5 E5 F5:1 D5 | B4:1 F5:.5 E5 Eb5 D5 B4:1 | A#4>B4:2 G4:1 E4 | D4:4"""

ROCK = "E5 G5 A5 C5 E5 G5 A5 B5 E5 G5 A5 E5"
ROCK_LEAD = """-:16 | B4:.5 D5 E5:1 D5>E5:2 | G5:.5 E5 D5 B4 D5:2 | C5>E5:1.5 D5:.5 C5 A4 G4:1 |
    F#4:1 A4 B4:2 | E5>G5:1 E5:.5 D5 E5:2 | B5:.5 G5 E5 D5 E5 G5 A5:1 | C6>D6:1 A5 E5:.5 D5 C5:1 |
    B4:.5 D5 E5:3"""

METAL = "E5 E5 G5 F5 E5 E5 Bb5 A5 E5 E5 G5 F5 E5 E5 Bb5 A5"
METAL_CHUGS = ("x.xxx.xxx.xx", "x.xxx.xxx.x.")
METAL_LEAD = """-:32 | B4:.25 B4 B4 B4 C5 C5 B4 B4 G4 G4 B4 B4 F#4 F#4 G4 G4 |
    E5:.25 E5 D5 D5 C5 C5 B4 B4 A4 A4 G4 G4 F#4 G4 A4 B4 | E5:1 F5:.5 E5 B5:2 |
    Bb5:1 A5:.5 G5 F5:1 D#5 | E5:.25 B4 G4 B4 E5 B4 G4 B4 F5 C5 A4 C5 F5 C5 A4 C5 |
    G5:.25 D5 B4 D5 G5 D5 B4 D5 F#5 D#5 B4 D#5 F#5 D#5 B4 D#5 | G5>A5:2 G5:1 F5 | E5:4"""

upright = partial(instruments.string, sustain=2.2, bright=0.12, hardness=1400.0, place=0.25)
electric_bass = partial(instruments.string, sustain=3.5, bright=0.25, hardness=2200.0, place=0.2)
steel_string = partial(instruments.string, sustain=3.0, bright=0.45, hardness=7000.0)
electric = partial(instruments.string, sustain=5.0, bright=0.5, hardness=6000.0, place=0.1)
loose_hat = partial(drums.hat, t60=0.35, cutoff=5000.0)
double_kick = partial(drums.kick, t60=0.16, click=0.6, low=54.0)
tight_snare = partial(drums.snare, tone=210.0)
palm_muted = partial(instruments.string, sustain=0.5, bright=0.08, hardness=4500.0, place=0.08, release=0.02)


def walk(part: Part, bass: Voice, chords: str, low: str) -> None:
    """Walk a bass: root, third or fifth, and a semitone into the next chord."""
    names = chords.split()
    for bar, chord in enumerate(names):
        tones = stacked(chord, low)
        following = root(names[(bar + 1) % len(names)], low)
        steps = (tones[0], tones[1], tones[0] + 7, following + (1 if bar % 2 else -1))
        for beat, each in enumerate(steps):
            part.play(bass, 4 * bar + beat, Note((each,)), gate=0.9)


def blues() -> Score:
    """Play twelve bars in A: a swung shuffle, a boogie guitar, and a lead that bends."""
    score = Score(112, 12, swing=0.66, loudness=-17.5, reverb=0.8, seed=4)
    kit = score.part(gain=-4, wet=-16)
    hats = score.part(gain=-12, pan=0.3)
    bass = score.part(gain=-4.5, wet=-30, chain=lambda x: deep(drive(0.5 * x, 6)))
    boogie = score.part(gain=-9, pan=-0.4, chain=lambda x: amplifier(0.5 * x, 12, 4200.0))
    lead = score.part(gain=-11.5, pan=0.25, wet=-12, chain=lambda x: amplifier(x, 18, 4500.0, 250.0))
    walk(bass, electric_bass, BLUES, "E1")
    lead.sing(electric, 0, BLUES_LEAD)
    for beat, chord in score.changes(BLUES):
        kit.beat(drums.kick, beat, "x...x..o", 0.5)
        kit.beat(drums.snare, beat, "..x...x-", 0.5)
        hats.beat(drums.hat, beat, "xoxoxoxo", 0.5)
        low = root(chord, "A2")
        for eighth, top in enumerate((7, 7, 9, 9, 10, 9, 7, 9)):
            boogie.play(electric, beat + 0.5 * eighth, Note((low, low + top), 0.5), gate=0.7)
    return score


def country() -> Score:
    """Play a train beat with boom-chick guitar, pedal steel and a plain voice."""
    score = Score(116, 12, loudness=-16.5, reverb=0.9, seed=5)
    kit = score.part(gain=-6)
    train = score.part(gain=-11, pan=0.1)
    bass = score.part(gain=-5, wet=-30, chain=deep)
    guitar = score.part(gain=-9.5, pan=-0.4, chain=body)
    steel = score.part(gain=-9.5, pan=0.4, wet=-8, chain=lambda x: amplifier(x, 3, 6500.0, 200.0))
    singer = score.part(gain=-9.5, wet=-12)
    steel.sing(partial(electric, sustain=9.0, bright=0.9, place=0.2), 0, STEEL, gate=1.0)
    singer.sing(partial(instruments.voice, vowels=("ah", "eh", "oh", "ee")), 0, COUNTRY_VOICE, gate=0.9)
    for beat, chord in score.changes(COUNTRY):
        kit.beat(drums.kick, beat, "x.x.x.x.", 0.5)
        train.beat(drums.brush, beat, "-ox--oxo-ox--oxo", 0.25)
        low = root(chord, "E2")
        for half, below in ((0, 0), (2, -5)):
            bass.play(electric_bass, beat + half, Note((low + below - 12 * (low + below > 45),), 1.6))
            guitar.play(steel_string, beat + half, Note((low + (below % 12),), 1.5))
            guitar.strum(steel_string, beat + half + 1, Note(voiced(chord, "D3") + voiced(chord, "D4"), 0.8))
            guitar.strum(steel_string, beat + half + 1.5, Note(voiced(chord, "D4"), 0.4), -0.015, 0.6)
    return score


def jazz() -> Score:
    """Swing: ride cymbal, walking bass, piano in chords of four notes, and a saxophone."""
    score = Score(152, 16, swing=0.64, loudness=-21.5, reverb=1.1, bright=3000, seed=6)
    ride = score.part(gain=-16, pan=0.3)
    kit = score.part(gain=-15)
    bass = score.part(gain=0, wet=-22, chain=lambda x: deep(x, 1600.0))
    comp = score.part(gain=-12, pan=-0.35)
    sax = score.part(gain=-9.5, pan=0.15, wet=-10)
    walk(bass, upright, JAZZ, "E1")
    sax.sing(instruments.reed, 0, JAZZ_LEAD, gate=0.95)
    soft = partial(instruments.piano, hardness=0.62)
    rhythms = ("x..x....", "...x..x.", ".x....x.", "x......x")
    for bar, (beat, chord) in enumerate(score.changes(JAZZ)):
        ride.beat(drums.ride, beat, "x.xox.xo", 0.5)
        kit.beat(drums.hat, beat, ".x.x", 1.0, 0.6)
        kit.beat(drums.brush, beat, ("...-..o." if bar % 2 else ".-....-."), 0.5)
        kit.beat(drums.kick, beat, "-.-.-.-.", 0.5, 0.6)
        for step, mark in enumerate(rhythms[bar % 4]):
            if mark == "x":
                comp.play(soft, beat + 0.5 * step, Note(voiced(chord, "F3"), 0.8))
    return score


def rock() -> Score:
    """Play eighth notes on two guitars over a backbeat, then let one of them lead."""
    score = Score(126, 12, loudness=-16, reverb=0.9, master=air, seed=7)
    kit = score.part(gain=1, wet=-12)
    hats = score.part(gain=-10, pan=0.3)
    bass = score.part(gain=-8, wet=-30, chain=lambda x: deep(drive(x, 8)))
    lead = score.part(gain=-11, wet=-10, chain=lambda x: amplifier(x, 26, 5000.0, 250.0))
    lead.sing(electric, 0, ROCK_LEAD)
    for pan, place in ((-0.7, 0.08), (0.7, 0.14)):
        guitar = score.part(gain=-12.5, pan=pan, chain=lambda x: amplifier(0.5 * x, 22, 4600.0))
        strings = partial(electric, place=place)
        for beat, chord in score.changes(ROCK):
            power = (*stacked(chord, "E2"), root(chord, "E2") + 12)
            for eighth in range(8):
                length = 0.45 if eighth not in (0, 6) else 0.9
                guitar.play(strings, beat + 0.5 * eighth, Note(power, 0.5), gate=2 * length)
    for bar, (beat, chord) in enumerate(score.changes(ROCK)):
        kit.beat(drums.kick, beat, "x..xx..." if bar % 2 else "x...x.x.", 0.5)
        kit.beat(drums.snare, beat, "..x...x." if bar % 4 != 3 else "..x...xx", 0.5)
        hats.beat(loose_hat, beat, "xoxoxoxo", 0.5)
        for eighth in range(8):
            bass.play(electric_bass, beat + 0.5 * eighth, Note((root(chord, "E1"),), 0.5))
    kit.beat(drums.crash, 0, "o" + "." * 15 + "o" + "." * 15 + "o", 1.0, 0.6)
    return score


def _high_gain(samples: Samples) -> Samples:
    """Overdrive strongly, and attenuate the middle frequencies."""
    return bell(amplifier(0.6 * samples, 34, 7500.0, 160.0), 750.0, -9.0, 0.6)


def metal() -> Score:
    """Gallop on palm-muted power chords at 172 beats a minute over double bass drums."""
    score = Score(172, 16, loudness=-16, reverb=0.8, master=air, seed=8)
    kit = score.part(gain=-2, wet=-14)
    cymbals = score.part(gain=-11, pan=0.2)
    bass = score.part(gain=-10.5, wet=-30, chain=lambda x: deep(drive(x, 14), 3000.0))
    lead = score.part(gain=-14, wet=-10, chain=lambda x: amplifier(x, 30, 5200.0, 300.0))
    lead.sing(electric, 0, METAL_LEAD)
    sides = [score.part(gain=-13, pan=pan, wet=-20, chain=_high_gain) for pan in (-0.8, 0.8)]
    voices = [(partial(palm_muted, place=p), partial(electric, place=p)) for p in (0.07, 0.11)]
    for bar, (beat, chord) in enumerate(score.changes(METAL)):
        for guitar, (muted, ringing) in zip(sides, voices, strict=True):
            _chug(guitar, muted, beat, METAL_CHUGS[bar % 2])
            stab = (*stacked(chord, "E2"), root(chord, "E2") + 12)
            guitar.play(ringing, beat + 3, Note(stab))
        for sixteenth in range(16):
            low = pitch("E1") if sixteenth < 12 else root(chord, "E1")
            bass.play(electric_bass, beat + sixteenth / 4, Note((low,), 0.25))
        kit.beat(double_kick, beat, "x-xx" * 3 + "xxxx", 0.25)
        kit.beat(tight_snare, beat, "..x...x.", 0.5, 1.1)
        cymbals.beat(drums.ride if bar >= 8 else loose_hat, beat, "xxxx", 1.0)
        cymbals.beat(drums.crash, beat, "x" if bar % 4 == 0 else ".", 1.0)
    return score


def _chug(part: Part, voice: Voice, beat: float, pattern: str) -> None:
    """Play the lowest power chord in sixteenths."""
    for step, mark in enumerate(pattern):
        if mark == "x":
            part.play(voice, beat + step / 4, Note(stacked("E5", "E2"), 0.25))
