"""Read a data set from disk: a published one by its layout, one folder per genre, or a CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from genrescope import audio
from genrescope.datasets.annotations import Annotation, join_annotators, parse_cell
from genrescope.datasets.ballroom import is_ballroom, load_ballroom
from genrescope.datasets.base import (
    LAYOUTS,
    Dataset,
    DatasetIssue,
    build_dataset,
    checked_kind,
    checked_task,
    dataset_from_tracks,
    keep_present,
    normalize_label,
    unite_replicas,
)
from genrescope.datasets.fma import is_fma, load_fma
from genrescope.datasets.gtzan import (
    build_gtzan,
    corrupt_issue,
    has_gtzan_names,
    is_indexed_gtzan,
    load_gtzan,
    load_index,
    load_table,
)
from genrescope.datasets.ismir04 import is_ismir04, load_ismir04
from genrescope.datasets.jamendo import is_jamendo, load_jamendo
from genrescope.datasets.mirdata_index import load_mirdata
from genrescope.datasets.official import read_split_columns
from genrescope.datasets.spectrograms import SPECTROGRAM_SUFFIXES
from genrescope.datasets.tables import Row, read_rows, table_header
from genrescope.errors import ConfigError, DataError, GenrescopeError
from genrescope.types import AUDIO_SUFFIXES, TaskKind, Track, TrackKind
from genrescope.utils import ListedPaths, did_you_mean, import_object

_MIRDATA = "mirdata:"


def load_dataset(
    path: Path,
    *,
    kind: str | None = None,
    layout: str = "auto",
    task: str = "single-label",
    reader: str = "",
) -> Dataset:
    """Recognize what lies at ``path``, and read it.

    * GTZAN: ``genres/<genre>/*.au`` or ``genres_original/<genre>/*.wav``, or the layout of ``gtzan``.
      Known by its file names; groups are artists. ``jazz.00054`` is left out, as in most publications.
    * A folder with one sub-folder per genre. Files lie at any depth; those that share a folder just below
      the genre (an artist, an album) share a group, others are a group each.
    * FMA, MTG-Jamendo, ISMIR04 and Ballroom as they are published: see `load_fma`, `load_jamendo`,
      `load_ismir04` and `load_ballroom` in this package.
    * A CSV with the columns ``path`` (relative to the CSV) and ``label``, and perhaps ``group``, ``id``,
      ``split`` and ``fold``, the split of the protocol ``given``; ``annotator``, where several people
      labeled a track in a row each; and ``not_judged``, see `genrescope.datasets.annotations`.
    * A CSV of features with the column ``filename``, as ``read_table``.

    Byte-identical files share a group, but for FMA and MTG-Jamendo, whose groups are their artists.

    Parameters
    ----------
    path : Path
        A folder or a CSV file.
    kind : {"audio", "spectrogram", "table", "auto"} or None
        What to take where there is a choice; by itself audio before spectrograms.
    layout : str
        ``auto``; a name of `LAYOUT_READERS`, where it is not to be recognized; or ``mirdata:NAME``, a data
        set by the index of mirdata, which must be installed.
    task : {"single-label", "multi-label"}
        Whether a track has exactly one genre, or any number of them.
    reader : str
        A function ``package.module:name`` in place of all this, which is imported and called with the path.
        It returns `Track` objects, or a `Dataset` that was read for the same task.

    Returns
    -------
    Dataset
        Its ``issues`` say what was left out.

    Raises
    ------
    DataError
        ``dataset_not_found``, ``dataset_invalid``, ``dataset_empty``; ``dataset_too_small`` for a single
        genre; ``dataset_invalid`` also where the function ``reader`` raises an error or returns no tracks.
    ConfigError
        ``invalid_argument`` for an unknown ``kind``, ``layout`` or ``task``; ``invalid_config`` where
        ``reader`` cannot be imported.
    MissingDependencyError
        ``missing_dependency`` for ``mirdata:NAME`` without mirdata.
    """
    # Also where a caller without types gives a str.
    path = Path(path)
    wanted, labels_for = checked_kind(kind), checked_task(task)
    if reader:
        return _of_kind(_read_by(reader, path, labels_for), wanted, path)
    try:
        if layout.startswith(_MIRDATA):
            return replace(load_mirdata(path, layout.removeprefix(_MIRDATA)), task=labels_for)
        known = _reader(path, layout)
        if known.kinds and wanted is not None and wanted not in known.kinds:
            message = f"{path}: of this data set {' or '.join(known.kinds)} can be read, not {wanted}"
            raise DataError("dataset_invalid", message, "choose another kind of input")
        return replace(known.load(path, wanted, labels_for), task=labels_for)
    except OSError as reason:
        raise DataError(
            "dataset_not_found",
            f"{path}: cannot be read: {reason.strerror or reason}",
            "check its permissions",
        ) from None


def _read_by(name: str, path: Path, task: TaskKind) -> Dataset:
    """Read a data set by a function of the user."""
    read = import_object(name)
    try:
        found = read(path)
        return found if isinstance(found, Dataset) else dataset_from_tracks(found, path, task)
    except GenrescopeError:
        raise
    except Exception as reason:  # code of others, which may raise anything
        raise DataError(
            "dataset_invalid",
            f"{path}: {name}: {type(reason).__name__}: {reason}",
            "correct this function: it takes the path and returns a Dataset, or Track objects",
        ) from reason


def _of_kind(dataset: Dataset, kind: TrackKind | None, path: Path) -> Dataset:
    """Leave out tracks of another kind than is wanted."""
    if kind is None:
        return dataset
    tracks = tuple(track for track in dataset.tracks if track.kind == kind)
    if not tracks:
        raise DataError(
            "dataset_empty", f"{path}: none of {len(dataset.tracks)} tracks is of the kind {kind}", LAYOUTS
        )
    return replace(dataset, tracks=tracks)


class LayoutReader(NamedTuple):
    """How a data set in one layout is recognized and read.

    Attributes
    ----------
    recognizes : callable
        From a path that exists to whether the layout is there.
    load : callable
        From the path, the wanted kind of files and the task to the data set.
    kinds : tuple of str
        The kinds of files that it can give; empty where the files decide.
    """

    recognizes: Callable[[Path], bool]
    load: Callable[[Path, TrackKind | None, TaskKind], Dataset]
    kinds: tuple[TrackKind, ...] = ()


def _reader(path: Path, layout: str) -> LayoutReader:
    if layout == "auto":
        if not path.exists():
            raise DataError("dataset_not_found", f"{path}: nothing there", LAYOUTS)
        return next(reader for reader in LAYOUT_READERS.values() if reader.recognizes(path))
    if layout not in LAYOUT_READERS:
        names = ("auto", *LAYOUT_READERS)
        hint = did_you_mean(layout, names, otherwise=f"choose {', '.join(names)} or {_MIRDATA}NAME")
        raise ConfigError("invalid_argument", f"no layout of data sets is named {layout!r}", hint)
    if not path.exists():
        raise DataError("dataset_not_found", f"{path}: nothing there", LAYOUTS)
    return LAYOUT_READERS[layout]


def _read_gtzan(path: Path, kind: TrackKind | None, task: TaskKind) -> Dataset:
    if is_indexed_gtzan(path):
        return load_gtzan(path, kind or "audio")
    return _read_folders(path, kind, task)


def _read_folders(path: Path, kind: TrackKind | None, _: TaskKind) -> Dataset:
    if kind == "table":
        return load_gtzan(path, "table")
    return _read_folder(_genre_root(path), kind)


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
            group = normalize_label(below[1]) if len(below) > 2 else name
            yield Track(name, path, normalize_label(genre.name), group, kind)


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


def _read_csv(path: Path, kind: TrackKind | None, task: TaskKind) -> Dataset:
    names = table_header(path)
    if kind == "table" or (kind is None and "filename" in names and "path" not in names):
        return load_table(path, task)
    rows = read_rows(path, required=("path", "label"))
    listed = _manifest_tracks(path, rows, task)
    joined, annotations = join_annotators(listed, path)
    # Of several rows of a track, one states its part.
    first = {track.id: row for (track, _), row in zip(reversed(listed), reversed(rows), strict=True)}
    splits, absent = read_split_columns(path, list(first.values()), list(first))
    tracks = [track for track in joined if kind in (None, track.kind)]
    kept, faults = keep_present(tracks)
    united, replicas = unite_replicas(kept)
    issues = [*faults, *replicas, *absent]
    return build_dataset(path.stem, united, issues, path, splits, annotations=annotations)


def _manifest_tracks(path: Path, rows: list[Row], task: TaskKind) -> list[tuple[Track, Annotation]]:
    """Return the track and the genres of each row; only annotators give a track several rows."""
    tracks: list[tuple[Track, Annotation]] = []
    lines: dict[tuple[str, str], int] = {}
    listed = ListedPaths(path.parent)
    for line, values in rows:
        empty = next((name for name in ("path", "label") if not values[name]), None)
        if empty:
            raise DataError("dataset_invalid", f"{path}, line {line}: {empty} is empty", "fill it in")
        name = values.get("id") or values["path"]
        annotator = values.get("annotator", "")
        if (name, annotator) in lines:
            by = f" by {annotator}" if annotator else ""
            message = f"{path}, line {line}: {name!r}{by} is already on line {lines[name, annotator]}"
            raise DataError("dataset_invalid", message, "list every track once, each with its own id")
        lines[name, annotator] = line
        file = Path(listed.find(values["path"]))
        kind: TrackKind = "spectrogram" if file.suffix.lower() in SPECTROGRAM_SUFFIXES else "audio"
        unknown = normalize_label(values.get("not_judged", ""))
        genres = parse_cell(normalize_label(values["label"]), task, f"{path}, line {line}", unknown)
        tracks.append((Track(name, file, genres.label, values.get("group") or name, kind), genres))
    return tracks


LAYOUT_READERS: Final[dict[str, LayoutReader]] = {
    "mtg-jamendo": LayoutReader(is_jamendo, load_jamendo, ("audio", "spectrogram")),
    "csv": LayoutReader(Path.is_file, _read_csv),
    "fma": LayoutReader(is_fma, lambda path, _, task: load_fma(path, task), ("audio",)),
    "ismir04": LayoutReader(is_ismir04, lambda path, *_: load_ismir04(path), ("audio",)),
    "gtzan": LayoutReader(is_indexed_gtzan, _read_gtzan),
    "ballroom": LayoutReader(is_ballroom, lambda path, *_: load_ballroom(path), ("audio",)),
    "folders": LayoutReader(lambda path: True, _read_folders),
}
"""The layouts of data sets by name, in the order in which they are looked for."""
