"""A task into the bytes of a model file: one way for each kind of model family."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genrescope import __version__, evaluation, features, models
from genrescope.datasets import dataset_fingerprint, track_digest
from genrescope.evaluation import predict_segments, predict_tracks
from genrescope.models import Model, ModelInfo
from genrescope.training.config import Config
from genrescope.training.task import Task
from genrescope.types import IntArray

CHECKED_SEGMENTS = 64
Curves = list[dict[str, float]]
Say = Callable[[str], None]


def build_model(
    task: Task, folder: Path, *, say: Say = lambda _: None, progress_bar: bool = False
) -> tuple[bytes, Curves]:
    """Fit the model that the task's settings name.

    Parameters
    ----------
    folder : Path
        Of checkpoints: where a killed training carries on.

    Returns
    -------
    bytes
        Of a model file, checked against the fitted model.
    list of dict
        The curves, one row per epoch; empty for models without epochs.
    """
    if task.config.model.name in models.CLASSICAL_FAMILIES:
        return _make_classical(task), []
    if task.config.model.name == "frozen":
        return _make_frozen(task, models), []
    return _make_network(task, folder, say, progress_bar)


def _make_classical(task: Task) -> bytes:
    inputs, targets = _training_examples(task)
    settings = task.config
    pipeline = models.fit_classical(
        settings.model.name,
        inputs,
        targets,
        c=settings.model.inverse_regularization,
        seed=settings.train.seed,
    )
    graph = models.export_classical(pipeline, _info(task), inputs)
    return models.with_metadata(graph, _with_threshold(task, Model(graph, settings.model.name)))


def _make_frozen(task: Task, transfer: Any) -> bytes:
    network = _build(task)
    _fit_linear_head(task, network, models)
    sample = task.examples.take(task.segments("train")[:CHECKED_SEGMENTS])
    return _export(task, network, sample)


def _fit_linear_head(task: Task, network: Any, transfer: Any) -> None:
    """Put a logistic regression on the embeddings of the training segments."""
    inputs, targets = _training_examples(task)
    embeddings = models.embed_segments(network.backbone, inputs)
    settings = task.config
    network.load_head(
        *models.fit_linear(
            embeddings, targets, c=settings.model.inverse_regularization, seed=settings.train.seed
        )
    )


def _make_network(task: Task, folder: Path, say: Say, progress_bar: bool) -> tuple[bytes, Curves]:
    from genrescope.training import trainer

    trainer.configure_torch(task.config)
    network = _build(task)
    start = _linear_probe(task, network)
    curves = trainer.train_network(
        network,
        task.examples,
        task.targets,
        train=task.segments("train"),
        validation=task.segments("validation"),
        classes=len(task.classes),
        settings=task.config,
        folder=folder,
        say=say,
        progress_bar=progress_bar,
    )
    _interpolate_weights(network, start, task.config.model.weight_interpolation)
    sample = task.examples.take(task.segments("train")[:CHECKED_SEGMENTS])
    return _export(task, network, sample), curves


def _linear_probe(task: Task, network: Any) -> dict[str, Any]:
    """Fit the head of a network to be fine-tuned; return the weights that it starts from, none for others.

    A head that fits before the backbone moves spares it the detour (Kumar et al., ICLR 2022).
    """
    if task.config.model.name != "fine-tuned":
        return {}
    network.eval()
    _fit_linear_head(task, network, models)
    return {name: value.clone() for name, value in network.state_dict().items()}


def _interpolate_weights(network: Any, start: dict[str, Any], share: float) -> None:
    """Blend a network with what it was: robust where training data are few (Wortsman et al., CVPR 2022)."""
    blended = network.state_dict()
    for name, value in start.items():
        if value.is_floating_point():
            blended[name] = share * value + (1 - share) * blended[name]
    network.load_state_dict(blended)


def _export(task: Task, network: Any, sample: Any) -> bytes:
    """Export a network, calibrated on the validation part as the settings say."""
    info = replace(_info(task), styles=tuple(network.styles))
    temperature = task.config.calibration.temperature
    if not temperature:
        temperature = _temperature(task, network, info, sample)
    info = replace(info, provenance={**info.provenance, "temperature": temperature})
    graph = models.export_network(network, info, sample, temperature=temperature)
    return models.with_metadata(graph, _with_threshold(task, Model(graph, info.name)))


def _temperature(task: Task, network: Any, info: ModelInfo, sample: Any) -> float:
    """Fit the temperature of a network, exported without one; 1 where there is nothing to fit to."""
    chosen = task.segments("validation")
    if not len(chosen):
        return 1.0
    model = Model(models.export_network(network, info, sample), info.name)
    owners, tracks = np.unique(task.examples.track[chosen], return_inverse=True)
    logits = np.log(np.maximum(predict_segments(model, task.examples, chosen), 1e-30))
    return evaluation.fit_segment_temperature(
        logits, task.targets[owners], tracks, task.examples.weights[chosen]
    )


def _with_threshold(task: Task, model: Model) -> ModelInfo:
    """Describe a model with the score below which it is unsure, given or chosen on the validation part."""
    settings, chosen = task.config.calibration, task.segments("validation")
    if settings.threshold or not len(chosen):
        return replace(model.info, threshold=settings.threshold or None)
    scores, owners = predict_tracks(model, task.examples, chosen)
    threshold = evaluation.select_threshold(scores, task.targets[owners], settings.target_accuracy)
    return replace(model.info, threshold=None if threshold is None else round(threshold.score, 4))


def _build(task: Task) -> Any:
    settings, spec = task.config, task.examples.spec
    chosen = settings.model
    if chosen.name in models.PRETRAINED_FAMILIES:
        weights = Path(chosen.weights) if chosen.weights else None
        return models.build_pretrained(
            chosen.name,
            models.load_backbone(chosen.backbone, weights=weights),
            mels=spec.n_mels,
            classes=len(task.classes),
            dropout=chosen.dropout,
            frozen=settings.optimizer.backbone_lr_scale == 0,
        )
    return models.build_network(
        chosen.name,
        features=features.feature_dimension(spec),
        frames=features.segment_frames(spec, settings.data.segment_seconds),
        classes=len(task.classes),
        dropout=chosen.dropout,
    )


def _training_examples(task: Task) -> tuple[Any, IntArray]:
    chosen = task.segments("train")
    return task.examples.take(chosen), task.targets[task.examples.track[chosen]]


def _info(task: Task) -> ModelInfo:
    settings = task.config
    heard = np.unique(
        task.examples.track[np.concatenate([task.segments("train"), task.segments("validation")])]
    )
    return ModelInfo(
        name=settings.model.name,
        classes=task.classes,
        features=task.examples.spec,
        segment_seconds=settings.data.segment_seconds,
        hop_seconds=settings.data.hop_seconds or settings.data.segment_seconds,
        provenance={
            "data": task.dataset.name,
            "data_sha256": dataset_fingerprint(task.dataset),
            "protocol": task.split.protocol,
            "seed": settings.train.seed,
            "genrescope": __version__,
            "commit": _commit(),
            "config": _portable(settings).to_json(),
            "heard": [track_digest(task.examples.tracks[owner].id) for owner in heard],
        },
    )


def _portable(settings: Config) -> Config:
    """Return the settings without the folder that weights lay in: it is nobody else's."""
    model = settings.model.model_copy(update={"weights": Path(settings.model.weights).name})
    return settings.model_copy(update={"model": model})


def _commit() -> str:
    """Return the commit of the source tree that runs, or nothing where it is an installation."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # An installation inside somebody else's repository is not of that repository.
        subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=True)
        described = [*git, "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(described, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
