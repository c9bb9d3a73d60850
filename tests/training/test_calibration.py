"""Temperature and threshold of a run: estimated from enough validation tracks, safe values otherwise."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from scipy.special import softmax

from genrescope.evaluation import MIN_CALIBRATION_TRACKS, TEMPERATURE_RANGE
from genrescope.training import load_config
from genrescope.training.builders import ModelBuilder
from genrescope.training.calibration import Calibration, calibrate
from genrescope.training.task import Task
from genrescope.types import Float64Array


def calibrated(
    tracks: int, *settings: str, factor: float = 1.0, all_right: bool = False, fits: bool = True
) -> Calibration:
    """Calibrate by simulated logits of tracks with a segment each: calibrated ones, times ``factor``."""
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 4, (tracks, 10))
    drawn = (softmax(logits, axis=1).cumsum(1) > generator.random((tracks, 1))).argmax(1)
    truth = logits.argmax(1) if all_right else drawn
    examples = SimpleNamespace(
        track=np.arange(tracks), weights=np.ones(tracks), take=lambda chosen: factor * logits[chosen]
    )
    config = load_config(None, ["calibration.temperature=0", *settings])
    task = SimpleNamespace(
        config=config,
        examples=examples,
        targets=truth,
        segments=lambda part: np.arange(tracks),
        is_multilabel=False,
    )
    builder = SimpleNamespace(has_temperature=fits, logits=lambda inputs: cast("Float64Array", inputs))
    return calibrate(cast("ModelBuilder", builder), cast("Task", task))


def test_enough_tracks_are_calibrated_by() -> None:
    found = calibrated(MIN_CALIBRATION_TRACKS)
    assert found.temperature != 1
    assert 1 / 1.5 < found.temperature < 1.5
    assert found.threshold is not None
    assert found.notes == ()


@pytest.mark.parametrize("tracks", [0, 1, 21, MIN_CALIBRATION_TRACKS - 1])
@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_of_fewer_tracks_nothing_is_estimated(
    tracks: int, factor: float, caplog: pytest.LogCaptureFixture
) -> None:
    found = calibrated(tracks, factor=factor)
    assert found.temperature == 1
    assert found.threshold is not None
    assert found.threshold >= 0.9
    assert len(found.notes) == 1
    assert f"{tracks} validation tracks are too few" in found.notes[0]
    assert str(MIN_CALIBRATION_TRACKS) in found.notes[0]
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == list(found.notes)


def test_the_threshold_of_few_tracks_is_the_target_or_what_they_ask_for() -> None:
    assert calibrated(90, "calibration.target_accuracy=0.5").threshold == 0.5
    overconfident = calibrated(90, factor=2.0).threshold
    assert overconfident is not None
    assert overconfident > 0.9


def test_what_is_set_is_taken_and_not_warned_of() -> None:
    given = calibrated(10, "calibration.temperature=9", "calibration.threshold=0.3")
    assert given == Calibration(9.0, 0.3)
    half = calibrated(10, "calibration.threshold=0.3")
    assert (half.temperature, half.threshold) == (1.0, 0.3)
    assert "temperature is 1" in half.notes[0]
    assert "threshold" not in half.notes[0]
    fitted = calibrated(10, fits=False)
    assert "temperature" not in fitted.notes[0]


@pytest.mark.parametrize(("factor", "bound"), [(0.1, TEMPERATURE_RANGE[0]), (10.0, TEMPERATURE_RANGE[1])])
def test_an_implausible_temperature_is_bounded(factor: float, bound: float) -> None:
    found = calibrated(400, factor=factor)
    assert found.temperature == bound
    assert "not plausible" in found.notes[0]


def test_predictions_that_are_all_right_leave_the_scores() -> None:
    assert calibrated(200, all_right=True).temperature == 1


def test_the_note_stands_in_the_result_of_a_run(little_music: Path, tmp_path: Path) -> None:
    from genrescope import datasets, training

    settings = load_config("logistic-regression", ["split.protocol=artist-grouped", "split.folds=4"])
    run = training.train(datasets.load_dataset(little_music), settings, tmp_path / "run")
    assert any("too few to calibrate by" in note for note in run.evaluation.notes)
