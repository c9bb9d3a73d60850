"""From audio to the same answer: does a model name the same genre from the sound as from its picture?

Run: python benchmarks/agreement.py GTZAN [MODEL]

Takes the test clips of ``fault-filtered`` that have both, and prints how often the top genres agree.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from genrescope import Classifier, evaluation, models
from genrescope.datasets import base as datasets
from genrescope.datasets import gtzan
from genrescope.datasets.segments import build_segments
from genrescope.types import Track


def tops_of_pictures(model: models.Model, tracks: list[Track]) -> list[str]:
    info = model.info
    examples = build_segments(
        tracks, info.features, seconds=info.segment_seconds, hop_seconds=info.hop_seconds
    )
    everything = np.arange(len(examples))
    segments = evaluation.predict_segments(model, examples, everything)
    scores, _ = evaluation.average_by_track(segments, examples, everything)
    return [info.classes[top] for top in scores.argmax(1)]


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "default"
    classifier = Classifier.from_pretrained(name)
    sides = gtzan.load_index().fault_filtered
    sounds = {
        track.id: track
        for track in datasets.load_gtzan(folder, "audio").tracks
        if sides.get(track.id) == "test"
    }
    pictures = [track for track in datasets.load_gtzan(folder, "spectrogram").tracks if track.id in sounds]
    seen = tops_of_pictures(classifier.model, pictures)
    heard = [classifier.predict(sounds[track.id].path).genre for track in pictures]
    agreed = sum(one == other for one, other in zip(seen, heard, strict=True))
    right = sum(genre == track.label for genre, track in zip(heard, pictures, strict=True))
    share = agreed / len(pictures)
    print(f"{classifier.model.name}: {agreed} of {len(pictures)} top genres agree ({share:.1%})")
    print(f"from the sound {right / len(pictures):.1%} are right")
    for track, one, other in zip(pictures, seen, heard, strict=True):
        if one != other:
            print(f"  {track.id}: {one} from the picture, {other} from the sound")


if __name__ == "__main__":
    main()
