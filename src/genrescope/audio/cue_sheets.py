"""Reading cue sheets: where the tracks of an album begin that is one file, or a few.

The format is that of CDRWIN (https://wyday.com/cuesharp/specification.php): ``FILE``, ``TRACK`` and ``INDEX``
lines, with times in minutes, seconds and frames of 1/75 s.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from genrescope.audio.playlists import read_text_file
from genrescope.errors import AudioError
from genrescope.types import AUDIO_SUFFIXES, AudioSection
from genrescope.utils import ListedPaths

_MAX_BYTES = 2**20
_FRAMES_PER_SECOND = 75
_TIME = re.compile(r"(\d+):(\d{1,2}):(\d{1,2})")
# Cue sheets do not say in which encoding they are. What is not UTF-8 is in the first of these in which the
# files that it names are there, or else in the first.
_ENCODINGS = ("cp1252", "shift_jis", "cp1251", "gb18030", "euc_kr")


@dataclass
class _Track:
    """A track as it stands in a cue sheet: its line, number, file, and where it begins, in seconds."""

    line: int
    number: int
    file: str
    is_audio: bool
    title: str = ""
    indices: dict[int, float] = field(default_factory=dict)


def read_cue_sheet(path: Path) -> list[AudioSection]:
    """Return the audio tracks of a cue sheet.

    A track lasts from its ``INDEX 01`` to that of the next track in the same file: the pause before a track
    belongs to the track before it, as in players. A file that is not there may have another ending, such as
    ``.flac`` for ``.wav``, as after it was converted.

    Parameters
    ----------
    path : Path
        Of the cue sheet.

    Returns
    -------
    list of AudioSection
        Their names are ``SHEET#NUMBER``, of two digits or more; the files need not exist.

    Raises
    ------
    AudioError
        ``audio_missing``, ``audio_permission_denied``; ``audio_unreadable``: no cue sheet, or one in which
        something is missing or makes no sense, with the number of the line.
    """
    content = read_text_file(path, _MAX_BYTES, "cue sheet")
    tracks = _parse(_decoded(content, path.parent), path)
    starts = [track.indices[1] for track in tracks]
    ends: list[float | None] = [
        after if tracks[place].file == tracks[place + 1].file else None
        for place, (_, after) in enumerate(pairwise(starts))
    ]
    return [
        AudioSection(
            _audio_file(path, track.file),
            start,
            end,
            name=f"{path}#{track.number:02}",
            title=track.title,
        )
        for track, start, end in zip(tracks, starts, [*ends, None], strict=True)
        if track.is_audio
    ]


def _decoded(content: bytes, folder: Path) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    for encoding in _ENCODINGS:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        named = re.findall(r'^\s*FILE\s+"(.*)"', text, flags=re.MULTILINE | re.IGNORECASE)
        if named and all((folder / name).is_file() for name in named):
            return text
    return content.decode(_ENCODINGS[0], "replace")


def _parse(text: str, path: Path) -> list[_Track]:
    """Return the tracks of a cue sheet, checked."""
    file: str | None = None
    tracks: list[_Track] = []
    for number, line in enumerate(text.splitlines(), 1):
        word, _, rest = line.strip().partition(" ")
        word, rest = word.upper(), rest.strip()
        current = tracks[-1] if tracks else None
        if word == "FILE":
            file = _file_name(rest)
        elif word == "TRACK":
            if file is None:
                raise _broken(path, number, "TRACK comes before FILE")
            tracks.append(_new_track(path, number, rest, file))
        elif current is not None and word == "TITLE":
            current.title = rest.strip('"')
        elif current is not None and word == "INDEX":
            _add_index(path, number, rest, current, file)
    if not tracks:
        raise _broken(path, None, "it has no TRACK")
    _check(path, tracks)
    return tracks


def _file_name(rest: str) -> str:
    """Return the name in ``"NAME" WAVE``, or ``NAME WAVE``."""
    if quoted := re.match(r'"(.*)"', rest):
        return quoted[1]
    name, _, kind = rest.rpartition(" ")
    return name or kind


def _new_track(path: Path, line: int, rest: str, file: str) -> _Track:
    number, _, kind = rest.partition(" ")
    if not (number.isascii() and number.isdigit()):
        raise _broken(path, line, f"TRACK {rest}: a track needs a number")
    return _Track(line, int(number), file, kind.strip().upper() == "AUDIO")


def _add_index(path: Path, line: int, rest: str, track: _Track, file: str | None) -> None:
    number, _, time = rest.partition(" ")
    match = _TIME.fullmatch(time.strip())
    if match is None or not number.isdigit():
        raise _broken(path, line, f"INDEX {rest}: not of the form 01 03:20:00")
    minutes, seconds, frames = map(int, match.groups())
    if seconds >= 60 or frames >= _FRAMES_PER_SECOND:
        raise _broken(path, line, f"INDEX {rest}: seconds end at 59, frames at {_FRAMES_PER_SECOND - 1}")
    track.indices[int(number)] = 60 * minutes + seconds + frames / _FRAMES_PER_SECOND
    # The pause before a track may be the end of one file, and the track itself the start of the next.
    if int(number) == 1 and file is not None:
        track.file = file


def _check(path: Path, tracks: list[_Track]) -> None:
    for track in tracks:
        if 1 not in track.indices:
            raise _broken(path, track.line, f"track {track.number} has no INDEX 01")
        if not track.file:
            raise _broken(path, track.line, f"the FILE of track {track.number} has no name")
    for before, after in pairwise(tracks):
        if after.number <= before.number:
            raise _broken(path, after.line, f"track {after.number} comes after track {before.number}")
        if before.file == after.file and after.indices[1] <= before.indices[1]:
            raise _broken(
                path, after.line, f"track {after.number} does not begin after track {before.number}"
            )


def _broken(path: Path, line: int | None, what: str) -> AudioError:
    where = f"{path}: " if line is None else f"{path}, line {line}: "
    return AudioError(
        "audio_unreadable",
        f"{where}broken cue sheet: {what}",
        "correct it in a text editor, or name the audio file instead",
    )


def _audio_file(sheet: Path, name: str) -> Path:
    """Return the file that a sheet means: the one it names, or one beside it with another ending."""
    named = Path(ListedPaths(sheet.parent).find(name))
    if named.exists():
        return named
    try:
        beside = [file for file in sorted(sheet.parent.iterdir()) if file.suffix.lower() in AUDIO_SUFFIXES]
    except OSError:
        return named
    # Sheets often keep the full path of the machine that they were written on.
    for stem in (named.stem, sheet.stem):
        found = [file for file in beside if _key(file.stem) == _key(stem)]
        if len(found) == 1:
            return found[0]
    return named


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
