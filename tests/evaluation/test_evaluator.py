"""Evaluation of a model file on labeled music, and the note when that music was in its training."""

from __future__ import annotations

import html
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import datasets
from genrescope.datasets.gtzan import load_index
from genrescope.datasets.segments import build_segments
from genrescope.errors import ConfigError, DataError
from genrescope.evaluation import evaluator as measure
from genrescope.models.export import with_metadata
from genrescope.models.model import Model
from genrescope.models.registry import load_model
from genrescope.reporting import EvaluationReport, write_report
from genrescope.types import FloatArray, Track
from helpers.small_data import RATE, drone, hiss


def test_training_tracks_make_the_result_leaky(little_music: Path, little_model: Path) -> None:
    evaluation = measure.evaluate_model(Model.read(little_model), datasets.load_dataset(little_music))
    assert evaluation.leaky
    assert "were in the model's training" in evaluation.protocol_note
    assert evaluation.tracks is not None
    assert evaluation.tracks.n == 24


def listed(folder: Path, file: Path, columns: Sequence[str] = ()) -> datasets.Dataset:
    """Write a CSV of all files below a folder with one sub-folder per genre, and read it."""
    rows = [
        [str(path), path.relative_to(folder).parts[0], *(path.parent.name for _ in columns)]
        for path in sorted(folder.rglob("*.wav"))
    ]
    file.write_text("\n".join(",".join(row) for row in [["path", "label", *columns], *rows]) + "\n")
    return datasets.load_dataset(file)


def test_files_of_the_training_are_recognized_when_a_csv_lists_them(
    little_music: Path, little_model: Path, tmp_path: Path
) -> None:
    evaluation = measure.evaluate_model(
        Model.read(little_model), listed(little_music, tmp_path / "music.csv")
    )
    assert evaluation.leaky
    # A quarter is the test part of the training, and the CSV names no artists.
    assert evaluation.protocol_note == (
        "18 of 24 tracks were in the model's training (0 by id, 18 by content)"
    )


def test_renamed_copies_of_the_training_are_recognized(
    little_music: Path, little_model: Path, tmp_path: Path
) -> None:
    for number, path in enumerate(sorted(little_music.rglob("*.wav"))):
        folder = tmp_path / "copies" / path.relative_to(little_music).parts[0]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"{number}.wav")
    evaluation = measure.evaluate_model(Model.read(little_model), datasets.load_dataset(tmp_path / "copies"))
    assert evaluation.leaky
    assert "(0 by id, 18 by content)" in evaluation.protocol_note


def test_other_tracks_of_an_artist_of_the_training_make_the_result_leaky(
    little_music: Path, little_model: Path, tmp_path: Path
) -> None:
    for genre, play in (("drone", drone), ("hiss", hiss)):
        for number, artist in enumerate(("The ARTIST-0", "artist 1", "artist 2", "artist 3", "new one")):
            folder = tmp_path / "music" / genre / artist
            folder.mkdir(parents=True)
            soundfile.write(folder / "other.wav", play(3.0, 5000 + number), RATE)
    model = Model.read(little_model)
    evaluation = measure.evaluate_model(model, datasets.load_dataset(tmp_path / "music"))
    trained = model.info.training_digests("training_artists")
    shared = sum(datasets.artist_digest(f"artist {number}") in trained for number in range(4))
    assert shared >= 3
    assert evaluation.leaky
    assert evaluation.protocol_note == (
        "no track is known to have been in the model's training;"
        f" {2 * shared} of 10 are of artists that were in it"
    )
    by_csv = measure.evaluate_model(model, listed(tmp_path / "music", tmp_path / "music.csv", ["group"]))
    assert (by_csv.leaky, by_csv.protocol_note) == (True, evaluation.protocol_note)


def test_new_music_of_new_artists_is_clean(little_model: Path, tmp_path: Path) -> None:
    for genre, play in (("drone", drone), ("hiss", hiss)):
        (tmp_path / genre / "new one").mkdir(parents=True)
        soundfile.write(tmp_path / genre / "new one" / "a.wav", play(3.0, 7000), RATE)
    evaluation = measure.evaluate_model(Model.read(little_model), datasets.load_dataset(tmp_path))
    assert not evaluation.leaky
    assert evaluation.protocol_note == "no track is known to have been in the model's training"


def with_provenance(model: Path, file: Path, **changes: object) -> Model:
    """Write a copy of a model file with other entries in its provenance; those that are None are left out."""
    info = Model.read(model).info
    provenance = {key: value for key, value in (info.provenance | changes).items() if value is not None}
    file.write_bytes(with_metadata(model.read_bytes(), replace(info, provenance=provenance)))
    return Model.read(file)


def test_a_model_file_that_lists_ids_only_is_still_read(
    little_music: Path, little_model: Path, tmp_path: Path
) -> None:
    old = with_provenance(
        little_model,
        tmp_path / "old.onnx",
        training_content=None,
        training_artists=None,
        unlabeled_exposure=None,
    )
    evaluation = measure.evaluate_model(old, datasets.load_dataset(little_music))
    assert evaluation.leaky
    assert "(18 by id, 0 by content)" in evaluation.protocol_note
    assert evaluation.protocol_note.endswith("by ids only, so that copies go unnoticed")


def test_exposure_without_labels_is_noted_and_not_leaky(
    little_music: Path, little_model: Path, tmp_path: Path
) -> None:
    dataset = listed(little_music, tmp_path / "music.csv")
    contents = sorted(datasets.content_digests(dataset.tracks).values())[:5]
    model = with_provenance(
        little_model,
        tmp_path / "exposed.onnx",
        training_tracks=[],
        training_content=[],
        training_artists=[],
        unlabeled_exposure=[
            {"data": "AudioSet", "tracks": None, "hours": None, "content": []},
            {"data": "music", "tracks": 5, "hours": 0.1, "content": contents},
        ],
    )
    evaluation = measure.evaluate_model(model, dataset)
    assert not evaluation.leaky
    assert "5 of 24 tracks were in the model's training without labels" in evaluation.notes
    assert any("exposed to AudioSet" in note for note in evaluation.notes)
    paths = write_report(EvaluationReport("Exposed", (evaluation,)), tmp_path / "report")
    assert "5 of 24 tracks were in the model's training without labels" in html.unescape(
        paths.html.read_text()
    )


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
