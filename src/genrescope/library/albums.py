"""Albums of a library: which files are of one, and the answer that its tracks give together."""

from __future__ import annotations

import heapq
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from genrescope import labels
from genrescope.library.records import LibraryEntry

AlbumVerdict = Literal["agree", "disagree", "uncertain", "not music", "failed"]

MIN_AGREEMENT: Final = 0.75
"""The share of the answered tracks that has to have an album's genre."""

MIN_ANSWERED: Final = 0.5
"""The share of the tracks that has to be answered, not uncertain."""

MIN_POSSIBLE: Final = 0.25
"""In the sets of how many of an album's tracks a genre is for it to be in the set of the album."""

VARIOUS: Final = "Various Artists"

# "CD1", "Disc 2", "Disc 2 - Live"; the end of "Abbey Road (CD 1)", "Abbey Road [Disc 1]", "Abbey Road - CD1".
_DISC_NAME: Final = re.compile(r"^(?:cd|dis[ck])[\s_.-]*\d{1,2}(?:\W.*)?$", re.IGNORECASE)
_DISC_SUFFIX: Final = re.compile(r"[\s_.,([-]+(?:cd|dis[ck])[\s_.-]*\d{1,2}\s*[)\]]?$", re.IGNORECASE)


@dataclass(frozen=True)
class AlbumResult:
    """An album and the genre of its tracks, if they agree on one.

    It has a genre where at least `MIN_ANSWERED` of its tracks of music are answered (not uncertain), at least
    `MIN_AGREEMENT` of the answered ones have this genre, and this genre has the highest mean score as well.

    Attributes
    ----------
    path : str
        The folder that holds all its tracks.
    title : str
        The album tag, or the name of the folder.
    artist : str or None
        The album artist, or the artist of all tracks; ``Various Artists`` where these differ; None where
        the tags do not say.
    entries : tuple of LibraryEntry
        Its files, sorted by path; those that failed and those that are not music too.
    scores, styles : dict of str to float
        Means over the tracks of music, weighted by their length, by falling value. Rows keep styles of
        `genrescope.types.STYLE_THRESHOLD` or more only; others count as 0.
    genres : dict of str to int
        How many of the answered tracks have each genre, by falling number.
    answers : dict of str to int
        The same for the narrowest labels that the model was sure of: styles, or genres.
    """

    path: str
    title: str
    artist: str | None
    entries: tuple[LibraryEntry, ...]
    scores: dict[str, float]
    styles: dict[str, float]
    genres: dict[str, int]
    answers: dict[str, int]

    @property
    def tracks(self) -> int:
        """How many files the album has."""
        return len(self.entries)

    @property
    def music(self) -> int:
        """How many of them are music."""
        return self.tracks - self.not_music - self.failed

    @property
    def not_music(self) -> int:
        """How many of them are speech, noise or effects."""
        return sum(entry.error is None and entry.not_music for entry in self.entries)

    @property
    def failed(self) -> int:
        """How many of them could not be analyzed."""
        return sum(entry.error is not None for entry in self.entries)

    @property
    def answered(self) -> int:
        """How many tracks have a genre that is to be relied on."""
        return sum(self.genres.values())

    @property
    def uncertain(self) -> int:
        """How many tracks of music have none."""
        return self.music - self.answered

    @property
    def agreement(self) -> float:
        """The share of the answered tracks that has the most frequent genre; 0 where none is answered."""
        return max(self.genres.values(), default=0) / (self.answered or 1)

    @cached_property
    def verdict(self) -> AlbumVerdict:
        """What the tracks say together.

        ``agree``: they have a genre. ``disagree``: enough are answered, but with different genres.
        ``uncertain``: too few are answered. ``not music``, ``failed``: no track is music, or was analyzed.
        """
        if not self.music:
            return "not music" if self.not_music else "failed"
        if self.answered < MIN_ANSWERED * self.music:
            return "uncertain"
        most, leading = next(iter(self.genres)), next(iter(self.scores), None)
        return "agree" if self.agreement >= MIN_AGREEMENT and most == leading else "disagree"

    @property
    def genre(self) -> str | None:
        """The genre of the album; None where its tracks do not agree on one."""
        return next(iter(self.genres)) if self.verdict == "agree" else None

    @property
    def score(self) -> float | None:
        """The mean score of the genre, 0 to 1; None without one."""
        return None if self.genre is None else self.scores[self.genre]

    @property
    def answer(self) -> str | None:
        """The genre, or the style below it that the tracks have in the mean; None without a genre."""
        if self.genre is None:
            return None
        return labels.load_taxonomy().sure_style(self.genre, self.styles) or self.genre

    @property
    def genre_set(self) -> tuple[str, ...]:
        """The genres that the album may be of, by falling mean score: its genre, where it has one.

        Otherwise those in the sets of `MIN_POSSIBLE` of its tracks of music; an answered track has its genre
        in its set.
        """
        if self.genre is not None:
            return (self.genre,)
        counts = Counter(genre for entry in self.entries for genre in _possible_genres(entry))
        return tuple(genre for genre in self.scores if counts[genre] >= max(1.0, MIN_POSSIBLE * self.music))

    @property
    def is_uncertain(self) -> bool:
        """Whether the album has no genre of its own."""
        return self.genre is None

    @property
    def is_music(self) -> bool:
        """Whether a track of it is music."""
        return self.music > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the album as the JSON-ready row that ``library albums --format jsonl`` prints."""
        return {
            "path": self.path,
            "album": self.title,
            "artist": self.artist,
            "verdict": self.verdict,
            "genre": self.genre,
            "score": self.score,
            "answer": self.answer,
            "agreement": round(self.agreement, 6),
            "set": list(self.genre_set),
            "tracks": self.tracks,
            "answered": self.answered,
            "uncertain": self.uncertain,
            "not_music": self.not_music,
            "failed": self.failed,
            "genres": self.genres,
            "answers": self.answers,
            "scores": self.scores,
            "styles": self.styles,
        }


def group_albums(entries: Iterable[LibraryEntry]) -> list[AlbumResult]:
    """Return the albums that entries are of, sorted by path, title and first file; loose tracks are of none.

    Parameters
    ----------
    entries : iterable of LibraryEntry
        Best all of a folder with the folders in it: what is not among them does not count.

    Notes
    -----
    Tracks with the same album tag in the same folder are one album; the folders of its discs count as one
    folder. The tracks of a folder without album tags are one too, unless they are loose: further folders of
    music lie in it, or no artist has half of them. The docs (``docs/library.md``) have the whole rule.
    """
    files: dict[str, list[LibraryEntry]] = {}
    for entry in entries:
        files.setdefault(_folder(entry), []).append(entry)
    return list(iterate_albums(files, files.__getitem__))


class FolderContents(NamedTuple):
    """What is in a folder, its discs among it.

    Attributes
    ----------
    path : str
        What the folders of all its files have in common.
    albums : list of AlbumResult
        The albums in it.
    loose : list of LibraryEntry
        The files that are of none of them.
    """

    path: str
    albums: list[AlbumResult]
    loose: list[LibraryEntry]


def iterate_folders(
    folders: Iterable[str], read: Callable[[str], Iterable[LibraryEntry]]
) -> Iterator[FolderContents]:
    """Yield what is in each folder, sorted by path; the discs of an album are one folder.

    Parameters
    ----------
    folders : iterable of str
        All folders that hold files, each once. Entries are read when it is their folder's turn.
    read : callable
        Called with a folder, it returns the entries of the files in it, but not of those in folders in it.
    """
    discs: dict[str, list[str]] = {}
    for folder in folders:
        discs.setdefault(folder_of_discs(folder), []).append(folder)
    above = {str(parent) for folder in discs for parent in Path(folder).parents}
    common = {folder: os.path.commonpath(places) for folder, places in discs.items()}
    for folder in sorted(discs, key=lambda folder: (os.fsencode(common[folder]), folder)):
        files = [entry for place in discs[folder] for entry in read(place)]
        files.sort(key=lambda entry: os.fsencode(entry.path))
        groups = list(_albums_in_folder(files, has_folders=folder in above))
        in_albums = {entry.path for group in groups for entry in group}
        yield FolderContents(
            common[folder],
            [_album_result(group, os.path.basename(folder)) for group in groups],  # noqa: PTH119
            [entry for entry in files if entry.path not in in_albums],
        )


def iterate_albums(
    folders: Iterable[str], read: Callable[[str], Iterable[LibraryEntry]]
) -> Iterator[AlbumResult]:
    """Yield the albums of `group_albums`, in that order, with the entries of few folders in memory.

    Parameters
    ----------
    folders, read
        As of `iterate_folders`.
    """
    # The number decides between equal keys, since albums have no order.
    numbers = count()
    waiting: list[tuple[bytes, str, bytes, int, AlbumResult]] = []
    for found in iterate_folders(folders, read):
        # Albums of a folder lie in it or below it, and folders come by path: what is before this one is
        # before all albums that are still to come.
        while waiting and waiting[0][0] < os.fsencode(found.path):
            yield heapq.heappop(waiting)[-1]
        for album in found.albums:
            first = os.fsencode(album.entries[0].path)
            heapq.heappush(waiting, (os.fsencode(album.path), album.title, first, next(numbers), album))
    while waiting:
        yield heapq.heappop(waiting)[-1]


def folder_of_discs(folder: str) -> str:
    """Return the folder of an album for one of its discs; any other folder as it is.

    Parameters
    ----------
    folder : str
        ``Abbey Road/CD1`` gives ``Abbey Road``; so does ``Abbey Road (CD1)``, though it may not be there.
    """
    parent, name = os.path.split(folder)
    if _DISC_NAME.match(name):
        return parent
    title = _DISC_SUFFIX.sub("", name)
    return os.path.join(parent, title) if title else folder  # noqa: PTH118


def _albums_in_folder(files: Sequence[LibraryEntry], *, has_folders: bool) -> Iterator[list[LibraryEntry]]:
    """Yield the files of each album in a folder."""
    titled: dict[str, list[LibraryEntry]] = {}
    for entry in files:
        titled.setdefault(_key(_DISC_SUFFIX.sub("", entry.album or "")), []).append(entry)
    untitled = titled.pop("", [])
    if len(titled) == 1:
        (group,) = titled.values()
        # A file without tags beside those of one album is of this album: a bonus track, or one that failed.
        if len(untitled) <= len(group):
            group += untitled
            untitled = []
    titles_in: dict[str, set[str]] = {}
    for title, group in titled.items():
        for entry in group:
            titles_in.setdefault(_folder(entry), set()).add(title)
    for group in titled.values():
        is_mixed = any(len(titles_in[_folder(entry)]) > 1 for entry in group)
        yield from _split_by_artist(group, is_mixed=is_mixed)
    if untitled and not has_folders and len(titled) <= 1 and not _has_many_artists(untitled):
        yield untitled


def _split_by_artist(group: list[LibraryEntry], *, is_mixed: bool) -> Iterator[list[LibraryEntry]]:
    """Yield the albums among files of one folder and one title: two artists may both have "Greatest Hits".

    Where the folder holds this title alone, and no two album artists are named, it is one album, whoever its
    artists are. In a folder of several albums, artists are told apart by track where albums name none.
    """
    album_artists = {_key(entry.album_artist) for entry in group if entry.album_artist}
    if len(album_artists) <= 1 and not is_mixed:
        yield group
        return
    split: dict[str, list[LibraryEntry]] = {}
    for entry in group:
        split.setdefault(_key(entry.album_artist or entry.artist or ""), []).append(entry)
    yield from split.values()


def _has_many_artists(files: Sequence[LibraryEntry]) -> bool:
    """Whether files are of artists of which none has half of them; not so where tags name none."""
    artists = Counter(_key(entry.album_artist or entry.artist or "") for entry in files)
    artists.pop("", None)
    return bool(artists) and 2 * max(artists.values()) < artists.total()


def _album_result(group: Sequence[LibraryEntry], folder_name: str) -> AlbumResult:
    entries = sorted(group, key=lambda entry: os.fsencode(entry.path))
    path = os.path.commonpath([_folder(entry) for entry in entries])
    music = [entry for entry in entries if entry.error is None and entry.is_music]
    answered = [entry for entry in music if not entry.is_uncertain]
    titles = Counter(_DISC_SUFFIX.sub("", entry.album) for entry in entries if entry.album)
    return AlbumResult(
        path=path,
        title=titles.most_common(1)[0][0] if titles else folder_name,
        artist=_artist(entries),
        entries=tuple(entries),
        scores=_means(music, [entry.scores for entry in music]),
        styles=_means(music, [entry.styles for entry in music]),
        genres=_counts(str(entry.genre) for entry in answered),
        answers=_counts(entry.answer or str(entry.genre) for entry in answered),
    )


def _artist(entries: Sequence[LibraryEntry]) -> str | None:
    named = Counter(entry.album_artist for entry in entries if entry.album_artist)
    if named:
        return named.most_common(1)[0][0]
    artists = [entry.artist for entry in entries if entry.artist]
    return next(iter(artists), None) if len(set(map(_key, artists))) <= 1 else VARIOUS


def _means(music: Sequence[LibraryEntry], values: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return means weighted by the tracks' lengths, by falling value."""
    sums: Counter[str] = Counter()
    weights = [entry.seconds or 1.0 for entry in music]
    for weight, one in zip(weights, values, strict=True):
        for name, value in one.items():
            sums[name] += weight * value  # type: ignore[assignment]
    ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    return {name: round(total / sum(weights), 6) for name, total in ranked}


def _counts(names: Iterable[str]) -> dict[str, int]:
    counts = Counter(names)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _possible_genres(entry: LibraryEntry) -> tuple[str, ...]:
    """Return the genres that a track may be of; of a model without sets, the one that is sure."""
    if entry.error is not None or entry.not_music:
        return ()
    return entry.genre_set or (() if entry.is_uncertain else (str(entry.genre),))


def _folder(entry: LibraryEntry) -> str:
    return os.path.dirname(entry.path)  # noqa: PTH120


def _key(name: str) -> str:
    """Return a name without what different spellings of the same one differ in."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
