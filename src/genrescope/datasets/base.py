"""Read a data set: a copy of GTZAN, one folder per genre, or a CSV, into tracks and findings.

Whatever lies there, the answer is alike: tracks that exist, in order of their ids, each with a label and a
group, and a finding for everything that was left out or is odd. Nothing is decoded here.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast, get_args

from genrescope.datasets import gtzan as literature
from genrescope.datasets.duplicates import find_duplicates
from genrescope.datasets.spectrograms import (
    SPECTROGRAM_SAMPLES,
    SPECTROGRAM_SUFFIXES,
    column_frames,
    interpolate_columns,
    load_spectrogram,
)
from genrescope.datasets.tables import Table, paper_means, read_rows, read_table, table_header
from genrescope.errors import ConfigError, DataError
from genrescope.types import AUDIO_SUFFIXES, Track, TrackKind

__all__ = [
    "AUDIO_SUFFIXES",
    "SPECTROGRAM_SAMPLES",
    "Dataset",
    "DatasetIssue",
    "Table",
    "column_frames",
    "interpolate_columns",
    "load_dataset",
    "load_gtzan",
    "load_spectrogram",
    "paper_means",
    "read_table",
]

_GTZAN_TABLE = "features_30_sec.csv"
_SHARED_COLUMNS: Mapping[TrackKind, str] = {"audio": "audio", "spectrogram": "logmel"}
_LAYOUTS = (
    "give a folder with one sub-folder per genre, a GTZAN folder, or a CSV with the columns path and label"
)


@dataclass(frozen=True)
class DatasetIssue:
    """Something odd in a data set.

    ``code`` is one of ``file_missing``, ``file_empty``, ``file_unreadable``, ``genre_empty``,
    ``known_corrupt``, ``not_here``, ``replica``; ``track`` is empty where no single track is meant.
    """

    code: str
    track: str
    path: str
    message: str


@dataclass(frozen=True)
class Dataset:
    """Tracks in order of their ids, the sorted names of their genres, and what was odd.

    ``published`` holds what the literature assigns to these tracks, by name and then by track: for GTZAN
    ``fault-filtered`` (train, validation, test) and ``artist-folds`` (1, 2, 3).
    """

    name: str
    tracks: tuple[Track, ...]
    classes: tuple[str, ...]
    issues: tuple[DatasetIssue, ...] = ()
    official_splits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def load_dataset(path: Path, *, kind: str | None = None) -> Dataset:
    """Recognize what lies at ``path``, and read it.

    * GTZAN: ``genres/<genre>/*.au`` or ``genres_original/<genre>/*.wav``, or the layout of ``gtzan``.
      Known by its file names; groups are artists. ``jazz.00054`` is left out, as in most publications.
    * A folder with one sub-folder per genre. Files lie at any depth; those that share a folder just below
      the genre (an artist, an album) share a group, others are a group each.
    * A CSV with the columns ``path`` (relative to the CSV) and ``label``, and perhaps ``group``, ``id``.
    * A CSV of features with the column ``filename``, as ``read_table``.

    Byte-identical files share a group.

    Parameters
    ----------
    kind : {"audio", "spectrogram", "table", "auto"} or None
        What to take where there is a choice; by itself audio before spectrograms.

    Raises
    ------
    DataError
        ``dataset_not_found``, ``dataset_invalid``, ``dataset_empty``; ``dataset_too_small`` for a single
        genre.
    ConfigError
        ``invalid_argument`` for an unknown ``kind``.
    """
    path = Path(path)
    wanted = _checked_kind(kind)
    try:
        if path.is_file():
            return _read_csv(path, wanted)
        if not path.is_dir():
            raise DataError("dataset_not_found", f"{path}: nothing there", _LAYOUTS)
        if _is_shared_gtzan(path):
            return load_gtzan(path, wanted or "audio")
        if wanted == "table":
            return _read_table(path / _GTZAN_TABLE)
        return _read_folder(_genre_root(path), wanted)
    except OSError as reason:
        raise DataError(
            "dataset_not_found",
            f"{path}: cannot be read: {reason.strerror or reason}",
            "check its permissions",
        ) from None


def load_gtzan(folder: Path, kind: TrackKind = "audio") -> Dataset:
    """Read GTZAN from a folder with ``tracks.csv``, ``audio``, ``logmel`` and ``features_30_sec.csv``.

    ``tracks.csv`` says, in columns ``audio`` and ``logmel``, which files there are; a folder may hold some.

    Raises
    ------
    DataError
        As ``read``.
    """
    kind = _checked_kind(kind) or "audio"
    if kind == "table":
        return _read_table(folder / _GTZAN_TABLE)
    column = _SHARED_COLUMNS[kind]
    rows = [row.values for row in read_rows(folder / "tracks.csv", ("track", "genre", column))]
    tracks = [
        Track(row["track"], folder / row[column], row["genre"], row["track"], kind)
        for row in rows
        if row[column]
    ]
    findings = _not_here([row["track"] for row in rows if not row[column]], len(rows), folder / column)
    return _gtzan_dataset(tracks, findings, folder)


def _checked_kind(kind: str | None) -> TrackKind | None:
    kinds = get_args(TrackKind)
    if kind in (None, "auto"):
        return None
    if kind not in kinds:
        near = difflib.get_close_matches(str(kind), kinds, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(kinds)}"
        raise ConfigError("invalid_argument", f"unknown kind of data {kind!r}", hint)
    return cast(TrackKind, kind)


# GTZAN


def _is_shared_gtzan(folder: Path) -> bool:
    index = folder / "tracks.csv"
    return index.is_file() and {"track", "genre", "audio", "logmel"} <= set(table_header(index))


def _not_here(absent: list[str], total: int, folder: Path) -> list[DatasetIssue]:
    corrupt = literature.load_index().corrupt
    findings = [_corrupt_finding(track, folder) for track in absent if track in corrupt]
    if len(absent) > len(findings):
        message = f"{len(absent)} of {total} tracks have no file here"
        findings.append(DatasetIssue("not_here", "", str(folder), message))
    return findings


def _corrupt_finding(track: str, path: Path) -> DatasetIssue:
    return DatasetIssue("known_corrupt", track, str(path), "left out: damaged in the copies that circulate")


def _gtzan_dataset(tracks: Iterable[Track], findings: Iterable[DatasetIssue], source: Path) -> Dataset:
    """Give tracks with GTZAN's names their artists as groups, and the published splits."""
    index = literature.load_index()
    kept, losses = _present(tracks)
    grouped = [replace(track, group=_gtzan_group(track)) for track in kept]
    paths = {track.id: str(track.path) for track in grouped}
    replicas = [
        _replica_finding(track, paths[track], index.replicas[track])
        for track in sorted(paths)
        if index.replicas.get(track) in paths
    ]
    wholes = {track: index.canonical_id(track) for track in paths}
    published = {
        name: {track: part[whole] for track, whole in wholes.items() if whole and whole in part}
        for name, part in (("fault-filtered", index.fault_filtered), ("artist-folds", index.folds))
    }
    return _dataset("gtzan", grouped, [*findings, *losses, *replicas], source, published)


def _gtzan_group(track: Track) -> str:
    whole = literature.load_index().canonical_id(track.id)
    return literature.load_index().groups[whole] if whole else track.group


def _is_gtzan(tracks: Iterable[Track], name: Callable[[Track], str]) -> bool:
    index = literature.load_index()
    wholes = [(index.canonical_id(name(track)), track.label) for track in tracks]
    return all(whole is not None and whole.startswith(f"{label}.") for whole, label in wholes)


# Folders


def _genre_root(path: Path) -> Path:
    """Step into a copy of GTZAN as it is unpacked."""
    inside = (path / name for name in ("genres_original", "genres", "Data/genres_original"))
    return next((folder for folder in inside if folder.is_dir()), path)


def _read_folder(root: Path, kind: TrackKind | None) -> Dataset:
    findings: list[DatasetIssue] = []
    tracks = list(_folder_tracks(root, kind or "audio", findings))
    if not tracks and kind is None:
        findings.clear()
        tracks = list(_folder_tracks(root, "spectrogram", findings))
    if tracks and _is_gtzan(tracks, lambda track: track.path.stem):
        corrupt = literature.load_index().corrupt
        findings += [_corrupt_finding(t.path.stem, t.path) for t in tracks if t.path.stem in corrupt]
        named = [replace(t, id=t.path.stem, group=t.path.stem) for t in tracks if t.path.stem not in corrupt]
        return _gtzan_dataset(named, findings, root)
    kept, losses = _present(tracks)
    united, replicas = _unite_replicas(kept)
    return _dataset(root.resolve().name, united, [*findings, *losses, *replicas], root)


def _folder_tracks(root: Path, kind: TrackKind, findings: list[DatasetIssue]) -> Iterator[Track]:
    suffixes = AUDIO_SUFFIXES if kind == "audio" else SPECTROGRAM_SUFFIXES
    genres = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    for genre in genres:
        files = list(_walk(genre, suffixes, findings))
        if not files:
            findings.append(DatasetIssue("genre_empty", "", str(genre), f"no {kind} files in this folder"))
        for path in files:
            below = path.relative_to(root).parts
            name = "/".join(below)
            yield Track(name, path, _label(genre.name), below[1] if len(below) > 2 else name, kind)


def _walk(folder: Path, suffixes: frozenset[str], findings: list[DatasetIssue]) -> Iterator[Path]:
    def note(reason: OSError) -> None:
        message = f"left out: {reason.strerror or reason}"
        findings.append(DatasetIssue("file_unreadable", "", str(reason.filename), message))

    for parent, folders, files in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield Path(parent, name)


# CSV


def _read_csv(path: Path, kind: TrackKind | None) -> Dataset:
    names = table_header(path)
    if kind == "table" or (kind is None and "filename" in names and "path" not in names):
        return _read_table(path)
    tracks = [track for track in _manifest_tracks(path) if kind in (None, track.kind)]
    kept, losses = _present(tracks)
    united, replicas = _unite_replicas(kept)
    return _dataset(path.stem, united, [*losses, *replicas], path)


def _manifest_tracks(path: Path) -> list[Track]:
    tracks: list[Track] = []
    lines: dict[str, int] = {}
    for line, values in read_rows(path, required=("path", "label")):
        empty = next((name for name in ("path", "label") if not values[name]), None)
        if empty:
            raise DataError("dataset_invalid", f"{path}, line {line}: {empty} is empty", "fill it in")
        name = values.get("id") or values["path"]
        if name in lines:
            message = f"{path}, line {line}: {name!r} stands already on line {lines[name]}"
            raise DataError("dataset_invalid", message, "list every track once, each with its own id")
        lines[name] = line
        file = path.parent / values["path"]
        kind: TrackKind = "spectrogram" if file.suffix.lower() in SPECTROGRAM_SUFFIXES else "audio"
        tracks.append(Track(name, file, _label(values["label"]), values.get("group") or name, kind))
    return tracks


def _read_table(path: Path) -> Dataset:
    table = read_table(path)
    if "" in table.labels:
        raise DataError("dataset_invalid", f"{path}: rows without a label", "fill in the column label")
    tracks = [
        Track(name, path, label, name, "table")
        for name, label in zip(table.tracks, table.labels, strict=True)
    ]
    if _is_gtzan(tracks, lambda track: track.id):
        return _gtzan_dataset(tracks, [], path)
    return _dataset(path.stem, tracks, [], path)


# What every road ends with


def _label(text: str) -> str:
    """Spell a genre in one way, whether typed by hand or stored by macOS in decomposed letters."""
    return unicodedata.normalize("NFC", text)


def _present(tracks: Iterable[Track]) -> tuple[list[Track], list[DatasetIssue]]:
    """Keep the tracks whose files are there and hold something."""
    kept, findings = [], []
    for track in tracks:
        loss = _loss(track.path)
        if loss is None:
            kept.append(track)
        else:
            findings.append(DatasetIssue(loss[0], track.id, str(track.path), f"left out: {loss[1]}"))
    return kept, findings


def _loss(path: Path) -> tuple[str, str] | None:
    if not path.is_file():
        return "file_missing", "no such file"
    if not path.stat().st_size:
        return "file_empty", "the file is empty"
    return None if os.access(path, os.R_OK) else ("file_unreadable", "no permission to read it")


def _unite_replicas(tracks: list[Track]) -> tuple[list[Track], list[DatasetIssue]]:
    """Give byte-identical files, and all that share a group with them, one group."""
    joined: dict[str, str] = {}

    def group(track: Track) -> str:
        name = track.group
        while name in joined:
            name = joined[name]
        return name

    sets = find_duplicates([track.path for track in tracks])
    for members in sets:
        first, *others = sorted({group(tracks[member]) for member in members})
        joined.update(dict.fromkeys(others, first))
    findings = [
        _replica_finding(tracks[member].id, str(tracks[member].path), tracks[members[0]].id)
        for members in sets
        for member in members[1:]
    ]
    return [replace(track, group=group(track)) for track in tracks], findings


def _replica_finding(track: str, path: str, other: str) -> DatasetIssue:
    return DatasetIssue("replica", track, path, f"byte-identical to {other}; kept in its group")


def _dataset(
    name: str,
    tracks: list[Track],
    findings: list[DatasetIssue],
    source: Path,
    published: Mapping[str, Mapping[str, str]] | None = None,
) -> Dataset:
    classes = tuple(sorted({track.label for track in tracks}))
    if not tracks:
        reason = f"; first of {len(findings)} findings: {findings[0].message}" if findings else ""
        raise DataError("dataset_empty", f"{source}: no tracks there{reason}", _LAYOUTS)
    if len(classes) < 2:
        message = f"{source}: all {len(tracks)} tracks are {classes[0]!r}; a classifier needs two genres"
        raise DataError("dataset_too_small", message, _LAYOUTS)
    return Dataset(name, _in_order(tracks, source), classes, tuple(findings), published or {})


def _in_order(tracks: list[Track], source: Path) -> tuple[Track, ...]:
    ordered = tuple(sorted(tracks, key=lambda track: track.id))
    for first, second in itertools.pairwise(ordered):
        if first.id == second.id:
            message = f"{source}: two tracks are named {first.id!r}: {first.path} and {second.path}"
            raise DataError("dataset_invalid", message, "keep one of them, or name them in a CSV with ids")
    return ordered


def track_digest(track: str) -> str:
    """Return a short digest of a track's id: enough to find it in a list of tracks trained on."""
    return hashlib.sha256(track.encode("utf8", "surrogateescape")).hexdigest()[:10]


def dataset_fingerprint(dataset: Dataset) -> str:
    """Return a hash of who is in a data set and under which label."""
    lines = sorted(f"{track.id}\t{track.label}\t{track.group}" for track in dataset.tracks)
    return hashlib.sha256("\n".join(lines).encode("utf8", "surrogateescape")).hexdigest()
