"""Read a data set from disk: a copy of GTZAN, one folder per genre, or a CSV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from genrescope import audio
from genrescope.datasets.base import (
    LAYOUTS,
    Dataset,
    DatasetIssue,
    build_dataset,
    checked_kind,
    keep_present,
    normalize_label,
    unite_replicas,
)
from genrescope.datasets.gtzan import (
    build_gtzan,
    corrupt_issue,
    has_gtzan_names,
    is_indexed_gtzan,
    load_gtzan,
    load_index,
    load_table,
)
from genrescope.datasets.spectrograms import SPECTROGRAM_SUFFIXES
from genrescope.datasets.tables import read_rows, table_header
from genrescope.errors import DataError
from genrescope.types import AUDIO_SUFFIXES, Track, TrackKind


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
    path : Path
        A folder or a CSV file.
    kind : {"audio", "spectrogram", "table", "auto"} or None
        What to take where there is a choice; by itself audio before spectrograms.

    Returns
    -------
    Dataset
        Its ``issues`` say what was left out.

    Raises
    ------
    DataError
        ``dataset_not_found``, ``dataset_invalid``, ``dataset_empty``; ``dataset_too_small`` for a single
        genre.
    ConfigError
        ``invalid_argument`` for an unknown ``kind``.
    """
    # Also where a caller without types gives a str.
    path = Path(path)
    wanted = checked_kind(kind)
    try:
        if path.is_file():
            return _read_csv(path, wanted)
        if not path.is_dir():
            raise DataError("dataset_not_found", f"{path}: nothing there", LAYOUTS)
        if is_indexed_gtzan(path):
            return load_gtzan(path, wanted or "audio")
        if wanted == "table":
            return load_gtzan(path, "table")
        return _read_folder(_genre_root(path), wanted)
    except OSError as reason:
        raise DataError(
            "dataset_not_found",
            f"{path}: cannot be read: {reason.strerror or reason}",
            "check its permissions",
        ) from None


def _genre_root(path: Path) -> Path:
    """Step into a copy of GTZAN as it is unpacked."""
    inside = (path / name for name in ("genres_original", "genres", "Data/genres_original"))
    return next((folder for folder in inside if folder.is_dir()), path)


def _read_folder(root: Path, kind: TrackKind | None) -> Dataset:
    issues: list[DatasetIssue] = []
    tracks = list(_folder_tracks(root, kind or "audio", issues))
    if not tracks and kind is None:
        issues.clear()
        tracks = list(_folder_tracks(root, "spectrogram", issues))
    if tracks and has_gtzan_names(tracks, lambda track: track.path.stem):
        # GTZAN in any copy: its names stand for tracks whose artists and faults are known, and with them the
        # data are split as in the literature.
        corrupt = load_index().corrupt
        issues += [corrupt_issue(t.path.stem, t.path) for t in tracks if t.path.stem in corrupt]
        named = [replace(t, id=t.path.stem, group=t.path.stem) for t in tracks if t.path.stem not in corrupt]
        return build_gtzan(named, issues, root)
    kept, faults = keep_present(tracks)
    united, replicas = unite_replicas(kept)
    return build_dataset(root.resolve().name, united, [*issues, *faults, *replicas], root)


def _folder_tracks(root: Path, kind: TrackKind, issues: list[DatasetIssue]) -> Iterator[Track]:
    genres = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    for genre, files in zip(genres, _files_by_genre(root, genres, kind, issues), strict=True):
        if not files:
            issues.append(DatasetIssue("genre_empty", "", str(genre), f"no {kind} files in this folder"))
        for path in files:
            below = path.relative_to(root).parts
            name = "/".join(below)
            yield Track(name, path, normalize_label(genre.name), below[1] if len(below) > 2 else name, kind)


def _files_by_genre(
    root: Path, genres: list[Path], kind: TrackKind, issues: list[DatasetIssue]
) -> list[list[Path]]:
    """Return the files below each genre's folder; symbolic links are followed as in a scan, each folder once.

    A link to a genre's folder, or to the whole data set, is not followed: its files belong to that genre.
    """
    suffixes = AUDIO_SUFFIXES if kind == "audio" else SPECTROGRAM_SUFFIXES
    files: dict[str, list[Path]] = {genre.name: [] for genre in genres}
    for found in audio.discover(genres, suffixes, reserved=[root, *genres]):
        path = Path(found.path)
        if found.kind == "unreadable":
            message = "left out: this folder may not be read"
            issues.append(DatasetIssue("file_unreadable", "", found.path, message))
        elif found.kind == "audio":  # which stands for any file with one of the suffixes
            files[path.relative_to(root).parts[0]].append(path)
    return list(files.values())


def _read_csv(path: Path, kind: TrackKind | None) -> Dataset:
    names = table_header(path)
    if kind == "table" or (kind is None and "filename" in names and "path" not in names):
        return load_table(path)
    tracks = [track for track in _manifest_tracks(path) if kind in (None, track.kind)]
    kept, faults = keep_present(tracks)
    united, replicas = unite_replicas(kept)
    return build_dataset(path.stem, united, [*faults, *replicas], path)


def _manifest_tracks(path: Path) -> list[Track]:
    tracks: list[Track] = []
    lines: dict[str, int] = {}
    for line, values in read_rows(path, required=("path", "label")):
        empty = next((name for name in ("path", "label") if not values[name]), None)
        if empty:
            raise DataError("dataset_invalid", f"{path}, line {line}: {empty} is empty", "fill it in")
        name = values.get("id") or values["path"]
        if name in lines:
            message = f"{path}, line {line}: {name!r} is already on line {lines[name]}"
            raise DataError("dataset_invalid", message, "list every track once, each with its own id")
        lines[name] = line
        file = path.parent / values["path"]
        kind: TrackKind = "spectrogram" if file.suffix.lower() in SPECTROGRAM_SUFFIXES else "audio"
        tracks.append(Track(name, file, normalize_label(values["label"]), values.get("group") or name, kind))
    return tracks
