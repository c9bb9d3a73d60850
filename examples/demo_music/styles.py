"""The table of styles: what can be rendered, and into which kind of file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import band
import club
import concert
from score import Score


@dataclass(frozen=True)
class Style:
    """A piece and its file.

    Attributes
    ----------
    name : str
        Begins with the genre that the piece means to be.
    compose : callable
        Writes the score.
    suffix : {"wav", "flac", "ogg", "mp3"}
        Format of the file.
    sample_rate : int
        Of the file, in Hz: 44 100 or 22 050.
    channels : {1, 2}
        Of the file.
    """

    name: str
    compose: Callable[[], Score]
    suffix: str = "wav"
    sample_rate: int = 44_100
    channels: int = 2


STYLES = (
    Style("blues_shuffle", band.blues, "mp3"),
    Style("classical_air", concert.air, "flac"),
    Style("classical_chorale", concert.chorale, "ogg"),
    Style("classical_prelude", concert.prelude, "flac", 22_050, 1),
    Style("country_train", band.country, "ogg"),
    Style("disco_floor", club.disco, "mp3"),
    Style("hiphop_boombap", club.hiphop, "wav", 22_050, 2),
    Style("jazz_swing", band.jazz, "ogg", 44_100, 1),
    Style("metal_gallop", band.metal, "mp3"),
    Style("pop_four_chords", club.pop, "ogg"),
    Style("reggae_one_drop", club.reggae, "wav", 22_050, 1),
    Style("rock_backbeat", band.rock, "flac"),
)
