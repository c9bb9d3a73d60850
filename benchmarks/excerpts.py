"""Measure how often a track's excerpts give the genre of the whole track, and how many segments they need.

Run: python benchmarks/excerpts.py DATASET... [--model NAME] [--tracks N] [--limit N]

DATASET is a folder of labeled audio. The segments of every clip are scored once. Simulated tracks are then
joined of the scores of clips of one genre and data set: medleys of 6 to 12 different clips, and songs of two
to four clips in the order of verses and choruses. The stopping rule of `genrescope.inference.excerpts` is
applied to their scores. Both kinds vary more than most music does, as their parts come from different
recordings.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from genrescope import Classifier, datasets
from genrescope.inference import excerpts
from genrescope.types import FloatArray

SONG_FORMS = ("ABABCB", "AABABCBB", "ABCABCDB", "AABBAABBCCBB", "ABABAB")


def score_clips(
    classifier: Classifier, folders: list[Path], limit: int | None
) -> dict[tuple[Path, str], list[FloatArray]]:
    """Return the scores of the first three segments of each clip, by data set and genre."""
    clips = defaultdict(list)
    for folder in folders:
        for track in datasets.load_dataset(folder, kind="audio").tracks:
            if limit is None or len(clips[folder, track.label]) < limit:
                clips[folder, track.label].append(
                    classifier.predict(track.path, timeline=True).timeline.scores[:3]
                )
    return clips


def medley(clips: list[FloatArray], generator: np.random.Generator) -> FloatArray:
    count = min(len(clips), int(generator.integers(6, 13)))
    selected = generator.choice(len(clips), count, replace=False)
    return np.concatenate([clips[index] for index in selected])


def song(clips: list[FloatArray], generator: np.random.Generator) -> FloatArray:
    parts = dict(zip("ABCD", generator.choice(len(clips), 4, replace=len(clips) < 4), strict=True))
    form = SONG_FORMS[int(generator.integers(len(SONG_FORMS)))]
    return np.concatenate([clips[parts[letter]] for letter in form])


def sample_excerpts(scores: FloatArray) -> tuple[bool, int]:
    """Return whether excerpts give the top genre of the whole track, and how many were needed."""
    scored: list[int] = []
    for index in excerpts.excerpt_order(len(scores)):
        scored.append(index)
        if excerpts.should_stop(scores[scored], len(scores)):
            break
    return bool(scores[scored].mean(0).argmax() == scores.mean(0).argmax()), len(scored)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", nargs="+", type=Path, help="folder of labeled audio")
    parser.add_argument("--model", default="default", help="packaged model or .onnx file")
    parser.add_argument("--tracks", type=int, default=2000, help="simulated tracks of each kind")
    parser.add_argument("--limit", type=int, help="at most so many clips of each genre and data set")
    options = parser.parse_args()
    clips = score_clips(Classifier.from_pretrained(options.model), options.dataset, options.limit)
    genres = list(clips)
    for simulate in (medley, song):
        generator = np.random.default_rng(0)
        tracks = [
            simulate(clips[genres[index]], generator)
            for index in generator.integers(len(genres), size=options.tracks)
        ]
        results = [sample_excerpts(scores) for scores in tracks]
        agreed = np.mean([same for same, _ in results])
        share = sum(count for _, count in results) / sum(map(len, tracks))
        error = 1.96 * np.sqrt(agreed * (1 - agreed) / len(tracks))
        kind = f"{len(tracks)} simulated {simulate.__name__} tracks"
        print(f"{kind}: same top genre {agreed:.1%} +- {error:.1%}, {share:.0%} of the segments scored")


if __name__ == "__main__":
    main()
