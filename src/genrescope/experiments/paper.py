"""The figures that the paper prints, as data: what genrescope's own numbers stand beside.

Source: B. Liu, I. Oblasova, Z. Zhou, "Music Genre Classification". Numbers are as printed, contradictions
included; ``NOTES`` says where they do not agree.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One genre's line in a printed table of scores."""

    precision: float
    recall: float
    f1: float
    support: int


class Headline(NamedTuple):
    """One accuracy that the paper states, in percent.

    ``models`` are the names under which it is trained here, the most literal first. ``protocol`` is the
    split that the paper used, as far as it tells. ``literature`` is the highest figure that the paper
    quotes from others (its Figure 1).
    """

    models: tuple[str, ...]
    name: str
    accuracy: float
    protocol: str
    setting: str
    literature: float | None


# Figure 5: logistic regression, 330 of 1000 clips for test.
PAPER_FIGURE_5 = {
    "blues": Row(0.24, 0.28, 0.26, 36),
    "classical": Row(0.50, 0.91, 0.65, 22),
    "country": Row(0.40, 0.09, 0.09, 39),
    "disco": Row(0.33, 0.13, 0.19, 38),
    "hiphop": Row(0.50, 0.50, 0.50, 30),
    "jazz": Row(0.56, 0.45, 0.50, 40),
    "metal": Row(0.48, 0.90, 0.63, 31),
    "pop": Row(0.33, 0.75, 0.46, 28),
    "reggae": Row(0.25, 0.28, 0.26, 29),
    "rock": Row(0.14, 0.05, 0.08, 37),
}
PAPER_FIGURE_5_SUMMARY = {
    "accuracy": Row(0.37, 0.43, 0.36, 330),
    "macro avg": Row(0.37, 0.39, 0.34, 330),
    "weighted avg": Row(0.05, 0.08, 0.08, 330),
}

# Figure 10: parallel CNN and RNN on 6000 segments of 4.5 s, 1200 for test.
PAPER_FIGURE_10 = {
    "blues": Row(0.75, 0.69, 0.72, 143),
    "classical": Row(0.86, 0.92, 0.89, 125),
    "country": Row(0.72, 0.45, 0.55, 130),
    "disco": Row(0.74, 0.55, 0.63, 115),
    "hiphop": Row(0.66, 0.87, 0.75, 100),
    "jazz": Row(0.86, 0.83, 0.85, 112),
    "metal": Row(0.95, 0.92, 0.94, 118),
    "pop": Row(0.77, 0.78, 0.78, 125),
    "reggae": Row(0.65, 0.74, 0.69, 112),
    "rock": Row(0.41, 0.55, 0.47, 120),
}

# Figure 12: F1 of every model, genres in the order of ``GENRES``.
PAPER_FIGURE_12 = {
    "logistic regression": (0.26, 0.65, 0.09, 0.19, 0.50, 0.50, 0.63, 0.46, 0.26, 0.08),
    "SVM": (0.23, 0.65, 0.22, 0.17, 0.56, 0.50, 0.57, 0.36, 0.22, 0.30),
    "vanilla LSTM": (0.36, 0.82, 0.47, 0.58, 0.55, 0.75, 0.45, 0.72, 0.94, 0.86),
    "parallel CNN and RNN": (0.72, 0.89, 0.55, 0.63, 0.75, 0.85, 0.92, 0.78, 0.74, 0.55),
}

# Figure 1: the highest accuracies that the paper found in the literature, in percent.
PAPER_FIGURE_1 = {
    "SVM": 66.28,
    "logistic regression": 59.91,
    "vanilla LSTM": 65.0,
    "sequential CRNN": 76.0,
    "parallel CNN and RNN": 77.0,
}

_LINEAR, _PARALLEL = "330 of 1000 clips for test", "parallel CNN and RNN"
HEADLINES = (
    Headline(("logistic-regression",), "logistic regression", 39.0, "track-random", _LINEAR, 59.91),
    Headline(("svm",), "SVM", 41.0, "track-random", _LINEAR, 66.28),
    Headline(("lstm",), "vanilla LSTM", 65.0, "segment-random", "split not stated", 65.0),
    Headline(("parallel-clips", "parallel"), _PARALLEL, 54.5, "track-random", "clips of 29.5 s", None),
    Headline(("parallel-paper", "parallel"), _PARALLEL, 72.5, "segment-random", "6000 pieces of 4.5 s", 77.0),
)

LEAKY_NOTE = (
    "The paper split at random, over clips or over segments, as far as it tells: songs of one artist, or"
    " pieces of one song, stand on both sides, so all of its accuracies are leaky in the sense used here."
)

NOTES = (
    "Figure 5: the summary rows are shifted against their columns; the line called accuracy holds three"
    " different values, and the weighted average (0.05, 0.08, 0.08) lies below nearly all that it averages.",
    "Figure 5: country's F1 is printed as 0.09; its precision 0.40 and recall 0.09 give 0.15.",
    "Figures 10 and 12 should agree for the parallel CNN and RNN and differ for rock (0.47 and 0.55), metal"
    " (0.94 and 0.92) and reggae (0.69 and 0.74); there Figure 12 shows the recall.",
    "The split of the 6000 segments is not stated; the uneven support per genre says at random over segments,"
    " so that nearly every test segment has a sibling from the same recording in training.",
)
