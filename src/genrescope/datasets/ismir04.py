"""The data set of the ISMIR 2004 genre classification contest, in the layout in which it is published.

P. Cano et al., "ISMIR 2004 Audio Description Contest", MTG-TR-2006-02: ``audio/training``,
``audio/development`` and ``audio/evaluation``, and of each ``metadata/<part>/tracklist.csv`` with class,
artist, album, track, track number and file path, with or without a line of names.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath
from typing import Final

from genrescope.datasets.base import (
    Dataset,
    DatasetIssue,
    build_dataset,
    keep_present,
    normalize_label,
    summarize_missing,
    unite_replicas,
)
from genrescope.datasets.tables import read_text
from genrescope.errors import DataError
from genrescope.types import Track

_PARTS: Final = {"training": "train", "development": "validation", "evaluation": "test"}
_HINT = "give the folder ismir04_genre with its folders audio and metadata"


def is_ismir04(path: Path) -> bool:
    """Return whether a folder has the layout of ISMIR04.

    Parameters
    ----------
    path : Path
        A folder.
    """
    return any(_track_list(path, part).is_file() and (path / "audio" / part).is_dir() for part in _PARTS)


def load_ismir04(path: Path) -> Dataset:
    """Read ISMIR04: six classes, the artist as group, and the contest's split.

    The parts share artists, so ``given`` is leaky. Where the evaluation part is not on disk, the development
    part is the test part, as in most publications.

    Parameters
    ----------
    path : Path
        The folder with ``audio`` and ``metadata``.

    Raises
    ------
    DataError
        As `genrescope.datasets.load_dataset`; ``dataset_invalid`` with the path and line of a row that is
        not one of the contest's.
    """
    found = {part: _read_part(path, part) for part in _PARTS if _track_list(path, part).is_file()}
    if not found:
        raise DataError("dataset_not_found", f"{path}: no track list of ISMIR04 there", _HINT)
    tracks = [track for part in found.values() for track in part]
    kept, faults = keep_present(tracks)
    united, replicas = unite_replicas(kept)
    present = {track.id for track in kept}
    parts = {track.id: _PARTS[part] for part, listed in found.items() for track in listed}
    if not any(side == "test" for track, side in parts.items() if track in present):
        parts = {track: "train" if side == "train" else "test" for track, side in parts.items()}
    issues = [*summarize_missing(faults, len(tracks), path), *replicas, *_anonymous(found, path)]
    return build_dataset("ismir04", united, issues, path, {"split": parts})


def _track_list(path: Path, part: str) -> Path:
    return path / "metadata" / part / "tracklist.csv"


def _anonymous(found: dict[str, list[Track]], path: Path) -> list[DatasetIssue]:
    if not found.get("development"):
        return []
    message = "artists of the development part are anonymous; they are also in the other parts"
    return [DatasetIssue("artists_anonymous", "", str(_track_list(path, "development")), message)]


def _read_part(path: Path, part: str) -> list[Track]:
    source = _track_list(path, part)
    reader = csv.reader(io.StringIO(read_text(source), newline=""))
    tracks = []
    for fields in reader:
        if not fields or fields[0].strip().casefold() == "class":
            continue
        # The evaluation part has a seventh column, Magnatune's number of the track.
        values = [field.strip() for field in fields]
        name = PurePosixPath(values[5].replace("\\", "/")) if len(values) > 5 else PurePosixPath()
        if not name.parts or name.is_absolute() or ".." in name.parts or not values[0]:
            message = f"{source}, line {reader.line_num}: not class, artist, album, track, number, file path"
            raise DataError("dataset_invalid", message, _HINT)
        # The numbers of anonymous artists mean nothing outside the development part.
        artist = f"development/{values[1]}" if part == "development" else values[1]
        group = artist if values[1] else f"{part}/{name}"
        tracks.append(
            Track(f"{part}/{name}", path / "audio" / part / name, normalize_label(values[0]), group)
        )
    return tracks
