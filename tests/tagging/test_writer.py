"""Genres in audio files: one table of formats, written, read back by others, taken out again."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import mutagen
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mutagen import apev2, id3, mp4

from genrescope.errors import GenrescopeError
from genrescope.tagging import delta as patch
from genrescope.tagging import writer as tags
from helpers import sounds, tagged_files

GENRES = ["Rock", "Hip Hop", "Æthérisch (leise)"]
ONE_TEXT = "Rock; Hip Hop; Æthérisch (leise)"


@pytest.fixture(params=tagged_files.FORMS)
def song(request: pytest.FixtureRequest, forms: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copy2(forms[request.param], tmp_path))


def test_genres_are_written_and_nothing_else_changes(song: Path) -> None:
    sound, others = tagged_files.sound(song), tagged_files.other_tags(song)
    assert tags.read_genres(song) == ()
    change = tags.write_genres(song, GENRES)
    assert tags.read_genres(song) == tuple(GENRES)
    assert (change.before, change.after) == ((), tuple(GENRES))
    assert tagged_files.sound(song) == sound
    assert tagged_files.other_tags(song).items() >= others.items()


def test_other_programs_read_them(song: Path) -> None:
    tags.write_genres(song, GENRES)
    file: Any = mutagen.File(song)
    if isinstance(file.tags, id3.ID3):
        older = id3.ID3(song, translate=False).version if song.suffix == ".mp3" else file.tags.version
        assert file["TCON"].genres == ([ONE_TEXT] if older[1] < 4 else GENRES)
    else:
        assert file.tags["\xa9gen" if isinstance(file, mp4.MP4) else "genre"] == GENRES
    # FFmpeg joins comments with ";", and takes the first of several values elsewhere.
    assert tagged_files.genre_seen_by_ffmpeg(song) in ("Rock", ";".join(GENRES), ONE_TEXT)


def test_undo_restores_the_old_bytes(song: Path) -> None:
    contents, changes = [song.read_bytes()], []
    for genres in (GENRES, ["Jazz"], [], ["longer than any padding" * 300]):
        changes.append(tags.write_genres(song, genres))
        contents.append(song.read_bytes())
    for change, content, old in zip(changes[::-1], contents[::-1], contents[-2::-1], strict=False):
        assert song.read_bytes() == content
        stored = tags.TagChange.from_dict(json.loads(json.dumps(change.to_dict())))
        assert stored == change
        assert tags.undo(stored) == tags.UndoResult("restored", change.before)
        assert song.read_bytes() == old
    assert tags.undo(changes[0]).status == "unchanged"


def test_an_undo_delta_is_small(song: Path) -> None:
    assert len(tags.write_genres(song, GENRES).patch.data or b"") < 1500


def test_undo_after_another_edit_restores_the_genres(song: Path) -> None:
    tags.write_genres(song, ["Jazz"])
    change = tags.write_genres(song, GENRES)
    edit_title(song)
    assert tags.undo(change) == tags.UndoResult("reverted", ("Jazz",))
    assert tags.read_genres(song) == ("Jazz",)
    assert "Another" in str(tagged_files.other_tags(song))


def edit_title(path: Path) -> None:
    file: Any = mutagen.File(path)
    if isinstance(file.tags, id3.ID3):
        file.tags.add(id3.TIT2(encoding=3, text=["Another"]))
    else:
        file["\xa9nam" if isinstance(file, mp4.MP4) else "title"] = ["Another"]
    file.save()


def test_undo_keeps_genres_that_were_changed_since(flac: Path) -> None:
    change = tags.write_genres(flac, GENRES)
    tags.write_genres(flac, ["Chosen by hand"])
    assert tags.undo(change) == tags.UndoResult("kept", ("Chosen by hand",))
    assert tags.read_genres(flac) == ("Chosen by hand",)


def test_undo_restores_values_where_too_much_differs(flac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = patch.create_delta
    monkeypatch.setattr(patch, "create_delta", lambda old, new: real(old, new, max_bytes=0))
    change = tags.write_genres(flac, GENRES)
    assert change.patch.data is None
    assert tags.undo(change) == tags.UndoResult("reverted", ())


def test_a_moved_file_can_be_undone(flac: Path) -> None:
    content = flac.read_bytes()
    change = tags.write_genres(flac, GENRES)
    moved = flac.rename(flac.with_name("moved.flac"))
    with pytest.raises(GenrescopeError) as caught:
        tags.undo(change)
    assert caught.value.code == "audio_missing"
    assert tags.undo(change, path=moved).status == "restored"
    assert moved.read_bytes() == content


def test_the_version_of_id3_stays(forms: dict[str, Path], tmp_path: Path) -> None:
    for form, version in {"mp3-id3v2.4": 4, "mp3-id3v2.3": 3, "mp3-id3v2.2": 2, "mp3-bare": 4}.items():
        song = Path(shutil.copy2(forms[form], tmp_path))
        tags.write_genres(song, GENRES)
        assert song.read_bytes()[:4] == b"ID3" + bytes([version]), form


def test_id3v2_3_frames_stay_as_they_are(forms: dict[str, Path], tmp_path: Path) -> None:
    song = Path(shutil.copy2(forms["mp3-id3v2.3"], tmp_path))
    tags.write_genres(song, ["(80s) Pop", "Rock"])
    found = id3.ID3(song, translate=False)
    assert found["TYER"].text == ["2001"]
    assert found["TPE1"].text == ["One", "Two/Three"]
    assert found["TCON"].text == ["((80s) Pop; Rock"]
    assert tags.read_genres(song) == ("(80s) Pop", "Rock")


def test_id3v1_is_updated_with_the_first_genre_only(forms: dict[str, Path], tmp_path: Path) -> None:
    song = Path(shutil.copy2(forms["mp3-id3v2.3-and-v1"], tmp_path))
    before = song.read_bytes()[-128:]
    for genres, number in ((["hip hop", "Rock"], 7), (["Unheard Of"], 255), ([], 255)):
        tags.write_genres(song, genres)
        assert song.read_bytes()[-128:] == before[:-1] + bytes([number])


def test_a_file_with_only_an_id3v1_tag_gets_an_id3v2_tag(forms: dict[str, Path], tmp_path: Path) -> None:
    song = Path(shutil.copy2(forms["mp3-id3v1"], tmp_path))
    song.write_bytes(song.read_bytes()[:-1] + bytes([17]))
    assert tags.read_genres(song) == ("Rock",)
    tags.write_genres(song, ["Jazz"])
    assert id3.ID3(song, load_v1=False)["TIT2"].text == ["Title"]
    assert song.read_bytes()[-1] == 8


def test_older_forms_of_genres_are_read(forms: dict[str, Path], tmp_path: Path) -> None:
    song = Path(shutil.copy2(forms["mp3-bare"], tmp_path))
    for version, texts, genres in (
        (3, ["(17)(8)Bebop"], ("Rock", "Jazz", "Bebop")),
        (3, ["Rock;Pop ; Pop"], ("Rock", "Pop")),
        (4, ["17", "Cool Jazz"], ("Rock", "Cool Jazz")),
        (4, ["", " "], ()),
    ):
        file = id3.ID3()
        file.add(id3.TCON(encoding=1, text=texts))
        file.save(song, v2_version=version, v23_sep=None)
        assert tags.read_genres(song) == genres


def test_mp4_lists_of_other_programs_are_updated(forms: dict[str, Path], tmp_path: Path) -> None:
    song = Path(shutil.copy2(forms["m4a"], tmp_path))
    file = mp4.MP4(song)
    key = "----:com.apple.iTunes:GENRE"
    file["\xa9gen"], file[key] = ["Pop"], [mp4.MP4FreeForm(b"Pop"), mp4.MP4FreeForm(b"Rock")]
    file.save()
    assert tags.read_genres(song) == ("Pop", "Rock")
    change = tags.write_genres(song, ["Jazz", "Soul"])
    assert mp4.MP4(song)["\xa9gen"] == ["Jazz", "Soul"]
    assert [bytes(value) for value in mp4.MP4(song)[key]] == [b"Jazz", b"Soul"]
    assert tags.undo(change).genres == ("Pop", "Rock") == tags.read_genres(song)


def test_an_ape_tag_in_an_mp3_is_left_alone(forms: dict[str, Path], tmp_path: Path) -> None:
    song = Path(shutil.copy2(forms["mp3-id3v2.4"], tmp_path))
    ape = apev2.APEv2()
    ape["Title"] = "Kept"
    ape.save(song)
    tags.write_genres(song, GENRES)
    assert apev2.APEv2(song)["Title"] == "Kept"


def test_a_preview_shows_the_changes_and_writes_nothing(flac: Path) -> None:
    content = flac.read_bytes()
    assert tags.preview(flac, GENRES) == tags.TagChangePreview(str(flac), (), tuple(GENRES))
    assert tags.preview(flac, []) is None
    assert flac.read_bytes() == content
    tags.write_genres(flac, ["Jazz"])
    assert tags.preview(flac, GENRES) is None
    assert tags.preview(flac, ["Jazz"], overwrite=True) is None
    os.link(flac, flac.with_name("second name.flac"))
    assert tags.preview(flac, GENRES, overwrite=True) == tags.TagChangePreview(
        str(flac), ("Jazz",), tuple(GENRES), 2
    )


@pytest.mark.parametrize("genres", [["17"], [""], ["Rock", "Rock"], [" Rock"], ["RX"]])
def test_genres_that_would_be_read_differently_are_refused(
    forms: dict[str, Path], tmp_path: Path, genres: list[str]
) -> None:
    song = Path(shutil.copy2(forms["mp3-id3v2.4"], tmp_path))
    content = song.read_bytes()
    with pytest.raises(GenrescopeError) as caught:
        tags.write_genres(song, genres)
    assert caught.value.code == "tags_not_representable"
    assert song.read_bytes() == content
    assert list(tmp_path.iterdir()) == [song]


@pytest.mark.parametrize("kind", ["wma", "aac", "rf64", "au"])
def test_other_formats_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    song = tmp_path / f"a.{'wav' if kind == 'rf64' else kind}"
    ({**sounds.LOSSLESS, **sounds.LOSSY})[kind](song, sounds.tone(1, 22050), 22050)
    with pytest.raises(GenrescopeError) as caught:
        tags.read_genres(song)
    assert caught.value.code == "tags_unsupported"


def test_damaged_files_are_errors_and_left_unchanged(song: Path) -> None:
    """Cut short or with bytes flipped, a file is changed in full and can be undone, or is not changed."""
    whole, random = song.read_bytes(), Random(0)
    for attempt in range(12):
        content = bytearray(whole[: random.randrange(len(whole))] if attempt % 3 == 0 else whole)
        for _ in range(attempt % 3 * 4):
            content[random.randrange(min(len(content), 600))] = random.randrange(256)
        song.write_bytes(content)
        with suppress_known_failures():
            assert tags.undo(tags.write_genres(song, GENRES)).status == "restored"
        assert song.read_bytes() == content
    assert list(song.parent.iterdir()) == [song]


@contextmanager
def suppress_known_failures() -> Iterator[None]:
    try:
        yield
    except GenrescopeError as failure:
        if failure.code not in ("tags_corrupt", "tags_unsupported", "tags_not_representable"):
            raise


def test_a_path_without_file_is_missing(tmp_path: Path) -> None:
    for path in (tmp_path / "no.mp3", tmp_path):
        with pytest.raises(GenrescopeError) as caught:
            tags.read_genres(path)
        assert caught.value.code == "audio_missing"


def test_unreadable_files_are_permission_errors(flac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(GenrescopeError) as caught:
        tags.read_genres(flac)
    assert caught.value.code == "audio_permission_denied"


def test_without_mutagen_the_extra_is_named(flac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mutagen", None)
    with pytest.raises(GenrescopeError, match="mutagen") as caught:
        tags.read_genres(flac)
    assert "genrescope[tags]" in caught.value.hint


def test_the_info_list_of_a_wav_file_is_read_where_it_has_no_id3_tag(
    forms: dict[str, Path], tmp_path: Path
) -> None:
    song = Path(shutil.copy2(forms["wav-bare"], tmp_path))
    entries = b"INFO" + b"INAM\x05\0\0\0Name\0\0" + b"IGNR\x06\0\0\0Blues\0"
    content = song.read_bytes() + b"LIST" + len(entries).to_bytes(4, "little") + entries
    song.write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:])
    assert tags.read_genres(song) == ("Blues",)
    assert tags.preview(song, ["Rock"]) is None
    change = tags.write_genres(song, ["Rock"])
    assert change.before == ("Blues",)
    assert tags.read_genres(song) == ("Rock",)
    assert entries in song.read_bytes()
    assert tags.undo(change).status == "restored"


@pytest.mark.parametrize("form", ["mp3-id3v2.4", "mp3-id3v2.3", "flac", "m4a", "wav"])
def test_any_genres_are_written_or_refused(forms: dict[str, Path], tmp_path: Path, form: str) -> None:
    song = Path(shutil.copy2(forms[form], tmp_path))
    content = song.read_bytes()

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.lists(st.text(st.characters(exclude_categories=()), max_size=8), max_size=3))
    @example(["a\udce9"])
    @example(["a\0b"])
    @example(["((a", "(17)", "(RX) b"])
    def check(genres: list[str]) -> None:
        try:
            change = tags.write_genres(song, genres)
        except GenrescopeError as failure:
            assert failure.code == "tags_not_representable", failure  # noqa: PT017
        else:
            assert tags.read_genres(song) == tuple(genres)
            assert tags.undo(change).status in ("restored", "unchanged")
        assert song.read_bytes() == content

    check()
