"""The table of files of a page: a row for each file, and what its details show.

``templates/files.html`` has the rows; ``templates/files.js`` sorts, filters and searches them, and draws the
details of a file when its row is opened, from the JSON block of the page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from genrescope.reporting.charts import timeline_data
from genrescope.reporting.formatting import common_folder, format_clock, format_percent
from genrescope.types import NOT_MUSIC, Timeline

MAX_BARS = 10
MAX_NEXT = 2
_MAX_POSSIBLE = 5
# What is rounded to 0 % says nothing.
_MIN_SHARE = 0.005
# The state of a file, and what its filter is called.
SURE, UNSURE = "sure", "unsure"
STATES = (SURE, UNSURE, NOT_MUSIC)
# Said once for all files where it is true of all; nothing is wrong with these files.
EXCERPTS = "excerpts"


@dataclass(frozen=True)
class ListedFile:
    """A classified file, with genres and styles named as people write them.

    Attributes
    ----------
    path : str
    genre : str
        What the row shows; ``not music`` for what is not.
    score : float
        Of the genre, or the probability that the file is not music; 0 to 1.
    state : str
        One of `STATES`.
    seconds : float
        Length of the track.
    scores : mapping of str to float
        By genre, falling; empty for what is not music.
    style : str or None
        Of the genre, where the answer is a style.
    possible : tuple of str
        The genres that an unsure file may be of.
    styles : mapping of str to float
        The probable ones, by falling probability.
    flags : tuple of str
        What is to be known of the file, such as ``truncated``.
    timeline : Timeline or None
    """

    path: str
    genre: str
    score: float
    state: str
    seconds: float
    scores: Mapping[str, float]
    style: str | None = None
    possible: tuple[str, ...] = ()
    styles: Mapping[str, float] | None = None
    flags: tuple[str, ...] = ()
    timeline: Timeline | None = None


class _Row(NamedTuple):
    """What the template shows of one file; ``series`` is the place of the genre's color."""

    folder: str
    name: str
    genre: str
    style: str | None
    series: int | None
    state: str
    possible: str
    flags: tuple[str, ...]
    share: float
    score: str
    next: str
    styles: str
    length: str


class FileList(NamedTuple):
    """The table of files of a page.

    Attributes
    ----------
    rows : list of _Row
    genres, states : list of (str, int)
        Which the rows have, and how often: genres by falling number, states in the order of `STATES`.
    folder : str
        Of all files; it is left out of their paths.
    common_flags : list of str
        Flags that all files have.
    has_styles : bool
        Whether any file has styles.
    data : dict
        JSON-ready: what the script draws of each file, and the color of each genre.
    """

    rows: list[_Row]
    genres: list[tuple[str, int]]
    states: list[tuple[str, int]]
    folder: str
    common_flags: list[str]
    has_styles: bool
    data: dict[str, Any]


def list_files(files: Sequence[ListedFile], series: Mapping[str, int], folder: str | None = None) -> FileList:
    """Return the table of files of a page.

    Parameters
    ----------
    files : sequence of ListedFile
        In the order of the rows.
    series : mapping of str to int
        The place of each genre's color, as from `genrescope.reporting.charts.genre_series`.
    folder : str, optional
        What is left out of all paths. None: `common_folder` of the files.
    """
    folder = common_folder([file.path for file in files]) if folder is None else folder
    shared = set.intersection(*(set(file.flags) for file in files)) if len(files) > 1 else set()
    states = Counter(file.state for file in files)
    return FileList(
        rows=[_row(file, series, folder, shared) for file in files],
        genres=Counter(file.genre for file in files).most_common(),
        states=[(state, states[state]) for state in STATES if states[state]],
        folder=folder,
        common_flags=sorted(shared),
        has_styles=any(file.styles for file in files),
        data={
            "kind": "files",
            "series": dict(series),
            "files": [_details(file) for file in files],
        },
    )


def _row(file: ListedFile, series: Mapping[str, int], folder: str, shared: set[str]) -> _Row:
    path = file.path.removeprefix(folder)
    # A path of any system: the report may be of files from elsewhere.
    cut = max(path.rfind("/"), path.rfind("\\")) + 1
    if cut == len(path):
        cut = 0
    following = [(name, score) for name, score in file.scores.items() if name != file.genre]
    return _Row(
        folder=path[:cut],
        name=path[cut:],
        genre=file.genre,
        style=file.style,
        series=series.get(file.genre) if file.state != NOT_MUSIC else None,
        state=file.state,
        possible=_possible(file.possible) if file.state == UNSURE else "",
        flags=tuple(flag for flag in file.flags if flag not in shared),
        share=round(100 * min(1.0, max(0.0, file.score)), 1),
        score=_percent(file.score),
        next=_shares([(name, score) for name, score in following[:MAX_NEXT] if score >= _MIN_SHARE]),
        styles=_shares(list((file.styles or {}).items())[:3]),
        length=format_clock(file.seconds),
    )


def _possible(genres: Sequence[str]) -> str:
    """Return the genres that a file may be of, the first of many."""
    if len(genres) <= _MAX_POSSIBLE:
        return ", ".join(genres)
    return f"{', '.join(genres[: _MAX_POSSIBLE - 1])} and {len(genres) - _MAX_POSSIBLE + 1} more"


def _shares(named: Sequence[tuple[str, float]]) -> str:
    # A line does not break before the sign.
    return ", ".join(f"{name} {_percent(share)}".replace(" %", "\u00a0%") for name, share in named)


def _percent(share: float) -> str:
    """Return a share as text; what is not quite all does not read as all of it."""
    return "> 99 %" if 0.995 <= share < 1 else format_percent(share)


def _details(file: ListedFile) -> dict[str, Any]:
    """Return what is drawn of one file; only what there is, since a page may have thousands."""
    found: dict[str, Any] = {"scores": _rounded(list(file.scores.items())[:MAX_BARS])}
    if file.styles:
        found["styles"] = _rounded(list(file.styles.items())[:MAX_BARS])
    if file.timeline is not None:
        found["timeline"] = timeline_data(file.timeline)
    return found


def _rounded(named: Sequence[tuple[str, float]]) -> dict[str, float]:
    return {name: round(float(share), 4) for name, share in named}


def relative_rows(rows: Sequence[tuple[str, ...]], folder: str, column: int) -> Iterator[tuple[str, ...]]:
    """Yield rows with one cell, a path, relative to a folder.

    Parameters
    ----------
    rows : sequence of tuple of str
    folder : str
        As from `common_folder`; it is ``.`` itself.
    column : int
        Where the path is.
    """
    for row in rows:
        path = row[column]
        shown = "." if path == folder[:-1] else path.removeprefix(folder)
        yield (*row[:column], shown, *row[column + 1 :])
