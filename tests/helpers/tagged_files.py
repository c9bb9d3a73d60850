"""One short piece of music in every format that can have genres, with the tags that real files have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import mutagen
from mutagen import flac, id3, mp4

from genrescope.audio.ffmpeg import open_container
from genrescope.audio.files import DecoderFile
from helpers import sounds

COVER = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
RATE = 48_000
TITLE = "Élan"


def _nothing(path: Path) -> None:
    pass


def _id3(path: Path, *, version: int, v1: int = 0) -> None:
    """Add title, cover, chapters, a play count and artists to a file, in one version of ID3v2."""
    file: Any = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    file.tags.add(id3.TIT2(encoding=1, text=[TITLE]))
    file.tags.add(id3.APIC(encoding=0, mime="image/png", type=3, desc="", data=COVER))
    file.tags.add(id3.PCNT(count=7))
    file.tags.add(id3.TPE1(encoding=1, text=["One", "Two/Three"]))
    file.tags.add(id3.TDRC(text=["2001-02-03"]) if version == 4 else id3.TYER(encoding=0, text=["2001"]))
    file.tags.add(id3.CTOC(element_id="toc", flags=3, child_element_ids=["a"], sub_frames=[]))
    file.tags.add(
        id3.CHAP(element_id="a", start_time=0, end_time=900, start_offset=0, end_offset=0, sub_frames=[])
    )
    file.save(path, v2_version=version, v23_sep=None, **({"v1": v1} if v1 else {}))


def _id3v1(path: Path) -> None:
    file = id3.ID3()
    file.add(id3.TIT2(encoding=0, text=["Title"]))
    file.save(path, v1=2)
    mutagen.id3.delete(path, delete_v1=False, delete_v2=True)


def _id3v22(path: Path) -> None:
    """Put a tag of ID3v2.2 before the sound, by hand: mutagen writes none."""
    file = id3.ID3(path) if path.read_bytes().startswith(b"ID3") else None
    sound = path.read_bytes()[file.size if file else 0 :]
    text = b"\0Title"
    frames = b"TT2" + len(text).to_bytes(3, "big") + text + bytes(20)
    size = bytes([0, 0, len(frames) >> 7, len(frames) & 127])
    path.write_bytes(b"ID3\x02\0\0" + size + frames + sound)


def _flac(path: Path) -> None:
    file = flac.FLAC(path)
    picture = flac.Picture()
    picture.data, picture.mime, picture.type = COVER, "image/png", 3
    file.add_picture(picture)
    file["title"], file["artist"] = TITLE, ["One", "Two"]
    file.save()


def _comments(path: Path) -> None:
    file: Any = mutagen.File(path)
    file["title"], file["artist"] = TITLE, ["One", "Two"]
    file.save()


def _mp4(path: Path) -> None:
    file = mp4.MP4(path)
    file["\xa9nam"], file["covr"] = [TITLE], [mp4.MP4Cover(COVER, mp4.MP4Cover.FORMAT_PNG)]
    file["----:com.apple.iTunes:LABEL"] = [mp4.MP4FreeForm(b"Some Label")]
    file.save()


def _form(
    kind: str, suffix: str, add_tags: Callable[[Path], None]
) -> tuple[str, str, Callable[[Path], None]]:
    return kind, suffix, add_tags


# Name: the sound's format, the suffix, what else is in the file.
FORMS = {
    "mp3-bare": _form("mp3", ".mp3", _nothing),
    "mp3-id3v2.4": _form("mp3-ffmpeg", ".mp3", partial(_id3, version=4)),
    "mp3-id3v2.3": _form("mp3-vbr", ".mp3", partial(_id3, version=3)),
    "mp3-id3v2.3-and-v1": _form("mp3", ".mp3", partial(_id3, version=3, v1=2)),
    "mp3-id3v2.2": _form("mp3", ".mp3", _id3v22),
    "mp3-id3v1": _form("mp3", ".mp3", _id3v1),
    "flac-bare": _form("flac-16", ".flac", _nothing),
    "flac": _form("flac-24", ".flac", _flac),
    "ogg-bare": _form("ogg", ".ogg", _nothing),
    "ogg": _form("ogg", ".oga", _comments),
    "opus-bare": _form("opus", ".opus", _nothing),
    "opus": _form("opus", ".opus", _comments),
    "m4a-bare": _form("m4a", ".m4a", _nothing),
    "m4a": _form("m4a", ".m4a", _mp4),
    "m4a-index-first": _form("m4a-index-first", ".m4b", _mp4),
    "alac": _form("alac", ".m4a", _mp4),
    "aiff-bare": _form("aiff", ".aiff", _nothing),
    "aiff": _form("aiff", ".aif", partial(_id3, version=4)),
    "aiff-id3v2.3": _form("aiff-float", ".aiff", partial(_id3, version=3)),
    "wav-bare": _form("wav-16", ".wav", _nothing),
    "wav": _form("wav-24", ".wav", partial(_id3, version=4)),
    "wav-id3v2.3": _form("wav-16", ".wav", partial(_id3, version=3)),
}


def write(folder: Path, form: str) -> Path:
    """Write the piece in one of `FORMS`."""
    kind, suffix, add_tags = FORMS[form]
    path = folder / f"{form}{suffix}"
    samples = sounds.tone(1.0, RATE, channels=2) + sounds.noise(1.0, RATE, channels=2)
    ({**sounds.LOSSLESS, **sounds.LOSSY})[kind](path, samples, RATE)
    add_tags(path)
    return path


def sound(path: Path) -> str:
    """Return a digest of all decoded samples."""
    digest = hashlib.sha256()
    with path.open("rb") as opened, open_container(DecoderFile(opened)) as file:
        for frame in file.decode(audio=0):
            digest.update(frame.to_ndarray().tobytes())
    return digest.hexdigest()


def genre_seen_by_ffmpeg(path: Path) -> str | None:
    """Return the genre as FFmpeg finds it, of the file or of its stream."""
    with av.open(str(path)) as file:
        found = {**file.metadata, **file.streams.audio[0].metadata}
    return next((value for name, value in found.items() if name.casefold() == "genre"), None)


def other_tags(path: Path) -> dict[str, str]:
    """Return everything in a file's tags but the genre, as mutagen sees it."""
    file: Any = mutagen.File(path)
    tags = {} if file.tags is None else file.tags
    pictures = [picture.data for picture in getattr(file, "pictures", [])]
    kept = {
        name: str(tags[name]) if name != "covr" else str(len(tags[name][0]))
        for name in set(tags.keys())
        if name.casefold() not in ("genre", "tcon", "\xa9gen")
    }
    return kept | {"pictures": str(pictures)}
