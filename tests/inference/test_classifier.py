"""Classifier: from a file to ranked genres, the same for paths, bytes and every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import Classifier, datasets
from genrescope.datasets.gtzan import load_index as gtzan_index
from genrescope.datasets.segments import build_segments
from genrescope.errors import AudioError, ConfigError, ModelError
from genrescope.evaluation import evaluator as measure
from genrescope.labels import load_taxonomy, matching_class
from genrescope.models import registry as models
from genrescope.types import FailedFile, Prediction
from helpers.small_data import RATE, drone, hiss


@pytest.fixture(scope="module")
def classifier(little_model: Path) -> Classifier:
    return Classifier.from_pretrained(little_model)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    file = tmp_path / "song.wav"
    soundfile.write(file, drone(40.0, 5), RATE)
    return file


def test_it_predicts_the_genre_of_a_file(classifier: Classifier, song: Path) -> None:
    answer = classifier.predict(song)
    assert answer.genre == "drone"
    assert list(answer.scores.values()) == sorted(answer.scores.values(), reverse=True)
    assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-5)
    assert answer.seconds == pytest.approx(40)
    assert answer.path == str(song)
    assert answer.to_dict()["flags"] == []


def test_bytes_and_path_give_the_same_numbers(classifier: Classifier, song: Path) -> None:
    assert classifier.predict(song.read_bytes()).scores == classifier.predict(song).scores
    assert classifier.predict(song).scores == classifier.predict(song).scores


def test_the_answer_is_the_mean_weighted_by_seconds(classifier: Classifier, tmp_path: Path) -> None:
    """Thirty seconds of one and six of the other: the last segment weighs six seconds."""
    file = tmp_path / "both.wav"
    soundfile.write(file, np.concatenate([drone(30.0, 1), hiss(6.0, 1)]), RATE)
    answer = classifier.predict(file, timeline=True)
    assert answer.timeline is not None
    weighted = np.average(answer.timeline.scores, axis=0, weights=[30, 6])
    assert [answer.scores[name] for name in ("drone", "hiss")] == pytest.approx(list(weighted), abs=1e-5)


def test_a_long_track_whose_genre_is_clear_has_one_segment_of_four_scored(
    classifier: Classifier, little_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "long.wav"
    soundfile.write(file, drone(100.0, 1), RATE)
    every = Classifier.from_pretrained(little_model, every_segment=True).predict(file, timeline=True)
    answer = classifier.predict(file, timeline=True)
    assert every.timeline is not None
    assert answer.timeline is not None
    hop, starts = classifier.model.info.hop_seconds, answer.timeline.starts
    np.testing.assert_allclose(np.diff(every.timeline.starts[:-1]), hop)
    np.testing.assert_allclose(np.diff(starts[starts < 40]), hop)
    np.testing.assert_allclose(np.diff(starts[starts >= 40 + 4 * hop])[:-1], 4 * hop)
    # The rows cover the track all the same, and count for all of it.
    assert (answer.timeline.ends[:-1] >= starts[1:] - 1e-9).all()
    assert answer.timeline.ends[-1] == pytest.approx(100.0)
    assert answer.seconds == pytest.approx(100.0)
    assert answer.genre == every.genre
    assert answer.confidence == pytest.approx(every.confidence, abs=0.05)


def test_the_timeline_covers_the_track(classifier: Classifier, song: Path) -> None:
    course = classifier.predict(song, timeline=True).timeline
    assert course is not None
    assert course.starts[0] == 0
    assert course.ends[-1] == pytest.approx(40)
    assert course.scores.shape == (2, 2)
    assert [row["start"] for row in course.to_dicts()] == [0.0, 10.0]


def test_rate_format_channels_and_gain_do_not_change_the_genre(
    classifier: Classifier, song: Path, tmp_path: Path
) -> None:
    samples, rate = soundfile.read(song)
    stereo = np.stack([samples, samples], axis=1)
    variants = {"a.flac": (stereo, rate), "b.ogg": (samples, rate), "c.wav": (0.25 * samples, rate)}
    for name, (sound, at) in variants.items():
        soundfile.write(tmp_path / name, sound, at)
        assert classifier.predict(tmp_path / name).genre == "drone"


def test_a_failed_file_among_many_is_a_row(classifier: Classifier, song: Path, tmp_path: Path) -> None:
    failed, prediction = classifier.predict_many([tmp_path / "absent.wav", song], timeline=True)
    assert isinstance(failed, FailedFile)
    assert (failed.path, failed.code) == (str(tmp_path / "absent.wav"), "audio_missing")
    assert isinstance(prediction, Prediction)
    assert prediction == classifier.predict(song)
    assert prediction.timeline is not None


def test_the_name_of_version_0_1_opens_the_same_model(little_model: Path) -> None:
    assert Classifier.load(little_model).model.sha256 == Classifier.from_pretrained(little_model).model.sha256


def test_truncated_files_are_flagged_or_refused(classifier: Classifier, song: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(song.read_bytes()[: song.stat().st_size // 2])
    assert classifier.predict(cut).flags == ("truncated",)
    with pytest.raises(AudioError) as caught:
        classifier.predict(cut, strict=True)
    assert caught.value.code == "audio_truncated"


def test_the_model_for_gtzan_is_as_good_as_it_says_on_a_sample_of_the_test_part(gtzan: Path) -> None:
    """Every sixth published test track, as an image: within the interval that the model file states."""
    model = models.load_model("gtzan")
    sides = gtzan_index().fault_filtered
    tracks = [
        track for track in datasets.load_gtzan(gtzan, "spectrogram").tracks if sides.get(track.id) == "test"
    ][::6]
    info = model.info
    examples = build_segments(
        tracks, info.features, seconds=info.segment_seconds, hop_seconds=info.hop_seconds
    )
    everything = np.arange(len(examples))
    segments = measure.predict_segments(model, examples, everything)
    scores, owners = measure.average_by_track(segments, examples, everything)
    right = [
        info.classes[top] == tracks[owner].label for top, owner in zip(scores.argmax(1), owners, strict=True)
    ]
    assert len(right) > 40
    assert np.mean(right) >= info.scores["track_accuracy"]["low"]


def test_predictions_below_the_threshold_are_uncertain(little_model: Path, song: Path) -> None:
    plain = Classifier.from_pretrained(little_model).predict(song)
    assert plain.threshold is None or not plain.is_uncertain
    uncertain = Classifier.from_pretrained(little_model, threshold=1.0).predict(song)
    assert uncertain.is_uncertain
    assert uncertain.to_dict()["unsure"] is True
    assert uncertain.scores == plain.scores
    assert not Classifier.from_pretrained(little_model, threshold=0.0).predict(song).is_uncertain
    with pytest.raises(ConfigError, match="threshold"):
        Classifier.from_pretrained(little_model, threshold=1.5)


def test_the_default_names_styles_beside_the_genre(gtzan: Path) -> None:
    """A style is a probability of its own: what is rock may be punk too, and they need not sum to one."""
    answer = Classifier.from_pretrained().predict(sorted(gtzan.glob("audio/metal/*.flac"))[0])
    assert set(answer.styles) == {style.name for style in load_taxonomy().styles}
    assert list(answer.styles.values()) == sorted(answer.styles.values(), reverse=True)
    assert next(iter(answer.styles)) in {"heavy metal", "alternative metal", "progressive metal", "hard rock"}
    listed = answer.to_dict()["styles"]
    assert listed == {name: chance for name, chance in answer.styles.items() if chance >= 0.1}


def test_unknown_models_are_errors() -> None:
    with pytest.raises(ModelError):
        Classifier.from_pretrained("no such model")


def test_the_default_model_classifies_real_music(gtzan: Path) -> None:
    """On the lossless clips: most top genres right, and identical numbers at every call."""
    classifier = Classifier.from_pretrained()
    files = sorted(gtzan.glob("audio/*/*.flac"))
    answers = [classifier.predict(file) for file in files]
    assert all(answer.is_music for answer in answers)
    hits = sum(
        answer.genre == matching_class(file.parent.name, classifier.classes)
        for answer, file in zip(answers, files, strict=True)
    )
    assert len(files) == 10
    assert hits >= 7
    assert classifier.predict(files[0]).scores == answers[0].scores


@pytest.mark.parametrize("excerpts", [False, True])
def test_channels_that_cancel_give_the_answer_of_one(
    classifier: Classifier, tmp_path: Path, excerpts: bool
) -> None:
    samples = np.tile(drone(30.0, 5), 3)
    soundfile.write(tmp_path / "one.wav", samples, RATE)
    soundfile.write(tmp_path / "two.wav", np.stack([samples, -samples], axis=1), RATE)
    one = classifier.predict(tmp_path / "one.wav", excerpts=excerpts)
    two = classifier.predict(tmp_path / "two.wav", excerpts=excerpts)
    assert two.scores == one.scores
    assert two.flags == (*one.flags, "channels_cancel")


@pytest.mark.parametrize("excerpts", [False, True])
def test_spikes_do_not_change_the_answer(classifier: Classifier, tmp_path: Path, excerpts: bool) -> None:
    samples = np.tile(drone(30.0, 5), 3)
    soundfile.write(tmp_path / "clean.wav", samples, RATE, subtype="FLOAT")
    samples[:: 3 * RATE] = 1e30
    soundfile.write(tmp_path / "spikes.wav", samples, RATE, subtype="FLOAT")
    clean = classifier.predict(tmp_path / "clean.wav", excerpts=excerpts)
    spikes = classifier.predict(tmp_path / "spikes.wav", excerpts=excerpts)
    assert spikes.flags == (*clean.flags, "spikes_removed")
    assert spikes.genre == clean.genre
    assert spikes.confidence == pytest.approx(clean.confidence, abs=0.1)
