"""A training run: from a configuration and a data set to a folder with a model file.

A run folder holds ``config.json`` and ``split.json`` (written first, so that a killed run resumes with the
same data and split), ``checkpoints/``, ``metrics.csv`` (a line as soon as an epoch is over), ``curves.json``,
``model.onnx``, ``predictions.json`` (the scores of each test track) and, last, ``evaluation.json``.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genrescope import __version__, evaluation, models
from genrescope.datasets import (
    MEMORY_LIMIT_BYTES,
    PROTOCOLS,
    Dataset,
    artist_digests,
    content_digests,
    dataset_fingerprint,
    track_digest,
)
from genrescope.errors import ConfigError, DataError, GenrescopeError, write_failed
from genrescope.evaluation import (
    Evaluation,
    LabelSets,
    Predictions,
    ScoredRows,
    evaluate_label_scores,
    evaluate_scores,
    predict_segments,
    summary_metrics,
    track_predictions,
)
from genrescope.models import (
    TRAINING_ARTISTS,
    TRAINING_CONTENT,
    TRAINING_TRACKS,
    UNLABELED_EXPOSURE,
    ExportedModel,
    Model,
    ModelInfo,
)
from genrescope.training.builders import Curves, ModelBuilder, create_builder
from genrescope.training.calibration import Calibration, calibrate
from genrescope.training.config import Config, config_from_json
from genrescope.training.loggers import check_loggers, create_loggers
from genrescope.training.options import EpochObserver, FitOptions
from genrescope.training.task import Task, check_protocol, prepare_task
from genrescope.types import FloatArray
from genrescope.utils import sha256_text, source_digest, write_atomic

# Segments of the training part on which the exported graph must agree with the fitted model.
CHECKED_SEGMENTS = 64
# And what their JSON is.
_FILES = {"config": dict, "curves": list, "evaluation": dict}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingRun:
    """The result of a training run.

    Attributes
    ----------
    folder : Path
        Of the run.
    model : Path
        The model file.
    evaluation : Evaluation
        Of the model on the part that ``split.evaluate_on`` names.
    curves : list of dict
        One row per epoch; empty for models without epochs.
    predictions : Predictions or None
        Of each row of that part: tracks, or segments where the split divides tracks. None where the run is
        of a version that did not keep them.
    """

    folder: Path
    model: Path
    evaluation: Evaluation
    curves: Curves
    predictions: Predictions | None = None


def train(
    dataset: Dataset,
    config: Config,
    folder: Path,
    *,
    cache: Path | None = None,
    progress_bar: bool = False,
    device: str = "auto",
    devices: int = 1,
    loggers: Sequence[str] = (),
    observers: Sequence[EpochObserver] = (),
    memory_limit: int = MEMORY_LIMIT_BYTES,
    workers: int = 0,
) -> TrainingRun:
    """Train a model, or resume a killed run, and evaluate it.

    Progress, a line per stage and epoch, is logged at level INFO below the logger ``genrescope.training``.

    Parameters
    ----------
    dataset : Dataset
        Labeled tracks.
    config : Config
        Settings of the run.
    folder : Path
        A new folder, or that of an unfinished run with the same data and settings, which is resumed.
    cache : Path, optional
        Folder where features of audio files are kept; None keeps none.
    progress_bar : bool
        Whether to show the progress of each epoch on standard error.
    device : {"auto", "cpu", "cuda", "mps"}
        Where networks are trained; ``auto``: on a GPU, if there is one that torch can use.
    devices : int
        Processes that train a network together (distributed data parallel), each with batches of
        ``train.batch_size``. A script that calls this with more than one needs
        ``if __name__ == "__main__":``, as each process imports it.
    loggers : sequence of {"csv", "tensorboard", "mlflow", "wandb"}
        Where curves and results are logged, besides ``metrics.csv`` in the folder; see
        `genrescope.training.loggers`.
    observers : sequence of EpochObserver
        Told of each epoch too.
    memory_limit : int
        Bytes of features that are kept in memory. Those of a larger data set are in a file, memory-mapped: in
        ``cache``, or in the run's folder where there is none. With several devices or loader workers they
        always are, as all processes share the file.
    workers : int
        Processes that compute features of audio; 0: threads of this process.

    Returns
    -------
    TrainingRun

    Raises
    ------
    ConfigError
        ``invalid_config``; also when ``folder`` holds a run with other data or settings, or a finished one.
    DataError
        ``dataset_too_small``: too few tracks, groups or genres for the protocol; ``dataset_empty``: it leaves
        nothing to evaluate on, or the plateau schedule nothing to validate on.
    MissingDependencyError
        ``missing_dependency``.
    WriteError
        ``write_failed``.
    ModelError
        ``model_export_failed``.
    """
    _check_folder(folder, dataset, config)
    check_loggers(loggers)
    builder = create_builder(config)
    shared = devices > 1 or config.train.loader_workers > 0
    task = prepare_task(
        dataset,
        config,
        builder.feature_spec(),
        cache=cache,
        store=folder / "features" if cache is None else cache / "datasets",
        memory_limit=0 if shared else memory_limit,
        workers=workers,
    )
    _check_parts(task)
    identity = {"data": dataset.name, "data_sha256": dataset_fingerprint(dataset), "config": config.to_json()}
    write_atomic(folder / "config.json", json.dumps(identity, indent=1))
    _check_split(folder / "split.json", _split_text(task))
    opened = create_loggers(loggers, folder, _run_id(folder, identity), _flat(config))
    options = FitOptions(progress_bar, device, devices, (*opened, *observers))
    with ExitStack() as stack:
        for one in opened:
            stack.callback(one.close)
        run = _fit_and_evaluate(builder, task, folder, options)
        numbers = _numbers(run.evaluation, config.split.evaluate_on)
        for one in opened:
            one.log_results(numbers)
    return run


def _fit_and_evaluate(builder: ModelBuilder, task: Task, folder: Path, options: FitOptions) -> TrainingRun:
    """Train and export a model, evaluate it, and write all files of the run."""
    config = task.config
    try:
        curves = builder.fit(task, folder / "checkpoints", options)
        calibration = calibrate(builder, task)
        exported = _export(builder, task, calibration)
    except OSError as reason:  # checkpoints and export write many files
        raise write_failed(folder, reason) from None
    write_atomic(folder / "curves.json", json.dumps(curves, indent=1))
    # The exported file is evaluated, not the network in memory: what is measured is what is shipped.
    logger.info("evaluating on the %s part", config.split.evaluate_on)
    part = config.split.evaluate_on
    scores = _score_part(exported.model, task, part)
    result = evaluate_task(exported.model, task, part, notes=calibration.notes, scores=scores)
    predictions = _predictions(task, part, scores, exported.model.info.label_thresholds)
    described = replace(exported.model.info, scores=summary_metrics(result))
    write_atomic(folder / "model.onnx", models.with_metadata(exported.graph, described))
    write_atomic(folder / "predictions.json", json.dumps(predictions.to_json(), indent=1))
    # Last, because its presence says that the run is finished.
    write_atomic(folder / "evaluation.json", json.dumps(result.to_json(), indent=1))
    return TrainingRun(folder, folder / "model.onnx", result, curves, predictions)


def _run_id(folder: Path, identity: dict[str, Any]) -> str:
    """Return a name of a run for loggers that are shared by many: the same when it is resumed."""
    return sha256_text(json.dumps([str(folder.absolute()), identity], sort_keys=True))[:16]


def _flat(config: Config) -> dict[str, Any]:
    return {
        f"{section}.{key}": value
        for section, values in config.to_json().items()
        for key, value in values.items()
    }


def _numbers(result: Evaluation, part: str) -> dict[str, float]:
    """Return the metrics of a model by name, for loggers."""
    return {
        f"{part}/{name}": float(value["value"])
        for name, value in summary_metrics(result).items()
        if isinstance(value, dict) and isinstance(value.get("value"), float | int)
    }


def check_config(config: Config) -> None:
    """Raise what `train` would raise for these settings, before any data is read.

    Parameters
    ----------
    config : Config
        Settings of a run.

    Raises
    ------
    ConfigError
        ``invalid_argument``, ``invalid_config``.
    MissingDependencyError
        ``missing_dependency``: the libraries of the model family are not installed.
    """
    check_protocol(config)
    create_builder(config).feature_spec()


def load_finished(folder: Path, dataset: Dataset, config: Config) -> TrainingRun | None:
    """Return the run in a folder, if it is finished and was of this data and these settings.

    Parameters
    ----------
    folder : Path
        Of the run.
    dataset : Dataset
        The data that it must have been of.
    config : Config
        The settings that it must have been of.

    Returns
    -------
    TrainingRun or None
        None also where it has no ``evaluation.json``: then it is not finished.

    Raises
    ------
    ConfigError
        ``invalid_config``: the run is finished, but one of its files is absent or damaged.
    """
    if not (folder / "evaluation.json").exists():
        return None
    try:
        saved = {name: _read_json(folder / f"{name}.json", kind) for name, kind in _FILES.items()}
        if not _is_same_run(saved["config"], dataset, config):
            return None
        result = Evaluation.from_json(saved["evaluation"])
        kept = folder / "predictions.json"
        predictions = Predictions.from_json(_read_json(kept, dict)) if kept.exists() else None
    except (OSError, ValueError, GenrescopeError) as reason:
        raise ConfigError(
            "invalid_config",
            f"{folder}: a file of this finished run cannot be read: {reason}",
            "delete its evaluation.json to have it evaluated again, or the folder to have it trained again",
        ) from None
    return TrainingRun(folder, folder / "model.onnx", result, saved["curves"], predictions)


def evaluate_task(
    model: Model,
    task: Task,
    part: str = "test",
    *,
    notes: Sequence[str] = (),
    scores: FloatArray | None = None,
) -> Evaluation:
    """Evaluate a model file on one part of a task.

    Parameters
    ----------
    model : Model
        The model file, opened.
    task : Task
        Features, targets and split.
    part : {"train", "validation", "test"}
        A part other than ``test`` is noted in the result.
    notes : sequence of str
        What else a reader of the result should know.
    scores : ndarray, shape (segments, classes), optional
        Those of the model on the part, where they are known.

    Raises
    ------
    DataError
        ``dataset_empty``: the part has no segments.
    """
    scores = _score_part(model, task, part) if scores is None else scores
    chosen = task.segments(part)
    examples, protocol = task.examples, PROTOCOLS[task.split.protocol]
    owners = examples.track[chosen]
    tested = [examples.tracks[owner] for owner in np.unique(owners)]
    all_notes = [*notes, *evaluation.exposure_notes(model.info, tested)]
    if task.has_distributions:
        all_notes.append("tracks with shares of several genres are tested as the one with the largest share")
    if part != "test":
        all_notes.insert(
            0, f"evaluated on the {part} part, which was also used to choose settings: optimistic"
        )
    described = ScoredRows(
        classes=task.classes,
        tracks=[examples.tracks[owner].id for owner in owners],
        groups=[examples.tracks[owner].group for owner in owners],
        weights=examples.weights[chosen],
        model=model.info.name,
        protocol=protocol.name,
        leaky=task.split.leaky,
        protocol_note=task.split.description,
        data=task.dataset.name,
        seed=task.config.train.seed,
        notes=all_notes,
    )
    if task.is_multilabel:
        truth, judged = task.labels.positive[owners], task.labels.judged[owners]
        thresholds = model.info.label_thresholds
        return evaluate_label_scores(scores, truth, judged, thresholds=thresholds, **described)
    return evaluate_scores(
        scores,
        task.targets[owners],
        train_truth=task.targets[examples.track[task.segments("train")]],
        threshold=model.info.threshold,
        **described,
    )


def _score_part(model: Model, task: Task, part: str) -> FloatArray:
    """Score the segments of one part; refuse an empty one."""
    chosen = task.segments(part)
    if len(chosen) == 0:
        raise _empty_part(part, "which the model is to be evaluated on")
    return predict_segments(model, task.examples, chosen)


def _predictions(task: Task, part: str, scores: FloatArray, thresholds: Sequence[float]) -> Predictions:
    """Return the predictions to be kept: of tracks, or of segments where the split divides tracks."""
    chosen, examples = task.segments(part), task.examples
    owners = examples.track[chosen]
    names = [examples.tracks[owner].id for owner in owners]
    groups = [examples.tracks[owner].group for owner in owners]
    truth = task.targets[owners]
    labels = None
    if task.is_multilabel:
        predicted = scores >= np.asarray(thresholds)
        labels = LabelSets(task.labels.positive[owners], task.labels.judged[owners], predicted)
    if task.split.unit == "segment":
        rows = tuple(f"{name}#{start}" for name, start in zip(names, examples.start[chosen], strict=True))
        wide = scores.astype(np.float64)
        return Predictions("segment", task.classes, rows, tuple(groups), truth, wide, labels)
    return track_predictions(
        scores.astype(np.float64),
        truth,
        classes=task.classes,
        tracks=names,
        groups=groups,
        weights=examples.weights[chosen],
        labels=labels,
        thresholds=thresholds,
    )


def _export(builder: ModelBuilder, task: Task, calibration: Calibration) -> ExportedModel:
    """Describe a fitted model, and export it."""
    info = replace(
        _describe(builder, task),
        styles=builder.styles,
        threshold=calibration.threshold,
        genre_thresholds=calibration.genre_thresholds,
    )
    if builder.has_temperature:
        info = replace(info, provenance={**info.provenance, "temperature": calibration.temperature})
    sample = task.examples.take(task.segments("train")[:CHECKED_SEGMENTS])
    return builder.export(info, sample, temperature=calibration.temperature)


def _describe(builder: ModelBuilder, task: Task) -> ModelInfo:
    """Return the description of a model of this task, still without calibration and scores."""
    config = task.config
    chosen = np.concatenate([task.segments("train"), task.segments("validation")])
    trained = [task.examples.tracks[track] for track in np.unique(task.examples.track[chosen])]
    # Of the whole data set, as the id that a group may be of can be that of a track in another part.
    artists = artist_digests(task.dataset.tracks)
    # Without the folder of the weights, which means nothing on another machine and may contain a user name.
    weights = {"weights": Path(config.model.weights).name}
    portable = config.model_copy(update={"model": config.model.model_copy(update=weights)})
    return ModelInfo(
        name=config.model_name,
        classes=task.classes,
        features=task.examples.spec,
        segment_seconds=config.data.segment_seconds,
        hop_seconds=config.data.hop_seconds or config.data.segment_seconds,
        task=config.data.task,
        provenance={
            "data": task.dataset.name,
            "data_sha256": dataset_fingerprint(task.dataset),
            "protocol": task.split.protocol,
            "seed": config.train.seed,
            "split_seed": config.split_seed,
            "genrescope": __version__,
            "commit": _commit(),
            "config": portable.to_json(),
            TRAINING_TRACKS: [track_digest(track.id) for track in trained],
            TRAINING_CONTENT: sorted(set(content_digests(trained).values())),
            TRAINING_ARTISTS: sorted({artists[track.id] for track in trained if track.id in artists}),
            **_own_code(config),
            UNLABELED_EXPOSURE: [exposure.to_json() for exposure in builder.exposures],
        },
    )


def _own_code(config: Config) -> dict[str, dict[str, str]]:
    """Return the names of code that is not of this package, with the SHA-256 of its files."""
    names = filter(None, (config.model.class_, config.features.class_, config.data.reader))
    code = {name: source_digest(name) for name in names}
    return {"own_code": code} if code else {}


def _commit() -> str:
    """Return the commit of the source tree that runs, or nothing where it is an installation."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # An installation inside another project's repository must not be given that one's commit.
        subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=True)
        described = [*git, "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(described, capture_output=True, encoding="utf8", check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _read_json(path: Path, kind: type) -> Any:
    """Read an object or array (``kind``: dict, list); ValueError whatever is wrong.

    Not by `parse_json`, which refuses NaN: losses may be that.
    """
    try:
        value = json.loads(path.read_text(encoding="utf8"))
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(value, kind):
        raise ValueError(f"it holds no {'object' if kind is dict else 'array'}")
    return value


def _is_same_run(saved: dict[str, Any], dataset: Dataset, config: Config) -> bool:
    """Whether a run was of this data and these settings; settings added since then are at their defaults.

    Raises ValueError or ConfigError where ``saved`` is not what `train` wrote.
    """
    if not isinstance(saved.get("config"), dict):
        raise ValueError("it has no settings")
    same_config = config_from_json(saved["config"]) == config
    return same_config and bool(saved.get("data_sha256") == dataset_fingerprint(dataset))


def _check_folder(folder: Path, dataset: Dataset, config: Config) -> None:
    """Refuse a folder that holds another run, or a finished one."""
    if (folder / "evaluation.json").exists():
        raise ConfigError(
            "invalid_config", f"{folder}: this run is finished", "choose another folder with --run-dir"
        )
    saved = folder / "config.json"
    try:
        differs = saved.exists() and not _is_same_run(_read_json(saved, dict), dataset, config)
    except (OSError, ValueError, ConfigError) as reason:
        raise ConfigError(
            "invalid_config",
            f"{saved}: cannot be read as the settings of a run: {reason}",
            "choose another folder with --run-dir, or delete this one to begin again",
        ) from None
    if differs:
        raise ConfigError(
            "invalid_config",
            f"{folder}: holds a run with other data or settings",
            "choose another folder with --run-dir, or repeat the same command to resume it",
        )


def _check_parts(task: Task) -> None:
    """Refuse empty parts that are needed after hours of training, or in it."""
    config = task.config
    needed = {config.split.evaluate_on: "which the model is to be evaluated on"}
    if config.optimizer.schedule == "plateau":
        needed["validation"] = "which the plateau schedule needs"
    for part, purpose in needed.items():
        if not len(task.segments(part)):
            raise _empty_part(part, purpose)


def _empty_part(part: str, purpose: str) -> DataError:
    return DataError(
        "dataset_empty",
        f"the {part} part is empty, {purpose}",
        "raise split.validation_fraction or split.test_fraction, give more tracks or groups, or choose"
        " another split.protocol",
    )


def _check_split(path: Path, text: str) -> None:
    """Write the split, or compare it with that of the run to be resumed."""
    if path.exists() and path.read_text(encoding="utf8", errors="backslashreplace") != text:
        raise DataError(
            "dataset_invalid",
            f"{path}: the data set gives another split than when this run began; are files missing?",
            "restore them, or start again in another folder with --run-dir",
        )
    write_atomic(path, text)


def _split_text(task: Task) -> str:
    """Return the split as JSON: ids of tracks, or of segments by their track and start."""
    names = [track.id for track in task.examples.tracks]
    parts = {}
    for part in ("train", "validation", "test"):
        chosen = task.segments(part)
        if task.split.unit == "segment":
            parts[part] = [f"{names[task.examples.track[i]]}#{task.examples.start[i]}" for i in chosen]
        else:
            parts[part] = [names[track] for track in np.unique(task.examples.track[chosen])]
    return json.dumps({"protocol": task.split.protocol, "seed": task.config.split_seed, **parts}, indent=1)
