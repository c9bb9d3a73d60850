"""Another source, and the teacher: what a model says of Emotify, and how its styles agree with mn04's.

Run: python benchmarks/styles.py SHARED [MODEL]

SHARED holds ``data/emotify``, ``data/gtzan`` and ``weights/efficientat``. Prints the confusion of the ten
genres on Emotify, the styles of its electronic clips, and the mean average precision of styles: a clip has a
style where the teacher gives it 0.1 or more; styles of fewer than three such clips are left out.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from genrescope import Classifier, datasets, features
from genrescope.audio import loading as audio
from genrescope.audio import segmentation as segments
from genrescope.datasets import gtzan
from genrescope.labels import STYLES
from genrescope.models.backbones import registry as backbones
from genrescope.types import Prediction, Track

# What is electronic among the styles.
ELECTRONIC = {"electronic", "house", "techno", "dubstep", "drum and bass", "electronica", "electronic dance"}
ELECTRONIC |= {"ambient", "trance", "new-age"}
PRESENT, FEWEST = 0.1, 3


def taught(teacher: backbones.Backbone, tracks: Sequence[Track]) -> np.ndarray:
    """Return the teacher's probabilities of styles, (tracks, styles): means over 10 s segments."""
    spec, rows = teacher.info.spec, []
    assert spec is not None
    for track in tracks:
        clip = audio.load_audio(track.path, sample_rate=spec.sample_rate)
        pieces = segments.split(clip, seconds=10.0)
        heard = torch.from_numpy(features.extract(pieces.samples, spec.sample_rate, spec))
        with torch.inference_mode():
            chances = teacher.embed_with_styles(heard)[1].sigmoid().numpy()
        rows.append(np.average(chances, axis=0, weights=pieces.weights))
    return np.stack(rows)


def precision(teacher: backbones.Backbone, tracks: Sequence[Track], answers: Sequence[Prediction]) -> str:
    present = taught(teacher, tracks) >= PRESENT
    said = np.array([[answer.styles[style] for style in STYLES] for answer in answers])
    judged = np.flatnonzero((present.sum(0) >= FEWEST) & (present.sum(0) < len(tracks)))
    each = {STYLES[k]: float(average_precision_score(present[:, k], said[:, k])) for k in judged}
    shown = ", ".join(
        f"{name} {value:.2f}" for name, value in sorted(each.items(), key=lambda pair: -pair[1])
    )
    return f"mean average precision {np.mean(list(each.values())):.3f} over {len(each)} styles ({shown})"


def main() -> None:
    shared, name = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "default"
    classifier = Classifier.from_pretrained(name)
    weights = shared / "weights" / "efficientat" / "mn04_as_mAP_432.pt"
    teacher = backbones.load_backbone("mn04", weights=weights)
    tracks = datasets.load_dataset(shared / "data" / "emotify").tracks
    answers = [classifier.predict(track.path) for track in tracks]
    print(f"{classifier.model.name} on Emotify: rows are the shop's labels, columns the answers")
    print(f"{'':12}" + "".join(f"{genre:>10}" for genre in classifier.classes))
    for label in sorted({track.label for track in tracks}):
        counts = Counter(
            answer.genre for track, answer in zip(tracks, answers, strict=True) if track.label == label
        )
        print(f"{label:12}" + "".join(f"{counts[genre]:10}" for genre in classifier.classes))
    own = [answer for track, answer in zip(tracks, answers, strict=True) if track.label == "electronic"]
    first = Counter(next(iter(answer.styles)) for answer in own)
    share = sum(first[style] for style in ELECTRONIC) / len(own)
    print(f"electronic clips whose first style is electronic: {share:.0%} ({dict(first.most_common())})")
    print(f"styles on Emotify (the student has heard it): {precision(teacher, tracks, answers)}")
    sides = gtzan.load_index().fault_filtered
    tests = [
        track
        for track in datasets.load_gtzan(shared / "data" / "gtzan").tracks
        if sides.get(track.id) == "test"
    ]
    answers = [classifier.predict(track.path) for track in tests]
    print(f"styles on {len(tests)} test clips (unheard): {precision(teacher, tests, answers)}")


if __name__ == "__main__":
    main()
