"""The paper, run again: every model under the paper's protocol and, beside it, artist-clean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import fft

from genrescope import __version__, datasets, reporting, training
from genrescope.datasets import Dataset, dataset_fingerprint
from genrescope.evaluation import Evaluation, mean_std
from genrescope.experiments.comparison import compare_with_paper, paper_f1
from genrescope.experiments.paper import LEAKY_NOTE, NOTES
from genrescope.features import SPECTROGRAM_LOG_MEL
from genrescope.reporting import Figure
from genrescope.training import Config, load_finished, train
from genrescope.types import TrackKind
from genrescope.utils import cache_folder

Say = Callable[[str], None]

SEEDS = 10
QUICK_SEEDS = 2
QUICK_TRACKS = 4
QUICK_EPOCHS = 2
CLEAN = "fault-filtered"


@dataclass(frozen=True)
class Experiment:
    """One model of the paper: its configuration, what it reads, the protocol that the paper used.

    ``seeds`` above one repeats the paper's protocol with as many splits; ``clean`` are overrides for the
    artist-clean run alone.
    """

    name: str
    config: str
    input: TrackKind
    protocol: str
    overrides: tuple[str, ...] = ()
    clean: tuple[str, ...] = ()
    seeds: int = 1


EXPERIMENTS = (
    Experiment("logistic-regression", "logistic-regression", "table", "track-random", seeds=SEEDS),
    Experiment("svm", "svm", "table", "track-random", seeds=SEEDS),
    Experiment("lstm", "lstm", "audio", "segment-random"),
    Experiment("parallel", "parallel", "spectrogram", "segment-random"),
    Experiment(
        "parallel-paper",
        "paper-parallel",
        "spectrogram",
        "segment-random",
        clean=("train.early_stopping_patience=15",),
    ),
    Experiment(
        "parallel-clips",
        "paper-parallel",
        "spectrogram",
        "track-random",
        (
            "data.segment_seconds=29.5",
            "data.segments_per_track=1",
            "split.test_fraction=0.2",
            "train.early_stopping_patience=15",
        ),
    ),
    Experiment("crnn", "crnn", "spectrogram", "segment-random"),
)


@dataclass(frozen=True)
class Outcome:
    """What one experiment gave under one protocol."""

    evaluation: Evaluation
    curves: list[dict[str, float]]


def reproduce_paper(
    data: Path, folder: Path, *, quick: bool = False, say: Say = lambda _: None
) -> reporting.ReportPaths:
    """Train all models of the paper on GTZAN and write the report.

    Parameters
    ----------
    data : Path
        GTZAN with ``tracks.csv``, ``logmel``, ``audio`` and ``features_30_sec.csv``.
    folder : Path
        Takes ``runs/`` and the report (``quick/`` of it, a rehearsal's). Finished runs are not repeated,
        killed ones carry on; after a change of settings, name another folder.
    quick : bool
        A few tracks of each genre and two epochs: a rehearsal whose numbers mean little.

    Raises
    ------
    DataError
        Parts of the data set are missing or malformed.
    """
    folder = folder / "quick" if quick else folder
    outcomes = [
        outcome
        for experiment in EXPERIMENTS
        for protocol in (experiment.protocol, CLEAN)
        for outcome in [_run(experiment, protocol, data, folder / "runs", quick, say)]
    ]
    evaluations = tuple(outcome.evaluation for outcome in outcomes)
    title = "The paper's models, trained again" + (
        " (quick rehearsal: few tracks, two epochs)" if quick else ""
    )
    return reporting.write_report(
        reporting.EvaluationReport(
            title=title,
            evaluations=evaluations,
            curves={out.evaluation.title: _curve(out.curves) for out in outcomes if out.curves},
            pictures=tuple(_pictures(datasets.load_gtzan(data, "spectrogram"))),
            published=compare_with_paper(evaluations),
            published_f1=paper_f1(),
            published_notes=(LEAKY_NOTE, *NOTES),
            provenance={"data": data.name, "genrescope": __version__, "seed": 0, "quick": quick}
            | {
                f"{kind} tracks": dataset_fingerprint(datasets.load_gtzan(data, kind))[:12]
                for kind in ("table", "spectrogram")
            },
        ),
        folder,
    )


def _run(experiment: Experiment, protocol: str, data: Path, folder: Path, quick: bool, say: Say) -> Outcome:
    dataset = datasets.load_gtzan(data, experiment.input)
    if quick and experiment.input != "table":
        dataset = _subset(dataset)
    seeds = 1 if protocol == CLEAN else min(experiment.seeds, QUICK_SEEDS if quick else SEEDS)
    outcomes = []
    for seed in range(seeds):
        say(f"{experiment.name}, {protocol}, seed {seed}")
        name = f"{experiment.name}-{protocol}-{seed}"
        outcomes.append(_train(dataset, _settings(experiment, protocol, seed, quick), folder / name))
    return _named(outcomes, experiment)


def _subset(dataset: Dataset) -> Dataset:
    """Keep some tracks of every genre on every side of the published split."""
    sides = dataset.official_splits[CLEAN]
    kept, seen = [], Counter[tuple[str, str | None]]()
    for track in dataset.tracks:
        place = track.label, sides.get(track.id)
        seen[place] += 1
        if seen[place] <= QUICK_TRACKS:
            kept.append(track)
    return replace(dataset, tracks=tuple(kept))


def _settings(experiment: Experiment, protocol: str, seed: int, quick: bool) -> Config:
    overrides = (*experiment.overrides, *(experiment.clean if protocol == CLEAN else ()))
    settings = training.load_config(experiment.config, overrides)
    return replace(
        settings,
        data=replace(settings.data, input=experiment.input),
        split=replace(settings.split, protocol=protocol),
        train=replace(settings.train, seed=seed, epochs=QUICK_EPOCHS if quick else settings.train.epochs),
    )


def _train(dataset: Dataset, settings: Config, folder: Path) -> Outcome:
    done = load_finished(folder, dataset, settings)
    run = done or train(dataset, settings, folder, cache=cache_folder("features"))
    return Outcome(run.evaluation, run.curves)


def _named(outcomes: list[Outcome], experiment: Experiment) -> Outcome:
    first = outcomes[0]
    notes = first.evaluation.notes
    repeats = tuple(one.evaluation.levels[0].accuracy.value for one in outcomes)
    if len(outcomes) > 1:
        mean, deviation = mean_std(repeats)
        repeated = f"mean accuracy over {len(outcomes)} seeds {mean:.1%}, standard deviation {deviation:.1%}"
        notes = (f"{repeated}; shown is seed 0", *notes)
    return Outcome(
        replace(first.evaluation, model=experiment.name, notes=notes, repeats=repeats), first.curves
    )


def _curve(rows: list[dict[str, float]]) -> reporting.Curve:
    def column(name: str) -> tuple[float, ...]:
        return tuple(row[name] for row in rows if name in row)

    return reporting.Curve(
        epochs=tuple(int(row["epoch"]) for row in rows),
        train_loss=column("train_loss"),
        validation_loss=column("validation_loss"),
        train_accuracy=column("train_accuracy"),
        validation_accuracy=column("validation_accuracy"),
        learning_rate=column("learning_rate"),
    )


def _pictures(dataset: Dataset) -> Iterator[Figure]:
    """Draw the paper's Figures 2 and 3: a mel spectrogram per genre, and the MFCC of one clip."""
    hop_seconds = SPECTROGRAM_LOG_MEL.hop_length / SPECTROGRAM_LOG_MEL.sample_rate
    firsts = {track.label: track for track in reversed(dataset.tracks)}
    grid = [(genre, datasets.load_spectrogram(firsts[genre].path), hop_seconds) for genre in dataset.classes]
    yield Figure(
        "mel",
        reporting.mel_figure(grid),
        "Mel spectrograms, one clip per genre (the paper's Figure 2)",
        "a grid of spectrograms",
    )
    genre, log_mel, _ = grid[0]
    mfcc = fft.dct(log_mel, type=2, norm="ortho", axis=0)[:20].astype(np.float32)
    title = f"MFCC of {firsts[genre].id}"
    yield Figure(
        "mfcc", reporting.mfcc_figure(mfcc, hop_seconds, title), f"{title} (the paper's Figure 3)", title
    )
