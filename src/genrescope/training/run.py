"""A configuration and a data set into a run folder, and from it a model file.

A run folder holds ``config.json`` and ``split.json`` (written first, so that a killed run resumes as it
was), ``checkpoints/``, ``curves.json``, ``model.onnx`` and ``evaluation.json`` (written last).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genrescope import models
from genrescope.datasets import PROTOCOLS, Dataset, dataset_fingerprint
from genrescope.errors import ConfigError, DataError, write_failed
from genrescope.evaluation import Evaluation, evaluate_scores, predict_segments, summary_metrics
from genrescope.models import Model
from genrescope.training import config
from genrescope.training.builders import build_model
from genrescope.training.config import Config
from genrescope.training.task import Task, prepare_task
from genrescope.utils import write_atomic

_KEPT = ("config", "curves", "evaluation")


@dataclass(frozen=True)
class TrainingRun:
    """What a training run left: its folder, its model file, and how the model did on the test part."""

    folder: Path
    model: Path
    evaluation: Evaluation
    curves: list[dict[str, float]]


def train(
    dataset: Dataset,
    settings: Config,
    folder: Path,
    *,
    cache: Path | None = None,
    on_progress: Callable[[str], None] | None = None,
    progress_bar: bool = False,
) -> TrainingRun:
    """Train a model, or take up a killed run, and measure it on the test part.

    Parameters
    ----------
    folder : Path
        A new folder, or that of an unfinished run with the same data and settings: then it carries on.
    cache : Path or None
        Where features of audio files are kept; None keeps none.
    on_progress : callable
        Told one line per stage and epoch.

    Raises
    ------
    ConfigError
        ``invalid_config``; also when ``folder`` holds a run with other data or settings, or a finished one.
    DataError
        ``dataset_too_small``: too few tracks, groups or genres for the protocol.
    """
    say = on_progress or (lambda _: None)
    _check_folder(folder, dataset, settings)
    task = prepare_task(dataset, settings, cache=cache, say=say)
    identity = {
        "data": dataset.name,
        "data_sha256": dataset_fingerprint(dataset),
        "config": settings.to_json(),
    }
    write_atomic(folder / "config.json", json.dumps(identity, indent=1))
    _check_split(folder / "split.json", _split_text(task))
    try:
        graph, curves = build_model(task, folder / "checkpoints", say=say, progress_bar=progress_bar)
    except OSError as reason:  # checkpoints and export write many files
        raise write_failed(folder, reason) from None
    write_atomic(folder / "curves.json", json.dumps(curves, indent=1))
    model = Model(graph, settings.model.name)
    say(f"measuring on the {settings.split.evaluate_on} part")
    evaluation = evaluate_task(model, task, settings.split.evaluate_on)
    described = replace(model.info, scores=summary_metrics(evaluation))
    write_atomic(folder / "model.onnx", models.with_metadata(graph, described))
    write_atomic(folder / "evaluation.json", json.dumps(evaluation.to_json(), indent=1))
    return TrainingRun(folder, folder / "model.onnx", evaluation, curves)


def load_finished(folder: Path, dataset: Dataset, settings: Config) -> TrainingRun | None:
    """Return the run in ``folder`` if it is done and was of this data and these settings."""
    try:
        kept = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf8")) for name in _KEPT}
    except (OSError, ValueError):
        return None
    if not _same(kept["config"], dataset, settings):
        return None
    evaluation = Evaluation.from_json(kept["evaluation"])
    return TrainingRun(folder, folder / "model.onnx", evaluation, kept["curves"])


def _same(kept: dict[str, Any], dataset: Dataset, settings: Config) -> bool:
    """Whether a run was of this data and these settings; settings younger than it stand at their defaults."""
    return (
        kept["data_sha256"] == dataset_fingerprint(dataset)
        and config.config_from_json(kept["config"]) == settings
    )


def _check_folder(folder: Path, dataset: Dataset, settings: Config) -> None:
    """Refuse a folder that holds another run, or a finished one."""
    if (folder / "evaluation.json").exists():
        raise ConfigError(
            "invalid_config", f"{folder}: this run is finished", "choose another folder with --run"
        )
    kept = folder / "config.json"
    if kept.exists() and not _same(json.loads(kept.read_text(encoding="utf8")), dataset, settings):
        raise ConfigError(
            "invalid_config",
            f"{folder}: holds a run with other data or settings",
            "choose another folder with --run, or repeat the same command to carry on",
        )


def _check_split(path: Path, text: str) -> None:
    """Write the split down, or hold it against the one that the run began with."""
    if path.exists() and path.read_text(encoding="utf8", errors="backslashreplace") != text:
        raise DataError(
            "dataset_invalid",
            f"{path}: the data give another split than when this run began; can all files still be read?",
            "restore them, or start anew in another folder with --run",
        )
    write_atomic(path, text)


def _split_text(task: Task) -> str:
    names = [track.id for track in task.examples.tracks]
    parts = {}
    for part in ("train", "validation", "test"):
        chosen = task.segments(part)
        if task.split.unit == "segment":
            parts[part] = [f"{names[task.examples.track[i]]}#{task.examples.start[i]}" for i in chosen]
        else:
            parts[part] = [names[owner] for owner in np.unique(task.examples.track[chosen])]
    return json.dumps({"protocol": task.split.protocol, "seed": task.config.train.seed, **parts}, indent=1)


def evaluate_task(model: Model, task: Task, part: str = "test") -> Evaluation:
    """Score one part of a task with a model file, and compare with the truth."""
    chosen = task.segments(part)
    if len(chosen) == 0:
        raise DataError("dataset_empty", f"the {part} part is empty", "choose another protocol or fraction")
    examples, protocol = task.examples, PROTOCOLS[task.split.protocol]
    notes = (
        [f"measured on the {part} part, which also chose the settings: optimistic"] if part != "test" else []
    )
    owners = examples.track[chosen]
    trained = task.segments("train")
    return evaluate_scores(
        predict_segments(model, examples, chosen),
        task.targets[owners],
        classes=task.classes,
        tracks=[examples.tracks[owner].id for owner in owners],
        groups=[examples.tracks[owner].group for owner in owners],
        weights=examples.weights[chosen],
        train_truth=task.targets[examples.track[trained]],
        model=model.info.name,
        min_score=model.info.threshold,
        protocol=protocol.name,
        leaky=protocol.leaky,
        label=protocol.description,
        data=task.dataset.name,
        seed=task.config.train.seed,
        notes=notes,
    )
