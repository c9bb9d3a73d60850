"""Compare the top genre of a clip's audio with that of its spectrogram image.

Run: python benchmarks/agreement.py GTZAN [--model NAME] [--limit N]

Takes the test clips of the ``fault-filtered`` protocol that have both, and prints how often the top genres
agree. GTZAN is the folder of the data set, with audio and spectrogram images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from genrescope import Classifier, datasets, evaluation
from genrescope.models import Model
from genrescope.types import Track


def predict_from_spectrograms(model: Model, tracks: list[Track]) -> list[str]:
    info = model.info
    segments = datasets.build_segments(
        tracks, info.features, seconds=info.segment_seconds, hop_seconds=info.hop_seconds
    )
    indices = np.arange(len(segments))
    scores, _ = evaluation.average_by_track(
        evaluation.predict_segments(model, segments, indices), segments, indices
    )
    return [info.classes[top] for top in scores.argmax(1)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gtzan", type=Path, help="folder of GTZAN")
    parser.add_argument("--model", default="default", help="packaged model or .onnx file")
    parser.add_argument("--limit", type=int, help="at most so many clips")
    options = parser.parse_args()
    classifier = Classifier.from_pretrained(options.model)
    parts = datasets.load_index().fault_filtered
    audio_tracks = {
        track.id: track
        for track in datasets.load_gtzan(options.gtzan, "audio").tracks
        if parts.get(track.id) == "test"
    }
    tracks = [
        track
        for track in datasets.load_gtzan(options.gtzan, "spectrogram").tracks
        if track.id in audio_tracks
    ][: options.limit]
    from_spectrogram = predict_from_spectrograms(classifier.model, tracks)
    from_audio = [classifier.predict(audio_tracks[track.id].path).genre for track in tracks]
    agreed = sum(one == other for one, other in zip(from_spectrogram, from_audio, strict=True))
    correct = sum(genre == track.label for genre, track in zip(from_audio, tracks, strict=True))
    share = agreed / len(tracks)
    print(f"{classifier.model.name}: {agreed} of {len(tracks)} top genres agree ({share:.1%})")
    print(f"accuracy from audio: {correct / len(tracks):.1%}")
    for track, one, other in zip(tracks, from_spectrogram, from_audio, strict=True):
        if one != other:
            print(f"  {track.id}: {one} from the spectrogram, {other} from the audio")


if __name__ == "__main__":
    main()
