"""The results of the paper, to be compared with those measured here.

Source: B. Liu, I. Oblasova, Z. Zhou, "Music Genre Classification". Numbers are as printed, contradictions
included; ``NOTES`` says where they do not agree.
"""

from __future__ import annotations

from typing import NamedTuple


class GenreScores(NamedTuple):
    """One genre's row in a printed table of scores.

    Attributes
    ----------
    precision, recall, f1 : float
        From 0 to 1.
    support : int
        Number of test items of the genre.
    """

    precision: float
    recall: float
    f1: float
    support: int


class Headline(NamedTuple):
    """One accuracy that the paper states.

    Attributes
    ----------
    models : tuple of str
        The names of the experiments that train it here, the most literal one first.
    name : str
        As the paper calls the model.
    accuracy : float
        In percent.
    protocol : str
        The protocol that the paper used, as far as it says.
    setting : str
        The split in the paper's words.
    literature : float or None
        The highest accuracy, in percent, that the paper quotes from others (its Figure 1).
    """

    models: tuple[str, ...]
    name: str
    accuracy: float
    protocol: str
    setting: str
    literature: float | None


# Figure 5: logistic regression, 330 of 1000 clips for test.
PAPER_FIGURE_5 = {
    "blues": GenreScores(0.24, 0.28, 0.26, 36),
    "classical": GenreScores(0.50, 0.91, 0.65, 22),
    "country": GenreScores(0.40, 0.09, 0.09, 39),
    "disco": GenreScores(0.33, 0.13, 0.19, 38),
    "hiphop": GenreScores(0.50, 0.50, 0.50, 30),
    "jazz": GenreScores(0.56, 0.45, 0.50, 40),
    "metal": GenreScores(0.48, 0.90, 0.63, 31),
    "pop": GenreScores(0.33, 0.75, 0.46, 28),
    "reggae": GenreScores(0.25, 0.28, 0.26, 29),
    "rock": GenreScores(0.14, 0.05, 0.08, 37),
}

# Figure 10: parallel CNN and RNN on 6000 segments of 4.5 s, 1200 for test.
PAPER_FIGURE_10 = {
    "blues": GenreScores(0.75, 0.69, 0.72, 143),
    "classical": GenreScores(0.86, 0.92, 0.89, 125),
    "country": GenreScores(0.72, 0.45, 0.55, 130),
    "disco": GenreScores(0.74, 0.55, 0.63, 115),
    "hiphop": GenreScores(0.66, 0.87, 0.75, 100),
    "jazz": GenreScores(0.86, 0.83, 0.85, 112),
    "metal": GenreScores(0.95, 0.92, 0.94, 118),
    "pop": GenreScores(0.77, 0.78, 0.78, 125),
    "reggae": GenreScores(0.65, 0.74, 0.69, 112),
    "rock": GenreScores(0.41, 0.55, 0.47, 120),
}

# Figure 12: F1 of every model, genres in the order of `GTZAN_GENRES`.
PAPER_FIGURE_12 = {
    "logistic regression": (0.26, 0.65, 0.09, 0.19, 0.50, 0.50, 0.63, 0.46, 0.26, 0.08),
    "SVM": (0.23, 0.65, 0.22, 0.17, 0.56, 0.50, 0.57, 0.36, 0.22, 0.30),
    "vanilla LSTM": (0.36, 0.82, 0.47, 0.58, 0.55, 0.75, 0.45, 0.72, 0.94, 0.86),
    "parallel CNN and RNN": (0.72, 0.89, 0.55, 0.63, 0.75, 0.85, 0.92, 0.78, 0.74, 0.55),
}

_LINEAR, _PARALLEL = "330 of 1000 clips for test", "parallel CNN and RNN"
HEADLINES = (
    Headline(("logistic-regression",), "logistic regression", 39.0, "track-random", _LINEAR, 59.91),
    Headline(("svm",), "SVM", 41.0, "track-random", _LINEAR, 66.28),
    Headline(("lstm",), "vanilla LSTM", 65.0, "segment-random", "split not stated", 65.0),
    Headline(("parallel-clips", "parallel"), _PARALLEL, 54.5, "track-random", "clips of 29.5 s", None),
    Headline(
        ("parallel-paper", "parallel"), _PARALLEL, 72.5, "segment-random", "6000 segments of 4.5 s", 77.0
    ),
)

LEAKY_NOTE = (
    "The paper split at random, over clips or over segments, as far as it says: songs of one artist, or"
    " segments of one song, are in both the training and the test part, so that all of its accuracies are"
    " leaky."
)

NOTES = (
    "Figure 5: the summary rows are shifted against their columns; the line called accuracy holds three"
    " different values, and the weighted average (0.05, 0.08, 0.08) is lower than nearly all of them.",
    "Figure 5: country's F1 is printed as 0.09; its precision 0.40 and recall 0.09 give 0.15.",
    "Figures 10 and 12 should agree for the parallel CNN and RNN and differ for rock (0.47 and 0.55), metal"
    " (0.94 and 0.92) and reggae (0.69 and 0.74); there Figure 12 shows the recall.",
    "The split of the 6000 segments is not stated; the uneven support per genre says at random over segments,"
    " so that nearly every test segment has others of the same recording in training.",
)
