"""Measure how often bootstrap intervals hold the true value: percentile and BCa, of accuracy and macro F1.

Test sets are simulated: artists of ten genres as hard as GTZAN's, each with some tracks, which stand and fall
together. The true value is that of 40,000 artists.

Run: python benchmarks/intervals.py   (about five minutes on one core)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import norm

from genrescope.evaluation.metrics import accuracy, bootstrap_draws, macro_f1
from genrescope.types import Float64Array

GENRES = 10
# The share of right answers in each genre.
RATES = np.array([0.3, 0.95, 0.35, 0.4, 0.6, 0.7, 0.85, 0.8, 0.5, 0.25])
# Of the beta distribution of an artist's share of right answers about that of the genre.
CONCENTRATION = 4.0
MAX_TRACKS = 12
ARTISTS = (20, 40, 80, 124, 250)
RESAMPLES = 1000
TAILS = np.array([0.025, 0.975])
Measure = Callable[[Any], Float64Array]


def simulate(artists: int, generator: np.random.Generator) -> Float64Array:
    """Return the confusion matrix of each artist of a test set."""
    genre = np.arange(artists) % GENRES
    tracks = np.minimum(generator.geometric(0.45, artists), MAX_TRACKS)
    rate = generator.beta(RATES[genre] * CONCENTRATION, (1 - RATES[genre]) * CONCENTRATION)
    right = generator.binomial(tracks, rate)
    wrong = (genre + 1 + generator.integers(0, 3, artists)) % GENRES
    counts = np.zeros((artists, GENRES, GENRES))
    counts[np.arange(artists), genre, genre] = right
    counts[np.arange(artists), genre, wrong] = tracks - right
    return counts


def intervals(counts: Float64Array, measure: Measure, seed: int) -> dict[str, Float64Array]:
    """Return the bounds of both 95 % intervals."""
    total = counts.sum(0)
    value = measure(total[None])[0]
    drawn = bootstrap_draws(counts, measure, resamples=RESAMPLES, seed=seed)
    below = (np.sum(drawn < value) + 0.5 * np.sum(drawn == value)) / RESAMPLES
    bias = norm.ppf(np.clip(below, 1 / (2 * RESAMPLES), 1 - 1 / (2 * RESAMPLES)))
    # The acceleration, by the jackknife over artists.
    deviations = measure(total[None] - counts)
    deviations = deviations.mean() - deviations
    acceleration = (deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5)
    shifted = bias + norm.ppf(TAILS)
    levels = norm.cdf(bias + shifted / (1 - acceleration * shifted))
    return {"percentile": np.quantile(drawn, TAILS), "BCa": np.quantile(drawn, levels)}


def main() -> None:
    """Print the coverage of each interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=400, help="simulated test sets of each size")
    tests = parser.parse_args().tests
    population = simulate(40_000, np.random.default_rng(5)).sum(0)
    measures: dict[str, Measure] = {"accuracy": accuracy, "macro F1": macro_f1}
    for artists in ARTISTS:
        bounds: dict[str, list[Float64Array]] = {}
        for seed in range(tests):
            counts = simulate(artists, np.random.default_rng(1000 + seed))
            for name, measure in measures.items():
                for kind, found in intervals(counts, measure, seed).items():
                    bounds.setdefault(f"{name} {kind}", []).append(found)
        for name, found in bounds.items():
            low, high = np.array(found).T
            true = float(measures[name.rsplit(" ", 1)[0]](population[None])[0])
            print(
                f"{artists:4} artists, {name}: covers {np.mean((low <= true) & (true <= high)):.1%}, too low"
                f" {np.mean(high < true):.1%}, too high {np.mean(low > true):.1%}, width"
                f" {np.mean(high - low):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
