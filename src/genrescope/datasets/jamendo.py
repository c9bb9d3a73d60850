"""The MTG-Jamendo data set, in the layout in which it is published.

D. Bogdanov, M. Won, P. Tovstogan, A. Porter, X. Serra, "The MTG-Jamendo Dataset for Automatic Music Tagging",
Machine Learning for Music Discovery Workshop, ICML 2019: ``data/autotagging_genre.tsv`` with the columns
TRACK_ID, ARTIST_ID, ALBUM_ID, PATH, DURATION and TAGS (one or more, each ``genre---rock``), its splits in
``data/splits/split-0/autotagging_genre-train.tsv`` and so on, and audio or mel arrays such as ``14/214.mp3``,
``14/214.low.mp3`` or ``14/214.npy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from genrescope.datasets.annotations import Annotation
from genrescope.datasets.base import (
    Dataset,
    DatasetIssue,
    build_dataset,
    keep_present,
    keep_trainable,
    keep_trainable_labels,
    normalize_label,
    summarize_missing,
)
from genrescope.datasets.tables import read_text
from genrescope.errors import DataError
from genrescope.types import TaskKind, Track, TrackKind

_HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"
# The lists of tracks that have tags of genres, the best for genres first.
_LISTS = (
    "autotagging_genre.tsv",
    "autotagging.tsv",
    "autotagging_top50tags.tsv",
    "raw_30s_cleantags_50artists.tsv",
    "raw_30s_cleantags.tsv",
    "raw_30s.tsv",
    "raw.tsv",
)
_DATA_FOLDERS = ("data", ".", "mtg-jamendo-dataset/data")
_FILE_FOLDERS = (".", "audio", "audio-low", "mp3", "songs", "melspecs", "raw_30s/audio", "raw_30s/audio-low",
                 "raw_30s/melspecs")  # fmt: skip
_SUFFIXES: dict[TrackKind, tuple[str, ...]] = {"audio": (".mp3", ".low.mp3"), "spectrogram": (".npy",)}
_PARTS = ("train", "validation", "test")
_HINT = "give the repository mtg-jamendo-dataset with its audio or melspecs folder inside"


class _JamendoRow(NamedTuple):
    """A row of a list of tracks: ``path`` is relative to the folder of files, ``genres`` the genre tags."""

    track: str
    artist: str
    path: str
    genres: tuple[str, ...]


def is_jamendo(path: Path) -> bool:
    """Return whether a folder, or a ``.tsv`` file, has lists of tracks as MTG-Jamendo's.

    Parameters
    ----------
    path : Path
        A folder or a file.
    """
    return any(_has_header(listed) for listed in _track_lists(path))


def load_jamendo(path: Path, kind: TrackKind | None = None, task: TaskKind = "single-label") -> Dataset:
    """Read MTG-Jamendo: tracks with one genre, the artist as group, and all published splits.

    For a multi-label task also the tracks with several genres, with all of them.

    Parameters
    ----------
    path : Path
        The folder with the lists of tracks (the repository) and, in it, the folder with the files; or one of
        the ``.tsv`` files, with the files beside it.
    kind : {"audio", "spectrogram", "table"} or None
        Which files; by itself audio where there is any, else mel arrays.
    task : {"single-label", "multi-label"}
        What the labels are read for.

    Returns
    -------
    Dataset
        Of a single-label task, tracks with several genres are counted in an issue and left out. Its splits
        are ``split-0`` to ``split-4``, as far as their files are there.

    Raises
    ------
    DataError
        As `genrescope.datasets.load_dataset`; ``dataset_invalid`` with the path and line of a row that is
        not one of MTG-Jamendo's.
    """
    lists = [listed for listed in _track_lists(path) if _has_header(listed)]
    if not lists:
        raise DataError("dataset_not_found", f"{path}: no lists of tracks of MTG-Jamendo there", _HINT)
    source = lists[0]
    root = path.parent if path.is_file() else path
    splits = _read_splits(source)
    rows = _read_list(source)
    if task == "multi-label":
        labeled = [row for row in rows if row.genres]
        tracks, faults = _locate(labeled, root, kind)
        several = {row.track: Annotation(dict.fromkeys(row.genres, 1.0)) for row in labeled}
        whole, annotations, rare = keep_trainable_labels(tracks, several, splits, source)
        issues = [*_other_issues(rows, source, ("genres_none",)), *faults, *rare]
        return build_dataset("mtg-jamendo", whole, issues, source, splits, annotations=annotations)
    single = [row for row in rows if len(row.genres) == 1]
    tracks, faults = _locate(single, root, kind)
    trainable, rare = keep_trainable(tracks, splits, source)
    issues = [*_other_issues(rows, source), *faults, *rare]
    return build_dataset("mtg-jamendo", trainable, issues, source, splits)


def _track_lists(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".tsv" else []
    return [path / folder / name for folder in _DATA_FOLDERS for name in _LISTS]


def _has_header(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline(4096).strip() == _HEADER


def _read_list(path: Path) -> list[_JamendoRow]:
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        fields = line.split("\t")
        if number == 1 or not line.strip():
            continue
        name = PurePosixPath(fields[3] if len(fields) > 5 else "..")
        if len(fields) < 6 or name.is_absolute() or ".." in name.parts:
            message = f"{path}, line {number}: not a row of MTG-Jamendo"
            raise DataError("dataset_invalid", message, _HINT)
        tags = (tag.partition("---") for tag in fields[5:])
        genres = [normalize_label(name.strip()) for category, _, name in tags if category == "genre"]
        rows.append(_JamendoRow(fields[0], fields[1], fields[3], tuple(dict.fromkeys(filter(None, genres)))))
    return rows


def _read_splits(source: Path) -> dict[str, dict[str, str]]:
    """Read the published splits of a list: a part is the file of that name that lists its tracks."""
    splits: dict[str, dict[str, str]] = {}
    for folder in sorted((source.parent / "splits").glob("split-*")):
        parts: dict[str, str] = {}
        for part in _PARTS:
            listed = folder / f"{source.stem}-{part}.tsv"
            if listed.is_file():
                parts.update(dict.fromkeys((row.track for row in _read_list(listed)), part))
        if parts:
            splits[folder.name] = parts
    return splits


def _locate(
    rows: Sequence[_JamendoRow], root: Path, kind: TrackKind | None
) -> tuple[list[Track], list[DatasetIssue]]:
    """Return the tracks whose files are there, of the first kind of which there is any."""
    kinds: tuple[TrackKind, ...] = ("audio", "spectrogram") if kind is None else (kind,)
    faults: list[DatasetIssue] = []
    for wanted in kinds:
        folder, suffix = _file_folder(rows, root, _SUFFIXES.get(wanted, ()))
        named = [
            Track(row.track, folder / _file_name(row, suffix), row.genres[0], row.artist, wanted)
            for row in rows
        ]
        kept, faults = keep_present(named)
        if kept:
            return kept, summarize_missing(faults, len(named), folder)
    return [], summarize_missing(faults, len(rows), root)


def _file_folder(rows: Sequence[_JamendoRow], root: Path, suffixes: Sequence[str]) -> tuple[Path, str]:
    """Return the folder that holds the first file that is found, and the ending of the names there."""
    folders = [(root / name, suffix) for name in _FILE_FOLDERS for suffix in suffixes]
    present = [(folder, suffix) for folder, suffix in folders if folder.is_dir()]
    for row in rows:
        for folder, suffix in present:
            if (folder / _file_name(row, suffix)).is_file():
                return folder, suffix
    return root, ".mp3"


def _file_name(row: _JamendoRow, suffix: str) -> str:
    """Return the path of a track's audio or array, relative to the folder of files."""
    return row.path.removesuffix(".mp3") + suffix


def _other_issues(
    rows: Sequence[_JamendoRow], source: Path, codes: Sequence[str] = ("genres_none", "genres_several")
) -> list[DatasetIssue]:
    """Return issues about the tracks that have no genre, or several."""
    none = sum(not row.genres for row in rows)
    several = sum(len(row.genres) > 1 for row in rows)
    found = (("genres_none", none, "no genre"), ("genres_several", several, "several genres"))
    return [
        DatasetIssue(code, "", str(source), f"left out: {count} of {len(rows)} tracks have {what}")
        for code, count, what in found
        if count and code in codes
    ]
