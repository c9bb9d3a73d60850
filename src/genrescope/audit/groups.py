"""Groups for data sets without artist names, so that a grouped split keeps an artist on one side.

What the data set says comes first; then artist tags, folders, and the artist of tagged files in the same
folder. Copies are joined, with all that shares a group with them. Every group has a confidence: how sure it
is that its artists have no track outside of it, which is what a grouped split needs.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from genrescope.audit.records import AuditTrack, FileFacts, TrackPair
from genrescope.utils import write_atomic

GroupSource = Literal["data set", "artist tag", "tags in folder", "folder", "none"]

# How sure each source is; what was measured is in EXPERIMENTS.md, "Audit". That a track
# is alone, since nothing is known of it, is no evidence that its artist has no other track here.
CONFIDENCE: Final[dict[GroupSource, float]] = {
    "data set": 0.95,
    "artist tag": 0.95,
    "tags in folder": 0.8,
    "folder": 0.6,
    "none": 0.2,
}
_VARIOUS = frozenset({"variousartists", "various", "va", "soundtrack", "ost", "unknown", "unknownartist"})
_GUESTS = re.compile(r"\s*[\(\[]?\b(?:feat|ft|featuring|with)\b\.?.*$|\s*;.*$", re.IGNORECASE)
# A folder with more of the tracks than this is the collection itself.
_MAX_FOLDER_SHARE = 0.5
_FOLDER_AGREEMENT = 0.8
_SURE_PAIR = 0.5


class GroupAssignment(NamedTuple):
    """The group of a track.

    Attributes
    ----------
    track : str
        Its id.
    path : Path
    label : str
    group : str
        Name of the group.
    confidence : float
        From 0 to 1, of the group.
    source : str
        What put the track into it, or ``copy of ID`` where that joined it to others.
    """

    track: str
    path: Path
    label: str
    group: str
    confidence: float
    source: str


@dataclass(frozen=True)
class GroupReport:
    """Groups of all tracks, and how sure they are.

    Attributes
    ----------
    assignments : tuple of GroupAssignment
        In the order of the tracks.
    """

    assignments: tuple[GroupAssignment, ...]

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len({one.group for one in self.assignments})

    @property
    def sources(self) -> dict[str, int]:
        """Number of tracks by what put them into their group."""
        return dict(Counter(_kind(one.source) for one in self.assignments))

    @property
    def confidence(self) -> float:
        """Mean confidence over the tracks."""
        return sum(one.confidence for one in self.assignments) / max(1, len(self.assignments))

    def summary(self) -> str:
        """Return the report in a sentence."""
        named = ", ".join(f"{count} by {source}" for source, count in sorted(self.sources.items()))
        unsure = sum(one.confidence < 0.5 for one in self.assignments)
        return (
            f"{len(self.assignments)} tracks in {self.groups} groups ({named}); mean confidence"
            f" {self.confidence:.2f}, below 0.5 for {unsure} tracks"
        )

    def write_csv(self, path: Path) -> None:
        """Write a manifest with the columns path, label, group, id, confidence and source.

        ``train`` and the other commands take it as a data set, and ``artist-grouped`` its column ``group``.

        Parameters
        ----------
        path : Path

        Raises
        ------
        WriteError
            ``write_failed``.
        """
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "label", "group", "id", "confidence", "source"])
        for one in self.assignments:
            file = relative_path(one.path, path.parent)
            writer.writerow([file, one.label, one.group, one.track, f"{one.confidence:.2f}", one.source])
        write_atomic(path, stream.getvalue())


def relative_path(file: Path, folder: Path) -> str:
    """Return how a manifest in a folder names a file: relative where the file is below it.

    Parameters
    ----------
    file, folder : Path
    """
    file, folder = file.absolute(), folder.absolute()
    # With the separators that every system reads.
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


def normalized(name: str) -> str:
    """Return a name without case, accents, punctuation and a leading "The".

    Parameters
    ----------
    name : str
        Of an artist or album.
    """
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    words = re.sub(r"[^\w]+", " ", "".join(one for one in decomposed if not unicodedata.combining(one)))
    return "".join(words.removeprefix("the ").split()) or name.strip()


def artist_name(facts: FileFacts) -> str:
    """Return the artist of a file by its tags, normalized and without guests; empty where they say none.

    Parameters
    ----------
    facts : FileFacts
    """
    for name in (facts.artist, facts.album_artist):
        found = normalized(_GUESTS.sub("", name) or name) if name else ""
        if found and found not in _VARIOUS:
            return found
    return ""


def propose_groups(
    tracks: Sequence[AuditTrack], pairs: Iterable[TrackPair] = (), root: Path | None = None
) -> GroupReport:
    """Propose a group for each track.

    Parameters
    ----------
    tracks : sequence of AuditTrack
        With what workers found out. A ``group`` that is not the id is taken as it is.
    pairs : iterable of TrackPair
        Copies; those with a score below 0.5 are not followed.
    root : Path, optional
        The folder in which the data set lies: folders above it say nothing.

    Returns
    -------
    GroupReport
    """
    own = _own_groups(tracks, root)
    united = _Union()
    joined_by: dict[str, str] = {}
    for pair in pairs:
        known = pair.first in own and pair.second in own and pair.score >= _SURE_PAIR
        if known and united.join(own[pair.first].name, own[pair.second].name):
            joined_by[pair.second] = pair.first
    members: defaultdict[str, list[AuditTrack]] = defaultdict(list)
    for track in tracks:
        members[united.find(own[track.id].name)].append(track)
    sure = {
        root_name: sum(CONFIDENCE[own[track.id].source] for track in inside) / len(inside)
        for root_name, inside in members.items()
    }
    return GroupReport(tuple(_assignments(tracks, own, united, joined_by, sure)))


class _Own(NamedTuple):
    """The group of a track by itself: its name, and where that is from."""

    name: str
    source: GroupSource


def _assignments(
    tracks: Sequence[AuditTrack],
    own: dict[str, _Own],
    united: _Union,
    joined_by: dict[str, str],
    sure: dict[str, float],
) -> Iterator[GroupAssignment]:
    for track in tracks:
        name = united.find(own[track.id].name)
        source = f"copy of {joined_by[track.id]}" if track.id in joined_by else own[track.id].source
        yield GroupAssignment(track.id, track.path, track.label, name, round(sure[name], 3), source)


def _kind(source: str) -> str:
    return "copies" if source.startswith("copy of ") else source


def _own_groups(tracks: Sequence[AuditTrack], root: Path | None) -> dict[str, _Own]:
    folders = {track.id: _folder(track, root) for track in tracks}
    sizes = Counter(folders.values())
    artists = _folder_artists(tracks, folders)
    found: dict[str, _Own] = {}
    for track in tracks:
        folder = folders[track.id]
        artist = artist_name(track.facts)
        # The readers of folders name groups by folder: a tag is the better source.
        by_folder = track.group in track.path.parts or track.group == track.id
        if not by_folder and track.group:
            found[track.id] = _Own(track.group, "data set")
        elif artist:
            found[track.id] = _Own(artist, "artist tag")
        elif folder and folder in artists:
            found[track.id] = _Own(artists[folder], "tags in folder")
        elif folder and 1 < sizes[folder] <= max(1, _MAX_FOLDER_SHARE * len(tracks)):
            found[track.id] = _Own(f"folder {folder}", "folder")
        else:
            found[track.id] = _Own(f"track {track.id}", "none")
    return found


def _folder(track: AuditTrack, root: Path | None) -> str:
    """Return the folder below the root, and below that of the genre, that a file is in; empty for none."""
    try:
        parts = track.path.relative_to(root).parts[:-1] if root else track.path.parts[1:-1]
    except ValueError:
        parts = track.path.parts[1:-1]
    is_genre = track.label and parts and unicodedata.normalize("NFC", parts[0]) == track.label
    below = parts[1:] if is_genre else parts
    return "/".join(below[:1] if root else below)


def _folder_artists(tracks: Sequence[AuditTrack], folders: dict[str, str]) -> dict[str, str]:
    """Return the artist of each folder whose tagged files agree on one."""
    named: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for track in tracks:
        if (artist := artist_name(track.facts)) and folders[track.id]:
            named[folders[track.id]][artist] += 1
    best = {folder: counts.most_common(1)[0] for folder, counts in named.items()}
    return {
        folder: artist
        for folder, (artist, count) in best.items()
        if count >= _FOLDER_AGREEMENT * named[folder].total()
    }


class _Union:
    """Sets of names that are one (union-find with path halving)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        """Return the name that stands for the set of a name."""
        while (parent := self._parent.get(name, name)) != name:
            self._parent[name] = self._parent.get(parent, parent)
            name = self._parent[name]
        return name

    def join(self, first: str, second: str) -> bool:
        """Join the sets of two names; return whether they were two."""
        one, other = self.find(first), self.find(second)
        # A name that says who it is stands for one that does not.
        if one != other:
            one, other = sorted((one, other), key=lambda name: (name.startswith(("track ", "folder ")), name))
            self._parent[other] = one
        return one != other
