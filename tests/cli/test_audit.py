"""The command ``audit``, and ``train --exclude``."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console
from typer.testing import CliRunner

from genrescope import datasets
from genrescope.audit import KINDS, AuditReport, Finding
from genrescope.cli import app
from genrescope.cli.audit import render_audit
from genrescope.datasets import load_dataset
from genrescope.errors import DataError
from helpers.small_data import RATE

runner = CliRunner()
OUTPUTS = {"output": "json", "csv": "csv", "html": "html"}


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


def test_audit_writes_a_page_with_spectrograms(music: Path, tmp_path: Path) -> None:
    words = ["audit", str(music), "--workers", "1", "--html"]
    done = runner.invoke(app, [*words, str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    # The copies, and the silent file.
    assert "page.html (3 files decoded for spectrograms)" in done.stdout
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64") == 3
    assert "music/hiss/artist%200/wrong.wav" in page
    done = runner.invoke(app, [*words, str(tmp_path / "none.html"), "--pictures", "0"])
    assert "(0 files decoded" in done.stdout
    assert "data:image/png;base64" not in (tmp_path / "none.html").read_text()


@pytest.mark.skipif(os.name != "posix", reason="named pipes are of POSIX")
def test_odd_files_and_cells_give_findings_and_all_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path / "cache"))
    music = tmp_path / "music"
    music.mkdir()
    for name in (b"\xff\xfe.wav", b"<b>&amp;\x0a.wav", b"=1+1.wav"):
        with Path(os.fsdecode(os.fsencode(music) + b"/" + name)).open("wb") as file:
            soundfile.write(file, np.zeros(RATE), RATE, format="WAV")
    (music / "folder.wav").mkdir()
    (music / "loop").symlink_to(music)
    (music / "gone.wav").symlink_to(tmp_path / "nowhere")
    (music / "empty.wav").touch()
    os.mkfifo(music / "pipe.wav")
    header = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0" + b"\xff" * 14 + b"data\xff\xff\xff\xff\0\0"
    (music / "header.wav").write_bytes(header)
    cells = ["path,label", "/dev/zero,a", ".,b", "no\0name,c", "x" * 150_000 + ",d", ",e", "/proc/self/mem,f"]
    (tmp_path / "odd.csv").write_text("\n".join(cells))
    for data, words in ((music, ["--unlabeled"]), (tmp_path / "odd.csv", [])):
        files = [f"--{name}={tmp_path / f'out.{kind}'}" for name, kind in OUTPUTS.items()]
        done = runner.invoke(app, ["audit", str(data), "--workers", "1", *words, *files])
        assert done.exit_code == 0, done.output
        report = AuditReport.load(tmp_path / "out.json")
        assert report.findings
        assert len((tmp_path / "out.csv").read_text().splitlines()) == len(report.findings) + 1
        (tmp_path / "out.html").read_text(encoding="utf8")
    audit = ["audit", str(music), "--unlabeled", "--workers", "1", "-o", str(tmp_path / "out.json")]
    runner.invoke(app, audit)
    report = AuditReport.load(tmp_path / "out.json")
    assert report.counts == {"missing": 1, "unreadable": 2, "empty": 1, "silent": 3, "byte_identical": 1}
    assert os.fsdecode(b"\xff\xfe.wav") in {track for one in report.findings for track in one.tracks}
    # Files that vanish after an audit are in its journal, and matter no more.
    (music / "empty.wav").unlink()
    runner.invoke(app, audit)
    assert AuditReport.load(tmp_path / "out.json").counts["silent"] == 3
    assert "empty" not in AuditReport.load(tmp_path / "out.json").counts


@pytest.mark.parametrize("width", [60, 80])
def test_the_summary_fits_the_terminal(width: int) -> None:
    findings = [
        Finding(kind, 0.5, "a long sentence of evidence " * 20, (f"{kind}.wav",), action=one.action)
        for kind, one in KINDS.items()
    ]
    console = Console(width=width, record=True, file=io.StringIO())
    render_audit(AuditReport("music", 40, tuple(findings)), console)
    *rows, summary = console.export_text().splitlines()
    assert all(len(row.rstrip()) <= width for row in rows)
    # No kind is cut, and an example takes a few lines.
    assert all(any(row.startswith(f"{kind} ") for row in rows) for kind in KINDS)
    assert len(rows) <= 10 * len(KINDS)
    assert summary.startswith(f"{len(KINDS)} findings in 40 tracks")
