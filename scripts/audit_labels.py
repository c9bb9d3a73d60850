"""Measure how well `genrescope audit` finds wrong labels, and whether cleaning helps.

    python scripts/audit_labels.py ../shared/data/gtzan

Needs scikit-learn, and cleanlab for its rows (pip install cleanlab; no dependency of the package). Labels
of the training part of GTZAN's fault-filtered split are changed for a known few tracks; those of the test
part never are. Prints the tables of EXPERIMENTS.md, "Audit: wrong labels".
"""

from __future__ import annotations

import argparse
import csv
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata, t

from genrescope.audit import (
    AuditTrack,
    LabelErrors,
    OutOfFoldModel,
    confident_errors,
    confident_noise,
    confusion_of,
    find_label_errors,
    group_folds,
    label_margins,
    plant_errors,
    standardized,
    track_vectors,
)
from genrescope.datasets import Dataset, build_segments, load_dataset
from genrescope.features import FeatureSpec
from genrescope.types import BoolArray, Float64Array, IntArray

RATES = (0.05, 0.1)
MODES = {"uniform": 0.0, "confusable": 1.0}
Ranking = Float64Array  # the lower, the more suspicious


class Data(NamedTuple):
    """Tracks with features that no label was used for."""

    ids: list[str]
    views: tuple[Float64Array, ...]
    labels: IntArray
    groups: IntArray
    confusion: Float64Array
    classes: list[str]

    def take(self, chosen: BoolArray) -> Data:
        """Return some of the tracks."""
        ids = [one for one, take in zip(self.ids, chosen, strict=True) if take]
        views = tuple(view[chosen] for view in self.views)
        groups = np.unique(self.groups[chosen], return_inverse=True)[1]
        return Data(ids, views, self.labels[chosen], groups, self.confusion, self.classes)


def numbers(names: list[str]) -> tuple[list[str], IntArray]:
    """Return the distinct names and the place of each."""
    distinct, places = np.unique(names, return_inverse=True)
    return list(map(str, distinct)), places.astype(np.int64)


def read(dataset: Dataset, confusion: Float64Array | None) -> Data:
    """Embed the tracks of a data set of spectrograms."""
    tracks = [AuditTrack(one.id, one.path, one.label, one.group, one.kind) for one in dataset.tracks]
    vectors = track_vectors(tracks)
    classes, labels = numbers([one.label for one in vectors.tracks])
    _, groups = numbers([one.group for one in vectors.tracks])
    if confusion is None:
        confusion = confusion_of(
            OutOfFoldModel(vectors.views, labels, groups).log_probabilities(labels), labels
        )
    return Data([one.id for one in vectors.tracks], vectors.views, labels, groups, confusion, classes)


def read_table(dataset: Dataset) -> tuple[dict[str, Float64Array], Float64Array]:
    """Return the columns of a table, as normal scores by track, and which labels these confuse."""
    segments = build_segments(dataset.tracks, FeatureSpec(kind="table"), seconds=30)
    values = segments.take(np.arange(len(segments))).astype(np.float64)
    scores = ndtri((rankdata(values, axis=0) - 0.5) / len(values))
    _, labels = numbers([one.label for one in segments.tracks])
    _, groups = numbers([one.group for one in segments.tracks])
    log_probabilities = OutOfFoldModel([standardized(scores)], labels, groups).log_probabilities(labels)
    rows = {one.id: row for one, row in zip(segments.tracks, scores, strict=True)}
    return rows, confusion_of(log_probabilities, labels)


def regression() -> Any:
    """Return a class-balanced logistic regression; the penalty was chosen on GTZAN's validation part."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000)


def out_of_fold_regression(
    values: Float64Array, labels: IntArray, groups: IntArray, seed: int
) -> Float64Array:
    """Return out-of-sample probabilities of logistic regression, five folds of whole groups."""
    folds = group_folds(labels, groups, 5, np.random.default_rng(seed))
    probabilities = np.full((len(labels), int(labels.max()) + 1), 1e-9)
    for fold in range(5):
        model = regression().fit(values[folds != fold], labels[folds != fold])
        probabilities[np.ix_(folds == fold, model.classes_)] = model.predict_proba(values[folds == fold])
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def rankings(data: Data, labels: IntArray, seed: int) -> Iterator[tuple[str, Ranking]]:
    """Yield rankings of the tracks, the most suspicious lowest."""
    rows = np.arange(len(labels))
    yield "random order", np.random.default_rng(seed).random(len(labels))
    plain = out_of_fold_regression(data.views[0], labels, data.groups, seed)
    yield "low probability, logistic regression on the embedding", plain[rows, labels]
    both = out_of_fold_regression(np.hstack(data.views), labels, data.groups, seed)
    yield "low probability, logistic regression on embedding and styles", both[rows, labels]
    margins = label_margins(np.log(both), labels)[0]
    yield "the same, confident learning (ours), by margin", margins - 100 * confident_errors(labels, both)
    yield from cleanlab_rankings(labels, both)
    found = find_label_errors(data.views, labels, data.groups, seed=seed)
    yield "audit: low probability", found.log_probabilities[rows, labels]
    own_margins = found.margin
    flagged = confident_errors(labels, np.exp(found.log_probabilities))
    yield "audit: confident learning, by margin", own_margins - 100 * flagged
    yield "audit: margin (used)", own_margins


def cleanlab_rankings(labels: IntArray, probabilities: Float64Array) -> Iterator[tuple[str, Ranking]]:
    """Yield what cleanlab recommends: issues first, by self-confidence or by normalized margin."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return
    issues = find_label_issues(labels, probabilities, n_jobs=1)
    for method in ("self_confidence", "normalized_margin"):
        quality = get_label_quality_scores(labels, probabilities, method=method)
        yield f"the same, cleanlab's issues, by {method}", quality - 100 * issues


def mean_interval(values: list[float]) -> str:
    """Return mean and 95 % t interval over seeds, in percent."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{100 * mean:.0f}"
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{100 * mean:.0f} ± {100 * half:.0f}"


def measure_rankings(data: Data, seeds: int) -> None:
    """Print precision of the first n/2 and n, n the number of planted errors."""
    results: dict[str, dict[tuple[float, str], list[tuple[float, float]]]] = {}
    for rate in RATES:
        for mode, confusable in MODES.items():
            for seed in range(seeds):
                generator = np.random.default_rng([seed, int(1000 * rate), int(confusable)])
                changed, planted = plant_errors(
                    data.labels, data.confusion, rate, generator, confusable=confusable
                )
                count = int(planted.sum())
                for name, ranking in rankings(data, changed, seed):
                    order = np.argsort(ranking, kind="stable")
                    hits = float(planted[order[: count // 2]].mean()), float(planted[order[:count]].mean())
                    results.setdefault(name, {}).setdefault((rate, mode), []).append(hits)
    columns = [(rate, mode) for rate in RATES for mode in MODES]
    print(
        f"\nPrecision of the first n/2; of the first n (= recall), {len(data.labels)} tracks, {seeds} seeds"
    )
    print("| ranking | " + " | ".join(f"{100 * rate:.0f} % {mode}" for rate, mode in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for name, found in results.items():
        cells = [
            "; ".join(mean_interval([one[place] for one in found[column]]) for place in (0, 1))
            for column in columns
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


def measure_calibration(name: str, data: Data, seeds: int) -> None:
    """Print stated probabilities beside the shares that were planted."""
    print(f"\nCalibration, {name}, {len(data.labels)} tracks, {seeds} seeds")
    print(
        "| planted | estimated | confident learning | suggestions | expected false | not planted |"
        " 0.8 to 1: stated, planted (tracks) | 0.5 to 0.8 | 0.2 to 0.5 | 0 to 0.2 |"
    )
    print("|---" * 10 + "|")
    for rate in (0.0, 0.05, 0.1, 0.2):
        for mode, confusable in list(MODES.items())[: 2 if rate else 1]:
            stated, truth, noises, joint = [], [], [], []
            for seed in range(seeds):
                generator = np.random.default_rng([seed, int(1000 * rate), int(confusable)])
                changed, planted = data.labels, np.zeros(len(data.labels), dtype=bool)
                if rate:
                    changed, planted = plant_errors(
                        data.labels, data.confusion, rate, generator, confusable=confusable
                    )
                found = find_label_errors(data.views, changed, data.groups, seed=seed)
                stated.append(found.probability)
                truth.append(planted)
                noises.append(found.noise)
                joint.append(confident_noise(changed, np.exp(found.log_probabilities)))
            print(calibration_row(rate, mode, stated, truth, noises, joint))


def calibration_row(
    rate: float,
    mode: str,
    stated: list[Float64Array],
    truth: list[BoolArray],
    noises: list[float],
    joint: list[float],
) -> str:
    """Return one line of the table of `measure_calibration`."""
    probability, planted = np.concatenate(stated), np.concatenate(truth)
    sure = probability >= 0.5
    cells = [
        f"{100 * rate:.0f} %" + (f" {mode}" if rate else ""),
        f"{100 * np.mean(noises):.1f} %",
        f"{100 * np.mean(joint):.1f} %",
        f"{sure.sum() / len(stated):.1f}",
        f"{(1 - probability[sure]).sum() / len(stated):.1f}",
        f"{(~planted[sure]).sum() / len(stated):.1f}",
    ]
    for low, high in ((0.8, 1.01), (0.5, 0.8), (0.2, 0.5), (0.0, 0.2)):
        inside = (probability >= low) & (probability < high)
        if inside.any():
            shares = f"{100 * probability[inside].mean():.0f}, {100 * planted[inside].mean():.0f}"
            cells.append(f"{shares} ({inside.sum() / len(stated):.0f})")
        else:
            cells.append("none")
    return "| " + " | ".join(cells) + " |"


def clean_set(name: str) -> Data:
    """Return a data set of scikit-learn whose labels are right."""
    from sklearn import datasets

    loaded = getattr(datasets, f"load_{name}")()
    labels = loaded.target.astype(np.int64)
    groups = np.arange(len(labels))
    views = (standardized(loaded.data.astype(np.float64)),)
    log_probabilities = OutOfFoldModel(views, labels, groups).log_probabilities(labels)
    return Data(list(map(str, groups)), views, labels, groups, confusion_of(log_probabilities, labels), [])


Cleaning = Callable[[IntArray, LabelErrors, BoolArray, np.random.Generator], tuple[IntArray, BoolArray]]


def cleanings() -> dict[str, Cleaning]:
    """Return ways to clean: from labels, suspects and planted errors to new labels and what is kept."""

    def nothing(
        labels: IntArray, found: LabelErrors, planted: BoolArray, generator: np.random.Generator
    ) -> tuple[IntArray, BoolArray]:
        return labels, np.ones(len(labels), dtype=bool)

    def drop(
        labels: IntArray, found: LabelErrors, planted: BoolArray, generator: np.random.Generator
    ) -> tuple[IntArray, BoolArray]:
        return labels, found.probability < 0.5

    def relabel(
        labels: IntArray, found: LabelErrors, planted: BoolArray, generator: np.random.Generator
    ) -> tuple[IntArray, BoolArray]:
        return np.where(found.probability < 0.5, labels, found.suggested), np.ones(len(labels), dtype=bool)

    def drop_random(
        labels: IntArray, found: LabelErrors, planted: BoolArray, generator: np.random.Generator
    ) -> tuple[IntArray, BoolArray]:
        kept = np.ones(len(labels), dtype=bool)
        kept[generator.choice(len(labels), int((found.probability >= 0.5).sum()), replace=False)] = False
        return labels, kept

    def drop_planted(
        labels: IntArray, found: LabelErrors, planted: BoolArray, generator: np.random.Generator
    ) -> tuple[IntArray, BoolArray]:
        return labels, ~planted

    return {
        "nothing": nothing,
        "audit: drop": drop,
        "audit: relabel": relabel,
        "as many dropped at random": drop_random,
        "planted errors dropped (bound)": drop_planted,
    }


def measure_help(
    train: Data, test: Data, features: Callable[[Data], Float64Array], what: str, seeds: int
) -> None:
    """Print test accuracy after cleaning, and its difference to no cleaning."""
    print(f"\nAccuracy, {len(test.labels)} test tracks, logistic regression on {what}, {seeds} seeds")
    print("| planted | " + " | ".join(cleanings()) + " |")
    print("|---" * (1 + len(cleanings())) + "|")
    for rate in (0.0, 0.05, 0.1, 0.2):
        for mode, confusable in list(MODES.items())[: 2 if rate else 1]:
            right: dict[str, list[Float64Array]] = {name: [] for name in cleanings()}
            for seed in range(seeds):
                generator = np.random.default_rng([seed, int(1000 * rate), int(confusable), 7])
                changed, planted = train.labels, np.zeros(len(train.labels), dtype=bool)
                if rate:
                    changed, planted = plant_errors(
                        train.labels, train.confusion, rate, generator, confusable=confusable
                    )
                found = find_label_errors(train.views, changed, train.groups, seed=seed)
                for name, clean in cleanings().items():
                    labels, kept = clean(changed, found, planted, generator)
                    model = regression().fit(features(train)[kept], labels[kept])
                    right[name].append((model.predict(features(test)) == test.labels).astype(np.float64))
            print(help_row(f"{100 * rate:.0f} %" + (f" {mode}" if rate else ""), right, test.groups))


def help_row(name: str, right: dict[str, list[Float64Array]], groups: IntArray) -> str:
    """Return one line of the table of `measure_help`; intervals are bootstrapped over artists."""
    means = {one: np.mean(found, axis=0) for one, found in right.items()}
    base = means["nothing"]
    counts = np.bincount(groups)
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=4000)
    cells = [f"{100 * base.mean():.1f}"]
    for mean in list(means.values())[1:]:
        sums = np.bincount(groups, weights=mean - base)
        differences = 100 * (drawn @ sums) / (drawn @ counts)
        low, high = np.quantile(differences, (0.025, 0.975))
        cells.append(f"{100 * mean.mean():.1f} ({100 * (mean - base).mean():+.1f} [{low:+.1f}, {high:+.1f}])")
    return f"| {name} | " + " | ".join(cells) + " |"


def list_suspects(data: Data, folder: Path) -> None:
    """Print the suggestions on the labels as published, with artist and title."""
    with (folder / "tracks.csv").open(encoding="utf-8", newline="") as file:
        known = {row["track"]: row for row in csv.DictReader(file)}
    found = find_label_errors(data.views, data.labels, data.groups)
    print(f"\nThe labels of all {len(data.labels)} tracks: {100 * found.noise:.1f} % wrong, at most")
    removed = np.array([not known[one]["fault_filtered"] for one in data.ids])
    sure = found.probability >= 0.5
    print(
        f"{sure.sum()} suggestions, {(sure & removed).sum()} of the {removed.sum()} tracks removed for faults"
    )
    print("| track | suggested | probability | artist | title |\n|---|---|---|---|---|")
    for place in np.argsort(-found.probability, kind="stable")[: int(sure.sum())]:
        row = known[data.ids[place]]
        cells = (
            data.ids[place],
            data.classes[found.suggested[place]],
            f"{found.probability[place]:.2f}",
            row["artist"] or "unknown",
            row["title"],
        )
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gtzan", type=Path)
    parser.add_argument("--seeds", type=int, default=5, help="of rankings and calibration")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")
    rows, confusion = read_table(load_dataset(options.gtzan, kind="table"))
    dataset = load_dataset(options.gtzan, kind="spectrogram")
    data = read(dataset, confusion)
    part = [dataset.official_splits["fault-filtered"].get(one, "") for one in data.ids]
    train, test = (data.take(np.array([one == name for one in part])) for name in ("train", "test"))
    measure_rankings(train, options.seeds)
    measure_calibration("GTZAN, training part (its own errors are not known)", train, options.seeds)
    measure_calibration("digits of scikit-learn (labels right)", clean_set("digits"), options.seeds)
    measure_calibration("breast_cancer of scikit-learn", clean_set("breast_cancer"), options.seeds)
    measure_help(train, test, lambda one: np.hstack(one.views), "embedding and styles", 3)
    measure_help(
        train, test, lambda one: np.stack([rows[name] for name in one.ids]), "57 columns of the table", 3
    )
    list_suspects(data, options.gtzan)


if __name__ == "__main__":
    main()
