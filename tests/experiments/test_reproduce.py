"""A small reproduction: two of its experiments on a few tracks, end to end."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from genrescope.experiments import paper, reproduce
from genrescope.training.config import load_config


def test_every_experiment_has_a_configuration() -> None:
    for experiment in reproduce.EXPERIMENTS:
        settings = load_config(experiment.config, experiment.overrides)
        assert settings.model.name
    named = {experiment.name for experiment in reproduce.EXPERIMENTS}
    assert {name for line in paper.HEADLINES for name in line.models} <= named


def test_a_quick_run_gives_the_whole_report(
    gtzan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = tuple(one for one in reproduce.EXPERIMENTS if one.name in {"svm", "parallel"})
    monkeypatch.setattr(reproduce, "EXPERIMENTS", chosen)
    monkeypatch.setattr(reproduce, "QUICK_TRACKS_PER_GENRE", 2)
    paths = reproduce.reproduce_paper(gtzan, tmp_path, quick=True)
    assert paths.json.parent == tmp_path / "quick"  # a full run later finds its own folder empty
    report = json.loads(paths.json.read_text())
    found = [(one["model"], one["protocol"], one["leaky"]) for one in report["evaluations"]]
    assert found == [
        ("svm", "track-random", True),
        ("svm", "fault-filtered", False),
        ("parallel", "segment-random", True),
        ("parallel", "fault-filtered", False),
    ]
    assert "mean accuracy over 2 seeds" in report["evaluations"][0]["notes"][0]
    assert len(report["evaluations"][0]["repeats"]) == 2
    assert "deviation over 2 seeds" in paths.markdown.read_text()
    for text in (paths.markdown.read_text(), paths.html.read_text()):
        assert "leaky" in text
        assert "quick run" in text

    with caplog.at_level(logging.INFO, logger="genrescope"):
        reproduce.reproduce_paper(gtzan, tmp_path, quick=True)
    lines = caplog.messages
    assert "svm, track-random, seed 1" in lines
    assert not any("epoch" in line for line in lines)  # finished runs are not repeated
