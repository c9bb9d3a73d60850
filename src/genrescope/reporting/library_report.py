"""The page about a whole library: what is in it, how sure that is, and which tracks want a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Protocol

from genrescope.reporting.classification_report import STYLE_COLOR, STYLE_SHEET, score_bars
from genrescope.reporting.document import format_clock, html_page
from genrescope.reporting.theme import SERIES


class LibraryRow(Protocol):
    """What the page needs to know of a file: `genrescope.LibraryEntry`, which this package may not import."""

    @property
    def path(self) -> str:
        """Absolute path of the file."""

    @property
    def seconds(self) -> float | None:
        """Length of the track."""

    @property
    def model_name(self) -> str:
        """Name of the model."""

    @property
    def genre(self) -> str | None:
        """The genre with the highest score."""

    @property
    def score(self) -> float | None:
        """Its score, 0 to 1."""

    @property
    def is_uncertain(self) -> bool:
        """Whether the score is below the threshold."""

    @property
    def scores(self) -> Mapping[str, float]:
        """Score by genre, falling."""

    @property
    def styles(self) -> Mapping[str, float]:
        """Probability by style."""

    @property
    def error(self) -> str | None:
        """Code of the error."""

    @property
    def message(self) -> str | None:
        """Text of the error."""

    @property
    def hint(self) -> str | None:
        """What to do about it."""


MOST_DOUBTFUL = 200
MOST_ERRORS = 200
MOST_STYLES = 15
_BINS = 10


def library_page(rows: Iterable[LibraryRow], *, title: str) -> str:
    """Return a library's rows as one self-contained HTML page.

    Parameters
    ----------
    rows : iterable of LibraryEntry
        As from `genrescope.Library.entries`.
    """
    rows = list(rows)
    answered = [row for row in rows if row.error is None]
    failed = [row for row in rows if row.error is not None]
    seconds = sum(row.seconds or 0.0 for row in answered)
    lead = f"{len(answered)} tracks, {format_clock(seconds)} of music"
    lead += f"; {len(failed)} files could not be read" if failed else ""
    parts = [_genres(answered), _styles(answered), _sureness(answered), _doubtful(answered), _errors(failed)]
    models = ", ".join(sorted({row.model_name for row in answered}))
    footer = f"Model: {models}. Made by genrescope."
    return html_page(title, f"{lead}.", "\n".join(parts), footer=footer, extra_style=STYLE_SHEET)


def _genres(answered: Sequence[LibraryRow]) -> str:
    counts = Counter(str(row.genre) for row in answered)
    colors = {name: f"var(--s{place % len(SERIES)})" for place, name in enumerate(sorted(counts))}
    return _chart("Genres", "Tracks per genre", counts.most_common(), colors)


def _styles(answered: Sequence[LibraryRow]) -> str:
    counts = Counter(style for row in answered for style in row.styles)
    common = counts.most_common(MOST_STYLES)
    return (
        _chart("Styles", "Tracks per style, of which a track may have several", common, {}) if common else ""
    )


def _sureness(answered: Sequence[LibraryRow]) -> str:
    """Return how the scores are spread, and how many answers are unsure."""
    places = Counter(min(_BINS - 1, int((row.score or 0.0) * _BINS)) for row in answered)
    names = [(f"{10 * place} to {10 * place + 10} %", places[place]) for place in reversed(range(_BINS))]
    unsure = sum(bool(row.is_uncertain) for row in answered)
    note = (
        f"<p>{unsure} of {len(answered)} answers are unsure: their score is below the model's threshold.</p>"
    )
    return _chart("Scores", "Tracks by the score of their genre", names, {}, note)


def _chart(
    title: str, label: str, counts: Sequence[tuple[str, int]], colors: dict[str, str], note: str = ""
) -> str:
    most = max((number for _, number in counts), default=0) or 1
    lines = [(name, number / most, str(number), colors.get(name, STYLE_COLOR)) for name, number in counts]
    return f"<section><h2>{escape(title)}</h2>{note}{score_bars(lines, label, label)}</section>"


def _doubtful(answered: Sequence[LibraryRow]) -> str:
    """Return the unsure tracks, the least sure first."""
    doubtful = sorted(
        (row for row in answered if row.is_uncertain), key=lambda row: (row.score or 0.0, row.path)
    )
    lines = []
    for row in doubtful[:MOST_DOUBTFUL]:
        scores = list(row.scores.items())[:3]
        guesses = ", ".join(f"{name} {100 * score:.0f} %" for name, score in scores)
        styles = ", ".join(list(row.styles)[:3])
        lines.append((row.path, guesses, styles, format_clock(row.seconds or 0.0)))
    return _table("Doubtful tracks", ("File", "Genres", "Styles", "Length"), lines, len(doubtful))


def _errors(failed: Sequence[LibraryRow]) -> str:
    lines = [(row.path, str(row.error), str(row.message), str(row.hint)) for row in failed[:MOST_ERRORS]]
    return _table("Not read", ("File", "Error", "What happened", "What to do"), lines, len(failed))


def _table(title: str, head: Sequence[str], lines: Sequence[Sequence[str]], total: int) -> str:
    if not lines:
        return ""
    more = f'<p class="muted">The first {len(lines)} of {total}.</p>' if total > len(lines) else ""
    heads = "".join(f'<th scope="col" class="words">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f'<td class="words long">{escape(str(cell))}</td>' for cell in rest)
        + "</tr>"
        for first, *rest in lines
    )
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    return f'<section><h2>{escape(title)}</h2>{more}<div class="scroll">{table}</div></section>'
