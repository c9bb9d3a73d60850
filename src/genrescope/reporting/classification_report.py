"""The page of classified files: one card per file, with its scores and its genres over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from genrescope.labels import display_name
from genrescope.reporting.charts import MAX_BARS, AreaChart, Bar, BarChart, area_chart, genre_colors
from genrescope.reporting.formatting import format_clock, format_count, format_percent
from genrescope.reporting.pages import Chart, render_charts
from genrescope.reporting.theme import MUTED_VARIABLE
from genrescope.types import NOT_MUSIC, FailedFile, Prediction

MAX_CARDS = 200


class _Card(NamedTuple):
    """What the template shows of one file."""

    name: str
    path: str
    length: str
    genre: str
    style: str | None
    score: str
    is_uncertain: bool
    possible: tuple[str, ...]
    flags: tuple[str, ...]
    scores: BarChart | None
    styles: BarChart | None
    timeline: AreaChart | None

    @property
    def charts(self) -> tuple[Chart, ...]:
        """The charts of the card."""
        return tuple(chart for chart in (self.scores, self.styles, self.timeline) if chart is not None)


def classification_page(results: Sequence[Prediction | FailedFile], *, title: str, model: str) -> str:
    """Return the results for many files as one self-contained HTML page.

    Parameters
    ----------
    results : sequence of Prediction or FailedFile
        One for each file, as from `genrescope.Classifier.predict_many`. Beyond `MAX_CARDS` predictions the
        rest are listed in a table.
    title : str
        The page's heading.
    model : str
        The name of the model that classified them.

    Returns
    -------
    str
        The page.
    """
    predictions = [_readable(result) for result in results if isinstance(result, Prediction)]
    failures = [result for result in results if isinstance(result, FailedFile)]
    colors = genre_colors([one.scores for one in predictions])
    summary = _count_genres(predictions, colors)
    cards = [_card(place, one, colors) for place, one in enumerate(predictions[:MAX_CARDS])]
    seconds = sum(one.seconds for one in predictions)
    lead = f"{format_count(len(predictions), 'file')} classified, {format_clock(seconds)} of music"
    lead += f", {len(failures)} not readable" if failures else ""
    return render_charts(
        "classification_report.html",
        [summary, *(chart for card in cards for chart in card.charts)],
        title=title,
        lead=f"{lead}. Model: {model}.",
        footer=f"Model: {model}. Made by genrescope.",
        summary=summary,
        failures=failures,
        cards=cards,
        further=[
            (one.path, _shown_genre(one), format_percent(_shown_score(one)))
            for one in predictions[MAX_CARDS:]
        ],
    )


def _readable(prediction: Prediction) -> Prediction:
    """Return a prediction with the names of genres and styles that people read in place of labels."""
    timeline = prediction.timeline
    return replace(
        prediction,
        scores={display_name(label): score for label, score in prediction.scores.items()},
        styles={display_name(label): chance for label, chance in prediction.styles.items()},
        style=None if prediction.style is None else display_name(prediction.style),
        timeline=timeline and replace(timeline, classes=tuple(map(display_name, timeline.classes))),
    )


def _count_genres(predictions: Sequence[Prediction], colors: Mapping[str, str]) -> BarChart:
    """Return how many files have each genre."""
    counts = Counter(map(_shown_genre, predictions)).most_common()
    most = counts[0][1] if counts else 1
    bars = tuple(
        Bar(name, number / most, str(number), colors.get(name, MUTED_VARIABLE)) for name, number in counts
    )
    return BarChart("genres", "Files per genre", bars)


def _shown_genre(prediction: Prediction) -> str:
    return prediction.genre if prediction.is_music else NOT_MUSIC


def _shown_score(prediction: Prediction) -> float:
    """Return the score of what `_shown_genre` returns."""
    return prediction.confidence if prediction.is_music else 1 - (prediction.music or 0.0)


def _card(place: int, prediction: Prediction, colors: Mapping[str, str]) -> _Card:
    """Return what is shown of one file: its genre, all scores, and its genres over time where known."""
    # What is not music has scores as well, but they say nothing.
    path, is_music = prediction.path, prediction.is_music
    timeline, listed = (prediction.timeline, prediction.probable_styles) if is_music else (None, {})
    # A path of any system: the report may be of files from elsewhere.
    name = path.replace("\\", "/").rpartition("/")[2] or path
    scores = tuple(_score_bars(prediction.scores, colors, decimals=1))
    styles = tuple(_score_bars(listed, dict.fromkeys(listed, MUTED_VARIABLE)))
    return _Card(
        name=name,
        path=path,
        length=format_clock(prediction.seconds),
        genre=", ".join(prediction.labels) if prediction.labels and is_music else _shown_genre(prediction),
        style=prediction.style if prediction.answer == prediction.style else None,
        score=format_percent(_shown_score(prediction)),
        is_uncertain=prediction.is_uncertain and prediction.is_music,
        possible=prediction.genre_set if prediction.is_uncertain else (),
        flags=prediction.flags,
        scores=BarChart(f"scores-{place}", f"Scores of {name}", scores) if is_music else None,
        styles=BarChart(f"styles-{place}", f"Styles of {path}", styles, "Styles") if styles else None,
        timeline=None if timeline is None else area_chart(f"timeline-{place}", timeline, colors),
    )


def _score_bars(
    scores: Mapping[str, float], colors: Mapping[str, str], *, decimals: int = 0
) -> Iterator[Bar]:
    """Yield a bar for each of the first scores."""
    for name, score in list(scores.items())[:MAX_BARS]:
        yield Bar(name, score, format_percent(score, decimals), colors[name])
