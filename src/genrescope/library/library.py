"""A collection of music files and what a model answered about them: scan, query, tag, undo.

Each file is one row of a database, written the moment its answer is there; a scan that was killed loses the
files that were being analyzed and nothing else.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

from genrescope import labels, utils
from genrescope.errors import ConfigError, DataError
from genrescope.library import tagging
from genrescope.library.albums import AlbumResult, folder_of_discs, iterate_albums, iterate_folders
from genrescope.library.database import Database, Filter
from genrescope.library.fingerprints import StoredFingerprints
from genrescope.library.parquet import read_parquet
from genrescope.library.records import LibraryEntry
from genrescope.library.scanner import Scanner, ScanOptions, ScanResult, is_missing
from genrescope.library.tagging import TagResult, TagStatus, UntagResult
from genrescope.tagging import Answer, UncertainPolicy, Vocabulary, require_mutagen
from genrescope.types import NOT_MUSIC, STYLE_THRESHOLD

Labels = str | Sequence[str]
# Until 0.2.0, all of these formats were stored as "mov".
_MP4_SUFFIXES = frozenset({"m4a", "m4b", "mp4"})
TagUnit = Literal["track", "album"]


@dataclass(frozen=True)
class TagOptions:
    """Which genres are written for an answer, and in which words.

    Attributes
    ----------
    vocabulary : str, Path or None
        A name or a TOML file for `genrescope.Vocabulary.load`; None: the names of this package.
    genre_threshold, style_threshold, max_genres, uncertain
        As of `genrescope.Vocabulary.genres_for`.
    by : {"track", "album"}
        Whether a track gets the genres of its own answer, or those of its album. With albums, the scores and
        styles are the means of the album's tracks; nothing is written for albums without a genre, whatever
        ``uncertain`` says, nor for tracks that are not of an album.
    """

    vocabulary: str | Path | None = None
    genre_threshold: float | None = None
    style_threshold: float | None = None
    max_genres: int | None = None
    uncertain: UncertainPolicy = "nothing"
    by: TagUnit = "track"

    def chooser(self, labels: Iterable[str]) -> Callable[[Answer], list[str]]:
        """Return the function that gives the genres to write for an entry, or for an album.

        Parameters
        ----------
        labels : iterable of str
            What the vocabulary may name besides the labels of this package.
        """
        known = Vocabulary() if self.vocabulary is None else Vocabulary.load(self.vocabulary, labels=labels)
        return partial(
            known.genres_for,
            genre_threshold=self.genre_threshold,
            style_threshold=self.style_threshold,
            max_genres=self.max_genres,
            uncertain=self.uncertain,
        )


@dataclass(frozen=True)
class Relocation:
    """What `Library.relocate` did.

    Attributes
    ----------
    files : int
        How many files have another path now.
    absent : tuple of str
        Those of the new paths at which nothing is.
    """

    files: int
    absent: tuple[str, ...]


class ImportResult(NamedTuple):
    """What `Library.import_parquet` did.

    Attributes
    ----------
    rows : int
        How many rows were read.
    written : int
        How many of them were new, or analyzed later than the library's own row of the same path.
    """

    rows: int
    written: int


def default_path() -> Path:
    """Return where the library is unless another path is given."""
    return utils.data_folder() / "library.db"


class Library:
    """An open library file; use it in a ``with`` statement, or close it.

    Parameters
    ----------
    path : path, optional
        Created if it is not there, for its owner alone; None: `default_path`.
    read_only : bool
        Open it for queries alone: nothing is written, also where another program left a log beside it.

    Raises
    ------
    DataError
        ``dataset_invalid``: another kind of file, or of a later version.
    LibraryError
        ``library_locked``, ``library_corrupt``; every method raises these too.
    WriteError
        ``write_failed``.

    Examples
    --------
    >>> with Library() as library:
    ...     for scanned in library.scan(["~/Music"]):
    ...         print(scanned.status, scanned.path)
    ...     jazz = list(library.entries(genre="jazz", min_score=0.8))
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, read_only: bool = False) -> None:
        place = default_path() if path is None else Path(path).expanduser()
        self.database = Database(place, read_only=read_only)

    def import_parquet(self, paths: Iterable[str | os.PathLike[str]]) -> ImportResult:
        """Write the rows of Parquet files, of a cluster or of another library, into this one.

        Every some thousand rows are a transaction. A row does not replace one of the same path that was
        analyzed as late or later, so that a second import of the same files writes nothing.

        Parameters
        ----------
        paths : iterable of path
            Parquet files, or folders whose ``.parquet`` files are read.

        Returns
        -------
        ImportResult

        Raises
        ------
        DataError
            ``dataset_not_found``; ``dataset_invalid``: a file without such rows, or of a later version.
        MissingDependencyError
            ``missing_dependency``: pyarrow is not installed.
        """
        rows = written = 0
        for path in paths:
            for file in _parquet_files(Path(path).expanduser()):
                for entries in read_parquet(file):
                    rows += len(entries)
                    written += self.database.upsert_newer(entries)
        return ImportResult(rows, written)

    def scan(
        self, paths: Iterable[str | os.PathLike[str]], options: ScanOptions | None = None
    ) -> Iterator[ScanResult]:
        """Analyze the files at ``paths`` that are new or changed, or that another model answered about.

        Parameters
        ----------
        paths : iterable of path
            Folders or files.
        options : ScanOptions, optional
            How to scan.

        Yields
        ------
        ScanResult
            For every file met, as it is finished. Closing the iterator stops the work.

        Raises
        ------
        DataError
            ``dataset_not_found``: nothing is at one of the paths.
        ModelError
            The model cannot be opened.
        """
        roots = _absolute(paths)
        for root in roots:
            if not os.path.lexists(root):
                raise DataError(
                    "dataset_not_found", f"{root}: nothing is there", "check the path, or mount the disk"
                )
        # A root within another would be walked twice.
        roots = [root for root in roots if not any(Path(other) in Path(root).parents for other in roots)]
        return Scanner(self.database, options or ScanOptions()).run(roots)

    def fingerprints(self) -> StoredFingerprints:
        """Return the fingerprints that scans have kept, by the SHA-256 of the files' content.

        They are those of the segments that were analyzed, packed; `genrescope.audit.audit_library` finds
        copies by them, and `genrescope.features.Fingerprint.unpack` reads them. Each is read when it is asked
        for, from the library as it is then; ``dict(...)`` of them holds all in memory.
        """
        return StoredFingerprints(self.database)

    def entries(
        self,
        *,
        genre: Labels = (),
        style: Labels = (),
        min_score: float | None = None,
        max_score: float | None = None,
        folder: str | os.PathLike[str] | None = None,
        uncertain: bool | None = None,
        failed: bool | None = None,
        missing: bool | None = False,
        not_music: bool | None = None,
    ) -> Iterator[LibraryEntry]:
        """Yield entries, sorted by path; without arguments those of all files that are still there.

        Parameters
        ----------
        genre, style : str or sequence of str
            Only entries with one of these genres; with one of these styles.
        min_score, max_score : float, optional
            Only entries whose genre has this score or more; this score or less (0 to 1).
        folder : path, optional
            Only files in this folder.
        uncertain : bool, optional
            True: only uncertain answers; False: only the others.
        failed : bool, optional
            True: only files that could not be analyzed; False: only the others.
        missing : bool or None
            True: only files that are no longer there; None: these and the others.
        not_music : bool, optional
            True: only files that are not music; False: only the others.

        Raises
        ------
        ConfigError
            ``invalid_argument``: no model of this library has such a genre, or such a style.
        """
        genres, styles = self._matching_labels(genre, style)
        place = _place(folder)
        return self.database.entries(
            Filter(genres, styles, min_score, max_score, place, uncertain, failed, missing, not_music)
        )

    def albums(
        self,
        *,
        genre: Labels = (),
        style: Labels = (),
        folder: str | os.PathLike[str] | None = None,
        uncertain: bool | None = None,
    ) -> Iterator[AlbumResult]:
        """Yield the albums of the files that are still there, sorted by path, with what their tracks say.

        Parameters
        ----------
        genre, style : str or sequence of str
            Only albums with one of these genres; with one of these styles, of which the mean probability is
            at least `genrescope.types.STYLE_THRESHOLD`.
        folder : path, optional
            Only albums with a file in this folder; their files elsewhere count too.
        uncertain : bool, optional
            True: only albums without a genre; False: only the others.

        Raises
        ------
        ConfigError
            ``invalid_argument``: no model of this library has such a genre, or such a style.
        """
        genres, styles = self._matching_labels(genre, style)
        return self._albums(genres, styles, folder, uncertain)

    def _albums(
        self,
        genres: tuple[str, ...],
        styles: tuple[str, ...],
        folder: str | os.PathLike[str] | None,
        uncertain: bool | None = None,
    ) -> Iterator[AlbumResult]:
        folders = self._folders_of_albums(folder)
        inside = _prefix(folder)
        for album in iterate_albums(folders, lambda found: self.database.entries_of(folders[found])):
            if uncertain is not None and uncertain != album.is_uncertain:
                continue
            if _has_labels(album, genres, styles) and any(
                entry.path.startswith(inside) for entry in album.entries
            ):
                yield album

    def _folders_of_albums(self, folder: str | os.PathLike[str] | None) -> dict[str, array[int]]:
        """Return the folders to read for the albums of a folder, as `Database.folders` does."""
        if folder is None:
            return self.database.folders()
        (absolute,) = _absolute([folder])
        # The other discs of an album lie beside its folder, or beside the one that holds it.
        is_disc = folder_of_discs(absolute) != absolute
        return self.database.folders(Path(absolute).parent if is_disc else Path(absolute))

    def _matching_labels(self, genre: Labels, style: Labels) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the genres and the styles that names mean, however they are spelled."""
        genres, styles = _labels(genre), _labels(style)
        # Listing the labels reads every row: only where some are to be found.
        stored = self.database.labels() if genres or styles else []
        meant_genres = {name: _meaning(name, stored) for name in genres}
        meant_styles = {name: _meaning(name, stored) for name in styles}
        genre_of = {one.name: one.genre for one in labels.load_taxonomy().styles}
        for name, meant in meant_genres.items():
            if meant <= genre_of.keys() - set(stored):
                (found, *_) = sorted(meant)
                raise ConfigError(
                    "invalid_argument",
                    f"{name!r} is no genre but a style of {labels.display_name(genre_of[found])}",
                    f"give it as a style: --style {found!r}",
                )
        return tuple(sorted(set().union(*meant_genres.values()))), tuple(
            sorted(set().union(*meant_styles.values()))
        )

    def plan_tags(
        self,
        options: TagOptions | None = None,
        *,
        overwrite: bool = False,
        placeholders: Sequence[str] = (),
        every: bool = False,
        genre: Labels = (),
        style: Labels = (),
        folder: str | os.PathLike[str] | None = None,
    ) -> Iterator[TagResult]:
        """Yield what `apply_tags` with the same arguments would change; no file is written.

        Parameters
        ----------
        options : TagOptions, optional
            Which genres, in which words.
        overwrite : bool
            Replace genres that files have already.
        placeholders : sequence of str
            Words that are no genres, such as ``Other``: files that have nothing else are changed, too.
        every : bool
            Yield a result for every file that is asked about, also where it stays as it is.
        genre, style, folder
            Which files, as of `entries`; by album, of which albums, as of `albums`, and only files in the
            folder.

        Raises
        ------
        ConfigError
            The vocabulary is not valid; failures of single files are yielded.
        GenrescopeError
            ``missing_dependency`` without mutagen.
        """
        require_mutagen()
        wanted = self._wanted_tags(options, genre, style, folder)
        return tagging.write_tags(
            self.database,
            wanted,
            write=False,
            overwrite=overwrite,
            keep_mtime=False,
            placeholders=placeholders,
            every=every,
        )

    def apply_tags(
        self,
        options: TagOptions | None = None,
        *,
        overwrite: bool = False,
        keep_mtime: bool = False,
        placeholders: Sequence[str] = (),
        every: bool = False,
        genre: Labels = (),
        style: Labels = (),
        folder: str | os.PathLike[str] | None = None,
    ) -> Iterator[TagResult]:
        """Write genres into files; every change is in the journal first, for `undo_tags`.

        Parameters
        ----------
        options : TagOptions, optional
            Which genres, in which words.
        overwrite : bool
            Replace genres that files have already.
        keep_mtime : bool
            Let files keep their time of modification.
        placeholders : sequence of str
            Words that are no genres, such as ``Other``: files that have nothing else are changed, too.
        every : bool
            Yield a result for every file that is asked about, also where it stays as it is.
        genre, style, folder
            Which files, as of `entries`; by album, of which albums, as of `albums`, and only files in the
            folder.

        Yields
        ------
        TagResult
            For every file that changes or cannot be changed, and with ``every`` for all others; the work is
            done while one iterates.

        Raises
        ------
        ConfigError, GenrescopeError
            As of `plan_tags`.
        """
        require_mutagen()
        wanted = self._wanted_tags(options, genre, style, folder)
        return tagging.write_tags(
            self.database,
            wanted,
            write=True,
            overwrite=overwrite,
            keep_mtime=keep_mtime,
            placeholders=placeholders,
            every=every,
            folder=_place(folder),
        )

    def _wanted_tags(
        self,
        options: TagOptions | None,
        genre: Labels,
        style: Labels,
        folder: str | os.PathLike[str] | None,
    ) -> Iterator[tuple[LibraryEntry, list[str] | TagStatus]]:
        """Return files with the genres that they are to have, or with the reason why none."""
        options = options or TagOptions()
        choose = options.chooser(self.database.labels())
        if options.by == "track":
            entries = self.entries(genre=genre, style=style, folder=folder)
            return ((entry, _genres_or_reason(entry, entry, choose)) for entry in entries)
        genres, styles = self._matching_labels(genre, style)
        of_albums = self._files_with_albums(genres, styles, folder)
        return ((entry, _genres_or_reason(entry, album, choose)) for entry, album in of_albums)

    def _files_with_albums(
        self, genres: tuple[str, ...], styles: tuple[str, ...], folder: str | os.PathLike[str] | None
    ) -> Iterator[tuple[LibraryEntry, AlbumResult | None]]:
        """Yield files in a folder with their albums, None where these have no genre; then the loose ones."""
        inside = _prefix(folder)
        folders = self._folders_of_albums(folder)
        for found in iterate_folders(folders, lambda place: self.database.entries_of(folders[place])):
            files: list[tuple[LibraryEntry, AlbumResult | None]] = [
                (entry, None if album.is_uncertain else album)
                for album in found.albums
                if _has_labels(album, genres, styles)
                for entry in album.entries
            ]
            if not genres and not styles:
                files += [(entry, None) for entry in found.loose]
            yield from (file for file in files if file[0].path.startswith(inside))

    def undo_tags(
        self, folder: str | os.PathLike[str] | None = None, *, keep_mtime: bool = False
    ) -> Iterator[UntagResult]:
        """Undo what `apply_tags` wrote, the latest change first; see `genrescope.tagging.undo`.

        Parameters
        ----------
        folder : path, optional
            Only of files in this folder.
        keep_mtime : bool
            Bring the old time of modification back too.

        Raises
        ------
        MissingDependencyError
            ``missing_dependency`` without mutagen; failures of single files are yielded.
        """
        require_mutagen()
        place = _place(folder)
        changes = self.database.changes(place)
        return tagging.undo_tags(self.database, changes, keep_mtime=keep_mtime, folder=place)

    def relocate(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> Relocation:
        """Record that a folder has another name or place now; answers and the journal of tags follow.

        A scan of the new place recognizes a renamed folder by itself. This is for what it cannot tell: files
        that were copied to another disk, or that another machine mounts elsewhere. No file is touched.

        Parameters
        ----------
        old, new : path
            The folder, or file, as the library knows it, and where it is now.

        Returns
        -------
        Relocation
            How many files got another path, and which of these are not there.

        Raises
        ------
        DataError
            ``dataset_not_found``: the library knows nothing in ``old``.
        ConfigError
            ``invalid_argument``: there is nothing at ``new``.
        """
        before, after = _absolute([old, new])
        if not os.path.lexists(after):
            raise ConfigError(
                "invalid_argument",
                f"{after}: no such file or folder",
                "give the place where the files are now; check the spelling, and that the disk is mounted",
            )
        known = {*self.database.paths(missing=None), *(entry.path for entry in self.database.changes())}
        paths = {
            path: after + path[len(before) :]
            for path in sorted(known)
            if path == before or path.startswith(os.path.join(before, ""))  # noqa: PTH118
        }
        if not paths:
            raise DataError(
                "dataset_not_found",
                f"{before}: the library knows no file there",
                "see which folders it has: genrescope library list --format jsonl",
            )
        self.database.relocate(paths)
        absent = tuple(path for path in paths.values() if is_missing(path))
        self.database.mark_missing(set(paths.values()) - set(absent), missing=False)
        return Relocation(len(paths), absent)

    def missing_paths(self, folder: str | os.PathLike[str] | None = None) -> list[str]:
        """Return the paths of files that are no longer there, which `prune` removes.

        Parameters
        ----------
        folder : path, optional
            Look at all files in this folder; None: at those that the last scan of their folder missed, so
            that a disk which is not mounted now does not count.
        """
        place = _place(folder)
        known = self.database.paths(place, missing=True if folder is None else None)
        return [path for path in known if is_missing(path)]

    def prune(self, folder: str | os.PathLike[str] | None = None) -> list[str]:
        """Remove the rows of files that are no longer there, and the journals of their tags.

        Parameters
        ----------
        folder : path, optional
            As of `missing_paths`.

        Returns
        -------
        list of str
            The paths of the rows that were removed.
        """
        paths = self.missing_paths(folder)
        self.database.remove(paths)
        return paths

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _meaning(name: str, stored: Sequence[str]) -> frozenset[str]:
    """Return the labels that a name means; ConfigError for one that means nothing."""
    meant = labels.matching_labels(name, stored)
    if not meant:
        known = {*labels.known_labels(), *stored}
        hint = utils.did_you_mean(name.casefold(), known, otherwise="see: genrescope library stats")
        raise ConfigError("invalid_argument", f"no genre or style is named {name!r}", hint)
    return meant


def _place(folder: str | os.PathLike[str] | None) -> Path | None:
    """Return a folder as the database takes it; None is every folder."""
    return None if folder is None else Path(*_absolute([folder]))


def _absolute(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return paths as the database has them: absolute, and spelled as folders list them."""
    return utils.stored_paths(os.path.abspath(os.path.expanduser(path)) for path in paths)  # noqa: PTH100, PTH111


def _prefix(folder: str | os.PathLike[str] | None) -> str:
    """Return what the paths of all files in a folder begin with."""
    return "" if folder is None else os.path.join(*_absolute([folder]), "")  # noqa: PTH118


def _has_labels(album: AlbumResult, genres: Sequence[str], styles: Sequence[str]) -> bool:
    """Whether an album has one of the genres, if any are given, and one of the styles."""
    if genres and album.genre not in genres:
        return False
    return not styles or any(album.styles.get(name, 0.0) >= STYLE_THRESHOLD for name in styles)


def _labels(names: Labels) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _genres_or_reason(
    entry: LibraryEntry, answer: LibraryEntry | AlbumResult | None, choose: Callable[[Answer], list[str]]
) -> list[str] | TagStatus:
    """Return the genres of the answer that decides about a file, or why there are none."""
    if entry.error is not None:
        return "not classified"
    if not entry.is_music:
        return "not music"
    if answer is None:
        return "no album"
    return choose(answer) or ("unsure" if answer.is_uncertain else "no genre")


def _file_format(entry: LibraryEntry) -> str:
    """Return an entry's format; of one that was stored under FFmpeg's name for all MP4 files, its suffix."""
    suffix = Path(entry.path).suffix.lower().lstrip(".")
    return suffix if entry.format == "mov" and suffix in _MP4_SUFFIXES else str(entry.format)


def count_by(entries: Iterable[LibraryEntry]) -> dict[str, Counter[str]]:
    """Count entries by ``genre``, ``style``, ``error`` and ``format``, and by how certain the ``result`` is.

    Parameters
    ----------
    entries : iterable of LibraryEntry
    """
    kinds = ("genre", "result", "style", "error", "format")
    counts: dict[str, Counter[str]] = {name: Counter() for name in kinds}
    for entry in entries:
        if entry.error is not None:
            counts["error"][entry.error] += 1
            continue
        counts["format"][_file_format(entry)] += 1
        if entry.not_music:
            counts["result"][NOT_MUSIC] += 1
            continue
        counts["result"]["unsure" if entry.is_uncertain else "sure"] += 1
        counts["genre"][str(entry.genre)] += 1
        counts["style"].update(list(entry.styles))
    return counts


def _parquet_files(path: Path) -> list[Path]:
    """Return the files of a folder, or the file itself."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.glob("*.parquet") if not file.name.startswith("."))
    if not files:
        raise DataError(
            "dataset_not_found", f"{path}: no .parquet file is there", "name the output of a cluster run"
        )
    return files
