"""What a file says it is: its tags of album, artists and title, in the formats that mutagen reads."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

# What ID3v2, Vorbis comments, MP4, ASF and APEv2 call them, in lower case (https://picard-docs.musicbrainz.org,
# "Tag mapping"). Of several, the first that is there counts.
_KEYS: Final = {
    "album": ("talb", "album", "©alb", "wm/albumtitle"),
    "album_artist": ("tpe2", "albumartist", "album artist", "aart", "wm/albumartist"),
    "artist": ("tpe1", "artist", "©art", "author"),
    "title": ("tit2", "title", "©nam"),
}
# No name of an album is longer; a damaged tag may hold anything.
_MAX_LENGTH = 500


class AlbumTags(NamedTuple):
    """What a file's tags say about its album; an empty text where they do not.

    Attributes
    ----------
    album : str
        Title of the album.
    album_artist : str
        Artist of the whole album, such as ``Various Artists``.
    artist : str
        Artist of the track; of several, the first.
    title : str
        Title of the track.
    """

    album: str = ""
    album_artist: str = ""
    artist: str = ""
    title: str = ""


def import_readers() -> bool:
    """Import what `read_album_tags` needs, and return whether it is there.

    The first file would wait for it otherwise, within the limits of time and memory of a worker.
    """
    try:
        import mutagen
    except ModuleNotFoundError:
        return False
    opener: Any = mutagen.File
    # Of a stream that is empty, it tries the readers of all formats.
    opener(BytesIO())
    return True


def read_album_tags(path: str | Path) -> AlbumTags | None:
    """Return what a file's tags say about its album.

    Parameters
    ----------
    path : path
        Of an audio file, of any format.

    Returns
    -------
    AlbumTags or None
        Without texts where the file has no tags, or none that can be read; None without mutagen.
    """
    try:
        import mutagen
    except ModuleNotFoundError:
        return None
    open_file: Any = mutagen.File
    # Damaged files make mutagen raise undocumented errors: struct.error, AssertionError, MemoryError. A file
    # without an album is no failure: its folder tells which album it is of.
    try:
        file = open_file(path)
        return AlbumTags() if file is None or file.tags is None else _album_tags(file.tags)
    except Exception:
        return AlbumTags()


def _album_tags(tags: Mapping[str, Any]) -> AlbumTags:
    values = {str(key).lower(): key for key in tags.keys()}  # noqa: SIM118 - ASF's tags iterate over pairs

    def text(name: str) -> str:
        for key in _KEYS[name]:
            if key in values and (found := _first_text(tags[values[key]])):
                return found
        return ""

    return AlbumTags(text("album"), text("album_artist"), text("artist"), text("title"))


def _first_text(value: Any) -> str:
    """Return the first of a tag's values, which formats keep in frames, lists or joined by NUL."""
    value = getattr(value, "text", value)
    if isinstance(value, (list, tuple)):
        value = value[0] if value else ""
    first = str(value).strip("\0 ").split("\0")[0]
    # Surrogates, which a damaged tag can hold, could not be kept.
    return " ".join(first.encode("utf8", "replace").decode("utf8").split())[:_MAX_LENGTH]
