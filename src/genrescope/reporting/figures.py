"""Figures as SVG text, drawn with matplotlib, which is imported on first use; its pyplot is never used.

The same input gives the same text. Backgrounds are transparent and colors come from
`genrescope.reporting.theme`, so that a page can show a figure in light and in dark colors.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrescope import audio, features
from genrescope.errors import missing_extra
from genrescope.evaluation import CalibrationBin, Threshold
from genrescope.features import FeatureSpec
from genrescope.reporting.theme import ACCENT, INK, MUTED, RULE, SERIES
from genrescope.types import Audio, Float64Array, FloatArray, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Longer tracks would have more than two frames for each pixel, and need memory for nothing that shows.
MAX_PLOTTED_SECONDS = 600.0
# With more classes than this, numbers in the cells of a confusion matrix would overlap.
_MAX_NUMBERED_CLASSES = 24
# About two for each pixel of a figure's width.
_MAX_POINTS = 1200
_AXIS_LABELS = {
    "waveform": "sample value",
    "log_mel": "Hz",
    "mfcc": "coefficient",
    "chroma": "pitch class",
    "spectral_contrast": "band from, Hz",
    "spectral_centroid": "Hz",
    "spectral_bandwidth": "Hz",
    "spectral_rolloff": "Hz",
    "zero_crossing_rate": "share of samples",
    "rms": "RMS",
}
_COLOR_LABELS = {"log_mel": "dB", "spectral_contrast": "dB", "chroma": "share of the strongest"}
_PITCH_CLASSES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
_CONTRAST_BANDS = ("0", "200", "400", "800", "1600", "3200", "6400")
_MEL_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)
_PLOTTED_RATE = 22050
# What is further below the loudest is not to be told from silence.
_SHOWN_DB = 80.0
# All three are frequencies of the same frame, and say more beside each other.
_SHARE_A_PANEL = ("spectral_centroid", "spectral_bandwidth", "spectral_rolloff")


@dataclass(frozen=True)
class Curve:
    """A training run: one value per epoch in each tuple, or an empty tuple where it was not recorded.

    Attributes
    ----------
    epochs : tuple of int
        Counted from 1.
    train_loss, validation_loss : tuple of float
        Mean loss.
    train_accuracy, validation_accuracy : tuple of float
        From 0 to 1; of a multi-label task the label ranking average precision.
    learning_rate : tuple of float
        The optimizer's.
    metric : str
        What ``train_accuracy`` and ``validation_accuracy`` are: ``accuracy`` or ``LRAP``.
    """

    epochs: tuple[int, ...]
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    learning_rate: tuple[float, ...] = ()
    metric: str = "accuracy"

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, float]]) -> Curve:
        """Build the curve of a training run.

        Parameters
        ----------
        rows : sequence of mapping of str to float
            One for each epoch, as in ``curves.json``.
        """

        def column(name: str) -> tuple[float, ...]:
            return tuple(row[name] for row in rows if name in row)

        return cls(
            epochs=tuple(int(row["epoch"]) for row in rows),
            train_loss=column("train_loss"),
            validation_loss=column("validation_loss"),
            train_accuracy=column("train_accuracy") or column("train_lrap"),
            validation_accuracy=column("validation_accuracy") or column("validation_lrap"),
            learning_rate=column("learning_rate"),
            metric="LRAP" if column("train_lrap") else "accuracy",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the curve as JSON-ready data; None where a value is not finite, as after a divergence."""
        columns = asdict(self)
        metric = columns.pop("metric")
        named = {} if metric == "accuracy" else {"metric": metric}
        # JSON has no NaN: a loss that diverged would make the whole file unreadable.
        return {
            name: [one if np.isfinite(one) else None for one in values] for name, values in columns.items()
        } | named


def confusion_figure(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], title: str, *, predicted: Sequence[str] = ()
) -> str:
    """Draw a confusion matrix: counts as numbers, the share of each true genre as shading.

    Parameters
    ----------
    confusion : sequence of sequences of int
        Counts: rows are the truth, columns the prediction.
    classes : sequence of str
        The names of the rows.
    title : str
        Printed above.
    predicted : sequence of str
        The names of the columns, where they are not those of the rows.

    Returns
    -------
    str
        SVG.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency`` without matplotlib; so do all functions here.
    """
    columns = predicted or classes
    counts = np.array(confusion, dtype=np.int64).reshape(len(classes), len(columns))
    # The shading is a share of the row, so that a genre with few tracks is as legible as one with many; a
    # genre without tracks divides by 1 instead of 0.
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    width, height = (max(4.2, 0.52 * size + 1.4) for size in (len(columns), len(classes)))
    with _drawing(
        width, height if len(columns) == len(classes) else 0.52 * len(classes) + 2.0, title
    ) as figure:
        axes = figure.add_subplot()
        _cells(axes, counts, shares)
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), classes)
        axes.set(xlabel="predicted", ylabel="true", aspect="equal", title=title)
        axes.tick_params(length=0)
        return _svg(figure)


def curves_figure(curve: Curve, title: str) -> str:
    """Draw accuracy, loss and, where recorded, the learning rate over the epochs of a run.

    Parameters
    ----------
    curve : Curve
        The values of each epoch.
    title : str
        Printed above.

    Returns
    -------
    str
        SVG.
    """
    panels = 3 if curve.learning_rate else 2
    with _drawing(3.6 * panels, 3.2, title) as figure:
        figure.suptitle(title)
        accuracy, loss, *rate = figure.subplots(1, panels)
        _pair(accuracy, curve.epochs, curve.train_accuracy, curve.validation_accuracy, curve.metric)
        _pair(loss, curve.epochs, curve.train_loss, curve.validation_loss, "loss")
        for axes in rate:
            axes.step(curve.epochs, curve.learning_rate, where="post", color=SERIES[2])
            axes.set(xlabel="epoch", title="learning rate")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        return _svg(figure)


def repeated_curves_figure(runs: Mapping[str, Sequence[Curve]], title: str) -> str:
    """Draw validation accuracy and training loss of several models: each run thin, their mean thick.

    Parameters
    ----------
    runs : mapping of str to sequence of Curve
        The runs of each model, such as one per seed.
    title : str
        Printed above.

    Returns
    -------
    str
        SVG.
    """
    with _drawing(8.5, 3.6, title) as figure:
        figure.suptitle(title)
        for axes, name in zip(figure.subplots(1, 2), ("validation_accuracy", "train_loss"), strict=True):
            for place, (model, curves) in enumerate(runs.items()):
                _repeated(axes, [getattr(one, name) for one in curves], SERIES[place % len(SERIES)], model)
            metric = next((one.metric for curves in runs.values() for one in curves), "accuracy")
            axes.set(xlabel="epoch", title=name.replace("accuracy", metric).replace("_", " "))
            axes.grid()
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        return _svg(figure)


def lines_figure(lines: Mapping[str, Sequence[tuple[float, float]]], title: str, *, x: str, y: str) -> str:
    """Draw shares against some other quantity.

    Parameters
    ----------
    lines : mapping of str to sequence of (float, float)
        The points of each line; the second number from 0 to 1.
    title : str
        Printed above.
    x, y : str
        Labels of the axes.

    Returns
    -------
    str
        SVG.
    """
    with _drawing(7.5, 3.8, title) as figure:
        axes = figure.add_subplot()
        for place, (name, points) in enumerate(lines.items()):
            axes.plot(*zip(*points, strict=True), "o-", ms=4, color=SERIES[place % len(SERIES)], label=name)
        axes.set(xlabel=x, ylabel=y, title=title)
        axes.grid()
        figure.legend(loc="outside right center")
        return _svg(figure)


def differences_figure(
    values: Mapping[str, tuple[float, float, float]], title: str, *, hollow: Sequence[str] = ()
) -> str:
    """Draw differences as points with whiskers about a line at zero.

    Parameters
    ----------
    values : mapping of str to (float, float, float)
        Difference, lower and upper bound of each pair, from -1 to 1.
    title : str
        Printed above.
    hollow : sequence of str
        The names whose points are not filled.

    Returns
    -------
    str
        SVG.
    """
    with _drawing(_width(values), 0.34 * len(values) + 1.2, title) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=MUTED, linewidth=1)
        _whiskers(axes, values, hollow)
        widest = max((abs(bound) for one in values.values() for bound in one), default=0.0)
        limit = max(0.05, 1.1 * widest)
        axes.set(xlim=(-limit, limit), title=title)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+g} %" if value else "0")
        return _svg(figure)


def comparison_figure(
    scores: Mapping[str, Sequence[float]], classes: Sequence[str], title: str, *, order: Sequence[str] = ()
) -> str:
    """Draw one bar per genre and model, grouped by genre.

    Parameters
    ----------
    scores : mapping of str to sequence of float
        F1 of each model, from 0 to 1, one value per class.
    classes : sequence of str
        The names of the genres.
    title : str
        Printed above.
    order : sequence of str
        All names of several figures, so that a model has the same color in each.

    Returns
    -------
    str
        SVG.
    """
    colors = {
        name: SERIES[place % len(SERIES)] for place, name in enumerate(dict.fromkeys([*order, *scores]))
    }
    width = 0.84 / max(1, len(scores))
    size = max(4.2, 0.5 * len(classes) + 2.5, 0.16 * len(scores) * len(classes) + 2)
    with _drawing(size, 3.9, title) as figure:
        axes = figure.add_subplot()
        places = np.arange(len(classes))
        for place, (name, values) in enumerate(scores.items()):
            offset = (place - (len(scores) - 1) / 2) * width
            axes.bar(places + offset, values, 0.9 * width, label=name, color=colors[name])
        # More names than these would overlap.
        if len(classes) > 10:
            axes.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor")
        else:
            axes.set_xticks(places, classes)
        axes.set(ylim=(0, 1), ylabel="F1")
        axes.grid(axis="y")
        figure.suptitle(title)
        figure.legend(loc="outside lower center", ncols=4)
        return _svg(figure)


def intervals_figure(
    values: Mapping[str, tuple[float, float, float]], title: str, *, hollow: Sequence[str] = ()
) -> str:
    """Draw intervals as points with whiskers.

    Parameters
    ----------
    values : mapping of str to (float, float, float)
        Value, lower and upper bound of each name, from 0 to 1.
    title : str
        Printed above.
    hollow : sequence of str
        The names whose points are not filled.

    Returns
    -------
    str
        SVG.
    """
    with _drawing(_width(values), 0.34 * len(values) + 1.2, title) as figure:
        axes = figure.add_subplot()
        _whiskers(axes, values, hollow)
        axes.set(xlim=(0, 1), title=title)
        return _svg(figure)


def reliability_figure(bins: Sequence[CalibrationBin], title: str) -> str:
    """Draw a reliability diagram: the accuracy in each bin of scores and, below, the size of each bin.

    The dots of a calibrated model, each at its bin's mean score, lie on the dashed line.

    Parameters
    ----------
    bins : sequence of CalibrationBin
        As from a `genrescope.evaluation.CalibrationReport`.
    title : str
        Printed above.

    Returns
    -------
    str
        SVG.
    """
    with _drawing(5.2, 5.0, title) as figure:
        rates, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        middles = [(one.low + one.high) / 2 for one in bins]
        widths = [0.94 * (one.high - one.low) for one in bins]
        accuracies = [one.accuracy for one in bins]
        rates.bar(middles, accuracies, widths, color=ACCENT, alpha=0.3)
        rates.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1)
        rates.plot([one.confidence for one in bins], accuracies, "o", color=ACCENT, clip_on=False)
        rates.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy", title=title)
        rates.grid(axis="y")
        counts.bar_label(
            counts.bar(middles, [one.n for one in bins], widths, color=ACCENT, alpha=0.3), padding=1
        )
        counts.margins(y=0.3)
        counts.locator_params(axis="y", integer=True, nbins=3)
        counts.set(xlabel="score of the predicted genre", ylabel="tracks")
        return _svg(figure)


def coverage_figure(
    curve: Sequence[Threshold], title: str, *, target_accuracy: float, marks: Mapping[str, Threshold]
) -> str:
    """Draw accuracy against coverage.

    Parameters
    ----------
    curve : sequence of Threshold
        By rising coverage.
    title : str
        Printed above.
    target_accuracy : float
        From 0 to 1, drawn as a dashed line.
    marks : mapping of str to Threshold
        Points to be marked, by name.

    Returns
    -------
    str
        SVG.
    """
    with _drawing(5.2, 3.8, title) as figure:
        axes = figure.add_subplot()
        axes.axhline(target_accuracy, linestyle="--", color=MUTED, linewidth=1)
        axes.plot([one.coverage for one in curve], [one.accuracy for one in curve], color=ACCENT)
        for (name, one), shape, color in zip(marks.items(), "os", SERIES, strict=False):
            axes.plot([one.coverage], [one.accuracy], shape, color=color, label=name)
        lowest = min([target_accuracy, *(one.accuracy for one in [*curve, *marks.values()])])
        axes.set(xlim=(0, 1.02), ylim=(max(-0.02, lowest - 0.08), 1.02), title=title)
        axes.set(xlabel="coverage (share of tracks answered)", ylabel="accuracy of these")
        axes.grid()
        if marks:
            axes.legend(loc="best")
        return _svg(figure)


def layers_figure(branches: tuple[Sequence[str], Sequence[str], Sequence[str]], title: str) -> str:
    """Draw a network of two parallel branches and what follows them, as in the paper's Figure 7.

    Parameters
    ----------
    branches : tuple of three sequences of str
        The layers of the left branch, of the right one, and of what both lead to; each a name, and on a
        second line the shape behind it.
    title : str
        Printed above.

    Returns
    -------
    str
        SVG.
    """
    left, right, joined = branches
    rows = max(len(left), len(right)) + 1
    with _drawing(8.5, 0.55 * (rows + len(joined)) + 0.6, title) as figure:
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set(xlim=(0, 2), ylim=(rows + len(joined) - 0.5, -0.5), title=title)
        columns: list[list[tuple[float, float]]] = []
        for x, layers in ((0.5, left), (1.5, right)):
            # Both branches end on the same line, above what joins them.
            places = np.linspace(1, rows - 1, len(layers)) if len(layers) > 1 else [rows - 1.0]
            columns.append([(1.0, 0.0), *((x, float(y)) for y in places), (1.0, float(rows))])
            for y, text in zip(places, layers, strict=True):
                _layer_box(axes, x, float(y), text)
        tail = [(1.0, float(rows + place)) for place in range(len(joined))]
        _layer_box(axes, 1.0, 0.0, "log-mel segment")
        for (x, y), text in zip(tail, joined, strict=True):
            _layer_box(axes, x, y, text)
        for (x, y), (to_x, to_y) in (step for path in (*columns, tail) for step in pairwise(path)):
            axes.plot([x, to_x], [y, to_y], color=MUTED, linewidth=1, zorder=0)
        return _svg(figure)


def _layer_box(axes: Axes, x: float, y: float, text: str) -> None:
    """Draw one layer: its name and shape in a box."""
    box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": ACCENT}
    label = " \u2192 ".join(text.split("\n"))
    axes.text(x, y, label, ha="center", va="center", fontsize=8, bbox=box)


def mel_figure(samples: Sequence[tuple[str, FloatArray, float]], title: str = "Mel spectrograms") -> str:
    """Draw a grid of log-mel spectrograms, as in the paper's Figure 2.

    Parameters
    ----------
    samples : sequence of (name, log_mel, hop_seconds)
        ``log_mel`` in dB, shape (mels, frames), lowest band first; ``hop_seconds`` from frame to frame.
    title : str
        Printed above.

    Returns
    -------
    str
        SVG with embedded pictures.
    """
    columns = min(2, max(1, len(samples)))
    rows = -(-len(samples) // columns)
    with _drawing(4.6 * columns, 1.75 * rows + 0.6, title) as figure:
        figure.suptitle(title)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (name, log_mel, hop_seconds) in zip(grid, samples, strict=False):
            picture = _picture(axes, log_mel, log_mel.shape[1] * hop_seconds, "magma", vmin=-80, vmax=0)
            axes.set(title=name, ylabel="mel band", xlabel="seconds")
        for axes in grid[len(samples) :]:
            axes.set_axis_off()
        if samples:
            figure.colorbar(picture, ax=list(grid), label="dB", aspect=40, pad=0.01)
        return _svg(figure)


def mfcc_figure(mfcc: FloatArray, hop_seconds: float, title: str) -> str:
    """Draw mel-frequency cepstral coefficients, as in the paper's Figure 3.

    Parameters
    ----------
    mfcc : ndarray, shape (coefficients, frames)
        The coefficients, lowest first.
    hop_seconds : float
        From frame to frame.
    title : str
        Printed above.

    Returns
    -------
    str
        SVG with an embedded picture.
    """
    low, high = _color_range("mfcc", mfcc)
    with _drawing(7.5, 2.8, title) as figure:
        axes = figure.add_subplot()
        seconds = mfcc.shape[1] * hop_seconds
        picture = _picture(axes, mfcc, seconds, "RdBu_r", vmin=low, vmax=high)
        axes.set(title=title, ylabel="coefficient", xlabel="seconds")
        figure.colorbar(picture, ax=axes, pad=0.01)
        return _svg(figure)


def features_figure(values: Mapping[str, FloatArray], seconds: float, title: str) -> str:
    """Draw features over time, one panel below the other.

    Parameters
    ----------
    values : mapping of str to ndarray, shape (n,) or (rows, n)
        The last axis spans the ``seconds``, however many values it has. Rows become a picture, a single row a
        line. Centroid, bandwidth and roll-off share a panel. The bands of ``log_mel`` are those of a sample
        rate of 22,050 Hz.
    seconds : float
        Length of the recording.
    title : str
        Printed above.

    Returns
    -------
    str
        SVG.
    """
    panels = _panels(values)
    heights = [1.0 if len(names) > 1 or values[names[0]].squeeze().ndim == 1 else 1.8 for names in panels]
    with _drawing(9.0, 1.35 * sum(heights) + 0.8, title) as figure:
        figure.suptitle(title)
        stack = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False).ravel()
        for axes, names in zip(stack, panels, strict=True):
            _panel(axes, {name: values[name].squeeze() for name in names}, seconds)
        stack[-1].set(xlabel="seconds", xlim=(0, seconds))
        figure.align_ylabels(stack)
        # A file of its own has no page behind it: dark viewers would show dark text on a dark ground.
        figure.set_facecolor("white")
        return _svg(figure, transparent=False)


def plot_features(path: Path) -> str:
    """Draw the features of a file's first ten minutes.

    Parameters
    ----------
    path : Path
        An audio file.

    Returns
    -------
    str
        SVG.

    Raises
    ------
    AudioError
        The file cannot be decoded; see `genrescope.audio.load_audio`.
    MissingDependencyError
        ``missing_dependency`` without matplotlib.
    """
    loaded = audio.load_audio(path, sample_rate=_PLOTTED_RATE, duration=MAX_PLOTTED_SECONDS)
    values = {"waveform": loaded.samples, "log_mel": _extract(loaded, features.PAPER_LOG_MEL)}
    rows = _extract(loaded, FeatureSpec("sequence", features=features.FEATURES)).T
    for name in features.FEATURES:
        size = features.feature_dimension(FeatureSpec("sequence", features=(name,)))
        values[name], rows = np.split(rows, [size])
    return features_figure(values, loaded.seconds, path.name)


def _extract(loaded: Audio, spec: FeatureSpec) -> FloatArray:
    """Return the features of a whole recording, without an axis of segments."""
    extracted: FloatArray = features.extract(loaded.samples[None], loaded.sample_rate, spec)[0]
    return extracted


def _panels(names: Iterable[str]) -> list[list[str]]:
    """Return the names that share each panel, in the order given."""
    names = list(names)
    shared = [name for name in names if name in _SHARE_A_PANEL]
    panels = [[name] if name not in _SHARE_A_PANEL else shared for name in names]
    return [panel for place, panel in enumerate(panels) if panel not in panels[:place]]


def _panel(axes: Axes, lines: Mapping[str, FloatArray], seconds: float) -> None:
    """Draw the features of one panel."""
    for place, (name, values) in enumerate(lines.items()):
        if values.ndim > 1:
            _feature_picture(axes, name, values, seconds)
        elif len(values) > _MAX_POINTS:
            _envelope(axes, values, seconds, SERIES[place], _spaced(name))
        else:
            times = (np.arange(len(values)) + 0.5) * seconds / max(1, len(values))
            axes.plot(times, values, color=SERIES[place], linewidth=1.1, label=_spaced(name))
    if len(lines) > 1:
        # The legend has the names, in place of a title.
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=len(lines))
    else:
        axes.set_title(_spaced(next(iter(lines))), loc="left")
    axes.set_ylabel(_AXIS_LABELS.get(next(iter(lines)), ""))


def _feature_picture(axes: Axes, name: str, values: FloatArray, seconds: float) -> None:
    """Show a feature of several rows, in a range of colors and with labels of rows that suit it."""
    low, high = _color_range(name, values)
    colors = "RdBu_r" if name == "mfcc" else "magma"
    picture = _picture(axes, values, seconds, colors, low, high)
    if name == "log_mel":
        bands = features.slaney_mel_edges(len(values), 0.0, _PLOTTED_RATE / 2)[1:-1]
        places = [float(np.interp(tick, bands, np.arange(len(bands)))) for tick in _MEL_TICKS_HZ]
        axes.set_yticks(places, [f"{tick:,}" for tick in _MEL_TICKS_HZ])
    elif name == "chroma" and len(values) == len(_PITCH_CLASSES):
        axes.set_yticks(range(len(values)), _PITCH_CLASSES, fontsize=7)
    elif name == "spectral_contrast" and len(values) == len(_CONTRAST_BANDS):
        axes.set_yticks(range(len(values)), _CONTRAST_BANDS, fontsize=7)
    figure = axes.get_figure()
    assert figure is not None  # it was made by one
    figure.colorbar(picture, ax=axes, pad=0.01, fraction=0.04, label=_COLOR_LABELS.get(name, ""))


def _color_range(name: str, values: FloatArray) -> tuple[float, float]:
    """Return the values of a feature that have the first and the last color."""
    if name == "chroma":
        return 0.0, 1.0
    if name == "log_mel":
        loudest = float(values.max(initial=-100.0))
        return loudest - _SHOWN_DB, loudest
    if name == "mfcc":
        # The first one, the level, and often the second, the slope, are so much larger than the others that
        # nothing would be seen of these.
        limit = float(np.percentile(np.abs(values[1:] if len(values) > 1 else values), 90)) or 1.0
        return -limit, limit
    # A few extreme values would leave one color to the rest; so would the topmost band of the spectral
    # contrast, which reaches to frequencies that hold nothing.
    low, high = (float(bound) for bound in np.percentile(values[:-1] if len(values) > 1 else values, (1, 99)))
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _spaced(name: str) -> str:
    """Return a feature's name with spaces."""
    return name.replace("_", " ")


def _envelope(axes: Axes, values: FloatArray, seconds: float, color: str, label: str) -> None:
    """Fill the area between the minimum and the maximum of each of `_MAX_POINTS` parts of a long line."""
    edges = np.linspace(0, len(values), _MAX_POINTS + 1).astype(int)[:-1]
    times = edges * seconds / len(values)
    low, high = np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)
    axes.fill_between(times, low, high, color=color, linewidth=0.6, label=label)


def _cells(axes: Axes, counts: IntArray, shares: Float64Array) -> None:
    """Draw the cells of a confusion matrix, shaded by share; an empty one is transparent."""
    from matplotlib.patches import Rectangle

    for row, column in np.ndindex(*counts.shape):
        share = float(shares[row, column])
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=ACCENT, alpha=share, linewidth=0))
        if counts[row, column] and counts.shape[1] <= _MAX_NUMBERED_CLASSES:
            color = "white" if share > 0.8 else INK
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color)
    axes.set(xlim=(-0.5, counts.shape[1] - 0.5), ylim=(len(counts) - 0.5, -0.5))


def _width(names: Iterable[str]) -> float:
    """Return the width, in inches, of a figure whose names stand at the left: the plot keeps 4.5 of them."""
    return max(7.5, 4.5 + 0.075 * max(map(len, names), default=0))


def _whiskers(axes: Axes, values: Mapping[str, tuple[float, float, float]], hollow: Sequence[str]) -> None:
    """Draw one named interval below the other."""
    for place, (name, (value, low, high)) in enumerate(values.items()):
        face = "none" if name in hollow else ACCENT
        axes.plot([low, high], [place, place], color=ACCENT, linewidth=1.6)
        axes.plot([value], [place], "o", color=ACCENT, markerfacecolor=face, markersize=7)
    axes.set_yticks(range(len(values)), list(values))
    axes.set(ylim=(len(values) - 0.5, -0.5))
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)


def _repeated(axes: Axes, runs: Sequence[Sequence[float]], color: str, name: str) -> None:
    """Draw one quantity of all runs of a model, and their mean as far as all of them go."""
    runs = [run for run in runs if run]
    for run in runs:
        axes.plot(range(1, len(run) + 1), run, color=color, linewidth=0.7, alpha=0.5)
    if runs:
        shortest = min(map(len, runs))
        means = np.mean([run[:shortest] for run in runs], axis=0)
        axes.plot(range(1, shortest + 1), means, color=color, linewidth=2, label=name)


def _pair(
    axes: Axes, epochs: Sequence[int], train: Sequence[float], validation: Sequence[float], name: str
) -> None:
    """Draw one quantity in training and in validation."""
    for values, label, line, color in ((train, "training", "--", 1), (validation, "validation", "-", 0)):
        if values:
            axes.plot(epochs, values, line, label=label, color=SERIES[color], linewidth=1.6)
    axes.set(xlabel="epoch", title=name)
    axes.grid()
    axes.legend()


def _picture(
    axes: Axes,
    values: FloatArray,
    seconds: float,
    colors: str,
    vmin: float | None = None,
    vmax: float | None = None,
) -> AxesImage:
    """Show an array, shape (rows, frames), over ``seconds``, its first row at the bottom."""
    extent = (0.0, seconds, -0.5, len(values) - 0.5)
    axes.locator_params(axis="y", integer=True)
    return axes.imshow(
        values, origin="lower", aspect="auto", extent=extent, cmap=colors, vmin=vmin, vmax=vmax
    )


@contextmanager
def _drawing(width: float, height: float, title: str) -> Iterator[Figure]:
    """Yield an empty figure, its size in inches, under settings that are restored afterwards."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as reason:
        raise missing_extra("train", "matplotlib") from reason
    with rc_context(_settings(title)), warnings.catch_warnings():
        # SVG text is set in the reader's fonts, so that glyphs missing from matplotlib's font do not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield Figure(figsize=(width, height), layout="constrained")


# Any: the names of the settings are a type of their own in matplotlib, which is loaded only when it draws.
def _settings(title: str) -> dict[Any, Any]:
    """Return matplotlib's settings; the title salts the ids, which must differ within a page."""
    ink = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK)
    lines = dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED)
    bare = dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon", "text.parse_math"), False)
    return {
        **ink,
        **lines,
        **bare,
        "axes.axisbelow": True,
        "axes.titlesize": 10,
        "figure.titlesize": 11,
        "font.size": 9,
        "grid.color": RULE,
        "grid.linewidth": 0.7,
        "savefig.dpi": 110,
        "svg.fonttype": "none",
        "svg.hashsalt": title,
    }


def _svg(figure: Figure, *, transparent: bool = True) -> str:
    """Return a figure as SVG, without date and creator, which would differ from run to run."""
    text = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=transparent, metadata=nothing)
    return text.getvalue()
