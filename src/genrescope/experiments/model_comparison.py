"""Comparison of configurations: each is trained with several seeds, and all are tested on the same tracks."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genrescope import __version__, models, training
from genrescope.datasets import (
    FOLDED_PROTOCOLS,
    PROTOCOLS,
    Dataset,
    dataset_fingerprint,
    get_protocol,
    label_classes,
)
from genrescope.errors import ConfigError, DataError
from genrescope.evaluation import (
    LABEL_METRIC_NAMES,
    METRIC_NAMES,
    Comparison,
    Predictions,
    align_rows,
    compare_predictions,
    exposure_notes,
    pool_predictions,
)
from genrescope.reporting import ComparisonReport, Curve
from genrescope.training import Config, TrainingRun, load_finished, train
from genrescope.utils import cache_folder, sha256_text

logger = logging.getLogger(__name__)

DEFAULT_PROTOCOL = "artist-grouped"
DEFAULT_SEEDS = 3
# ``LABEL=SOURCE:section.key=value,section.key=value``; a comma or colon within a value does not end it.
_LABEL = re.compile(r"([^:=/]+)=(?=[^=])")
_OVERRIDES = re.compile(r":(?=\w+(?:\.\w+)+\s*=)")
_NEXT_OVERRIDE = re.compile(r",(?=\s*\w+(?:\.\w+)+\s*=)")
# What is scored depends on these, apart from the protocol and the seed.
_SHARED_SPLIT = ("seed", "test_fraction", "folds", "fold", "evaluate_on")
# These are options of the comparison, not settings of a configuration.
_OPTIONS = {"split.protocol": "--protocol", "train.seed": "--seeds"}
_NAME_LENGTH = 40


@dataclass(frozen=True)
class NamedConfig:
    """A configuration to be compared.

    Attributes
    ----------
    name : str
        Its label, or else all of it, a file without its folder.
    source : str
        A packaged name, or a TOML file.
    overrides : tuple of str
        Its own changes, each ``section.key=value``.
    """

    name: str
    source: str
    overrides: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> NamedConfig:
        """Read ``SOURCE`` or ``SOURCE:section.key=value,section.key=value``, or either after ``LABEL=``.

        Parameters
        ----------
        text : str
            Such as ``cnn:optimizer.learning_rate=0.001`` or ``slow=cnn:optimizer.learning_rate=0.001``.
        """
        label = _LABEL.match(text)
        source, *rest = _OVERRIDES.split(text[label.end() :] if label else text, maxsplit=1)
        overrides = tuple(part.strip() for part in _NEXT_OVERRIDE.split(rest[0])) if rest else ()
        one = cls("", source, overrides)
        return replace(one, name=label[1].strip() if label else one.description)

    @property
    def description(self) -> str:
        """The source, a file without its folder, and the changes."""
        changes = f":{','.join(self.overrides)}" if self.overrides else ""
        return f"{Path(self.source).name.removesuffix('.toml')}{changes}"

    def load(self, overrides: Sequence[str] = (), decided: Sequence[str] = ()) -> Config:
        """Return the settings of one run.

        Parameters
        ----------
        overrides : sequence of str
            Changes to all configurations; its own come after them.
        decided : sequence of str
            What the comparison decides: after both.

        Raises
        ------
        ConfigError
            ``invalid_config``.
        """
        return training.load_config(self.source, (*overrides, *self.overrides, *decided))


@dataclass(frozen=True)
class _Job:
    """One training run of a comparison."""

    named: NamedConfig
    config: Config

    @property
    def title(self) -> str:
        split = self.config.split
        fold = f", fold {split.fold}" if split.protocol in FOLDED_PROTOCOLS else ""
        return f"{self.named.name}, {split.protocol}, seed {self.config.train.seed}{fold}"

    def folder(self, dataset: Dataset) -> str:
        """Name the run's folder: readable, and another one for other settings or data."""
        # Only what differs from the defaults, so that a setting added to the package changes no name.
        changed = self.config.model_dump_json(exclude_defaults=True)
        digest = sha256_text(f"{changed}\n{dataset_fingerprint(dataset)}")[:8]
        # A long name is cut, but never the seed and the fold behind it. The label, which may be given later,
        # is no part of it.
        name = _file_name(self.named.description)[:_NAME_LENGTH].strip("-.")
        return f"{name}-{_file_name(self.title.removeprefix(self.named.name)).strip('-')}-{digest}"


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower())


def compare_models(
    data: Path,
    configs: Sequence[str],
    folder: Path,
    *,
    protocols: Sequence[str] = (DEFAULT_PROTOCOL,),
    seeds: int = DEFAULT_SEEDS,
    all_folds: bool = False,
    overrides: Sequence[str] = (),
    progress_bar: bool = False,
) -> ComparisonReport:
    """Train configurations on the same splits, one for each seed, and compare them track by track.

    Progress is logged at the level INFO.

    Parameters
    ----------
    data : Path
        A data set, as of `genrescope.datasets.load_dataset`.
    configs : sequence of str
        Each a packaged name, a TOML file, or either with changes, ``cnn:optimizer.learning_rate=0.001``,
        perhaps with a label for the report, ``slow=cnn:optimizer.learning_rate=0.001``.
    folder : Path
        Its folder ``runs`` holds the runs. Finished ones with the same settings and data are not repeated,
        interrupted ones are resumed.
    protocols : sequence of str
        Each is a comparison of its own.
    seeds : int
        Number of seeds, from 0 on.
    all_folds : bool
        Whether all folds of protocols that have folds are run and pooled, so that each track is tested
        exactly once for each seed.
    overrides : sequence of str
        Changes to all configurations, ``section.key=value``.
    progress_bar : bool
        Whether to show the progress of each epoch on standard error.

    Returns
    -------
    ComparisonReport
        For `genrescope.reporting.write_comparison`.

    Raises
    ------
    ConfigError
        ``invalid_config``, ``invalid_argument``: of the settings, which are all checked before the first run;
        settings under which test parts differ; a configuration that is given twice.
    DataError
        As of `genrescope.training.train`; ``dataset_invalid`` where no track is tested by all.
    """
    named = [NamedConfig.parse(text) for text in configs]
    _check_arguments(named, protocols, seeds, all_folds)
    _check_overrides(named, overrides)
    shared = _shared_split(named, overrides)
    jobs: dict[str, list[_Job]] = {protocol: [] for protocol in protocols}
    for protocol in jobs:
        for seed in range(seeds):
            decided = (*shared, f'split.protocol="{protocol}"', f"train.seed={seed}")
            configurations = [one.load(overrides, decided) for one in named]
            _check_configs(named, configurations)
            jobs[protocol] += _jobs(named, configurations, all_folds)
    data_sets = _load_data(data, [job for several in jobs.values() for job in several])
    total, done = sum(map(len, jobs.values())), 0
    comparisons: list[Comparison] = []
    curves: dict[str, dict[str, tuple[Curve, ...]]] = {}
    folders: dict[str, dict[str, tuple[str, ...]]] = {}
    for protocol, several in jobs.items():
        runs: list[tuple[_Job, TrainingRun]] = []
        for job in several:
            done += 1
            run = _run(
                job, data_sets[job.config.data.input], folder / "runs", f"{done} of {total}", progress_bar
            )
            runs.append((job, run))
        compared = _compare(protocol, runs, data_sets)
        comparisons.append(compared)
        folders[compared.title] = {
            one.name: tuple(run.folder.name for job, run in runs if job.named is one) for one in named
        }
        curves[compared.title] = {
            one.name: tuple(
                Curve.from_rows(run.curves) for job, run in runs if job.named is one and run.curves
            )
            for one in named
        }
    dataset = next(iter(data_sets.values()))
    return ComparisonReport(
        title=f"Comparison of {len(named)} configurations",
        data=dataset.name,
        comparisons=tuple(comparisons),
        curves=curves,
        runs=folders,
        settings={one.name: _flat(one.load(overrides, shared)) for one in named},
        provenance={
            "data": dataset.name,
            "data_sha256": dataset_fingerprint(dataset)[:12],
            "tracks": len(dataset.tracks),
            "genrescope": __version__,
            "configurations": ", ".join(one.name for one in named),
            "changes to all": ", ".join(overrides) or "none",
            "seeds": seeds,
            "folds": "all" if all_folds else "one",
        },
    )


def _check_arguments(
    named: Sequence[NamedConfig], protocols: Sequence[str], seeds: int, all_folds: bool
) -> None:
    names = [one.name for one in named]
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise ConfigError(
            "invalid_argument",
            f"{twice[0]!r} is given twice",
            "change a setting of one, as in cnn:train.epochs=20, or give it a label, as in other=cnn",
        )
    if not named or not protocols or seeds < 1:
        raise ConfigError(
            "invalid_argument",
            f"{len(named)} configurations, {len(protocols)} protocols and {seeds} seeds: nothing to run",
            "give at least one of each",
        )
    for protocol in protocols:
        get_protocol(protocol)
    if all_folds and not set(protocols) & set(FOLDED_PROTOCOLS):
        raise ConfigError(
            "invalid_argument",
            f"{' and '.join(protocols)}: no protocol with folds",
            f"leave out --folds all, or add --protocol {FOLDED_PROTOCOLS[0]}",
        )


def _check_overrides(named: Sequence[NamedConfig], overrides: Sequence[str]) -> None:
    """Refuse changes of what the comparison decides, and changes of one test part only."""

    def refuse(override: str, hint: str) -> None:
        message = f"{override!r}: all configurations of a comparison are tested on the same tracks"
        raise ConfigError("invalid_config", message, hint)

    for override in (*overrides, *(own for one in named for own in one.overrides)):
        option = _OPTIONS.get(_key(override))
        if option:
            refuse(override, f"use {option}")
    for override in (own for one in named for own in one.overrides):
        if _key(override) in {f"split.{key}" for key in _SHARED_SPLIT}:
            refuse(override, f"change it for all: --set {override}")


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


def _shared_split(named: Sequence[NamedConfig], overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the split settings of all: those on which the configurations agree, otherwise the defaults."""
    splits = [one.load(overrides).split for one in named]
    keys: tuple[str, ...] = _SHARED_SPLIT
    if splits[0].evaluate_on == "validation":
        keys += ("validation_fraction",)
    given = {_key(override) for override in overrides}
    shared = []
    for key in keys:
        values = {getattr(split, key) for split in splits}
        value = values.pop()
        if values and f"split.{key}" not in given:
            value = getattr(Config().split, key)
            logger.info("configurations differ in split.%s: %s for all", key, value)
        shared.append(f"split.{key}={json.dumps(value)}")
    return tuple(shared)


def _check_configs(named: Sequence[NamedConfig], configs: Sequence[Config]) -> None:
    """Refuse settings that would fail, or segments that differ, before anything is trained."""
    for one, config in zip(named, configs, strict=True):
        training.check_config(config)
        if config.split.protocol == "segment-random" and config.data != configs[0].data:
            raise ConfigError(
                "invalid_config",
                f"segment-random tests segments, and those of {one.name} and {named[0].name} differ",
                "give all the same settings of [data] with --set, or choose a protocol of tracks",
            )


def _jobs(named: Sequence[NamedConfig], configs: Sequence[Config], all_folds: bool) -> list[_Job]:
    """Return the runs of one protocol and seed."""
    jobs = []
    for one, config in zip(named, configs, strict=True):
        split = config.split
        folded = all_folds and split.protocol in FOLDED_PROTOCOLS
        for fold in range(split.folds) if folded else (split.fold,):
            changed = {"split": split.model_copy(update={"fold": fold})}
            jobs.append(_Job(one, config.model_copy(update=changed)))
    return jobs


def _load_data(data: Path, jobs: Sequence[_Job]) -> dict[str, Dataset]:
    """Read the data set, once for each kind of input, and keep the tracks that all kinds have."""
    configs = {job.config.data.input: job.config for job in reversed(jobs)}
    kinds = dict.fromkeys(job.config.data.input for job in jobs)
    for key in ("reader", "layout", "task"):
        if len({getattr(job.config.data, key) for job in jobs}) > 1:
            raise ConfigError(
                "invalid_config",
                f"the configurations differ in data.{key}, and all are tested on the same tracks",
                f"give it for all: --set data.{key}=...",
            )
    loaded: dict[str, Dataset] = {kind: training.load_data(data, configs[kind]) for kind in kinds}
    shared = set.intersection(*({track.id for track in one.tracks} for one in loaded.values()))
    if not shared:
        raise DataError(
            "dataset_invalid",
            f"{data}: no track has all kinds of input: {', '.join(kinds)}",
            "set data.input to the same for all, with --set",
        )
    for kind, one in loaded.items():
        for issue in one.issues:
            logger.info("note: %s", issue.message)
        if len(loaded) > 1:
            # The draw of a split depends on the list of tracks: it must be the same, in the same order.
            left_out = len(one.tracks) - len(shared)
            logger.info("%s: %d tracks lack another input and are left out", kind, left_out)
            tracks = tuple(sorted((t for t in one.tracks if t.id in shared), key=lambda track: track.id))
            genres = label_classes(tracks, one.annotations)
            loaded[kind] = replace(one, tracks=tracks, classes=genres)
    return loaded


def _run(job: _Job, dataset: Dataset, folder: Path, place: str, progress_bar: bool) -> TrainingRun:
    """Return a finished run, or train one."""
    target = folder / job.folder(dataset)
    finished = load_finished(target, dataset, job.config)
    if finished is None:
        logger.info("run %s: %s", place, job.title)
        return train(dataset, job.config, target, cache=cache_folder("features"), progress_bar=progress_bar)
    logger.info("run %s: %s: finished before", place, job.title)
    return finished


def _compare(
    protocol: str,
    runs: Sequence[tuple[_Job, TrainingRun]],
    data_sets: Mapping[str, Dataset],
) -> Comparison:
    """Compare the runs of one protocol."""
    split = runs[0][0].config.split
    seeds = tuple(dict.fromkeys(job.config.train.seed for job, _ in runs))
    folds = len({job.config.split.fold for job, _ in runs})
    paired: dict[str, list[Predictions]] = {job.named.name: [] for job, _ in runs}
    left_out = 0
    for seed in seeds:
        parts = {
            name: pool_predictions(
                [
                    _predictions(run)
                    for job, run in runs
                    if job.named.name == name and job.config.train.seed == seed
                ]
            )
            for name in paired
        }
        aligned, missing = align_rows(parts)
        left_out = max(left_out, missing)
        for name, one in aligned.items():
            paired[name].append(one)
    summaries, pairs = compare_predictions(paired)
    tested = next(iter(paired.values()))
    described = PROTOCOLS[protocol]
    baselines = [level.majority_baseline for _, run in runs for level in run.evaluation.levels[:1]]
    known = [value for value in baselines if value is not None]
    return Comparison(
        protocol=protocol,
        leaky=described.leaky,
        protocol_note=described.description,
        part=split.evaluate_on,
        unit=tested[0].unit,
        seeds=seeds,
        folds=folds,
        tested=tuple(len(one.ids) for one in tested),
        distinct=len({row for one in tested for row in one.ids}),
        groups=len({group for one in tested for group in one.groups}),
        majority_baseline=sum(known) / len(known) if known else None,
        models=summaries,
        pairs=pairs,
        notes=tuple(_notes(runs, data_sets, left_out)),
        metric_names=METRIC_NAMES if tested[0].labels is None else LABEL_METRIC_NAMES,
    )


def _predictions(run: TrainingRun) -> Predictions:
    if run.predictions is None:
        raise ConfigError(
            "invalid_config",
            f"{run.folder}: this finished run has no predictions.json",
            "delete the folder to have it trained again",
        )
    return run.predictions


def _notes(
    runs: Sequence[tuple[_Job, TrainingRun]], data_sets: Mapping[str, Dataset], left_out: int
) -> Iterator[str]:
    """Yield what a reader should know before quoting a number."""
    fixed = {job.config.split.seed for job, _ in runs} - {-1}
    if fixed and len({job.config.train.seed for job, _ in runs}) > 1:
        yield f"All trainings have one split, of seed {min(fixed)}: seeds change the training only."
    if left_out:
        yield f"Up to {left_out} tracks per seed that not every configuration was tested on are left out."
    for name in dict.fromkeys(job.named.name for job, _ in runs):
        own = [(job, run) for job, run in runs if job.named.name == name]
        tested = {row.partition("#")[0] for _, run in own for row in _predictions(run).ids}
        job, run = own[0]
        tracks = [track for track in data_sets[job.config.data.input].tracks if track.id in tested]
        for note in exposure_notes(models.load_model(str(run.model)).info, tracks):
            yield f"{name}: {note}."


def _flat(config: Config) -> dict[str, str]:
    """Return the settings by their full names, without those of the comparison itself."""
    return {
        f"{section}.{key}": str(value)
        for section, values in config.to_json().items()
        for key, value in values.items()
        if f"{section}.{key}" not in _OPTIONS
    }
