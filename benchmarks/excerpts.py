"""How far a track's excerpts agree with the whole of it, and how much of it they hear.

Run: python benchmarks/excerpts.py SHARED/data [TRACKS]

The segments of every clip of GTZAN and Emotify are scored once. TRACKS (2000) tracks of 3 to 6 minutes are
then laid out of clips of one genre: medleys of different clips, and songs of two to four clips in the order
of verses and choruses. The rule of `sampling` is replayed on their scores. Both kinds are harder than most
music: no part of them was made to go with another.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from genrescope import Classifier, datasets
from genrescope.inference import excerpts as sampling
from genrescope.types import FloatArray

SONGS = ("ABABCB", "AABABCBB", "ABCABCDB", "AABBAABBCCBB", "ABABAB")


def scored(data: Path) -> dict[tuple[str, str], list[FloatArray]]:
    """Return the segments' scores of the clips of each genre."""
    classifier = Classifier.from_pretrained()
    clips = defaultdict(list)
    for name in ("gtzan", "emotify"):
        for track in datasets.load_dataset(data / name, kind="audio").tracks:
            clips[name, track.label].append(classifier.predict(track.path, timeline=True).timeline.scores[:3])
    return clips


def medley(clips: list[FloatArray], generator: np.random.Generator) -> FloatArray:
    chosen = generator.choice(len(clips), int(generator.integers(6, 13)), replace=False)
    return np.concatenate([clips[place] for place in chosen])


def song(clips: list[FloatArray], generator: np.random.Generator) -> FloatArray:
    parts = dict(zip("ABCD", generator.choice(len(clips), 4, replace=False), strict=True))
    order = SONGS[int(generator.integers(len(SONGS)))]
    return np.concatenate([clips[parts[letter]] for letter in order])


def listen(scores: FloatArray) -> tuple[bool, int]:
    """Return whether the excerpts' leader is the whole's, and how many segments they took."""
    heard: list[int] = []
    for place in sampling.excerpt_order(len(scores)):
        heard.append(place)
        if sampling.should_stop(scores[heard], len(scores)):
            break
    return bool(scores[heard].mean(0).argmax() == scores.mean(0).argmax()), len(heard)


def main() -> None:
    data, tracks = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    clips = scored(data)
    kinds = list(clips)
    for build in (medley, song):
        generator = np.random.default_rng(0)
        laid = [
            build(clips[kinds[place]], generator) for place in generator.integers(len(kinds), size=tracks)
        ]
        ends = [listen(scores) for scores in laid]
        agreed = np.mean([same for same, _ in ends])
        share = sum(number for _, number in ends) / sum(map(len, laid))
        error = 1.96 * np.sqrt(agreed * (1 - agreed) / tracks)
        kind = f"{tracks} {build.__name__}s"
        print(f"{kind}: the same genre {agreed:.1%} +- {error:.1%}, {share:.0%} of them heard")


if __name__ == "__main__":
    main()
