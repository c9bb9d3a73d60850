"""Search for the settings of a configuration, by their results on the validation part (Optuna).

The study is an SQLite file. The same command resumes it: finished trials stay, a trial that was killed
continues from its last checkpoint. No trial is evaluated on a test part.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from genrescope import training
from genrescope.datasets import Dataset, dataset_fingerprint
from genrescope.errors import ConfigError, GenrescopeError, missing_extra
from genrescope.evaluation import Evaluation
from genrescope.training import Config, TrainingRun
from genrescope.utils import cache_folder, parse_toml, sha256_text, write_atomic

Metric = Literal["accuracy", "macro-f1", "lrap"]
STUDY = "genrescope"
# Settings that decide which tracks a model is measured on, and by which luck it begins: a search over them
# finds the easiest tracks.
_FIXED_SECTIONS = ("split",)
_FIXED_KEYS = ("train.seed", "data.input", "data.layout", "data.reader", "data.task")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Range:
    """The values that a setting may take in a search.

    Attributes
    ----------
    key : str
        The setting, ``section.key``.
    choices : tuple
        The values; empty for a range of numbers.
    low, high : int or float
        Ends of a range of numbers, both included.
    log : bool
        Whether to draw on a logarithmic scale.
    step : int or float, optional
        Distance of the values from ``low`` on; None: any.
    """

    key: str
    choices: tuple[bool | int | float | str, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None

    @property
    def ends(self) -> tuple[bool | int | float | str, ...]:
        """All choices, or both ends of the range."""
        return self.choices or (self.low, self.high)

    def suggest(self, trial: Any) -> bool | int | float | str:
        """Return the value of a trial.

        Parameters
        ----------
        trial : optuna.Trial
        """
        if self.choices:
            chosen: bool | int | float | str = trial.suggest_categorical(self.key, self.choices)
            return chosen
        if isinstance(self.low, int):
            whole: int = trial.suggest_int(self.key, self.low, self.high, step=self.step or 1, log=self.log)
            return whole
        number: float = trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)
        return number


@dataclass(frozen=True)
class Tuning:
    """The result of a search.

    Attributes
    ----------
    config : Config
        The best one, to be evaluated as the configuration that was given.
    value : float
        Its result on the validation part.
    metric : str
        What that is.
    changes : dict
        The settings that were searched, with the best values.
    trials : int
        Trials that finished, pruned ones included.
    failed : int
        Trials whose training failed, such as by a loss that was not finite, or whose settings do not fit
        together.
    file : Path
        The configuration as TOML.
    """

    config: Config
    value: float
    metric: str
    changes: dict[str, bool | int | float | str]
    trials: int
    failed: int
    file: Path


def load_space(path: Path) -> tuple[Range, ...]:
    """Read a search space.

    Parameters
    ----------
    path : Path
        TOML with the sections of a configuration; the value of each key is a list of choices, or a table
        with ``low`` and ``high`` and perhaps ``log = true`` or ``step``. Settings that are whole numbers have
        whole ends.

    Raises
    ------
    ConfigError
        ``invalid_config``: it cannot be read; an unknown setting; one that decides what is measured; a range
        that is none.
    """
    try:
        sections = parse_toml(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as reason:
        raise ConfigError(
            "invalid_config", f"{path}: cannot be read as a search space: {reason}", "give a TOML file"
        ) from None
    found = [
        _range(f"{section}.{key}", value) for section, keys in sections.items() for key, value in _flat(keys)
    ]
    if not found:
        raise ConfigError(
            "invalid_config", f"{path}: nothing to search", "for example: [model] and dropout = [0.1, 0.3]"
        )
    return tuple(found)


def tune_config(
    data: Path,
    config: str,
    space: Path,
    storage: Path,
    *,
    trials: int,
    metric: Metric | None = None,
    prune: bool = False,
    seed: int = 0,
    overrides: Sequence[str] = (),
    output: Path | None = None,
    device: str = "auto",
    progress_bar: bool = False,
) -> Tuning:
    """Search for the best settings of a configuration, by the validation part of its split.

    Progress is logged at the level INFO.

    Parameters
    ----------
    data : Path
        A data set, as of `genrescope.training.load_data`.
    config : str
        A packaged name, or a TOML file.
    space : Path
        The search space, as of `load_space`.
    storage : Path
        SQLite file of the study; the runs are beside it, in the folder of its name with ``-runs``.
    trials : int
        How many trials the study shall have, those of earlier calls included.
    metric : {"accuracy", "macro-f1", "lrap"}, optional
        Of tracks, or of segments where the split divides tracks. None: the accuracy, and of a multi-label
        task, which has none, the label ranking average precision.
    prune : bool
        Whether to end trials early whose validation accuracy is below the median of the others'.
    seed : int
        Of the search; that of training and split is ``train.seed``.
    overrides : sequence of str
        Changes to the configuration, ``section.key=value``.
    output : Path, optional
        Where the best configuration goes; None: beside ``storage``, with the ending ``.toml``.
    device : {"auto", "cpu", "cuda", "mps"}
        Where networks are trained.
    progress_bar : bool
        Whether to show the progress of each epoch on standard error.

    Raises
    ------
    ConfigError
        ``invalid_config``, ``invalid_argument``: of settings, space and trials; a study of other data,
        settings or space.
    DataError
        As of `genrescope.training.train`.
    GenrescopeError
        ``training_failed``: no trial finished.
    MissingDependencyError
        ``missing_dependency``: Optuna is not installed.
    """
    if trials < 1:
        raise ConfigError("invalid_argument", f"{trials} trials", "give at least one")
    base = training.load_config(config, overrides)
    ranges = load_space(space)
    _check_space(base, ranges)
    measured = _metric_of(base, metric)
    dataset = training.load_data(data, base)
    search = _Search(dataset, base, ranges, storage, measured, device, progress_bar)
    study = search.open(seed, prune)
    search.retry_interrupted(study)
    while search.done(study) < trials:
        search.run_trial(study, trials)
    return search.best(study, output or storage.with_suffix(".toml"))


@dataclass(frozen=True)
class _Search:
    """What is the same for all trials of a study."""

    dataset: Dataset
    base: Config
    ranges: tuple[Range, ...]
    storage: Path
    metric: Metric
    device: str
    progress_bar: bool

    def open(self, seed: int, prune: bool) -> Any:
        """Open or create the study; refuse one of something else."""
        try:
            import optuna
        except ImportError:
            raise missing_extra("tune", "optuna") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.storage.parent.mkdir(parents=True, exist_ok=True)
        identity = sha256_text(
            json.dumps(
                [dataset_fingerprint(self.dataset), self.base.to_json(), repr(self.ranges), self.metric],
                sort_keys=True,
            )
        )
        study = optuna.create_study(
            storage=f"sqlite:///{self.storage.absolute()}",
            study_name=STUDY,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=self.base.train.epochs // 5)
            if prune
            else optuna.pruners.NopPruner(),
        )
        # A resumed search must not draw again what it drew from its seed before.
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
        if study.user_attrs.get("identity", identity) != identity:
            raise ConfigError(
                "invalid_config",
                f"{self.storage}: a study of other data, settings, space or metric",
                "choose another file with --storage",
            )
        study.set_user_attr("identity", identity)
        return study

    def retry_interrupted(self, study: Any) -> None:
        """Let trials that were killed be the next ones: their runs continue from their checkpoints."""
        for trial in study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING":
                study.tell(trial.number, state=_state("FAIL"))
                study.enqueue_trial(trial.params, skip_if_exists=False)

    def done(self, study: Any) -> int:
        """Return how many trials are finished; those that were killed do not count."""
        counted = [t for t in study.get_trials(deepcopy=False) if t.state.name in ("COMPLETE", "PRUNED")]
        return len(counted) + len(self.failures(study))

    def failures(self, study: Any) -> list[Any]:
        """Return the trials whose training failed."""
        return [trial for trial in study.get_trials(deepcopy=False) if "failure" in trial.user_attrs]

    def run_trial(self, study: Any, trials: int) -> None:
        """Run one trial, and tell the study how it ended."""
        import optuna

        trial = study.ask()
        values = {one.key: one.suggest(trial) for one in self.ranges}
        shown = ", ".join(f"{key}={_short(value)}" for key, value in values.items())
        logger.info("trial %d of %d: %s", self.done(study) + 1, trials, shown)
        try:
            run = self._train(trial, _changed(_on_validation(self.base), values))
        except optuna.TrialPruned:
            logger.info("pruned: below the median of the other trials")
            study.tell(trial, state=_state("PRUNED"))
            return
        except GenrescopeError as failure:
            # Values that are valid one by one may not fit together, such as many layers and short segments.
            if failure.code not in ("training_failed", "invalid_config"):
                raise
            logger.info("failed: %s", failure.message)
            trial.set_user_attr("failure", failure.message)
            study.tell(trial, state=_state("FAIL"))
            return
        value = _result(run.evaluation, self.metric)
        logger.info("validation %s %.4f", self.metric, value)
        study.tell(trial, value)

    def _train(self, trial: Any, config: Config) -> TrainingRun:
        digest = sha256_text(config.model_dump_json() + dataset_fingerprint(self.dataset))[:12]
        folder = self.storage.with_name(f"{self.storage.stem}-runs") / digest
        # The same values may be drawn twice, and a study be killed between a run's end and the study's note.
        finished = training.load_finished(folder, self.dataset, config)
        if finished is not None:
            return finished
        return training.train(
            self.dataset,
            config,
            folder,
            cache=cache_folder("features"),
            progress_bar=self.progress_bar,
            device=self.device,
            observers=(_Pruning(trial),),
        )

    def best(self, study: Any, file: Path) -> Tuning:
        """Write the best configuration, and return it."""
        complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
        if not complete:
            failed = self.failures(study)
            reason = f"; the last: {failed[-1].user_attrs['failure']}" if failed else ""
            raise GenrescopeError(
                "training_failed",
                f"{self.storage}: none of {self.done(study)} trials finished{reason}",
                "make the ranges of learning rates and the like smaller",
            )
        found = study.best_trial
        config = _changed(self.base, found.params)
        heading = (
            f"# The best of {self.done(study)} trials of a search from {self.storage.name}:\n"
            f"# trial {found.number}, validation {self.metric} {found.value:.4f}.\n"
        )
        write_atomic(file, heading + config.to_toml())
        return Tuning(
            config,
            float(found.value),
            self.metric,
            dict(found.params),
            self.done(study),
            len(self.failures(study)),
            file,
        )


class _Pruning:
    """Reports each epoch to a trial, and ends it where it is to be pruned."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial

    def start(self, rows: Sequence[Mapping[str, float]]) -> None:
        for row in rows:
            self._report(row)

    def log_epoch(self, row: Mapping[str, float]) -> None:
        import optuna

        self._report(row)
        if self._trial.should_prune():
            raise optuna.TrialPruned

    def close(self) -> None:
        pass

    def _report(self, row: Mapping[str, float]) -> None:
        # What the checkpoints are chosen by; a training without validation part cannot be pruned.
        for name in ("validation_accuracy", "validation_lrap"):
            if name in row:
                self._trial.report(row[name], int(row["epoch"]))


def _metric_of(config: Config, metric: Metric | None) -> Metric:
    """Return by what trials are chosen; refuse what the task does not have."""
    known: tuple[Metric, ...] = ("accuracy", "macro-f1")
    if config.data.task == "multi-label":
        known = ("lrap", "macro-f1")
    if metric is not None and metric not in known:
        raise ConfigError(
            "invalid_argument",
            f"a {config.data.task} task has no metric {metric}",
            "choose one of: " + ", ".join(known),
        )
    return metric or known[0]


def _result(evaluation: Evaluation, metric: Metric) -> float:
    """Return the metric of tracks, or of segments where the split divides tracks."""
    if evaluation.label_levels:
        labels = evaluation.label_levels[0]
        return labels.lrap.value if metric == "lrap" else labels.macro_f1.value
    level = evaluation.levels[0]
    return level.accuracy.value if metric == "accuracy" else level.macro_f1.value


def _flat(section: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the keys of a section with what is to be tried, those of tables such as ``options`` too."""
    if not isinstance(section, dict):
        yield prefix, section
        return
    for key, value in section.items():
        if key == "options" and isinstance(value, dict):
            yield from ((f"options.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def _range(key: str, value: object) -> Range:
    section = key.partition(".")[0]
    default = _default(key)
    if section in _FIXED_SECTIONS or key in _FIXED_KEYS:
        raise ConfigError(
            "invalid_config",
            f"{key} cannot be searched: it decides what a model is measured on",
            "leave it out of the space, and choose it with --set",
        )
    if isinstance(value, list) and value:
        return Range(key, choices=tuple(value))
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= {"low", "high", "log", "step"}:
        raise _no_range(key, value)
    if default is None:
        default = value["low"]
    if isinstance(default, bool) or not isinstance(default, int | float):
        raise _no_range(key, value)
    kind = int if isinstance(default, int) else float
    numbers = {name: value[name] for name in ("low", "high", "step") if name in value}
    whole = kind is float or all(isinstance(number, int) for number in numbers.values())
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers.values()):
        raise _no_range(key, value)
    log, step = value.get("log", False), value.get("step")
    low, high = kind(value["low"]), kind(value["high"])
    if not whole or low >= high or not isinstance(log, bool) or (log and (low <= 0 or step is not None)):
        raise _no_range(key, value)
    if step is not None and step <= 0:
        raise _no_range(key, value)
    return Range(key, low=low, high=high, log=log, step=None if step is None else kind(step))


def _no_range(key: str, value: object) -> ConfigError:
    return ConfigError(
        "invalid_config",
        f"{key} = {value!r} is no range of that setting",
        "write [VALUE, ...], or { low = NUMBER, high = NUMBER } with low below high, and perhaps "
        "step = NUMBER, or log = true and low above 0; whole numbers for a setting that is one",
    )


def _default(key: str) -> object:
    """Return the default of a setting; raise where there is none of that name."""
    section, _, name = key.partition(".")
    if name.startswith("options."):
        # Arguments of a class of the user or of torch, which are checked when it is called with them.
        return None
    values = Config().to_json()
    if not isinstance(values.get(section), dict) or name not in values[section]:
        # The error of an unknown setting, with a suggestion.
        training.load_config(None, [f"{section}.{name or 'key'}=0"])
        raise ConfigError("invalid_config", f"unknown setting {key!r}", "see docs/configuration.md")
    return values[section][name]


def _check_space(base: Config, ranges: Sequence[Range]) -> None:
    """Refuse values out of range, and settings that cannot be trained, before the first trial."""
    # A class may have arguments without a default, so that it is never called without a value of these.
    arguments = {one.key: one.ends[0] for one in ranges if ".options." in one.key}
    for one in ranges:
        for value in one.ends:
            training.check_config(_changed(_on_validation(base), {**arguments, one.key: value}))


def _on_validation(config: Config) -> Config:
    split = {"evaluate_on": "validation", "train_on_validation": False}
    return config.model_copy(update={"split": config.split.model_copy(update=split)})


def _changed(config: Config, values: Mapping[str, object]) -> Config:
    """Return a configuration with other values, checked."""
    changed = config.to_json()
    for key, value in values.items():
        *sections, name = key.split(".")
        table = changed
        for section in sections:
            table = table[section]
        table[name] = value
    return training.config_from_json(changed)


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
