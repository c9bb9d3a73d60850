"""Measuring a model file on labelled music, and saying so when it has heard that music before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import RATE, drone, hiss
from genrescope import datasets, measure
from genrescope.errors import ConfigError, DataError
from genrescope.models import Model


def test_tracks_of_the_training_are_called_leaky(little_music: Path, little_model: Path) -> None:
    evaluation = measure.measure_file(Model.read(little_model), datasets.read(little_music))
    assert evaluation.leaky
    assert "were in the model's training" in evaluation.label
    assert evaluation.tracks is not None
    assert evaluation.tracks.n == 24


def test_the_test_part_of_the_models_own_protocol_is_clean(little_music: Path, little_model: Path) -> None:
    evaluation = measure.measure_file(
        Model.read(little_model), datasets.read(little_music), protocol="artist-grouped", folds=4
    )
    assert not evaluation.leaky
    assert evaluation.tracks is not None
    assert evaluation.tracks.n == 6


def test_music_that_the_model_cannot_name_is_refused(little_model: Path, tmp_path: Path) -> None:
    for genre, play in (("waltz", drone), ("polka", hiss)):
        (tmp_path / genre).mkdir()
        soundfile.write(tmp_path / genre / "a.wav", play(2.0, 1), RATE)
    with pytest.raises(DataError) as caught:
        measure.measure_file(Model.read(little_model), datasets.read(tmp_path))
    assert "drone, hiss" in caught.value.hint


def test_divided_tracks_are_no_test(little_music: Path, little_model: Path) -> None:
    with pytest.raises(ConfigError, match="segment-random"):
        measure.measure_file(Model.read(little_model), datasets.read(little_music), protocol="segment-random")


def test_the_default_model_agrees_with_itself_from_audio_and_picture(gtzan: Path) -> None:
    """Ten lossless clips: the top genre from the audio is that from the picture."""
    from genrescope.examples import prepare
    from genrescope.models import load

    model = load()
    sound = {
        track.id: track for track in datasets.gtzan(gtzan, "audio").tracks if track.path.suffix == ".flac"
    }
    pictures = [track for track in datasets.gtzan(gtzan, "spectrogram").tracks if track.id in sound]
    tops = []
    for tracks in ([sound[track.id] for track in pictures], pictures):
        examples = prepare(tracks, model.info.features, seconds=model.info.segment_seconds)
        scores = measure.score(model, examples, np.arange(len(examples)))
        means = [
            np.average(scores[examples.track == t], 0, examples.weights[examples.track == t])
            for t in range(10)
        ]
        tops.append(np.argmax(means, axis=1))
    assert (tops[0] == tops[1]).sum() >= 9
