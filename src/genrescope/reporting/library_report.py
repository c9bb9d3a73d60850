"""The page about a whole library: what is in it, how certain that is, and which tracks are uncertain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from genrescope.labels import display_name
from genrescope.reporting.blocks import Table
from genrescope.reporting.charts import Bar, BarChart
from genrescope.reporting.formatting import format_clock, format_percent
from genrescope.reporting.pages import render_charts
from genrescope.reporting.theme import MUTED_VARIABLE, SERIES, series_variable
from genrescope.types import NOT_MUSIC, FailedFile

MAX_ALBUMS = 200
MAX_UNCERTAIN = 200
MAX_FAILED = 200
MAX_STYLES = 15
_BINS = 10


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
    def is_music(self) -> bool:
        """Whether the track is music."""

    @property
    def scores(self) -> Mapping[str, float]:
        """Score by genre, falling."""

    @property
    def styles(self) -> Mapping[str, float]:
        """Probability by style."""

    @property
    def failure(self) -> FailedFile | None:
        """The error of a file that could not be classified."""


class AlbumRow(Protocol):
    """What the page needs to know of an album: `genrescope.library.AlbumResult`."""

    @property
    def path(self) -> str:
        """The folder of its tracks."""

    @property
    def title(self) -> str:
        """Title of the album, or name of the folder."""

    @property
    def artist(self) -> str | None:
        """Artist, if the tags name one."""

    @property
    def tracks(self) -> int:
        """Number of files."""

    @property
    def verdict(self) -> str:
        """``disagree``, where the tracks have different genres."""

    @property
    def agreement(self) -> float:
        """Share of the tracks with a sure genre that has the most frequent one."""

    @property
    def genres(self) -> Mapping[str, int]:
        """Number of tracks by genre, falling."""


class _Track(NamedTuple):
    """A classified file of a library; ``scores`` and ``styles`` by falling value."""

    path: str
    genre: str
    score: float
    is_uncertain: bool
    scores: Mapping[str, float]
    styles: Mapping[str, float]
    seconds: float
    model: str


def library_page(entries: Iterable[LibraryRow], *, title: str, albums: Iterable[AlbumRow] = ()) -> str:
    """Return a library's files as one self-contained HTML page.

    Parameters
    ----------
    entries : iterable of LibraryRow
        As from `genrescope.Library.entries`.
    title : str
        The page's heading.
    albums : iterable of AlbumRow
        As from `genrescope.Library.albums`; those whose tracks disagree are listed.

    Returns
    -------
    str
        The page.
    """
    rows = list(entries)
    tracks = [track for track in map(_track, rows) if track is not None]
    failed = [row.failure for row in rows if row.failure is not None]
    lead = f"{len(tracks)} tracks, {format_clock(sum(track.seconds for track in tracks))} of music"
    lead += f"; {len(failed)} files could not be read" if failed else ""
    charts = {"Genres": _genres(tracks), "Styles": _styles(tracks), "Scores": _scores(tracks)}
    if not charts["Styles"].bars:
        del charts["Styles"]
    uncertain = [track for track in tracks if track.is_uncertain]
    disagreeing = [album for album in albums if album.verdict == "disagree"]
    models = ", ".join(sorted({track.model for track in tracks}))
    return render_charts(
        "library_report.html",
        list(charts.values()),
        title=title,
        lead=f"{lead}.",
        footer=f"Model: {models}. Made by genrescope.",
        charts_by_title=charts,
        notes={
            "Scores": f"{len(uncertain)} of {len(tracks)} tracks are uncertain: their score is below the"
            " model's threshold, or they are not music."
        },
        tables=[
            (_albums_table(disagreeing), len(disagreeing)),
            (_uncertain_table(uncertain), len(uncertain)),
            (_failed_table(failed), len(failed)),
        ],
    )


def _track(entry: LibraryRow) -> _Track | None:
    """Return a classified file with the fields that it must have; None for one that failed."""
    if entry.genre is None or entry.score is None:
        return None
    return _Track(
        path=entry.path,
        genre=display_name(entry.genre) if entry.is_music else NOT_MUSIC,
        score=entry.score,
        is_uncertain=entry.is_uncertain,
        scores={display_name(label): score for label, score in entry.scores.items()},
        styles={display_name(label): chance for label, chance in entry.styles.items()},
        seconds=entry.seconds or 0.0,
        model=entry.model_name,
    )


def _genres(tracks: Sequence[_Track]) -> BarChart:
    """Return how many tracks have each genre."""
    counts = Counter(track.genre for track in tracks)
    # Colors follow the sorted names, not the counts, so that a genre keeps its color from one report to the
    # next as long as the genres are the same.
    colors = {name: series_variable(place % len(SERIES)) for place, name in enumerate(sorted(counts))}
    return _count_chart("genres", "Tracks per genre", counts.most_common(), colors)


def _styles(tracks: Sequence[_Track]) -> BarChart:
    """Return how many tracks have each of the most frequent styles."""
    counts = Counter(style for track in tracks for style in track.styles)
    label = "Tracks per style, of which a track may have several"
    return _count_chart("styles", label, counts.most_common(MAX_STYLES), {})


def _scores(tracks: Sequence[_Track]) -> BarChart:
    """Return how the scores are distributed."""
    # A score of exactly 1 belongs to the last bin; it has no bin of its own.
    bins = Counter(min(_BINS - 1, int(track.score * _BINS)) for track in tracks)
    counts = [(f"{10 * place} to {10 * place + 10} %", bins[place]) for place in reversed(range(_BINS))]
    return _count_chart("scores", "Tracks by the score of their genre", counts, {})


def _count_chart(
    chart_id: str, label: str, counts: Sequence[tuple[str, int]], colors: Mapping[str, str]
) -> BarChart:
    """Return counts as bars, the longest one for the highest count; names without a color are muted."""
    most = max((number for _, number in counts), default=0) or 1
    bars = tuple(
        Bar(name, number / most, str(number), colors.get(name, MUTED_VARIABLE)) for name, number in counts
    )
    return BarChart(chart_id, label, bars, caption=label)


def _albums_table(albums: Sequence[AlbumRow]) -> Table:
    """Return the albums whose tracks disagree, those that disagree most first."""
    chosen = sorted(albums, key=lambda album: (album.agreement, album.path, album.title))[:MAX_ALBUMS]
    rows = tuple(
        (
            album.title,
            album.artist or "",
            str(album.tracks),
            ", ".join(f"{display_name(genre)} {number}" for genre, number in album.genres.items()),
            format_percent(album.agreement),
            album.path,
        )
        for album in chosen
    )
    headers = ("Album", "Artist", "Tracks", "Genres", "Agreement", "Folder")
    return Table("Albums whose tracks disagree", headers, rows)


def _uncertain_table(uncertain: Sequence[_Track]) -> Table:
    """Return the uncertain tracks, those with the lowest scores first."""
    # A page with every uncertain track of a large library would be too large for a browser; the lowest
    # scores are those that are worth a look. Ties by path make the report the same each time.
    chosen = sorted(uncertain, key=lambda track: (track.score, track.path))[:MAX_UNCERTAIN]
    rows = tuple(
        (
            track.path,
            ", ".join(f"{name} {format_percent(score)}" for name, score in list(track.scores.items())[:3]),
            ", ".join(list(track.styles)[:3]),
            format_clock(track.seconds),
        )
        for track in chosen
    )
    return Table("Uncertain tracks", ("File", "Genres", "Styles", "Length"), rows)


def _failed_table(failed: Sequence[FailedFile]) -> Table:
    """Return the files that could not be read, with what to do about each."""
    rows = tuple((file.path, file.code, file.message, file.hint) for file in failed[:MAX_FAILED])
    return Table("Not read", ("File", "Error", "What happened", "What to do"), rows)
