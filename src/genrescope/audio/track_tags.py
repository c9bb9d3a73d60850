"""What a file says it is: title, artist, album and cover, as FFmpeg reads the tags of all formats."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final, NamedTuple

from genrescope.audio.ffmpeg import open_container
from genrescope.audio.files import DecoderFile

# No name is longer; a damaged tag may hold anything.
_MAX_LENGTH: Final = 200
# Covers are shown small. A larger one costs more to send and to decode than it is worth.
MAX_COVER_BYTES: Final = 2 * 2**20
MAX_COVER_SIDE: Final = 4096
_PNG_START: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
# Segments of JPEG that hold the size of the picture: the "start of frame" markers of ITU-T T.81, table B.1.
_JPEG_FRAMES: Final = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


class Cover(NamedTuple):
    """A picture of a file's tags.

    Attributes
    ----------
    media_type : {"image/jpeg", "image/png"}
        By its content, whatever the tag says.
    content : bytes
        At most `MAX_COVER_BYTES`.
    """

    media_type: str
    content: bytes


class TrackTags(NamedTuple):
    """What a file's tags say; an empty text, and no cover, where they do not.

    Attributes
    ----------
    title, artist, album : str
        Each of one line.
    cover : Cover or None
    """

    title: str = ""
    artist: str = ""
    album: str = ""
    cover: Cover | None = None


def read_track_tags(path: str | Path) -> TrackTags:
    """Return title, artist, album and cover of a file; none where it has no tags that can be read.

    Parameters
    ----------
    path : path
        Of an audio file, of any format that FFmpeg knows.
    """
    # Damaged files make PyAV raise errors of many types. A file without a title is no failure.
    try:
        with Path(path).open("rb") as file, open_container(DecoderFile(file)) as container:
            return _read(container)
    except Exception:
        return TrackTags()


def _read(container: Any) -> TrackTags:
    # Ogg keeps tags with its stream, other formats with the file.
    found: dict[str, str] = {}
    for one in (container, *container.streams.audio):
        for key, value in one.metadata.items():
            # Without what is not UTF-8.
            found.setdefault(key.lower(), value.encode(errors="ignore").decode())
    title, artist, album = (_one_line(found.get(name, "")) for name in ("title", "artist", "album"))
    return TrackTags(title, artist, album, _cover(container))


def _cover(container: Any) -> Cover | None:
    """Return the first picture that can be shown; FFmpeg gives each as a stream of one packet."""
    for stream in container.streams.video:
        if stream.disposition & type(stream.disposition).attached_pic:
            packet = next(iter(container.demux(stream)), None)
            if packet is not None and packet.size <= MAX_COVER_BYTES:
                content = bytes(packet)
                media_type = cover_type(content)
                if media_type is not None:
                    return Cover(media_type, content)
    return None


def cover_type(content: bytes) -> str | None:
    """Return the media type of a picture, by its content.

    Parameters
    ----------
    content : bytes
        A file of any kind.

    Returns
    -------
    str or None
        None where it is neither JPEG nor PNG, or wider or higher than `MAX_COVER_SIDE` pixels.
    """
    if content.startswith(_PNG_START):
        media_type, size = "image/png", struct.unpack_from(">II", content.ljust(24, b"\0"), len(_PNG_START))
    elif content.startswith(b"\xff\xd8\xff"):
        media_type, size = "image/jpeg", _jpeg_size(content)
    else:
        return None
    return media_type if all(0 < side <= MAX_COVER_SIDE for side in size) else None


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Return height and width as the header states them; 0, 0 where none does."""
    position = 2
    while position + 9 <= len(content) and content[position] == 0xFF:
        marker, length = struct.unpack_from(">xBH", content, position)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, position + 5)
            return height, width
        position += 1 if marker == 0xFF else 2 + length
    return 0, 0


def _one_line(text: str) -> str:
    """Return a text as one line of bounded length, without what cannot be displayed."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(shown.split())[:_MAX_LENGTH]
