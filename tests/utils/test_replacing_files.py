"""Files stay intact while their tags change: kills, full disks, other programs, links, owners, times."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest

from genrescope.errors import GenrescopeError
from genrescope.tagging import delta as patch
from genrescope.tagging import writer as tags
from genrescope.utils import files
from helpers import tagged_files

resource = pytest.importorskip("resource", reason="modes, owners and limits of files are of POSIX")
GENRES = ["Rock", "Hip Hop", "Æthérisch (leise)"]


@pytest.fixture(params=tagged_files.FORMS)
def song(request: pytest.FixtureRequest, forms: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copy2(forms[request.param], tmp_path))


def test_the_new_version_is_written_beside_the_old_one(tmp_path: Path) -> None:
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
    assert tags.undo(change).status == "restored"
    assert flac.stat().st_mtime_ns > old.st_mtime_ns
    change = tags.write_genres(flac, GENRES)
    assert flac.stat().st_mtime_ns > old.st_mtime_ns
    os.utime(flac, ns=(10**18, 10**18))
    assert tags.undo(change, keep_mtime=True).status == "restored"
    assert flac.stat().st_mtime_ns == change.mtime_before


def test_another_owner_stays(flac: Path) -> None:
    if os.geteuid():
        pytest.skip("only root gives files away")
    os.chown(flac, 12345, 23456)
    tags.write_genres(flac, GENRES)
    assert (flac.stat().st_uid, flac.stat().st_gid) == (12345, 23456)


def test_a_file_whose_owner_cannot_be_kept_is_not_changed(
    flac: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid():
        pytest.skip("only root gives files away")
    os.chown(flac, 12345, 23456)
    content = flac.read_bytes()

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(GenrescopeError, match="owner could not be kept"):
        tags.write_genres(flac, GENRES)
    assert flac.read_bytes() == content


def test_read_only_files_are_left_alone(flac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = flac.read_bytes()
    # Root may write everything, whatever the mode says.
    monkeypatch.setattr(os, "access", lambda _, wanted: wanted != os.W_OK)
    with pytest.raises(GenrescopeError, match="read-only") as caught:
        tags.write_genres(flac, GENRES)
    assert caught.value.code == "write_failed"
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
    assert tags.undo(change).status == "restored"
    assert link.is_symlink()
    assert flac.read_bytes() == content


def test_the_longest_name_and_names_that_are_not_utf8(forms: dict[str, Path], tmp_path: Path) -> None:
    for name in (b"n" * 250 + b".flac", b"caf\xe9 \xff.flac"):
        song = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        shutil.copy2(forms["flac-bare"], song)
        change = tags.write_genres(song, GENRES)
        stored = tags.TagChange.from_dict(json.loads(json.dumps(change.to_dict())))
        assert tags.undo(stored).status == "restored"


def test_a_file_written_by_another_program_meanwhile_is_not_replaced(flac: Path) -> None:
    def other_program(_: tags.TagChange) -> None:
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

    def crash(change: tags.TagChange) -> None:
        seen.append(change)
        raise RuntimeError("the journal cannot be written")

    with pytest.raises(RuntimeError):
        tags.write_genres(flac, GENRES, journal=crash)
    assert flac.read_bytes() == content
    assert tags.undo(seen[0]).status == "unchanged"
    assert tags.write_genres(flac, GENRES, journal=seen.append) == seen[1]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size``, as on a disk with that much free space."""
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
    for free in (0, len(content) // 2, len(content), len(changed) - 1):
        song.write_bytes(content)
        with largest_file(free), pytest.raises(GenrescopeError) as caught:
            tags.write_genres(song, change.after)
        assert caught.value.code == "write_failed", free
        assert song.read_bytes() == content
    song.write_bytes(changed)
    with largest_file(len(content) - 1), pytest.raises(GenrescopeError):
        tags.undo(change)
    assert song.read_bytes() == changed
    assert list(song.parent.iterdir()) == [song]


WRITER = """
import sys
from itertools import cycle
from genrescope.tagging import writer as tags
for genres in cycle([["Rock", "Pop" * 2000], ["Jazz"], []]):
    for path in sys.argv[1:]:
        tags.write_genres(path, genres)
    print("x", flush=True)
"""


def test_a_kill_at_any_moment_leaves_complete_files(forms: dict[str, Path], tmp_path: Path) -> None:
    songs = [Path(shutil.copy2(forms[form], tmp_path)) for form in ("mp3-id3v2.3", "flac", "ogg", "m4a")]
    sound = {song: tagged_files.sound(song) for song in songs}
    states = {("Rock", "Pop" * 2000), ("Jazz",), ()}
    random = Random(1)
    leftovers = tries = 0
    while tries < 8 or (leftovers == 0 and tries < 400):  # some kill is to hit a write, on any machine
        tries += 1
        command = [sys.executable, "-c", WRITER, *songs]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"x\n"
            time.sleep(random.random() * 0.1)
            process.kill()
        for song in songs:
            assert tags.read_genres(song) in states
            assert tagged_files.sound(song) == sound[song]
        others = set(tmp_path.iterdir()) - set(songs)
        assert all(other.name.startswith(".genrescope-") and other.suffix == ".part" for other in others)
        leftovers += len(others)
    assert leftovers


def test_a_patch_that_does_not_fit_is_refused(flac: Path, tmp_path: Path) -> None:
    change = tags.write_genres(flac, GENRES)
    other = tmp_path / "other"
    for content, data in (
        (flac.read_bytes()[:-1], change.patch.data),
        (np.random.default_rng(0).bytes(flac.stat().st_size), change.patch.data),
        (flac.read_bytes(), b"no patch"),
    ):
        other.write_bytes(content)
        damaged = patch.Delta(change.patch.old, change.patch.new, data)
        with pytest.raises(GenrescopeError, match="does not fit"):
            patch.apply_delta(damaged, other, tmp_path / "out")


def test_copies_that_a_kill_left_are_removed_and_those_in_use_stay(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from genrescope.utils import replacing\n"
        "with replacing(Path(sys.argv[1])): print(flush=True); time.sleep(100)"
    )
    target = tmp_path / "a"
    target.write_bytes(b"old")
    others = [tmp_path / name for name in (".genrescope-mine.part", "genrescope-0123456789ab.part", "b.part")]
    for other in others:
        other.touch()
    os.mkfifo(tmp_path / ".genrescope-0123456789ab.part")
    folders = [tmp_path, tmp_path / "no such folder"]
    with subprocess.Popen([sys.executable, "-c", program, target], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert files.remove_stale_copies(folders) == []
        process.kill()
    with files.replacing(target) as copy:
        (stale,) = files.remove_stale_copies(folders)
        assert stale != copy
        assert not stale.exists()
        copy.write_bytes(b"new")
    assert target.read_bytes() == b"new"
    assert files.remove_stale_copies(folders) == []
    assert all(other.exists() for other in others)


def test_without_locks_the_age_of_a_copy_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    new, old = tmp_path / ".genrescope-0123456789ab.part", tmp_path / ".genrescope-ba9876543210.part"
    new.touch()
    old.touch()
    os.utime(old, (0, 0))
    assert files.remove_stale_copies([tmp_path]) == [old]
    target = tmp_path / "a"
    target.touch()
    with files.replacing(target) as copy:
        copy.write_bytes(b"new")
    assert target.read_bytes() == b"new"
