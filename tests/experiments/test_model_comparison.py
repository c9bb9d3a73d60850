"""Comparison of configurations: runs are kept and resumed, folds are pooled, leaky protocols are marked."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from genrescope import datasets
from genrescope.cli import app
from genrescope.errors import ConfigError
from genrescope.evaluation import evaluate_model
from genrescope.experiments import compare_models
from genrescope.experiments.model_comparison import NamedConfig
from genrescope.models.model import Model
from genrescope.reporting import ComparisonReport, Curve, critical_view, write_comparison
from helpers.small_data import LITTLE

BOTH = ("logistic-regression", "svm:model.inverse_regularization=1.0")


def compared(music: Path, folder: Path, **options: object) -> ComparisonReport:
    given: dict[str, object] = {"seeds": 2, "overrides": ("split.folds=2",)}
    return compare_models(music, BOTH, folder, **given | options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(little_music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a comparison with all folds, and track-random beside."""
    place = tmp_path_factory.mktemp("comparison")
    report = compared(little_music, place, protocols=("artist-grouped", "track-random"), all_folds=True)
    write_comparison(report, place)
    return place


def test_a_configuration_may_have_changes_of_its_own() -> None:
    one = NamedConfig.parse("a:b/own.toml:model.weights=x,y:z,train.epochs=3")
    assert one.source == "a:b/own.toml"
    assert one.overrides == ("model.weights=x,y:z", "train.epochs=3")
    assert one.name == "own:model.weights=x,y:z,train.epochs=3"
    assert NamedConfig.parse("cnn") == NamedConfig("cnn", "cnn")
    labeled = NamedConfig.parse("slow rate=dir/own.toml:optimizer.learning_rate=0.001")
    assert labeled == NamedConfig("slow rate", "dir/own.toml", ("optimizer.learning_rate=0.001",))
    assert labeled.description == "own:optimizer.learning_rate=0.001"


def test_all_folds_test_each_track_once_per_seed(folder: Path, little_music: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    grouped, random = report["comparisons"]
    assert (grouped["protocol"], grouped["leaky"], grouped["folds"]) == ("artist-grouped", False, 2)
    assert grouped["tested"] == [24, 24]
    assert (grouped["distinct"], grouped["groups"]) == (24, 4)
    assert (random["title"], random["folds"]) == ("track-random (leaky)", 1)
    assert len(list((folder / "runs").iterdir())) == 2 * (2 * 2 + 2)
    assert all(len(model["by_seed"]) == 2 for model in grouped["models"])
    tested = [
        row["id"]
        for run in (folder / "runs").glob("svm*artist-grouped-seed-1-*")
        for row in json.loads((run / "predictions.json").read_text())["rows"]
    ]
    assert sorted(tested) == sorted(track.id for track in datasets.load_dataset(little_music).tracks)


def test_finished_runs_are_kept_and_a_deleted_one_is_trained_again(
    folder: Path, little_music: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = json.loads((folder / "report.json").read_text())
    deleted = next((folder / "runs").glob("svm*artist-grouped-seed-0-fold-1-*"))
    model = (deleted / "model.onnx").read_bytes()
    shutil.rmtree(deleted)
    with caplog.at_level(logging.INFO, "genrescope"):
        report = compared(little_music, folder, protocols=("artist-grouped", "track-random"), all_folds=True)
    runs = [line for line in caplog.messages if line.startswith("run ")]
    assert len(runs) == 12
    assert [line for line in runs if "finished before" not in line] == [
        "run 4 of 12: svm:model.inverse_regularization=1.0, artist-grouped, seed 0, fold 1"
    ]
    assert (deleted / "model.onnx").read_bytes() == model
    assert json.loads(json.dumps(report.to_json())) == before


def test_a_fold_can_be_measured_again(folder: Path, little_music: Path) -> None:
    run = next((folder / "runs").glob("logistic*artist-grouped-seed-1-fold-1-*"))
    saved = json.loads((run / "evaluation.json").read_text())
    model, dataset = Model.read(run / "model.onnx"), datasets.load_dataset(little_music)
    again = evaluate_model(model, dataset, protocol="artist-grouped", seed=1, folds=2, fold=1)
    assert again.tracks is not None
    assert again.tracks.accuracy.value == saved["tracks"]["accuracy"]["value"]
    assert again.tracks.n == saved["tracks"]["n"]
    assert not again.leaky  # no artist of this fold was in the training
    other = evaluate_model(model, dataset, protocol="artist-grouped", seed=1, folds=2, fold=0)
    assert other.leaky
    with pytest.raises(ConfigError, match="has no folds"):
        evaluate_model(model, dataset, protocol="track-random", fold=1)


def test_the_report_marks_leaky_numbers_and_gives_genre_averages(folder: Path) -> None:
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text()
        assert "track-random (leaky)" in text
        assert "Genre-averaged accuracy" in text
        assert "Critical view" in text
        assert "not beyond chance (leaky)" in text
        assert "2 folds" in text


def test_the_command_prints_a_table_and_writes_a_report(little_music: Path, tmp_path: Path) -> None:
    words = [
        "compare",
        *BOTH,
        str(little_music),
        "--seeds",
        "1",
        "-o",
        str(tmp_path),
        "--set",
        "split.folds=4",
    ]
    result = CliRunner().invoke(app, [*words, "--protocol", "track-random"])
    assert result.exit_code == 0, result.output
    assert "track-random (leaky)" in result.output
    assert "McNemar p" in result.output
    assert (tmp_path / "report.html").exists()
    words = ["evaluate", str(next(tmp_path.glob("runs/svm*/model.onnx"))), str(little_music)]
    result = CliRunner().invoke(app, [*words, "--protocol", "artist-grouped", "--fold", "2", "--folds", "4"])
    assert result.exit_code == 0, result.output
    assert "6 tracks of 1 groups" in result.output


def test_seeds_may_share_one_split(little_music: Path, tmp_path: Path) -> None:
    words = [
        "compare",
        *BOTH,
        str(little_music),
        "--seeds",
        "2",
        "--split-seed",
        "5",
        "--output",
        str(tmp_path),
    ]
    result = CliRunner().invoke(app, [*words, "--set", "split.folds=2"])
    assert result.exit_code == 0, result.output
    assert "All trainings have one split, of seed 5" in (tmp_path / "report.md").read_text()
    runs = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/split.json")]
    assert len(runs) == 4
    assert all(run == runs[0] for run in runs)


def test_networks_have_learning_curves(little_music: Path, tmp_path: Path) -> None:
    configs = ("cnn:train.epochs=2", "svm")
    report = compare_models(little_music, configs, tmp_path, seeds=1, overrides=LITTLE[:6] + LITTLE[7:])
    (curves,) = report.curves.values()
    assert [len(runs) for runs in curves.values()] == [1, 0]
    assert "Learning curves, artist-grouped" in write_comparison(report, tmp_path).markdown.read_text()
    assert Curve.from_rows([]).epochs == ()
    assert list(critical_view(report.comparisons[0]))


@pytest.mark.parametrize(
    ("configs", "options", "message"),
    [
        (("svm", "svm"), {}, "given twice"),
        (("svm",), {"seeds": 0}, "nothing to run"),
        (("svm", "cn"), {}, "no configuration"),
        (("svm", "cnn"), {"protocols": ("track",)}, "no protocol"),
        (("svm", "cnn"), {"protocols": ("track-random",), "all_folds": True}, "no protocol with folds"),
        (("svm", "cnn"), {"overrides": ("train.seed=1",)}, "same tracks"),
        (("svm", "cnn:split.fold=1"), {}, "same tracks"),
        (("svm", "cnn"), {"protocols": ("segment-random",)}, "segment-random"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_first_run(
    configs: tuple[str, ...], options: dict[str, object], message: str, little_music: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_models(little_music, configs, tmp_path, **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
