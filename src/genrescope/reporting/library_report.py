"""The page about a library: what is in it, how certain that is, and its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

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

T = TypeVar("T")


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
    tally = _Tally()
    for entry in entries:
        tally.add(entry)
    folder = common_folder([tally.first_path, tally.last_path])
    disagreeing = _Lowest[AlbumRow](MAX_ALBUMS)
    for album in albums:
        if album.verdict == "disagree":
            disagreeing.add((album.agreement, album.path, album.title), album)
    tracks = tally.states.total()
    series = genre_series([tally.music_genres])
    files = list_files(_chosen(tally.lowest), series, folder)
    charts = list(_charts(tally, genre_colors(series)))
    contents = [("Summary", "summary")]
    contents += [(f"Albums ({disagreeing.count:,})", "albums")] if disagreeing.count else []
    contents += [(f"Files ({len(files.rows):,})", "files-title")] if tracks else []
    contents += [(f"Not classified ({tally.failed:,})", "failed")] if tally.failed else []
    lead = f"{tracks} tracks, {format_clock(tally.seconds)} of music"
    lead += f"; {tally.failed} files could not be read" if tally.failed else ""
    return render_files(
        "library_report.html",
        {chart.id: chart.to_json() for chart in charts} | ({"files": files.data} if tracks else {}),
        title=title,
        lead=f"{lead}.",
        footer=f"Model: {', '.join(sorted(tally.models))}. Made by genrescope.",
        contents=contents,
        figures=list(_figures(tally)),
        charts=charts,
        folder=folder,
        albums=_albums_table(disagreeing.values(), folder),
        album_count=disagreeing.count,
        files=files,
        notes=list(_notes(tally)),
        failures=list(_failed_rows(tally.failures, folder)),
        failure_count=tally.failed,
    )


class _Lowest(Generic[T]):
    """The values with the lowest keys of any number that are added, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        self._limit = limit
        self._kept: list[tuple[tuple[float | str, ...], int, T]] = []

    def add(self, key: tuple[float | str, ...], value: T) -> None:
        """Keep a value, if its key is among the lowest."""
        self.count += 1
        # The number decides between equal keys, since values have no order.
        self._kept.append((key, self.count, value))
        if len(self._kept) >= 2 * self._limit:
            self._shorten()

    def values(self) -> list[T]:
        """Return what is kept, the lowest key first."""
        self._shorten()
        return [value for _, _, value in self._kept]

    def _shorten(self) -> None:
        self._kept.sort(key=lambda kept: kept[:2])
        del self._kept[self._limit :]


class _Tally:
    """What the page says of all files, counted in one pass: a library may have a million of them.

    Attributes
    ----------
    states, genres, music_genres, styles : Counter
        Tracks by certainty, by genre ("not music" among them, and without), and by style.
    bins : Counter
        Music by the tenth that its score is in.
    lowest : _Lowest of ListedFile
        The tracks with the lowest scores.
    failures : list of FailedFile
        The first files that were not classified, of ``failed``.
    first_path, last_path : str
        The least and the greatest path: what these have in common, all have.
    """

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.genres: Counter[str] = Counter()
        self.music_genres: Counter[str] = Counter()
        self.styles: Counter[str] = Counter()
        self.bins: Counter[int] = Counter()
        self.lowest = _Lowest[ListedFile](MAX_FILES)
        self.failures: list[FailedFile] = []
        self.failed = 0
        self.seconds = 0.0
        self.models: set[str] = set()
        self.first_path = self.last_path = ""

    def add(self, entry: LibraryRow) -> None:
        """Count a file."""
        self.first_path = min(self.first_path or entry.path, entry.path)
        self.last_path = max(self.last_path, entry.path)
        if (failure := entry.failure) is not None:
            self.failed += 1
            if len(self.failures) < MAX_FAILED:
                self.failures.append(failure)
        if (track := _track(entry)) is None:
            return
        self.models.add(entry.model_name)
        self.states[track.state] += 1
        self.genres[track.genre] += 1
        self.styles.update(track.styles or ())
        self.seconds += track.seconds
        # Ties by path make the report the same each time.
        self.lowest.add((track.score, track.path), track)
        if track.state != NOT_MUSIC:
            self.music_genres[track.genre] += 1
            # A score of exactly 1 belongs to the last bin; it has no bin of its own.
            self.bins[min(_BINS - 1, int(track.score * _BINS))] += 1


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


def _chosen(lowest: _Lowest[ListedFile]) -> list[ListedFile]:
    """Return all files by path; of too many, those with the lowest scores, which are worth a look."""
    files = lowest.values()
    return sorted(files, key=lambda track: track.path) if lowest.count <= MAX_FILES else files


def _notes(tally: _Tally) -> Iterator[str]:
    """Yield what must be known to read the table."""
    tracks = tally.states.total()
    yield (
        f"{tracks - tally.states[SURE]} of {tracks} tracks are unsure: their score is below the model's"
        " threshold, or they are not music."
    )
    if tracks > MAX_FILES:
        yield (f"These are the {MAX_FILES} with the lowest scores; 'genrescope library export' writes all.")


def _figures(tally: _Tally) -> Iterator[tuple[str, str]]:
    """Yield the key figures: name and value."""
    tracks = tally.states.total()
    yield "tracks", f"{tracks:,}"
    for state in (SURE, UNSURE, NOT_MUSIC):
        if tally.states[state]:
            yield f"{state}, {format_percent(tally.states[state] / tracks)}", f"{tally.states[state]:,}"
    if tally.failed:
        yield "not classified", f"{tally.failed:,}"


def _charts(tally: _Tally, colors: Mapping[str, str]) -> Iterator[BarChart]:
    """Yield how many tracks have each genre, each of the most frequent styles, and each range of scores."""
    yield count_chart("genres", "Tracks per genre", tally.genres.most_common(), colors)
    if tally.styles:
        yield count_chart("styles", "Tracks per style", tally.styles.most_common(MAX_STYLES), {})
    bins = [(f"{10 * place} to {10 * place + 10} %", tally.bins[place]) for place in reversed(range(_BINS))]
    yield count_chart("scores", "Tracks by the score of their genre", bins, {})


def _albums_table(albums: Sequence[AlbumRow], folder: str) -> Table:
    """Return the albums whose tracks disagree, those that disagree most first."""
    rows = [
        (
            album.title,
            album.artist or "",
            ", ".join(f"{display_name(genre)} {number}" for genre, number in album.genres.items()),
            format_percent(album.agreement),
            str(album.tracks),
            album.path,
        )
        for album in albums
    ]
    headers = ("Album", "Artist", "Genres", "Agreement", "Tracks", "Folder")
    return Table("Albums whose tracks disagree", headers, tuple(relative_rows(rows, folder, 5)))


def _failed_rows(failed: Sequence[FailedFile], folder: str) -> Iterator[tuple[str, ...]]:
    """Yield the files that could not be read, with what to do about each."""
    rows = [(file.path, file.code, file.message, file.hint) for file in failed]
    yield from relative_rows(rows, folder, 0)
