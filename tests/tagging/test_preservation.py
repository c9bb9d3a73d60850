"""Writing genres keeps every byte of every other tag, whatever stands in the file; undo restores all."""

from __future__ import annotations

import struct
from pathlib import Path

import av.error
import pytest

from genrescope.errors import GenrescopeError
from genrescope.tagging import writer as tags
from helpers import raw_tags, sounds, tag_fuzzer, tagged_files, unusual_tags

GENRES = ["Rock", "Hip Hop", "Æthérisch (leise)"]
RECIPES = unusual_tags.recipes()


@pytest.fixture
def song(request: pytest.FixtureRequest, forms: dict[str, Path], tmp_path: Path) -> Path:
    form, change = RECIPES[request.param]
    path = tmp_path / f"song{forms[form].suffix}"
    path.write_bytes(change(forms[form].read_bytes()))
    return path


def decoded(path: Path) -> str:
    """Return a digest of the decoded samples; FFmpeg refuses some blocks that are allowed."""
    try:
        return tagged_files.sound(path)
    except av.error.InvalidDataError:
        return "refused"


@pytest.mark.parametrize("song", RECIPES, indirect=True)
def test_all_other_tags_stay_the_same_bytes(song: Path) -> None:
    content, sound = song.read_bytes(), decoded(song)
    others = raw_tags.entries(content)
    changes = []
    for genres in (GENRES, ["Jazz"], [], ["much longer than any padding" * 100]):
        before = song.read_bytes()
        changes.append((before, tags.write_genres(song, genres)))
        assert tags.read_genres(song) == tuple(genres)
        assert raw_tags.entries(song.read_bytes()) == others
        assert decoded(song) == sound
    for before, change in reversed(changes):
        assert tags.undo(change).status in ("restored", "unchanged")
        assert song.read_bytes() == before
    assert song.read_bytes() == content


def test_damaged_files_are_refused_or_keep_everything_else() -> None:
    outcomes, broken = tag_fuzzer.run(300)
    assert not broken, broken[0]
    assert outcomes["written"] > 60
    assert outcomes["tags_corrupt"] > 60


def refusal(path: Path) -> GenrescopeError:
    content = path.read_bytes()
    with pytest.raises(GenrescopeError) as caught:
        tags.write_genres(path, GENRES)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]
    return caught.value


@pytest.mark.parametrize(("form", "chunk"), [("wav-bare", "data"), ("aiff-bare", "SSND")])
def test_a_file_that_is_cut_short_is_refused_with_what_is_wrong(
    forms: dict[str, Path], tmp_path: Path, form: str, chunk: str
) -> None:
    song = tmp_path / forms[form].name
    content = forms[form].read_bytes()
    song.write_bytes(content[: len(content) // 2])
    error = refusal(song)
    assert error.code == "tags_corrupt"
    assert f"cut short, or was never finished: its '{chunk}' chunk states" in error.message
    assert "copy it again" in error.hint
    assert "words" not in error.hint


@pytest.mark.parametrize(("form", "order"), [("wav-bare", "<I"), ("aiff-bare", ">I")])
def test_a_wrong_size_in_the_header_is_named(
    forms: dict[str, Path], tmp_path: Path, form: str, order: str
) -> None:
    song = tmp_path / forms[form].name
    content = forms[form].read_bytes()
    song.write_bytes(content[:4] + struct.pack(order, 60) + content[8:])
    error = refusal(song)
    assert error.code == "tags_corrupt"
    assert "header is wrong: 68 bytes" in error.message
    assert "ffmpeg -i OLD" in error.hint


def test_a_wav_file_written_to_a_pipe_was_never_finished(forms: dict[str, Path], tmp_path: Path) -> None:
    song = tmp_path / "a.wav"
    content = forms["wav-bare"].read_bytes()
    place = content.index(b"data") + 4
    unknown = b"\xff" * 4
    song.write_bytes(content[:4] + unknown + content[8:place] + unknown + content[place + 4 :])
    assert "never finished" in refusal(song).message


def test_damaged_pages_of_comments_are_refused(forms: dict[str, Path], tmp_path: Path) -> None:
    song = tmp_path / "a.oga"
    content = bytearray(forms["ogg"].read_bytes())
    content[content.index(b"OggS", 4) + 22] ^= 1
    song.write_bytes(content)
    assert "checksums are wrong" in refusal(song).message


def test_fragments_of_an_mp4_file_move_with_their_offsets(tmp_path: Path) -> None:
    song = tmp_path / "a.m4a"
    options = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "200000"}
    samples = sounds.tone(1.0, tagged_files.RATE, channels=2)
    sounds.encode(song, samples, tagged_files.RATE, codec="aac", container="ipod", muxer=options)
    content, sound = song.read_bytes(), tagged_files.sound(song)
    assert content.count(b"tfhd") > 2
    change = tags.write_genres(song, GENRES)
    assert raw_tags.entries(song.read_bytes()) == raw_tags.entries(content)
    assert tagged_files.sound(song) == sound
    assert tags.undo(change).status == "restored"
    assert song.read_bytes() == content
