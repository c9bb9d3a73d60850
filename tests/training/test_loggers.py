"""Loggers: curves are there while a run trains, continue after a kill, and need no network."""

from __future__ import annotations

import csv
import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from genrescope import datasets
from genrescope.errors import ConfigError, MissingDependencyError
from genrescope.training import config, loggers, train
from helpers.small_data import LITTLE

ROWS = [
    {
        "epoch": float(epoch),
        "learning_rate": 0.1,
        "train_loss": 1 / epoch,
        "validation_accuracy": 0.25 * epoch,
    }
    for epoch in (1, 2, 3)
]
SETTINGS = {"train.epochs": 3, "model.name": "cnn", "optimizer.learning_rate": 0.003, "split.fold": 0}
RUN = "0123456789abcdef"


def lines(folder: Path) -> list[list[str]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.reader(stream))


def test_a_line_is_there_as_soon_as_its_epoch_is_over(tmp_path: Path) -> None:
    log = loggers.CsvLogger(tmp_path, RUN, SETTINGS)
    log.start([])
    for count, row in enumerate(ROWS, 1):
        log.log_epoch(row)
        assert lines(tmp_path) == [list(row), *([str(v) for v in one.values()] for one in ROWS[:count])]
    log.close()


def test_a_resumed_run_repeats_no_line(tmp_path: Path) -> None:
    """The third epoch was logged, and the process killed before its checkpoint was written."""
    log = loggers.CsvLogger(tmp_path, RUN, SETTINGS)
    log.start([])
    for row in ROWS:
        log.log_epoch(row)
    resumed = loggers.CsvLogger(tmp_path, RUN, SETTINGS)
    resumed.start(ROWS[:2])
    resumed.log_epoch(ROWS[2])
    resumed.close()
    assert [row[0] for row in lines(tmp_path)] == ["epoch", "1.0", "2.0", "3.0"]


class Watch:
    """Keeps how many lines of the run's file there are when each epoch is reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: list[int] = []

    def start(self, rows: object) -> None:
        self.counts.append(0)

    def log_epoch(self, row: Mapping[str, float]) -> None:
        self.counts.append(len(lines(self.folder)) - 1)

    def close(self) -> None: ...


def test_a_run_writes_its_curves_while_it_trains(little_music: Path, tmp_path: Path) -> None:
    chosen = config.load_config("lstm", [*LITTLE, "split.protocol=artist-grouped", "train.threads=1"])
    watch = Watch(tmp_path / "run")
    run = train(datasets.load_dataset(little_music), chosen, tmp_path / "run", observers=[watch])
    assert watch.counts == [0, 1, 2]
    header, *rows = lines(tmp_path / "run")
    assert [dict(zip(header, map(float, row), strict=True)) for row in rows] == run.curves


def test_unknown_and_missing_loggers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="tensorbord"):
        loggers.check_loggers(["csv", "tensorbord"])
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError) as caught:
        loggers.check_loggers(["wandb"])
    assert caught.value.hint == "pip install 'genrescope[wandb]'"


def filled(kind: type[loggers.RunLogger], folder: Path) -> None:
    """Log two epochs, and a third and the results from what stands for another process."""
    folder.mkdir(exist_ok=True)
    first = kind(folder, RUN, SETTINGS)
    first.start([])
    for row in ROWS[:2]:
        first.log_epoch(row)
    first.close()
    second = kind(folder, RUN, SETTINGS)
    second.start(ROWS[:2])
    second.log_epoch(ROWS[2])
    second.log_results({"test/track_accuracy": 0.5})
    second.close()


@pytest.mark.filterwarnings("ignore")  # of libraries that are not ours
def test_tensorboard_reads_curves_settings_and_results(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    filled(loggers.TensorBoardLogger, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    points = [(one.step, round(one.value, 4)) for one in events.Scalars("train/loss")]
    assert points == [(1, 1.0), (2, 0.5), (3, 0.3333)]
    assert [one.value for one in events.Scalars("test/track_accuracy")] == [0.5]
    assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.filterwarnings("ignore")
def test_mlflow_keeps_one_run_in_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    filled(loggers.MlflowLogger, tmp_path / "run")
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("genrescope").experiment_id])
    assert run.data.params == {key: str(value) for key, value in SETTINGS.items()}
    assert run.data.metrics["test/track_accuracy"] == 0.5
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(one.step, round(one.value, 4)) for one in history] == [(1, 1.0), (2, 0.5), (3, 0.3333)]
    assert run.info.status == "FINISHED"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlruns", "run"]


@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_an_offline_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    for name in ("CACHE_DIR", "CONFIG_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / name))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    filled(loggers.WandbLogger, tmp_path / "run")
    files = list((tmp_path / "run" / "wandb").glob(f"offline-run-*/run-{RUN}.wandb"))
    assert files
    assert b"train/loss" in b"".join(file.read_bytes() for file in files)


class FakeRun:
    """What is used of a run of wandb."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls
        self.summary: dict[str, float] = {}

    def log(self, values: dict[str, float], step: int) -> None:
        self.calls.append((step, values))

    def finish(self) -> None:
        self.calls.append(self.summary)


def test_wandb_is_asked_for_an_offline_run_that_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def init(**options: Any) -> FakeRun:
        assert (options["mode"], options["id"], options["resume"]) == ("offline", RUN, "allow")
        assert (options["config"], options["dir"]) == (SETTINGS, str(tmp_path))
        return FakeRun(calls)

    fake = types.ModuleType("wandb")
    fake.__dict__.update(init=init, Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    filled(loggers.WandbLogger, tmp_path)
    values = [{"learning_rate": 0.1, "train/loss": r["train_loss"]} for r in ROWS]
    expected = [
        v | {"validation/accuracy": r["validation_accuracy"]} for v, r in zip(values, ROWS, strict=True)
    ]
    assert calls == [(1, expected[0]), (2, expected[1]), {}, (3, expected[2]), {"test/track_accuracy": 0.5}]


@pytest.mark.filterwarnings("ignore")
def test_a_model_without_epochs_logs_its_results(little_music: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    chosen = config.load_config("svm", [*LITTLE, "split.protocol=artist-grouped"])
    run = train(datasets.load_dataset(little_music), chosen, tmp_path / "run", loggers=["tensorboard"])
    assert list((run.folder / "tensorboard").iterdir())
    assert json.loads((run.folder / "evaluation.json").read_text())
