"""Genres in audio files: one table of formats, written, read back by others, taken out again."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import mutagen
import numpy as np
import pytest
from mutagen import apev2, id3, mp4

import sounds
import tagged
from genrescope import files, patch, tags
from genrescope.errors import GenrescopeError

GENRES = ["Rock", "Hip Hop", "Æthérisch (leise)"]
ONE_TEXT = "Rock; Hip Hop; Æthérisch (leise)"


@pytest.fixture(scope="session")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the piece in every format; files to copy, not to change."""
    folder = tmp_path_factory.mktemp("forms")
    return {form: tagged.write(folder, form) for form in tagged.FORMS}


@pytest.fixture(params=tagged.FORMS)
def song(request: pytest.FixtureRequest, forms: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copy2(forms[request.param], tmp_path))


@pytest.fixture
def flac(forms: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copy2(forms["flac"], tmp_path))


def test_genres_arrive_and_nothing_else_changes(song: Path) -> None:
    sound, others = tagged.sound(song), tagged.other_tags(song)
    assert tags.read_genres(song) == ()
    change = tags.write_genres(song, GENRES)
    assert tags.read_genres(song) == tuple(GENRES)
    assert (change.before, change.after) == ((), tuple(GENRES))
    assert tagged.sound(song) == sound
    assert tagged.other_tags(song).items() >= others.items()


def test_others_read_them(song: Path) -> None:
    tags.write_genres(song, GENRES)
    file: Any = mutagen.File(song)
    if isinstance(file.tags, id3.ID3):
        older = id3.ID3(song, translate=False).version if song.suffix == ".mp3" else file.tags.version
        assert file["TCON"].genres == ([ONE_TEXT] if older[1] == 3 else GENRES)
    else:
        assert file.tags["\xa9gen" if isinstance(file, mp4.MP4) else "genre"] == GENRES
    # FFmpeg joins comments with ";", and takes the first of several values elsewhere.
    assert tagged.genre_seen_by_ffmpeg(song) in ("Rock", ";".join(GENRES), ONE_TEXT)


def test_the_old_bytes_come_back(song: Path) -> None:
    contents, changes = [song.read_bytes()], []
    for genres in (GENRES, ["Jazz"], [], ["longer than any padding" * 300]):
        changes.append(tags.write_genres(song, genres))
        contents.append(song.read_bytes())
    for change, content, old in zip(changes[::-1], contents[::-1], contents[-2::-1], strict=False):
        assert song.read_bytes() == content
        stored = tags.Change.from_row(json.loads(json.dumps(change.row())))
        assert stored == change
        assert tags.undo(stored) == tags.Undone("bytes", change.before)
        assert song.read_bytes() == old
    assert tags.undo(changes[0]).how == "already"


def test_a_way_back_is_small(song: Path) -> None:
    assert len(tags.write_genres(song, GENRES).patch.data or b"") < 1500


def test_a_file_edited_since_gets_its_old_genres_back(song: Path) -> None:
    tags.write_genres(song, ["Jazz"])
    change = tags.write_genres(song, GENRES)
    edit_title(song)
    assert tags.undo(change) == tags.Undone("values", ("Jazz",))
    assert tags.read_genres(song) == ("Jazz",)
    assert "Another" in str(tagged.other_tags(song))


def edit_title(path: Path) -> None:
    file: Any = mutagen.File(path)
    if isinstance(file.tags, id3.ID3):
        file.tags.add(id3.TIT2(encoding=3, text=["Another"]))
    else:
        file["\xa9nam" if isinstance(file, mp4.MP4) else "title"] = ["Another"]
    file.save()


def test_genres_chosen_since_are_kept(flac: Path) -> None:
    change = tags.write_genres(flac, GENRES)
    tags.write_genres(flac, ["Chosen by hand"])
    assert tags.undo(change) == tags.Undone("kept", ("Chosen by hand",))
    assert tags.read_genres(flac) == ("Chosen by hand",)


def test_where_too_much_differs_values_come_back(flac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = patch.make
    monkeypatch.setattr(patch, "make", lambda old, new: real(old, new, most=0))
    change = tags.write_genres(flac, GENRES)
    assert change.patch.data is None
    assert tags.undo(change) == tags.Undone("values", ())


def test_a_moved_file_can_be_undone(flac: Path) -> None:
    content = flac.read_bytes()
    change = tags.write_genres(flac, GENRES)
    moved = flac.rename(flac.with_name("moved.flac"))
    with pytest.raises(GenrescopeError) as caught:
        tags.undo(change)
    assert caught.value.code == "audio_missing"
    assert tags.undo(change, path=moved).how == "bytes"
    assert moved.read_bytes() == content


def test_the_version_of_id3_stays(forms: dict[str, Path], tmp_path: Path) -> None:
    for form, version in {"mp3-id3v2.4": 4, "mp3-id3v2.3": 3, "mp3-id3v2.2": 3, "mp3-bare": 4}.items():
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


def test_id3v1_keeps_step_with_the_first_genre_and_nothing_more(
    forms: dict[str, Path], tmp_path: Path
) -> None:
    song = Path(shutil.copy2(forms["mp3-id3v2.3-and-v1"], tmp_path))
    before = song.read_bytes()[-128:]
    for genres, number in ((["hip hop", "Rock"], 7), (["Unheard Of"], 255), ([], 255)):
        tags.write_genres(song, genres)
        assert song.read_bytes()[-128:] == before[:-1] + bytes([number])


def test_an_id3v1_tag_alone_gets_company(forms: dict[str, Path], tmp_path: Path) -> None:
    song = Path(shutil.copy2(forms["mp3-id3v1"], tmp_path))
    song.write_bytes(song.read_bytes()[:-1] + bytes([17]))
    assert tags.read_genres(song) == ("Rock",)
    tags.write_genres(song, ["Jazz"])
    assert id3.ID3(song, load_v1=False)["TIT2"].text == ["Title"]
    assert song.read_bytes()[-1] == 8


def test_old_ways_of_writing_are_understood(forms: dict[str, Path], tmp_path: Path) -> None:
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


def test_mp4_lists_of_other_programs_keep_step(forms: dict[str, Path], tmp_path: Path) -> None:
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


def test_a_plan_says_what_would_happen_and_does_nothing(flac: Path) -> None:
    content = flac.read_bytes()
    assert tags.plan(flac, GENRES) == tags.Plan(str(flac), (), tuple(GENRES))
    assert tags.plan(flac, []) is None
    assert flac.read_bytes() == content
    tags.write_genres(flac, ["Jazz"])
    assert tags.plan(flac, GENRES) is None
    assert tags.plan(flac, ["Jazz"], overwrite=True) is None
    os.link(flac, flac.with_name("second name.flac"))
    assert tags.plan(flac, GENRES, overwrite=True) == tags.Plan(str(flac), ("Jazz",), tuple(GENRES), 2)


@pytest.mark.parametrize("genres", [["17"], [""], ["Rock", "Rock"], [" Rock"], ["RX"]])
def test_genres_that_would_be_read_as_others_are_refused(
    forms: dict[str, Path], tmp_path: Path, genres: list[str]
) -> None:
    song = Path(shutil.copy2(forms["mp3-id3v2.4"], tmp_path))
    content = song.read_bytes()
    with pytest.raises(GenrescopeError) as caught:
        tags.write_genres(song, genres)
    assert caught.value.code == "tags_refused"
    assert song.read_bytes() == content
    assert list(tmp_path.iterdir()) == [song]


@pytest.mark.parametrize("kind", ["wma", "aac", "rf64", "au"])
def test_other_formats_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    song = tmp_path / f"a.{'wav' if kind == 'rf64' else kind}"
    ({**sounds.LOSSLESS, **sounds.LOSSY})[kind](song, sounds.tone(1, 22050), 22050)
    with pytest.raises(GenrescopeError) as caught:
        tags.read_genres(song)
    assert caught.value.code == "tags_unsupported"


def test_damaged_files_are_told_apart_and_left_alone(song: Path) -> None:
    """Cut short or with bytes flipped, a file is changed in full and can be undone, or is not changed."""
    whole, random = song.read_bytes(), Random(0)
    for attempt in range(12):
        content = bytearray(whole[: random.randrange(len(whole))] if attempt % 3 == 0 else whole)
        for _ in range(attempt % 3 * 4):
            content[random.randrange(min(len(content), 600))] = random.randrange(256)
        song.write_bytes(content)
        with suppress_known_failures():
            assert tags.undo(tags.write_genres(song, GENRES)).how == "bytes"
        assert song.read_bytes() == content
    assert list(song.parent.iterdir()) == [song]


@contextmanager
def suppress_known_failures() -> Iterator[None]:
    try:
        yield
    except GenrescopeError as failure:
        if failure.code not in ("tags_damaged", "tags_unsupported", "tags_refused"):
            raise


def test_what_is_no_file_is_missing(tmp_path: Path) -> None:
    for path in (tmp_path / "no.mp3", tmp_path):
        with pytest.raises(GenrescopeError) as caught:
            tags.read_genres(path)
        assert caught.value.code == "audio_missing"


def test_without_mutagen_the_extra_is_named(flac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mutagen", None)
    with pytest.raises(GenrescopeError, match="mutagen") as caught:
        tags.read_genres(flac)
    assert "genrescope[tags]" in caught.value.hint


def test_time_permissions_and_attributes_stay(flac: Path) -> None:
    flac.chmod(0o640)
    os.utime(flac, ns=(10**18, 10**18 + 123456700))
    try:
        os.setxattr(flac, "user.rating", b"5")
        attributes = True
    except OSError:
        attributes = False  # not every file system has them
    old = flac.stat()
    change = tags.write_genres(flac, GENRES, keep_mtime=True)
    new = flac.stat()
    assert (new.st_mtime_ns, new.st_mode) == (old.st_mtime_ns, old.st_mode)
    assert (new.st_uid, new.st_gid) == (old.st_uid, old.st_gid)
    assert not attributes or os.getxattr(flac, "user.rating") == b"5"
    assert tags.undo(change).how == "bytes"
    assert abs(flac.stat().st_mtime - time.time()) < 60
    change = tags.write_genres(flac, GENRES)
    assert abs(flac.stat().st_mtime - time.time()) < 60
    os.utime(flac, ns=(10**18, 10**18))
    assert tags.undo(change, keep_mtime=True).how == "bytes"
    assert flac.stat().st_mtime_ns == change.mtime_before


def test_another_owner_stays(flac: Path) -> None:
    if os.geteuid():
        pytest.skip("only root gives files away")
    os.chown(flac, 12345, 23456)
    tags.write_genres(flac, GENRES)
    assert (flac.stat().st_uid, flac.stat().st_gid) == (12345, 23456)


def test_an_owner_who_cannot_be_kept_means_no_change(flac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.skip("only root gives files away")
    os.chown(flac, 12345, 23456)
    content = flac.read_bytes()

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(GenrescopeError, match="not permitted"):
        tags.write_genres(flac, GENRES)
    assert flac.read_bytes() == content


def test_read_only_files_are_left_alone(flac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = flac.read_bytes()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(GenrescopeError, match="read-only") as caught:
        tags.write_genres(flac, GENRES)
    assert caught.value.code == "cannot_write"
    assert flac.read_bytes() == content


def test_links_are_followed_and_other_names_keep_the_old_file(flac: Path) -> None:
    content = flac.read_bytes()
    folder = flac.parent / "elsewhere"
    folder.mkdir()
    link, second = folder / "link.flac", folder / "second.flac"
    link.symlink_to(flac)
    os.link(flac, second)
    change = tags.write_genres(link, GENRES)
    assert link.is_symlink()
    assert tags.read_genres(flac) == tuple(GENRES)
    assert second.read_bytes() == content
    assert tags.undo(change).how == "bytes"
    assert link.is_symlink()
    assert flac.read_bytes() == content


def test_the_longest_name_and_names_that_are_not_utf8(forms: dict[str, Path], tmp_path: Path) -> None:
    for name in (b"n" * 250 + b".flac", b"caf\xe9 \xff.flac"):
        song = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        shutil.copy2(forms["flac-bare"], song)
        change = tags.write_genres(song, GENRES)
        stored = tags.Change.from_row(json.loads(json.dumps(change.row())))
        assert tags.undo(stored).how == "bytes"


def test_a_file_written_meanwhile_is_not_replaced(flac: Path) -> None:
    def other_program(_: tags.Change) -> None:
        with flac.open("ab") as stream:
            stream.write(b"more")

    content = flac.read_bytes()
    with pytest.raises(GenrescopeError) as caught:
        tags.write_genres(flac, GENRES, journal=other_program)
    assert caught.value.code == "file_changed"
    assert flac.read_bytes() == content + b"more"
    assert list(flac.parent.iterdir()) == [flac]


def test_a_change_is_journalled_before_it_happens(flac: Path) -> None:
    content, seen = flac.read_bytes(), []

    def crash(change: tags.Change) -> None:
        seen.append(change)
        raise RuntimeError("the journal cannot be written")

    with pytest.raises(RuntimeError):
        tags.write_genres(flac, GENRES, journal=crash)
    assert flac.read_bytes() == content
    assert tags.undo(seen[0]).how == "already"
    assert tags.write_genres(flac, GENRES, journal=seen.append) == seen[1]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size``, as on a disk with that much room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file(song: Path) -> None:
    content = song.read_bytes()
    change = tags.write_genres(song, [*GENRES, "more" * 1000])
    changed = song.read_bytes()
    for room in (0, len(content) // 2, len(content), len(changed) - 1):
        song.write_bytes(content)
        with largest_file(room), pytest.raises(GenrescopeError) as caught:
            tags.write_genres(song, change.after)
        assert caught.value.code == "cannot_write", room
        assert song.read_bytes() == content
    song.write_bytes(changed)
    with largest_file(len(content) - 1), pytest.raises(GenrescopeError):
        tags.undo(change)
    assert song.read_bytes() == changed
    assert list(song.parent.iterdir()) == [song]


WRITER = """
import sys
from itertools import cycle
from genrescope import tags
for genres in cycle([["Rock", "Pop" * 2000], ["Jazz"], []]):
    for path in sys.argv[1:]:
        tags.write_genres(path, genres)
    print("x", flush=True)
"""


def test_a_kill_at_any_moment_leaves_whole_files(forms: dict[str, Path], tmp_path: Path) -> None:
    songs = [Path(shutil.copy2(forms[form], tmp_path)) for form in ("mp3-id3v2.3", "flac", "ogg", "m4a")]
    sound = {song: tagged.sound(song) for song in songs}
    states = {("Rock", "Pop" * 2000), ("Jazz",), ()}
    random = Random(1)
    leftovers = 0
    for _ in range(8):
        command = [sys.executable, "-c", WRITER, *songs]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"x\n"
            time.sleep(random.random() * 0.1)
            process.kill()
        for song in songs:
            assert tags.read_genres(song) in states
            assert tagged.sound(song) == sound[song]
        others = set(tmp_path.iterdir()) - set(songs)
        assert all(other.name.startswith(".genrescope-") and other.suffix == ".part" for other in others)
        leftovers += len(others)
    assert leftovers  # some kills did hit a write


def test_the_next_version_lies_safe_while_it_is_made(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    target.chmod(0o644)
    with files.replacing(target) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    with pytest.raises(KeyboardInterrupt), files.replacing(target):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_patch_that_does_not_fit_is_refused(flac: Path, tmp_path: Path) -> None:
    change = tags.write_genres(flac, GENRES)
    other = tmp_path / "other"
    for content, data in (
        (flac.read_bytes()[:-1], change.patch.data),
        (np.random.default_rng(0).bytes(flac.stat().st_size), change.patch.data),
        (flac.read_bytes(), b"no patch"),
    ):
        other.write_bytes(content)
        damaged = patch.Patch(change.patch.old, change.patch.new, data)
        with pytest.raises(GenrescopeError, match="does not fit"):
            patch.apply(damaged, other, tmp_path / "out")
