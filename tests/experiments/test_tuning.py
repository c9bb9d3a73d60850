"""The search for settings: on validation tracks only, resumed after a kill, with a result that trains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import soundfile

from genrescope import experiments
from genrescope.errors import ConfigError, GenrescopeError
from genrescope.experiments.tuning import Tuning
from genrescope.training import Config, load_config
from helpers.small_data import LITTLE, RATE, drone, hiss

pytest.importorskip("optuna", reason="optuna is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*experimental")
SPACE = """
[model]
inverse_regularization = { low = 1e-3, high = 10, log = true }
"""
SETTINGS = [*LITTLE, "split.protocol=artist-grouped", "train.threads=1"]


def tuned(folder: Path, music: Path, trials: int, name: str = "svm", space: str = SPACE) -> Tuning:
    file = folder / "space.toml"
    file.write_text(space)
    return experiments.tune_config(
        music, name, file, folder / "study.sqlite", trials=trials, overrides=SETTINGS
    )


def splits(folder: Path) -> list[dict[str, list[str]]]:
    return [json.loads(file.read_text()) for file in folder.glob("study-runs/*/split.json")]


def test_the_best_settings_are_written_and_no_test_track_is_scored(
    little_music: Path, tmp_path: Path
) -> None:
    best = tuned(tmp_path, little_music, 3)
    assert best.trials == 3
    assert list(best.changes) == ["model.inverse_regularization"]
    written = load_config(best.file)
    assert written == best.config
    assert written.split.evaluate_on == "test"
    assert written.model.inverse_regularization == best.changes["model.inverse_regularization"]
    files = tmp_path.glob("study-runs/*/predictions.json")
    scored = [[row["id"] for row in json.loads(file.read_text())["rows"]] for file in files]
    assert len(scored) == 3
    for ids, split in zip(scored, splits(tmp_path), strict=True):
        assert set(ids) == set(split["validation"])
        assert not set(ids) & set(split["test"])


def test_the_same_command_continues_a_study(little_music: Path, tmp_path: Path) -> None:
    first = tuned(tmp_path, little_music, 2)
    runs = sorted((tmp_path / "study-runs").iterdir())
    assert tuned(tmp_path, little_music, 2) == first
    assert sorted((tmp_path / "study-runs").iterdir()) == runs
    assert tuned(tmp_path, little_music, 4).trials == 4
    assert len(list((tmp_path / "study-runs").iterdir())) == 4
    with pytest.raises(ConfigError, match="a study of other data"):
        tuned(tmp_path, little_music, 4, "logistic-regression")


KILLED = """
import logging, os, signal, sys
from pathlib import Path
from genrescope import experiments
class Watch(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("epoch 2/"):
            os.kill(os.getpid(), signal.SIGKILL)
logger = logging.getLogger("genrescope")
logger.setLevel(logging.INFO)
logger.addHandler(Watch())
music, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
experiments.tune_config(Path(music), name, folder / "space.toml", folder / "study.sqlite", trials=1,
    overrides=sys.argv[4:])
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX")
def test_a_killed_trial_continues_from_its_checkpoint(
    little_music: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    space = "[model]\ndropout = { low = 0.0, high = 0.5 }\n"
    (tmp_path / "space.toml").write_text(space)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(little_music), "lstm", str(tmp_path), *SETTINGS],
        capture_output=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    (run,) = (tmp_path / "study-runs").iterdir()
    caplog.set_level("INFO", "genrescope")
    best = tuned(tmp_path, little_music, 1, "lstm", space)
    assert [run] == list((tmp_path / "study-runs").iterdir())
    assert best.trials == 1
    assert any(line.startswith("epoch 2/2") for line in caplog.messages)
    assert not any(line.startswith("epoch 1/2") for line in caplog.messages)


def test_a_trial_that_fails_does_not_end_the_search(
    little_music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genrescope import training

    def fail(*_: object, **__: object) -> None:
        raise GenrescopeError("training_failed", "the loss is nan in epoch 1", "lower it")

    monkeypatch.setattr(training, "train", fail)
    with pytest.raises(GenrescopeError, match="none of 2 trials finished"):
        tuned(tmp_path, little_music, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[model]\ndropout = 0.3", "no range"),
        ("[model]\ndropout = []", "no range"),
        ("[model]\ndropout = { low = 0.5, high = 0.1 }", "no range"),
        ("[model]\ndropout = { low = 0.1, high = 0.5, step = 0 }", "no range"),
        ("[model]\ndropout = { low = 0.1, high = 0.5, logarithm = true }", "no range"),
        ("[optimizer]\nlearning_rate = { low = 0, high = 1, log = true }", "no range"),
        ("[train]\nepochs = { low = 1.5, high = 4 }", "no range"),
        ("[train]\nepochs = { low = 0, high = 4 }", "at least 1"),
        ("[model]\ndropout = [0.1, 3.0]", "from 0 to 0.99"),
        ("[model]\nname = ['svm', 'forest']", "forest"),
        ("[model]\ndropuot = [0.1]", "dropuot"),
        ("[modle]\ndropout = [0.1]", "modle"),
        ("[split]\nfold = [0, 1]", "what a model is measured on"),
        ("[train]\nseed = [0, 1]", "what a model is measured on"),
        ("dropout = [0.1]", "dropout"),
        ("", "nothing to search"),
        ("[model", "cannot be read"),
    ],
)
def test_spaces_that_make_no_sense_are_refused(
    text: str, said: str, little_music: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        tuned(tmp_path, little_music, 1, space=text)
    assert caught.value.code == "invalid_config"
    assert not (tmp_path / "study.sqlite").exists()


def test_the_kind_of_a_range_is_that_of_the_setting(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        "[model]\ndropout = { low = 0, high = 1 }\n"
        "[train]\nepochs = { low = 2, high = 8, step = 2 }\n"
        "[optimizer]\nname = ['adamw', 'rmsprop']\n"
    )
    dropout, epochs, name = experiments.load_space(file)
    assert isinstance(dropout.low, float)
    assert (epochs.low, epochs.high, epochs.step) == (2, 8, 2)
    assert isinstance(epochs.step, int)
    assert name.choices == ("adamw", "rmsprop")


def test_toml_of_a_configuration_gives_it_back(tmp_path: Path) -> None:
    chosen = load_config(
        "svm", ['data.columns=["a b", "c"]', r'model.weights="C:\\\"x\"\\é.pt"', "train.epochs=3"]
    )
    file = tmp_path / "config.toml"
    file.write_text(chosen.to_toml(), encoding="utf8")
    assert load_config(file) == chosen
    assert Config().to_toml() == ""


def test_settings_that_do_not_fit_together_are_a_failed_trial(little_music: Path, tmp_path: Path) -> None:
    # Each is valid beside the defaults; at 16000 Hz no mel band can begin at 9000 Hz.
    space = "[features]\nsample_rate = [16000]\nfmin = [0.0, 9000.0]\n"
    best = tuned(tmp_path, little_music, 6, "logistic-regression", space)
    assert best.trials == 6
    assert 0 < best.failed < 6
    assert best.changes == {"features.sample_rate": 16000, "features.fmin": 0.0}


def test_a_multi_label_search_of_an_own_network_ranks_by_lrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tmp_path / "several.csv"
    rows = ["path,label,group"]
    for number in range(16):
        label = ("drone", "hiss", "drone;hiss", "beep")[number % 4]
        sound = drone(2.0, number) + (hiss(2.0, number) if ";" in label else 0)
        soundfile.write(tmp_path / f"{number}.wav", hiss(2.0, number) if label == "hiss" else sound, RATE)
        rows.append(f"{number}.wav,{label},{number}")
    manifest.write_text("\n".join(rows))
    space = tmp_path / "space.toml"
    space.write_text("[network.options]\nwidth = [4, 8]\n[optimizer]\nlearning_rate = [0.01]\n")
    (tmp_path / "searched_nets.py").write_text(NETWORK)
    overrides = [*SETTINGS, "data.task=multi-label", "model.class=searched_nets:Averages"]

    def search(metric: Literal["accuracy"] | None) -> Tuning:
        return experiments.tune_config(
            manifest,
            "cnn",
            space,
            tmp_path / "study.sqlite",
            trials=1,
            metric=metric,
            prune=True,
            overrides=overrides,
        )

    monkeypatch.chdir(tmp_path)
    best = search(None)
    with pytest.raises(ConfigError, match="multi-label task has no metric accuracy"):
        search("accuracy")
    assert best.metric == "lrap"
    assert set(best.changes) == {"network.options.width", "optimizer.learning_rate"}
    assert load_config(best.file) == best.config
    assert dict(best.config.network.options) == {"width": best.changes["network.options.width"]}


NETWORK = """
from torch import nn
class Averages(nn.Module):
    def __init__(self, features, frames, classes, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, classes))
    def forward(self, batch):
        return self.layers(batch.mean(2))
"""
