"""Evaluate a model on Emotify, a data set it was not trained for, and its styles against its teacher's.

Run: python benchmarks/styles.py --emotify FOLDER --gtzan FOLDER --teacher WEIGHTS [--model NAME] [--limit N]

Prints the confusion matrix of genres on Emotify, the styles of its electronic clips, and the mean average
precision of styles on Emotify and on the test clips of GTZAN's ``fault-filtered`` protocol. The teacher
(EfficientAT mn04, ``mn04_as_mAP_432.pt``) provides the reference: a clip has a style where the teacher's
probability is 0.1 or more; styles that fewer than three clips have are left out.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from genrescope import Classifier, audio, datasets, features
from genrescope.labels import STYLES
from genrescope.models import Backbone, load_backbone
from genrescope.types import Prediction, Track

# The styles that count as electronic music.
ELECTRONIC = {"electronic", "house", "techno", "dubstep", "drum and bass", "electronica", "electronic dance"}
ELECTRONIC |= {"ambient", "trance", "new-age"}
MIN_PROBABILITY, MIN_CLIPS = 0.1, 3


def teacher_styles(teacher: Backbone, tracks: Sequence[Track]) -> np.ndarray:
    """Return the teacher's probabilities of styles, shape (tracks, styles): means over 10 s segments."""
    spec, rows = teacher.info.spec, []
    assert spec is not None
    for track in tracks:
        clip = audio.load_audio(track.path, sample_rate=spec.sample_rate)
        segments = audio.split(clip, seconds=10.0)
        inputs = torch.from_numpy(features.extract(segments.samples, spec.sample_rate, spec))
        with torch.inference_mode():
            probabilities = teacher.embed_with_styles(inputs)[1].sigmoid().numpy()
        rows.append(np.average(probabilities, axis=0, weights=segments.weights))
    return np.stack(rows)


def style_precision(teacher: Backbone, tracks: Sequence[Track], predictions: Sequence[Prediction]) -> str:
    present = teacher_styles(teacher, tracks) >= MIN_PROBABILITY
    scores = np.array([[prediction.styles[style] for style in STYLES] for prediction in predictions])
    evaluated = np.flatnonzero((present.sum(0) >= MIN_CLIPS) & (present.sum(0) < len(tracks)))
    if not len(evaluated):
        return "no style with enough clips"
    precisions = {STYLES[k]: float(average_precision_score(present[:, k], scores[:, k])) for k in evaluated}
    listed = ", ".join(
        f"{name} {value:.2f}" for name, value in sorted(precisions.items(), key=lambda pair: -pair[1])
    )
    mean = np.mean(list(precisions.values()))
    return f"mean average precision {mean:.3f} over {len(precisions)} styles ({listed})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--emotify", type=Path, required=True, help="folder of Emotify")
    parser.add_argument("--gtzan", type=Path, required=True, help="folder of GTZAN")
    parser.add_argument("--teacher", type=Path, required=True, help="weights of EfficientAT mn04")
    parser.add_argument("--model", default="default", help="packaged model or .onnx file")
    parser.add_argument("--limit", type=int, help="at most so many clips of each genre and data set")
    options = parser.parse_args()
    classifier = Classifier.from_pretrained(options.model)
    teacher = load_backbone("mn04", weights=options.teacher)
    tracks = first_of_each(datasets.load_dataset(options.emotify).tracks, options.limit)
    predictions = [classifier.predict(track.path) for track in tracks]
    print(f"{classifier.model.name} on Emotify: rows are labels, columns predictions")
    print(f"{'':12}" + "".join(f"{genre:>10}" for genre in classifier.classes))
    for label in sorted({track.label for track in tracks}):
        counts = Counter(
            prediction.genre
            for track, prediction in zip(tracks, predictions, strict=True)
            if track.label == label
        )
        print(f"{label:12}" + "".join(f"{counts[genre]:10}" for genre in classifier.classes))
    electronic = [
        next(iter(prediction.styles))
        for track, prediction in zip(tracks, predictions, strict=True)
        if track.label == "electronic"
    ]
    share = sum(style in ELECTRONIC for style in electronic) / len(electronic)
    print(f"electronic clips whose top style is electronic: {share:.0%} ({dict(Counter(electronic))})")
    print(f"styles on Emotify (in the student's training): {style_precision(teacher, tracks, predictions)}")
    parts = datasets.load_index().fault_filtered
    tests = [track for track in datasets.load_gtzan(options.gtzan).tracks if parts.get(track.id) == "test"]
    tests = first_of_each(tests, options.limit)
    predictions = [classifier.predict(track.path) for track in tests]
    precision = style_precision(teacher, tests, predictions)
    print(f"styles on {len(tests)} test clips of GTZAN (not in its training): {precision}")


def first_of_each(tracks: Sequence[Track], limit: int | None) -> list[Track]:
    """Return at most ``limit`` tracks of each genre."""
    counts: Counter[str] = Counter()
    selected = []
    for track in tracks:
        if limit is None or counts[track.label] < limit:
            counts[track.label] += 1
            selected.append(track)
    return selected


if __name__ == "__main__":
    main()
