"""Pieces for a dance floor: disco, hip-hop, pop, reggae."""

from __future__ import annotations

from functools import partial

import numpy as np

import drums
import instruments
from effects import air, amplifier, chorus, deep, drive, echo
from notation import Note, pitch, root, stacked, voiced
from score import Part, Score
from signals import RATE, Samples, bandpass, bell, highpass, noise

DISCO = "Am9 Dm9 G13 Cmaj9 Fmaj9 Bm7b5 E7 Am9 Am9 Dm9 G13 E7"
DISCO_STRINGS = """-:8 | -:2 B4:.25 C5 D5 E5 F5 G5 A5 B5 | C6:2 B5:1 G5 | A5:3 G5:1 | F5:2 -:2 |
    G#4:.25 B4 D5 E5 G#5 B5 D6:.5 E6:2 | C6:4 | -:2 A4:.25 B4 C5 D5 E5 F5 G5 A5 | A5:2 F5:2 |
    G5:2 D5:2 | E5:4"""
DISCO_VOICE = """-:.5 E4 E4 G4 A4:1 -:1 | -:.5 F4 F4 A4 C5:1 A4 | B4:1.5 A4:.5 G4:1 -:1 |
    E4:.5 G4 B4:1 C5:2 | -:.5 A4 A4 C5 C5:1 -:1 | -:.5 B4 B4 A4 F4:1 D4 | E4:1.5 G#4:.5 B4:2 |
    C5:.5 B4 A4:2 -:1 | -:.5 E4 E4 G4 A4:1 -:1 | -:.5 F4 F4 A4 C5:1 A4 | B4:1.5 A4:.5 G4:1 -:1 |
    G#4:.5 A4 B4:3"""

HIPHOP = "Ebm9 Abm9 Ebm9 Bmaj7 Ebm9 Abm9 Ebm9 Bb7"

POP = "C G Am F C G F G Am F C G"
POP_VOICE = """E4:.5 E4 G4:1 E4:.5 D4 C4:1 | D4:.5 D4 G4:1 D4:.5 B3 -:1 | C4:.5 E4 A4:1 G4:.5 E4 C4:1 |
    A4:1.5 G4:.5 F4:1 -:1 | E4:.5 E4 G4:1 C5:.5 B4 G4:1 | B4:.5 A4 G4:1 D4:.5 E4 D4:1 |
    C4:.5 F4 A4:1 G4:.5 F4 A4:1 | B4:1 A4 G4 -:1 | C5:1 C5:.5 B4 A4:1 E4 | A4:1 A4:.5 G4 F4:1 A4 |
    G4:1 G4:.5 E4 C4:1 E4 | D4:3 -:1"""

REGGAE = "Am Am Dm Em Am Am Dm Em"
REGGAE_BASS = """-:.5 A1:.5 A1:.5 C2 E2:1 -:1 | A1:.5 A1 G1:1 E1:.5 G1 -:1"""
REGGAE_VOICE = """-:1 E4:.5 E4 D4 C4 A3:1 | -:1 A3:.5 C4 D4 C4 A3:1 | D4:1 F4:.5 E4 D4:2 |
    B3:.5 D4 E4:3 | -:1 G4:.5 E4 D4 C4 A3:1 | -:1 A3:.5 C4 D4 E4 C4:1 | F4:1 F4:.5 E4 D4:2 |
    E4:.5 D4 B3:1 A3:2"""

bass_guitar = partial(instruments.string, sustain=3.0, bright=0.3, hardness=3000.0, place=0.15)
clean = partial(instruments.string, sustain=2.5, bright=0.5, hardness=7000.0, place=0.1)
scratch = partial(instruments.string, sustain=0.3, bright=0.2, hardness=9000.0, place=0.07, release=0.02)
open_hat = partial(drums.hat, t60=0.3, cutoff=5500.0)
loose_hat = partial(drums.hat, t60=0.12)
thin_hat = partial(drums.hat, cutoff=8000.0)
boom = partial(drums.kick, low=46.0, t60=0.5)
bap = partial(drums.snare, tone=175.0, top=11_000.0)
bright_snare = partial(drums.snare, top=13_000.0)
timbale = partial(drums.tom, low=130.0)
round_synth = partial(instruments.synth, cutoff=500.0)
plucked_synth = partial(instruments.synth, cutoff=2500.0, sweep=5.0)
wide_strings = partial(instruments.strings, cutoff=5000.0)
speaker = partial(instruments.voice, vowels=("eh", "ah", "ee", "oh"), breath=0.25)
choir = partial(instruments.voice, vowels=("ah", "eh", "oh", "ah"))


def disco() -> Score:
    """Four on the floor, open hats off the beat, a bass in octaves, strings that run, and a singer."""
    score = Score(120, 12, loudness=-15.5, reverb=1.1, bright=6500, master=air, seed=9)
    kit = score.part(gain=-1, wet=-18)
    hats = score.part(gain=-9, pan=0.25)
    bass = score.part(gain=-5.5, wet=-30, chain=lambda x: deep(drive(0.7 * x, 6), 3000.0))
    guitar = score.part(gain=-8, pan=-0.5, chain=lambda x: highpass(x, 250.0))
    keys = score.part(gain=-16, pan=0.4, chain=chorus)
    violins = score.part(gain=-12, pan=-0.15, wet=-8)
    singer = score.part(gain=-12, wet=-9)
    violins.sing(partial(instruments.strings, cutoff=6000.0, attack=0.04), 0, DISCO_STRINGS)
    singer.sing(choir, 0, DISCO_VOICE)
    for beat, chord in score.changes(DISCO):
        kit.beat(drums.kick, beat, "xxxx", 1.0)
        kit.beat(drums.snare, beat, ".x.x", 1.0, 0.7)
        kit.beat(drums.clap, beat, ".x.x", 1.0, 0.5)
        hats.beat(drums.hat, beat, "x-.-x-.-x-.-x-.-", 0.25, 0.7)
        hats.beat(open_hat, beat, ".x.x.x.x", 0.5)
        low = root(chord, "E1")
        for eighth in range(8):
            bass.play(bass_guitar, beat + 0.5 * eighth, Note((low + 12 * (eighth % 2),), 0.5), gate=0.8)
        for step, mark in enumerate("x-.xx-x-.-xx.-x-"):
            if mark != ".":
                guitar.play(
                    scratch, beat + step / 4, Note(voiced(chord, "E4"), 0.25), 0.6, 0.5 + (mark == "x")
                )
        keys.play(instruments.electric_piano, beat + 0.5, Note(voiced(chord, "C4"), 3.0))
    return score


def _crackle(samples: Samples) -> Samples:
    """Simulate a worn vinyl record: a narrow band, hiss, and clicks."""
    seconds = len(samples) / RATE
    dust = noise(seconds, 5)
    clicks = np.where(np.abs(dust) > 4.0, dust, 0.0)
    worn = bandpass(samples, 180.0, 5000.0)
    return worn + highpass(0.004 * noise(seconds, 6) + 0.05 * clicks, 1000.0)


def hiphop() -> Score:
    """Play a boom-bap beat at 90 a minute: swung sixteenths, a deep bass, chords sampled from vinyl."""
    score = Score(90, 8, swing=0.58, unit=0.5, loudness=-13.5, reverb=0.6, master=air, seed=10)
    kit = score.part(gain=-1, wet=-20, chain=lambda x: 0.8 * drive(x, 4))
    hats = score.part(gain=-3, pan=0.2)
    bass = score.part(gain=-9, wet=-40)
    record = score.part(gain=-14, pan=-0.2, chain=_crackle)
    rapper = score.part(gain=-6, wet=-18)
    for bar, (beat, chord) in enumerate(score.changes(HIPHOP)):
        kit.beat(boom, beat, "x..-..x.x.x.....", 0.25)
        kit.beat(bap, beat, "....x..-....x...", 0.25)
        kit.beat(drums.clap, beat, "....o.......o...", 0.25, 0.6)
        hats.beat(loose_hat, beat, "x-x-x-xox-x-x-xx", 0.25)
        low = root(chord, "A0")
        for at, length in ((0.0, 1.2), (1.5, 0.5), (2.0, 0.4), (2.5, 1.3)):
            bass.play(instruments.sub_bass, beat + at, Note((low + 12,), length))
        for at, length in ((0.0, 0.7), (0.75, 0.2), (1.5, 0.9), (2.75, 0.2), (3.0, 0.7)):
            record.play(instruments.electric_piano, beat + at, Note(stacked(chord, "A3"), length), gate=0.9)
        _rap(rapper, beat, bar)
    return score


def _rap(part: Part, beat: float, bar: int) -> None:
    """Imitate rap without words: short vowels near one pitch, in sixteenths."""
    rhythm = ("x.xxx.x.xx.xx...", "xx.xx.xxx.x.xx..")[bar % 2]
    for step, mark in enumerate(rhythm):
        if mark == "x":
            height = 45 + (step * 7 + bar * 3) % 5
            part.play(speaker, beat + step / 4, Note((height,), 0.28))


def pop() -> Score:
    """Sing a tune over four chords, with synthesizers, claps and a bright top."""
    score = Score(116, 12, loudness=-14.5, reverb=1.2, bright=7000, master=air, seed=11)
    kit = score.part(gain=-1, wet=-16)
    hats = score.part(gain=-3, pan=0.25)
    bass = score.part(gain=-10, wet=-40)
    pad = score.part(gain=-14, pan=0.0, wet=-8, chain=chorus)
    arpeggio = score.part(gain=-13, pan=-0.4, wet=-10, chain=lambda x: echo(x, 0.388))
    singer = score.part(gain=-10.5, wet=-10, chain=lambda x: bell(x, 3500.0, 4.0))
    singer.sing(choir, 0, POP_VOICE)
    for beat, chord in score.changes(POP):
        kit.beat(drums.kick, beat, "x..xx.x.", 0.5)
        kit.beat(drums.clap, beat, ".x.x", 1.0, 0.8)
        kit.beat(bright_snare, beat, ".x.x", 1.0, 0.8)
        hats.beat(thin_hat, beat, "x-o-x-o-x-o-x-o-", 0.25, 0.7)
        hats.beat(drums.shaker, beat, "oxoxoxoxoxoxoxox", 0.25, 0.5)
        low = root(chord, "E1")
        for eighth in range(8):
            bass.play(round_synth, beat + 0.5 * eighth, Note((low,), 0.5), gate=0.8)
        pad.play(wide_strings, beat, Note(voiced(chord, "G3"), 4.0))
        tones = (*voiced(chord, "G4"), root(chord, "C5"))
        for step in range(16):
            arpeggio.play(plucked_synth, beat + step / 4, Note((tones[step % len(tones)],), 0.25))
    return score


def reggae() -> Score:
    """Drop the one: bass drum and rim on three, chords off the beat, an organ that bubbles, a heavy bass."""
    score = Score(76, 8, swing=0.55, unit=0.5, loudness=-18, reverb=1.2, seed=12)
    kit = score.part(gain=1, wet=-16)
    hats = score.part(gain=-8, pan=0.3)
    bass = score.part(gain=2, wet=-40, chain=lambda x: bell(deep(x, 600.0), 55.0, 7.0))
    skank = score.part(gain=-6, pan=-0.4, chain=lambda x: highpass(amplifier(x, 3, 5200.0), 250.0))
    bubble = score.part(gain=-21, pan=0.4)
    singer = score.part(gain=-14, wet=-10, chain=lambda x: echo(x, 0.592, 0.25))
    singer.sing(partial(choir, breath=0.08), 0, REGGAE_VOICE)
    for bar, (beat, chord) in enumerate(score.changes(REGGAE)):
        kit.beat(drums.kick, beat, "..x.", 1.0)
        kit.beat(drums.rim, beat, "....x..-" if bar % 2 else "....x...", 0.5, 0.8)
        kit.beat(timbale, beat, "." * 13 + "x.o" if bar % 4 == 3 else ".", 0.25, 0.5)
        hats.beat(drums.hat, beat, "o.x-o.x-o.x-o.x-", 0.25)
        line = REGGAE_BASS.split("|")[bar % 2]
        bass.sing(bass_guitar, beat, line, 0.85, shift=root(chord, "E1") - pitch("A1"))
        for quarter in range(4):
            skank.play(clean, beat + quarter + 0.5, Note(voiced(chord, "A3"), 0.5), gate=0.3)
            for late in (0.25, 0.5, 0.75):
                note = Note(voiced(chord, "E4"), 0.25)
                bubble.play(
                    instruments.organ, beat + quarter + late, note, gate=0.6, level=0.6 + (late == 0.5)
                )
    return score
