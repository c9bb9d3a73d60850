"""FMA, the Free Music Archive data set, in the layout in which it is published.

M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson, "FMA: A Dataset for Music Analysis", ISMIR 2017:
``fma_metadata/tracks.csv`` (two lines of column names, one with the name of the index), ``genres.csv``, and
folders ``fma_small``, ``fma_medium``, ``fma_large`` or ``fma_full`` with files such as ``000/000002.mp3``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from genrescope.datasets.annotations import Annotation
from genrescope.datasets.base import (
    Dataset,
    DatasetIssue,
    build_dataset,
    keep_present,
    keep_trainable,
    keep_trainable_labels,
    summarize_missing,
)
from genrescope.datasets.official import part_of_split
from genrescope.datasets.tables import read_rows
from genrescope.errors import DataError
from genrescope.types import TaskKind, Track

# From the largest with clips of 30 s; the untrimmed tracks last, as few want them beside the clips.
FOLDERS: Final = ("fma_large", "fma_medium", "fma_small", "fma_full")
# Each subset contains those before it; fma_full has the tracks of fma_large, untrimmed.
_SUBSETS = ("small", "medium", "large")
_COLUMNS = (
    ("artist", "id"),
    ("set", "split"),
    ("set", "subset"),
    ("track", "genre_top"),
    ("track", "genres_all"),
)
# Texts about albums and artists, in columns that are not used, are longer than csv's limit of 128 KiB.
_LARGEST_FIELD = 1 << 24
_HINT = "unpack fma_metadata.zip of https://github.com/mdeff/fma again"


class _FmaRow(NamedTuple):
    """What is used of a row of ``tracks.csv``."""

    track: str
    artist: str
    split: str
    subset: str
    genre: str
    genres: tuple[int, ...]


def is_fma(path: Path) -> bool:
    """Return whether a folder holds FMA's metadata and audio, or is one of its audio folders.

    Parameters
    ----------
    path : Path
        A folder.
    """
    return _audio_folder(path) is not None and _metadata_folder(path) is not None


def load_fma(path: Path, task: TaskKind = "single-label") -> Dataset:
    """Read FMA: the top genre as label, all genres in ``all_labels``, artists as groups, the official split.

    For a multi-label task the labels are all genres, of tracks without a top genre too.

    Parameters
    ----------
    path : Path
        The folder that holds ``fma_metadata`` and the audio folders, of which the largest is read, or one of
        the audio folders beside ``fma_metadata``.
    task : {"single-label", "multi-label"}
        What the labels are read for.

    Returns
    -------
    Dataset
        Of a single-label task, tracks without a top genre, which are most of ``fma_large``, are left out.

    Raises
    ------
    DataError
        As `genrescope.datasets.load_dataset`; ``dataset_invalid`` with the path and line of metadata that
        are not FMA's.
    """
    metadata, audio = _metadata_folder(path), _audio_folder(path)
    if metadata is None or audio is None:
        raise DataError("dataset_not_found", f"{path}: no fma_metadata or no audio of FMA there", _HINT)
    subset = audio.name.removeprefix("fma_")
    subsets = _SUBSETS[: _SUBSETS.index(subset) + 1] if subset in _SUBSETS else _SUBSETS
    table = metadata / "tracks.csv"
    rows = [row for row in _read_tracks(table) if row.subset in subsets]
    multiple = task == "multi-label"
    labeled = [row for row in rows if (row.genres if multiple else row.genre)]
    genres = _all_genres(labeled, metadata)
    tracks = [
        Track(
            row.track,
            audio / row.track[:3] / f"{row.track}.mp3",
            genres[row.track][0] if multiple else row.genre,
            f"fma-artist-{row.artist}",
        )
        for row in labeled
    ]
    kept, faults = keep_present(tracks)
    splits = {"split": {row.track: row.split for row in labeled if row.split}}
    issues = [*_unlabeled(rows, labeled, table, task), *summarize_missing(faults, len(tracks), audio)]
    if multiple:
        several = {track: Annotation(dict.fromkeys(names, 1.0)) for track, names in genres.items()}
        whole, annotations, rare = keep_trainable_labels(kept, several, splits, audio)
        return build_dataset(audio.name, whole, [*issues, *rare], audio, splits, genres, annotations)
    trainable, rare = keep_trainable(kept, splits, audio)
    return build_dataset(audio.name, trainable, [*issues, *rare], audio, splits, genres)


def _metadata_folder(path: Path) -> Path | None:
    folders = (path / "fma_metadata", path, path.resolve().parent / "fma_metadata", path.resolve().parent)
    return next((folder for folder in folders if _is_tracks_table(folder / "tracks.csv")), None)


def _audio_folder(path: Path) -> Path | None:
    if path.resolve().name in FOLDERS:
        return path.resolve()
    return next((path / name for name in FOLDERS if (path / name).is_dir()), None)


def _is_tracks_table(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return {"set", "track"} <= set(file.readline(4096).strip().split(","))


def _unlabeled(
    rows: list[_FmaRow], labeled: list[_FmaRow], table: Path, task: TaskKind
) -> list[DatasetIssue]:
    absent = len(rows) - len(labeled)
    message = (
        f"left out: {absent} of {len(rows)} tracks have no {'top ' if task == 'single-label' else ''}genre"
    )
    return [DatasetIssue("genres_none", "", str(table), message)] if absent else []


def _all_genres(rows: list[_FmaRow], metadata: Path) -> dict[str, tuple[str, ...]]:
    path = metadata / "genres.csv"
    titles = {row.values["genre_id"]: row.values["title"] for row in read_rows(path, ("genre_id", "title"))}
    return {row.track: tuple(_title(number, titles, path) for number in row.genres) for row in rows}


def _title(number: int, titles: Mapping[str, str], path: Path) -> str:
    if str(number) not in titles:
        raise DataError("dataset_invalid", f"{path}: no genre {number}, which a track has", _HINT)
    return titles[str(number)]


def _read_tracks(path: Path) -> Iterator[_FmaRow]:
    """Yield the rows of ``tracks.csv``, one by one: the published file has 260 MB."""
    # The limit is the interpreter's, not the reader's, so it is set back.
    limit = csv.field_size_limit(_LARGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = list(zip(next(reader, []), next(reader, []), strict=False))
            missing = [".".join(name) for name in _COLUMNS if name not in header]
            if missing:
                raise DataError("dataset_invalid", f"{path}, line 2: no column {', '.join(missing)}", _HINT)
            columns = [header.index(name) for name in _COLUMNS]
            for fields in reader:
                if fields and fields[0] != "track_id":
                    yield _parse(path, reader.line_num, fields, len(header), columns)
    except (csv.Error, UnicodeDecodeError) as reason:
        raise DataError("dataset_invalid", f"{path}: {reason}", _HINT) from None
    finally:
        csv.field_size_limit(limit)


def _parse(path: Path, line: int, fields: list[str], width: int, columns: list[int]) -> _FmaRow:
    where = f"{path}, line {line}"
    if len(fields) != width or not fields[0].isdecimal():
        raise DataError("dataset_invalid", f"{where}: not a row of FMA", _HINT)
    artist, split, subset, genre, listed = (fields[column].strip() for column in columns)
    part = part_of_split(split) or ""
    if subset not in _SUBSETS or bool(split) != bool(part):
        raise DataError("dataset_invalid", f"{where}: the set is {subset!r}, {split!r}", _HINT)
    try:
        genres = tuple(int(number) for number in json.loads(listed or "[]"))
    except (ValueError, TypeError):
        raise DataError("dataset_invalid", f"{where}: the genres are {listed!r}", _HINT) from None
    return _FmaRow(f"{int(fields[0]):06d}", artist, part, subset, genre, genres)
