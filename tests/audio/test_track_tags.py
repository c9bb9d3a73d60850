"""Title, artist, album and cover of a file, in every format that has tags."""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path
from typing import Any

import av
import mutagen
import numpy as np
import pytest
from mutagen import flac, id3
from PIL import Image

from genrescope.audio import read_track_tags, track_tags
from genrescope.audio.ffmpeg import FFmpegDecoder, open_container
from genrescope.audio.files import DecoderFile
from genrescope.audio.header import inspect_header
from helpers import tagged_files

PYAV_MAJOR = int(av.__version__.partition(".")[0])

COVERED = {"mp3-id3v2.4", "mp3-id3v2.3", "flac", "m4a", "alac", "aiff"}


def picture(kind: str, width: int = 3, height: int = 2, **options: object) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height), "navy").save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize("form", [*sorted(COVERED), "ogg", "opus", "wav"])
def test_tags_of_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    cover = picture("PNG")
    monkeypatch.setattr(tagged_files, "COVER", cover)
    tags = read_track_tags(tagged_files.write(tmp_path, form))
    assert tags.title == tagged_files.TITLE
    if form not in ("m4a", "alac"):  # which the helper gives no artist
        assert tags.artist.startswith("One")
    if form in COVERED:
        assert tags.cover == ("image/png", cover)


def test_a_file_without_tags_has_none(tmp_path: Path) -> None:
    empty = track_tags.TrackTags()
    assert read_track_tags(tagged_files.write(tmp_path, "flac-bare")) == empty
    words = tmp_path / "words.mp3"
    words.write_text("no sound")
    assert read_track_tags(words) == empty
    assert read_track_tags(tmp_path / "nothing.mp3") == empty


def test_a_cover_in_ogg(tmp_path: Path) -> None:
    path = tagged_files.write(tmp_path, "ogg-bare")
    image = flac.Picture()
    image.data, image.mime, image.type = picture("JPEG"), "image/jpeg", 3
    file = mutagen.File(path)
    file["metadata_block_picture"] = [base64.b64encode(image.write()).decode()]
    file.save()
    assert read_track_tags(path).cover == ("image/jpeg", image.data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_type_of_a_cover_is_that_of_its_content(kind: str) -> None:
    assert track_tags.cover_type(picture(kind)) == f"image/{kind.lower()}"
    assert track_tags.cover_type(picture(kind, 4096, 1)) == f"image/{kind.lower()}"
    assert track_tags.cover_type(picture(kind, 4097, 1)) is None
    assert track_tags.cover_type(picture(kind, 1, 4097)) is None


def test_a_progressive_jpeg_and_one_with_a_comment() -> None:
    assert track_tags.cover_type(picture("JPEG", progressive=True)) == "image/jpeg"
    assert track_tags.cover_type(picture("JPEG", comment=b"x" * 60_000)) == "image/jpeg"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg onload='alert(1)'/>",
        b"GIF89a\1\0\1\0",
        b"\xff\xd8\xff",
        b"\xff\xd8" + b"\xff" * 500,
        picture("JPEG")[:20],
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 0, 5),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    ],
)
def test_what_is_no_picture_is_no_cover(content: bytes) -> None:
    assert track_tags.cover_type(content) is None


@pytest.mark.parametrize("content", [b"<html>no picture", b"\xff\xd8\xff\xe0" + bytes(3 * 2**20)])
def test_a_cover_that_cannot_be_shown_is_left_out(tmp_path: Path, content: bytes) -> None:
    path = tagged_files.write(tmp_path, "mp3-id3v2.4")
    file = id3.ID3(path)
    file.delall("APIC")
    file.add(id3.APIC(encoding=0, mime="image/png", type=3, desc="", data=content))
    file.save()
    tags = read_track_tags(path)
    assert (tags.title, tags.cover) == (tagged_files.TITLE, None)


def test_a_large_cover_is_left_out(tmp_path: Path) -> None:
    path = tagged_files.write(tmp_path, "flac-bare")
    image = flac.Picture()
    image.data, image.mime, image.type = picture("PNG") + bytes(track_tags.MAX_COVER_BYTES), "image/png", 3
    file = flac.FLAC(path)
    file.add_picture(image)
    file.save()
    assert read_track_tags(path).cover is None


def test_names_are_one_line_of_bounded_length(tmp_path: Path) -> None:
    path = tagged_files.write(tmp_path, "mp3-id3v2.4")
    file = id3.ID3(path)
    file.add(id3.TIT2(encoding=3, text=["A\n\u2028\tB\u202e" + "c" * 999]))
    file.save()
    title = read_track_tags(path).title
    assert title.startswith("A B c")
    assert len(title) == 200


def test_bytes_that_are_not_utf8_are_left_out(tmp_path: Path) -> None:
    assert read_track_tags(with_title_that_is_not_utf8(tmp_path)).title == "AB"


def test_pyav_19_takes_no_option_for_the_encoding_of_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_title_that_is_not_utf8(tmp_path)
    earlier = av.open

    def open_as_19(file: Any, mode: str = "r", options: dict[str, str] | None = None) -> Any:
        # It gives lone surrogates for such bytes.
        errors = {} if PYAV_MAJOR >= 19 else {"metadata_errors": "surrogateescape"}
        return earlier(file, mode=mode, options=options, **errors)

    monkeypatch.setattr(av, "open", open_as_19)
    monkeypatch.setattr(av, "__version__", "19.0.2")
    with path.open("rb") as file, open_container(DecoderFile(file)) as container:
        assert "A\udcff\udcfeB " in container.metadata.values()
    assert read_track_tags(path).title == "AB"
    with path.open("rb") as file:
        assert FFmpegDecoder(file, inspect_header(file)).sample_rate == tagged_files.RATE


def with_title_that_is_not_utf8(folder: Path) -> Path:
    path = tagged_files.write(folder, "flac-bare")
    file = flac.FLAC(path)
    file["title"] = "A___B"
    file.save()
    content = path.read_bytes().replace(b"title=A___B", b"title=A\xff\xfeB ")
    path.write_bytes(content)
    return path


def test_the_frames_of_a_video_are_no_cover(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    with av.open(path, "w") as file:
        file.metadata["title"] = "A film"
        images, sound = file.add_stream("mjpeg", rate=1), file.add_stream("aac", rate=48_000, layout="mono")
        images.width, images.height, images.pix_fmt = 16, 16, "yuvj420p"
        file.mux(images.encode(av.VideoFrame(16, 16, "yuvj420p")))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), "fltp", "mono")
        samples.sample_rate = 48_000
        for stream, frame in ((sound, samples), (sound, None), (images, None)):
            file.mux(stream.encode(frame))
    assert read_track_tags(path) == track_tags.TrackTags("A film")
