"""The page about a library: what is in it, how certain that is, and its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from genrescope.labels import display_name
from genrescope.reporting.blocks import Table
from genrescope.reporting.charts import BarChart, count_chart, genre_colors, genre_series
from genrescope.reporting.file_list import SURE, UNSURE, ListedFile, list_files, relative_rows
from genrescope.reporting.formatting import common_folder, format_clock, format_percent
from genrescope.reporting.pages import render_files
from genrescope.types import NOT_MUSIC, FailedFile

MAX_ALBUMS = 200
MAX_FILES = 2000
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
    def music(self) -> float | None:
        """Probability that the track is music; None where the model does not tell."""

    @property
    def genre_set(self) -> tuple[str, ...]:
        """The genres that the track may be of."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What is special about the audio or the answer."""

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


def library_page(entries: Iterable[LibraryRow], *, title: str, albums: Iterable[AlbumRow] = ()) -> str:
    """Return a library's files as one self-contained HTML page.

    Parameters
    ----------
    entries : iterable of LibraryRow
        As from `genrescope.Library.entries`. Of more than `MAX_FILES` those with the lowest scores are
        listed.
    title : str
        The page's heading.
    albums : iterable of AlbumRow
        As from `genrescope.Library.albums`; those whose tracks disagree are listed.

    Returns
    -------
    str
        The page. Paths are relative to the folder that all files have in common.
    """
    rows = list(entries)
    folder = common_folder([row.path for row in rows])
    tracks = [track for track in map(_track, rows) if track is not None]
    failed = [row.failure for row in rows if row.failure is not None]
    disagreeing = [album for album in albums if album.verdict == "disagree"]
    series = genre_series([Counter(track.genre for track in tracks if track.state != NOT_MUSIC)])
    files = list_files(_chosen(tracks), series, folder)
    charts = list(_charts(tracks, genre_colors(series)))
    contents = [("Summary", "summary")]
    contents += [(f"Albums ({len(disagreeing):,})", "albums")] if disagreeing else []
    contents += [(f"Files ({len(files.rows):,})", "files-title")] if tracks else []
    contents += [(f"Not classified ({len(failed):,})", "failed")] if failed else []
    lead = f"{len(tracks)} tracks, {format_clock(sum(track.seconds for track in tracks))} of music"
    lead += f"; {len(failed)} files could not be read" if failed else ""
    models = ", ".join(sorted({row.model_name for row in rows if row.genre is not None}))
    return render_files(
        "library_report.html",
        {chart.id: chart.to_json() for chart in charts} | ({"files": files.data} if tracks else {}),
        title=title,
        lead=f"{lead}.",
        footer=f"Model: {models}. Made by genrescope.",
        contents=contents,
        figures=list(_figures(tracks, len(failed))),
        charts=charts,
        folder=folder,
        albums=_albums_table(disagreeing, folder),
        album_count=len(disagreeing),
        files=files,
        notes=list(_notes(tracks)),
        failures=list(_failed_rows(failed[:MAX_FAILED], folder)),
        failure_count=len(failed),
    )


def _track(entry: LibraryRow) -> ListedFile | None:
    """Return what the table shows of a classified file; None for one that failed."""
    if entry.genre is None or entry.score is None:
        return None
    state = NOT_MUSIC if not entry.is_music else UNSURE if entry.is_uncertain else SURE
    return ListedFile(
        path=entry.path,
        genre=display_name(entry.genre) if entry.is_music else NOT_MUSIC,
        # What is not music has scores of genres as well, but they say nothing.
        score=entry.score if entry.is_music else 1 - (entry.music or 0.0),
        state=state,
        seconds=entry.seconds or 0.0,
        scores={display_name(label): score for label, score in entry.scores.items() if entry.is_music},
        possible=tuple(map(display_name, entry.genre_set)),
        styles={display_name(label): chance for label, chance in entry.styles.items()},
        flags=entry.flags,
    )


def _chosen(tracks: Sequence[ListedFile]) -> Sequence[ListedFile]:
    """Return all files by path; of too many, those with the lowest scores, which are worth a look."""
    # Ties by path make the report the same each time.
    lowest = sorted(tracks, key=lambda track: (track.score, track.path))[:MAX_FILES]
    return sorted(lowest, key=lambda track: track.path) if len(tracks) <= MAX_FILES else lowest


def _notes(tracks: Sequence[ListedFile]) -> Iterator[str]:
    """Yield what must be known to read the table."""
    unsure = sum(track.state != SURE for track in tracks)
    yield (
        f"{unsure} of {len(tracks)} tracks are unsure: their score is below the model's threshold, or"
        " they are not music."
    )
    if len(tracks) > MAX_FILES:
        yield (f"These are the {MAX_FILES} with the lowest scores; 'genrescope library export' writes all.")


def _figures(tracks: Sequence[ListedFile], failed: int) -> Iterator[tuple[str, str]]:
    """Yield the key figures: name and value."""
    states = Counter(track.state for track in tracks)
    yield "tracks", f"{len(tracks):,}"
    for state in (SURE, UNSURE, NOT_MUSIC):
        if states[state]:
            yield f"{state}, {format_percent(states[state] / len(tracks))}", f"{states[state]:,}"
    if failed:
        yield "not classified", f"{failed:,}"


def _charts(tracks: Sequence[ListedFile], colors: Mapping[str, str]) -> Iterator[BarChart]:
    """Yield how many tracks have each genre, each of the most frequent styles, and each range of scores."""
    genres = Counter(track.genre for track in tracks)
    yield count_chart("genres", "Tracks per genre", genres.most_common(), colors)
    styles = Counter(style for track in tracks for style in track.styles or ())
    if styles:
        yield count_chart("styles", "Tracks per style", styles.most_common(MAX_STYLES), {})
    # A score of exactly 1 belongs to the last bin; it has no bin of its own.
    scores = [track.score for track in tracks if track.state != NOT_MUSIC]
    bins = Counter(min(_BINS - 1, int(score * _BINS)) for score in scores)
    counts = [(f"{10 * place} to {10 * place + 10} %", bins[place]) for place in reversed(range(_BINS))]
    yield count_chart("scores", "Tracks by the score of their genre", counts, {})


def _albums_table(albums: Sequence[AlbumRow], folder: str) -> Table:
    """Return the albums whose tracks disagree, those that disagree most first."""
    chosen = sorted(albums, key=lambda album: (album.agreement, album.path, album.title))[:MAX_ALBUMS]
    rows = [
        (
            album.title,
            album.artist or "",
            ", ".join(f"{display_name(genre)} {number}" for genre, number in album.genres.items()),
            format_percent(album.agreement),
            str(album.tracks),
            album.path,
        )
        for album in chosen
    ]
    headers = ("Album", "Artist", "Genres", "Agreement", "Tracks", "Folder")
    return Table("Albums whose tracks disagree", headers, tuple(relative_rows(rows, folder, 5)))


def _failed_rows(failed: Sequence[FailedFile], folder: str) -> Iterator[tuple[str, ...]]:
    """Yield the files that could not be read, with what to do about each."""
    rows = [(file.path, file.code, file.message, file.hint) for file in failed]
    yield from relative_rows(rows, folder, 0)
