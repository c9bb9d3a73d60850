"""The music genres among AudioSet's classes: the styles that a model may score besides its own genres.

Source: Gemmeke et al., "Audio Set: an ontology and human-labeled dataset for audio events", ICASSP 2017; the
branch "Music genre" of its ontology, without classes that are ways of making music rather than genres
(beatboxing, vocal music, a capella, music for children, independent music).
"""

from __future__ import annotations

from typing import Final

# The ten genres of GTZAN, the data set of the paper.
GTZAN_GENRES: Final = (
    "blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock",
)  # fmt: skip

STYLE_INDICES: Final = {
    "pop": 216,
    "hip hop": 217,
    "rock": 219,
    "heavy metal": 220,
    "punk rock": 221,
    "grunge": 222,
    "progressive rock": 223,
    "rock and roll": 224,
    "psychedelic rock": 225,
    "rhythm and blues": 226,
    "soul": 227,
    "reggae": 228,
    "country": 229,
    "swing": 230,
    "bluegrass": 231,
    "funk": 232,
    "folk": 233,
    "middle eastern": 234,
    "jazz": 235,
    "disco": 236,
    "classical": 237,
    "opera": 238,
    "electronic": 239,
    "house": 240,
    "techno": 241,
    "dubstep": 242,
    "drum and bass": 243,
    "electronica": 244,
    "electronic dance": 245,
    "ambient": 246,
    "trance": 247,
    "latin": 248,
    "salsa": 249,
    "flamenco": 250,
    "blues": 251,
    "new-age": 253,
    "african": 256,
    "afrobeat": 257,
    "christian": 258,
    "gospel": 259,
    "asian": 260,
    "carnatic": 261,
    "bollywood": 262,
    "ska": 263,
    "traditional": 264,
}
"""Each style's place among AudioSet's 527 classes, in their order."""

STYLES: Final = tuple(STYLE_INDICES)
