"""Evaluation of a model file on labeled music, and the note when that music was in its training."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import datasets
from genrescope.datasets.gtzan import load_index
from genrescope.datasets.segments import build_segments
from genrescope.errors import ConfigError, DataError
from genrescope.evaluation import evaluator as measure
from genrescope.models.model import Model
from genrescope.models.registry import load_model
from genrescope.types import FloatArray, Track
from helpers.small_data import RATE, drone, hiss


def test_training_tracks_make_the_result_leaky(little_music: Path, little_model: Path) -> None:
    evaluation = measure.evaluate_model(Model.read(little_model), datasets.load_dataset(little_music))
    assert evaluation.leaky
    assert "were in the model's training" in evaluation.protocol_note
    assert evaluation.tracks is not None
    assert evaluation.tracks.n == 24


def test_the_test_part_of_the_models_own_protocol_is_clean(little_music: Path, little_model: Path) -> None:
    evaluation = measure.evaluate_model(
        Model.read(little_model), datasets.load_dataset(little_music), protocol="artist-grouped", folds=4
    )
    assert not evaluation.leaky
    assert evaluation.tracks is not None
    assert evaluation.tracks.n == 6


def test_a_leaky_protocol_is_marked_whatever_the_training_tracks(
    little_music: Path, little_model: Path
) -> None:
    evaluation = measure.evaluate_model(
        Model.read(little_model), datasets.load_dataset(little_music), protocol="track-random"
    )
    assert evaluation.leaky


def test_what_was_not_scored_is_noted(little_music: Path, little_model: Path, tmp_path: Path) -> None:
    shutil.copytree(little_music, tmp_path / "music")
    (tmp_path / "music" / "polka").mkdir()
    soundfile.write(tmp_path / "music" / "polka" / "a.wav", drone(2.0, 1), RATE)
    (tmp_path / "music" / "hiss" / "broken.wav").write_bytes(b"no sound")
    evaluation = measure.evaluate_model(Model.read(little_model), datasets.load_dataset(tmp_path / "music"))
    assert any("1 tracks of genres" in note for note in evaluation.notes)
    assert any("broken.wav" in note for note in evaluation.notes)


def test_an_incomplete_published_test_part_is_noted(gtzan: Path) -> None:
    evaluation = measure.evaluate_model(
        load_model(), datasets.load_gtzan(gtzan, "audio"), protocol="fault-filtered"
    )
    assert evaluation.tracks is not None
    assert evaluation.tracks.n == 95
    assert not evaluation.leaky
    assert any("95 of the 290" in note for note in evaluation.notes)


def test_genres_unknown_to_the_model_are_refused(little_model: Path, tmp_path: Path) -> None:
    for genre, play in (("waltz", drone), ("polka", hiss)):
        (tmp_path / genre).mkdir()
        soundfile.write(tmp_path / genre / "a.wav", play(2.0, 1), RATE)
    with pytest.raises(DataError) as caught:
        measure.evaluate_model(Model.read(little_model), datasets.load_dataset(tmp_path))
    assert "drone, hiss" in caught.value.hint


def test_protocols_that_divide_tracks_are_refused(little_music: Path, little_model: Path) -> None:
    with pytest.raises(ConfigError, match="segment-random"):
        measure.evaluate_model(
            Model.read(little_model), datasets.load_dataset(little_music), protocol="segment-random"
        )


@pytest.mark.parametrize(("name", "share"), [("gtzan", 0.95), ("default", 0.93)])
def test_models_agree_between_audio_and_spectrograms(gtzan: Path, name: str, share: float) -> None:
    """Of the 95 test clips with audio, nearly all have the top genre of their spectrogram images."""
    model = load_model(name)
    pictures = {track.id: track for track in datasets.load_gtzan(gtzan, "spectrogram").tracks}
    sides = load_index().fault_filtered
    sounds = [track for track in datasets.load_gtzan(gtzan, "audio").tracks if sides.get(track.id) == "test"]
    from_audio, from_spectrogram = (
        track_scores(model, tracks) for tracks in (sounds, [pictures[track.id] for track in sounds])
    )
    assert len(sounds) == 95
    # A tie within a hundredth counts as the same answer: which side it falls on depends on the processor.
    same = (
        np.take_along_axis(from_spectrogram, from_audio.argmax(1)[:, np.newaxis], 1)[:, 0]
        >= from_spectrogram.max(1) - 0.01
    )
    assert np.mean(same) >= share


def track_scores(model: Model, tracks: Sequence[Track]) -> FloatArray:
    """Return the weighted mean of each track's segment scores, shape (tracks, classes)."""
    info = model.info
    examples = build_segments(
        tracks, info.features, seconds=info.segment_seconds, hop_seconds=info.hop_seconds, per_segment=True
    )
    scores = measure.predict_segments(model, examples, np.arange(len(examples)))
    owners = [examples.track == owner for owner in range(len(tracks))]
    means = [np.average(scores[own], axis=0, weights=examples.weights[own]) for own in owners]
    return np.stack(means).astype(np.float32)
