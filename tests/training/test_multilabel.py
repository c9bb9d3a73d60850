"""Training, evaluating and classifying with any number of genres per track, and with shares of genres."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from genrescope import Classifier, training
from genrescope.cli.main import app
from genrescope.datasets import LabelMatrix, load_dataset
from genrescope.errors import ConfigError
from genrescope.evaluation import Evaluation, Predictions, evaluate_model
from genrescope.models import Model, fit_label_regression, label_cross_entropy
from genrescope.training import load_config
from helpers.small_data import LITTLE, RATE, drone, hiss

MULTI = (*LITTLE, "data.task=multi-label", "split.folds=3")


@pytest.fixture(scope="module")
def mixed_music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a manifest of twelve clips: chords, noise, and both at once, of three artists each."""
    root = tmp_path_factory.mktemp("mixed")
    lines = ["path,label,group,not_judged"]
    for number in range(12):
        cell = ("drone", "hiss", "drone;hiss", "none")[number % 4]
        samples = np.zeros(round(2.0 * RATE), np.float32) + 1e-3 * hiss(2.0, 100 + number)
        if "drone" in cell:
            samples += drone(2.0, number)
        if "hiss" in cell:
            samples += hiss(2.0, number)
        soundfile.write(root / f"{number:02}.wav", samples, RATE)
        lines.append(f"{number:02}.wav,{cell},artist {number // 4},{'none' if number == 0 else ''}")
    (root / "tracks.csv").write_text("\n".join(lines))
    return root / "tracks.csv"


def run_cli(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("family", ["logistic-regression", "cnn"])
def test_train_evaluate_and_classify_by_command_line(family: str, mixed_music: Path, tmp_path: Path) -> None:
    settings = [word for setting in MULTI for word in ("--set", setting)]
    run = tmp_path / "run"
    printed = run_cli("train", str(mixed_music), "--config", family, *settings, "--run-dir", str(run))
    assert "ROC-AUC" in printed
    info = Model.read(run / "model.onnx").info
    assert (info.task, info.classes, info.threshold) == ("multi-label", ("drone", "hiss", "none"), 0.5)
    assert 0 <= info.scores["track_roc_auc"]["value"] <= 1

    saved = Evaluation.from_json(json.loads((run / "evaluation.json").read_text()))
    assert saved.task == "multi-label"
    assert saved.levels == ()
    assert [level.unit for level in saved.label_levels] == ["track", "segment"]
    assert [one.support for one in saved.label_levels[0].per_label] == [2, 2, 1]
    kept = Predictions.from_json(json.loads((run / "predictions.json").read_text()))
    assert kept.labels is not None
    assert kept.labels.true.sum() == 5

    printed = run_cli(
        "evaluate", str(run / "model.onnx"), str(mixed_music), "--output", str(tmp_path / "report")
    )
    assert "LRAP" in printed
    assert "LRAP" in (tmp_path / "report" / "report.html").read_text()

    song = mixed_music.parent / "02.wav"
    row = json.loads(run_cli("classify", str(song), "--model", str(run / "model.onnx"), "--format", "jsonl"))
    above = [name for name, score in row["scores"].items() if score >= 0.5]
    assert row["set"] == above
    assert row["answer"] == (above[0] if above else None)
    assert row["unsure"] == (not above)
    everything = Classifier.from_pretrained(run / "model.onnx", threshold=0.0).predict(song)
    assert set(everything.genre_set) == {"drone", "hiss", "none"}


def test_what_can_be_told_apart_is_learned(mixed_music: Path, tmp_path: Path) -> None:
    dataset = load_dataset(mixed_music, task="multi-label")
    settings = load_config("logistic-regression", [*MULTI, "model.inverse_regularization=10.0"])
    run = training.train(dataset, settings, tmp_path / "run")
    level = run.evaluation.label_levels[0]
    assert level.roc_auc is not None
    assert level.roc_auc.value == 1.0
    assert level.lrap.value > 0.9
    # Nothing that one sees in the scores asks for a sum of one.
    prediction = Classifier.from_pretrained(run.model).predict(mixed_music.parent / "10.wav")
    assert sum(prediction.scores.values()) > 1.2
    assert set(prediction.genre_set) == {"drone", "hiss"}
    again = evaluate_model(Model.read(run.model), dataset)
    assert again.label_tracks is not None
    assert again.label_tracks.n == 12
    assert [one.judged for one in again.label_tracks.per_label] == [12, 12, 11]
    assert any("1 of 36 labels" in note for note in again.notes)


def test_the_plateau_schedule_waits_for_ranking_precision(mixed_music: Path, tmp_path: Path) -> None:
    config = load_config("cnn", [*MULTI, "network.filters=[4]", "optimizer.schedule=plateau"])
    run = training.train(training.load_data(mixed_music, config), config, tmp_path, device="cpu")
    assert "validation_lrap" in run.curves[-1]


def test_task_of_data_and_settings_must_agree(mixed_music: Path, little_music: Path, tmp_path: Path) -> None:
    dataset = load_dataset(mixed_music, task="multi-label")
    with pytest.raises(ConfigError, match="was read for a multi-label task"):
        training.train(dataset, load_config("logistic-regression", LITTLE), tmp_path / "run")
    with pytest.raises(ConfigError, match="exactly one genre"):
        load_config("svm", ["data.task=multi-label"])
    # Folders are one label per track, which is a multi-label task too.
    settings = load_config("logistic-regression", [*LITTLE, "data.task=multi-label"])
    run = training.train(load_dataset(little_music, task="multi-label"), settings, tmp_path / "folders")
    with pytest.raises(ConfigError, match="single-label"):
        evaluate_model(Model.read(run.model), load_dataset(little_music))


def test_genres_that_the_data_do_not_know_are_not_judged(
    mixed_music: Path, little_music: Path, tmp_path: Path
) -> None:
    dataset = load_dataset(mixed_music, task="multi-label")
    run = training.train(dataset, load_config("logistic-regression", MULTI), tmp_path / "run")
    found = evaluate_model(Model.read(run.model), load_dataset(little_music, task="multi-label"))
    assert found.label_tracks is not None
    assert {one.genre: one.judged for one in found.label_tracks.per_label} == {
        "drone": 24,
        "hiss": 24,
        "none": 0,
    }


@pytest.mark.parametrize("family", ["logistic-regression", "cnn"])
def test_shares_of_annotators_train_a_single_label_model(
    family: str, little_music: Path, tmp_path: Path
) -> None:
    lines = ["path,label,group"]
    for track in load_dataset(little_music).tracks:
        other = "hiss" if track.label == "drone" else "drone"
        lines.append(f"{track.path},{track.label}:0.7;{other}:0.3,{track.group}")
    (tmp_path / "tracks.csv").write_text("\n".join(lines))
    dataset = load_dataset(tmp_path / "tracks.csv")
    settings = [*LITTLE, "train.label_smoothing=0.0"]
    run = training.train(dataset, load_config(family, settings), tmp_path / "run")
    assert any("largest share" in note for note in run.evaluation.notes)
    if family == "logistic-regression":
        # Certain data give certain scores; of these, the best that can be said is 70 %.
        assert run.evaluation.levels[0].accuracy.value == 1.0
        scores = Classifier.from_pretrained(run.model).predict(dataset.tracks[0].path).scores
        assert max(scores.values()) == pytest.approx(0.7, abs=0.05)
    with pytest.raises(ConfigError, match="an svm takes exactly one genre"):
        training.train(dataset, load_config("svm", settings), tmp_path / "svm")


def test_what_was_not_judged_has_no_part_in_the_loss() -> None:
    logits = torch.randn(4, 3)
    labels = LabelMatrix(np.eye(4, 3, dtype=np.float32), np.array([[1, 1, 0]] * 4, bool))
    from genrescope.training.module import label_evidence

    evidence = torch.from_numpy(label_evidence(labels, np.arange(4)))
    targets = torch.from_numpy(labels.values[:, :2])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, :2], targets)
    assert label_cross_entropy(logits, evidence) == pytest.approx(float(expected), abs=1e-6)
    moved = logits.clone()
    moved[:, 2] += 5
    assert label_cross_entropy(moved, evidence) == label_cross_entropy(logits, evidence)
    smoothed = label_evidence(labels, np.arange(4), 0.2)
    assert smoothed[0].tolist() == pytest.approx([0.9, 0.1, 0, 0.1, 0.9, 0])


def test_regressions_use_shares_and_leave_out_what_was_not_judged() -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(400, 2)).astype(np.float32)
    values = np.stack([inputs[:, 0] > 0, inputs[:, 1] > 0, np.ones(400)], axis=1).astype(np.float32)
    judged = np.ones(values.shape, bool)
    judged[:200, 1] = False
    whole = fit_label_regression(inputs, values, judged, c=1.0, seed=0)
    assert ((whole.predict_proba(inputs) >= 0.5) == values).mean() > 0.98
    changed = values.copy()
    changed[:200, 1] = 1 - changed[:200, 1]
    other = fit_label_regression(inputs, changed, judged, c=1.0, seed=0)
    assert other.weights.tolist() == whole.weights.tolist()
    # Of the same sound, three of four annotators say that it is of the class.
    shares = np.full((400, 1), 0.75, np.float32)
    shared = fit_label_regression(np.zeros((400, 2), np.float32), shares, judged[:, :1], c=1.0, seed=0)
    assert shared.predict_proba(np.zeros((1, 2), np.float32))[0, 0] == pytest.approx(0.75, abs=1e-3)


def test_models_of_a_multi_label_task_are_compared(mixed_music: Path, tmp_path: Path) -> None:
    settings = [word for setting in MULTI for word in ("--set", setting)]
    configs = ("logistic-regression", "logistic-regression:model.inverse_regularization=0.001")
    output = ("--seeds", "2", "--output", str(tmp_path / "report"))
    printed = run_cli("compare", *configs, str(mixed_music), *settings, *output)
    assert "ranking precision" in printed
    (compared,) = json.loads((tmp_path / "report" / "report.json").read_text())["comparisons"]
    assert compared["metric_names"] == ["Top genre right", "Ranking precision (LRAP)", "Macro F1"]
    first = compared["models"][0]
    assert first["balanced_accuracy"]["value"] > 0.9
    assert [genre["genre"] for genre in first["per_genre"]] == ["drone", "hiss", "none"]
    assert "Top genre right" in (tmp_path / "report" / "report.md").read_text()
