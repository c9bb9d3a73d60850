"""The Ballroom data set, in the layout in which it is published or as mirdata unpacks it.

F. Gouyon et al., "An Experimental Comparison of Audio Tempo Induction Algorithms", IEEE TASLP 14(5), 2006:
``BallroomData`` with ``allBallroomFiles`` and one folder per dance. The recordings that are there twice are
those of B. L. Sturm, as listed by F. Krebs in https://github.com/CPJKU/BallroomAnnotations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from genrescope.datasets.base import (
    Dataset,
    DatasetIssue,
    build_dataset,
    keep_present,
    unite_groups,
    unite_replicas,
)
from genrescope.errors import DataError
from genrescope.types import AUDIO_SUFFIXES, Track

_DANCES: Final = (
    "ChaChaCha", "Jive", "Quickstep", "Rumba", "Samba", "Tango", "VienneseWaltz", "Waltz",
)  # fmt: skip
# Where the folders of dances lie: as unpacked, as found in it, and as mirdata unpacks it.
_ROOTS = (".", "BallroomData", "B_1.0/audio", "B_1.0/audio/BallroomData")
_FILE = re.compile(r"(?:Albums-(?P<album>.+)-\d+|Media-\d+)[a-z]?")
_SAME_RECORDING: Final = (
    ("Albums-AnaBelen_Veneo-11", "Albums-Chrisanne2-12"),
    ("Albums-Fire-08", "Albums-Fire-09"),
    ("Albums-Latin_Jam2-05", "Albums-Latin_Jam2-13"),
    ("Albums-Secret_Garden-01", "Media-104705"),
    ("Albums-AnaBelen_Veneo-03", "Albums-AnaBelen_Veneo-15"),
    ("Albums-Ballroom_Magic-03", "Albums-Ballroom_Magic-18"),
    ("Albums-Latin_Jam-04", "Albums-Latin_Jam-13"),
    ("Albums-Latin_Jam-08", "Albums-Latin_Jam-14"),
    ("Albums-Latin_Jam-06", "Albums-Latin_Jam-15"),
    ("Albums-Latin_Jam2-02", "Albums-Latin_Jam2-14"),
    ("Albums-Latin_Jam2-07", "Albums-Latin_Jam2-15"),
    ("Albums-Latin_Jam3-02", "Media-103414"),
    ("Media-103402", "Media-103415"),
)


def is_ballroom(path: Path) -> bool:
    """Return whether a folder has the layout of the Ballroom data set.

    Parameters
    ----------
    path : Path
        A folder.
    """
    return _root(path) is not None


def load_ballroom(path: Path) -> Dataset:
    """Read the Ballroom data set: eight dances, and albums as groups.

    Parameters
    ----------
    path : Path
        ``BallroomData``, the folder that it is in, or the folder that mirdata downloaded to.

    Returns
    -------
    Dataset
        The three folders of rumbas are one class, as usual.

    Raises
    ------
    DataError
        As `genrescope.datasets.load_dataset`.
    """
    root = _root(path)
    if root is None:
        hint = "give BallroomData with its folders of dances"
        raise DataError("dataset_not_found", f"{path}: no folders of the Ballroom data set there", hint)
    return build_ballroom(_files(root), root)


def build_ballroom(files: Iterable[Path], source: Path) -> Dataset:
    """Build the data set of files of Ballroom, each in the folder of its dance.

    Parameters
    ----------
    files : iterable of Path
        Which may be absent.
    source : Path
        For messages.
    """
    tracks = [
        Track(file.stem, file, _dance(file.parent.name) or file.parent.name, _album(file.stem))
        for file in files
    ]
    kept, faults = keep_present(tracks)
    united, replicas = unite_replicas(kept)
    places = {track.id: place for place, track in enumerate(united)}
    pairs = [pair for pair in _SAME_RECORDING if places.keys() >= set(pair)]
    united = unite_groups(united, [[places[name] for name in pair] for pair in pairs])
    known = {issue.track for issue in replicas}
    issues = [
        DatasetIssue("replica", other, str(united[places[other]].path), f"the same recording as {first}")
        for first, other in pairs
        if not {first, other} & known
    ]
    return build_dataset("ballroom", united, [*faults, *replicas, *issues], source)


def _root(path: Path) -> Path | None:
    folders = (path / name for name in _ROOTS)
    return next((folder for folder in folders if folder.is_dir() and _has_dances(folder)), None)


def _has_dances(folder: Path) -> bool:
    if (folder / "allBallroomFiles").is_file():
        return True
    files = _files(folder)
    return bool(files) and all(_FILE.fullmatch(file.stem) for file in files)


def _files(root: Path) -> list[Path]:
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and _dance(entry.name))
    return [
        file
        for folder in folders
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in AUDIO_SUFFIXES and not file.name.startswith(".")
    ]


def _dance(folder: str) -> str | None:
    """Return the dance of a folder, such as ``Rumba`` of ``Rumba-American``."""
    name = folder.partition("-")[0]
    return name if name in _DANCES else None


def _album(name: str) -> str:
    found = _FILE.fullmatch(name)
    return (found and found["album"]) or name
