"""The command ``audit``, and ``train --exclude``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from genrescope import datasets
from genrescope.audit import AuditReport
from genrescope.cli import app
from genrescope.datasets import load_dataset
from genrescope.errors import DataError
from helpers.small_data import RATE

runner = CliRunner()


@pytest.fixture
def music(little_music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data set with a copy under another label, and a silent file."""
    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path / "cache"))
    root = Path(shutil.copytree(little_music, tmp_path / "music"))
    shutil.copy(root / "drone" / "artist 0" / "drone 0.wav", root / "hiss" / "artist 0" / "wrong.wav")
    soundfile.write(root / "hiss" / "artist 1" / "silent.wav", np.zeros(3 * RATE), RATE)
    return root


def test_audit_prints_and_writes_all_that_was_asked_for(music: Path, tmp_path: Path) -> None:
    files = {
        "output": "findings.json",
        "csv": "findings.csv",
        "groups": "groups.csv",
        "apply": "cleaned.csv",
    }
    outputs = [f"--{name}={tmp_path / file}" for name, file in files.items()]
    done = runner.invoke(app, ["audit", str(music), "--workers", "1", "--folds", "3", *outputs])
    assert done.exit_code == 0, done.output
    assert "label_conflict" in done.stdout
    assert "3 tracks are suggested to be left out" in done.stdout
    report = AuditReport.load(tmp_path / "findings.json")
    assert report.counts == {"silent": 1, "byte_identical": 1, "label_conflict": 1}
    cleaned = load_dataset(tmp_path / "cleaned.csv")
    assert len(cleaned.tracks) == 23
    assert not {"hiss/artist 1/silent.wav", "hiss/artist 0/wrong.wav"} & {
        track.id for track in cleaned.tracks
    }
    grouped = load_dataset(tmp_path / "groups.csv")
    assert len(grouped.tracks) == 26
    # The folders "artist 0" of both genres are joined by the copy, and so are those of one name.
    assert len({track.group for track in grouped.tracks}) == 4


def test_audit_of_some_kinds(music: Path) -> None:
    done = runner.invoke(app, ["audit", str(music), "--workers", "1", "--kinds", "silent,clipping"])
    assert "1 finding in 26 tracks" in done.stdout
    done = runner.invoke(app, ["audit", str(music), "--min-score", "0.95"])
    assert "1 finding in 26 tracks" in done.stdout


def test_audit_says_why_labels_were_not_checked(music: Path) -> None:
    done = runner.invoke(app, ["audit", str(music), "--workers", "1"])
    assert "labels: not checked for errors: 25 tracks can be judged; 40 are needed" in done.stdout
    for options in (["--no-labels"], ["--unlabeled"], ["--kinds", "silent"]):
        done = runner.invoke(app, ["audit", str(music), "--workers", "1", *options])
        assert "labels: not checked" not in done.stdout


def test_audit_writes_over_no_music(music: Path) -> None:
    song = music / "drone" / "artist 0" / "drone 0.wav"
    before = song.read_bytes()
    done = runner.invoke(app, ["audit", str(music), "--output", str(song)])
    assert done.exit_code != 0
    assert song.read_bytes() == before


def test_train_leaves_out_what_findings_suggest_to_drop(music: Path, tmp_path: Path) -> None:
    findings, run = tmp_path / "findings.json", tmp_path / "run"
    runner.invoke(app, ["audit", str(music), "--workers", "1", "-o", str(findings)])
    options = ["-c", "logistic-regression", "--set", "split.folds=3", "--run-dir", str(run)]
    done = runner.invoke(app, ["train", str(music), *options, "--exclude", str(findings)])
    assert done.exit_code == 0, done.output
    split = json.loads((run / "split.json").read_text())
    dropped = AuditReport.load(findings).dropped()
    assert len(dropped) == 3
    assert not dropped & {*split["train"], *split["validation"]}


def test_the_test_part_keeps_tracks_that_are_not_trained_on(little_music: Path) -> None:
    dataset = load_dataset(little_music)
    names = [track.id for track in dataset.tracks]
    without = dataset.without_training_on([names[0], "unknown"])
    assert without.not_trained == {names[0]}
    assert without.tracks == dataset.tracks
    assert datasets.dataset_fingerprint(without) != datasets.dataset_fingerprint(dataset)
    with pytest.raises(DataError):
        dataset.without_training_on(names)
