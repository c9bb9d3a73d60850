"""Watching folders: what comes, changes, moves and goes. No test waits for a fixed time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from genrescope.errors import ConfigError, DataError
from genrescope.library import Library, ScanOptions, ScanResult, Watcher, WatchOptions
from genrescope.library.watcher import ChangedPaths
from helpers.small_data import RATE, drone, hiss

pytest.importorskip("watchdog")
QUICK = WatchOptions(settle_seconds=0.1)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    (folder / "album").mkdir(parents=True)
    soundfile.write(folder / "album" / "a.wav", drone(2.0, 1), RATE)
    return folder


@pytest.fixture
def scanning(little_model: Path) -> ScanOptions:
    return ScanOptions(model=str(little_model), workers=1)


@pytest.fixture
def changes(tmp_path: Path, music: Path, scanning: ScanOptions) -> Iterator[Iterator[ScanResult]]:
    """Return what a watcher finds, after its first scan; each ``next`` waits until there is something."""
    with Library(tmp_path / "library.db") as library, Watcher(library, [music], scanning, QUICK) as watcher:
        assert [one.status for one in watcher.scan()] == ["classified"]
        yield watcher.changes()


def found(result: ScanResult) -> tuple[str, str, str | None]:
    return result.status, Path(result.path).name, result.entry.genre if result.entry else None


def test_a_new_file_is_classified(changes: Iterator[ScanResult], music: Path) -> None:
    soundfile.write(music / "b.wav", hiss(2.0, 1), RATE)
    assert found(next(changes)) == ("classified", "b.wav", "hiss")


def test_a_changed_file_is_classified_again(changes: Iterator[ScanResult], music: Path) -> None:
    soundfile.write(music / "album" / "a.wav", hiss(3.0, 1), RATE)
    assert found(next(changes)) == ("classified", "a.wav", "hiss")


def test_other_and_hidden_files_are_left_alone(changes: Iterator[ScanResult], music: Path) -> None:
    (music / "notes.txt").write_text("no audio")
    soundfile.write(music / ".hidden.wav", hiss(2.0, 1), RATE)
    (music / ".cache").mkdir()
    soundfile.write(music / ".cache" / "x.wav", hiss(2.0, 2), RATE)
    soundfile.write(music / "z.wav", hiss(2.0, 3), RATE)
    assert found(next(changes)) == ("classified", "z.wav", "hiss")


def test_a_file_that_moves_keeps_its_result(changes: Iterator[ScanResult], music: Path) -> None:
    (music / "album" / "a.wav").rename(music / "moved.wav")
    assert found(next(changes)) == ("moved", "moved.wav", "drone")
    soundfile.write(music / "z.wav", hiss(2.0, 3), RATE)
    # The old path is not reported as missing: its row has moved.
    assert found(next(changes)) == ("classified", "z.wav", "hiss")


def test_a_renamed_folder_keeps_its_results(changes: Iterator[ScanResult], music: Path) -> None:
    (music / "album").rename(music / "renamed")
    result = next(changes)
    assert found(result) == ("moved", "a.wav", "drone")
    assert result.path == str(music / "renamed" / "a.wav")


def test_a_file_that_is_written_in_place_of_another(changes: Iterator[ScanResult], music: Path) -> None:
    """As browsers and sync programs write: under another name first."""
    soundfile.write(music / "b.part", hiss(2.0, 1), RATE, format="WAV")
    (music / "b.part").rename(music / "b.wav")
    assert found(next(changes)) == ("classified", "b.wav", "hiss")


def test_a_folder_that_comes_with_its_files(
    changes: Iterator[ScanResult], music: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    soundfile.write(tmp_path / "elsewhere" / "b.wav", hiss(2.0, 1), RATE)
    (tmp_path / "elsewhere").rename(music / "new")
    assert found(next(changes)) == ("classified", "b.wav", "hiss")


def test_a_broken_file_is_reported_and_watching_goes_on(changes: Iterator[ScanResult], music: Path) -> None:
    (music / "broken.mp3").write_text("no sound")
    result = next(changes)
    assert (result.status, result.entry and result.entry.error) == ("failed", "audio_unreadable")
    soundfile.write(music / "z.wav", hiss(2.0, 3), RATE)
    assert found(next(changes))[0] == "classified"


def test_files_and_folders_that_go_are_missing(changes: Iterator[ScanResult], music: Path) -> None:
    soundfile.write(music / "b.wav", hiss(2.0, 1), RATE)
    assert next(changes).status == "classified"
    (music / "b.wav").unlink()
    assert found(next(changes)) == ("missing", "b.wav", "hiss")
    shutil.rmtree(music / "album")
    assert found(next(changes)) == ("missing", "a.wav", "drone")


def test_a_watcher_catches_up_with_what_happened_before(
    tmp_path: Path, music: Path, scanning: ScanOptions
) -> None:
    with Library(tmp_path / "library.db") as library:
        assert len(list(library.scan([music], scanning))) == 1
        soundfile.write(music / "b.wav", hiss(2.0, 1), RATE)
        (music / "album" / "a.wav").unlink()
        with Watcher(library, [music], scanning, QUICK) as watcher:
            assert [found(one) for one in watcher.scan()] == [("classified", "b.wav", "hiss")]
        assert [Path(path).name for path in library.missing_paths()] == ["a.wav"]


def test_comparing_the_folders(tmp_path: Path, music: Path, scanning: ScanOptions) -> None:
    options = WatchOptions(settle_seconds=0.1, poll_seconds=0.2)
    with Library(tmp_path / "library.db") as library, Watcher(library, [music], scanning, options) as watcher:
        assert len(list(watcher.scan())) == 1
        soundfile.write(music / "b.wav", hiss(2.0, 1), RATE)
        assert found(next(watcher.changes())) == ("classified", "b.wav", "hiss")


def test_a_scan_again_finds_what_nobody_told(
    tmp_path: Path, music: Path, scanning: ScanOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watcher, "_handle", lambda self, event: None)
    options = WatchOptions(rescan_seconds=0.2)
    with Library(tmp_path / "library.db") as library, Watcher(library, [music], scanning, options) as watcher:
        assert len(list(watcher.scan())) == 1
        soundfile.write(music / "b.wav", hiss(2.0, 1), RATE)
        assert found(next(watcher.changes())) == ("classified", "b.wav", "hiss")


def test_a_file_must_be_at_rest(tmp_path: Path) -> None:
    now = [0.0]
    changed = ChangedPaths(2.0, clock=lambda: now[0])
    path = tmp_path / "a.wav"
    path.write_bytes(b"1")
    changed.note(str(path), closed=True)
    now[0] = 1.9
    assert changed.take() == []
    path.write_bytes(b"12")  # it still grows
    now[0] = 2.1
    assert changed.take() == []
    now[0] = 4.0
    assert changed.take() == []
    now[0] = 4.2
    assert changed.take() == [str(path)]
    assert changed.take() == []


def test_a_file_that_is_still_open_waits_longer(tmp_path: Path) -> None:
    now = [0.0]
    changed = ChangedPaths(2.0, clock=lambda: now[0])
    path = tmp_path / "a.wav"
    path.write_bytes(b"1")
    changed.note(str(path), closed=False)
    now[0] = 19.0
    assert changed.take() == []
    changed.note(str(path), closed=True)
    now[0] = 21.1
    assert changed.take() == [str(path)]


def test_what_cannot_be_watched_is_refused(tmp_path: Path, music: Path) -> None:
    with Library(tmp_path / "library.db") as library:
        with pytest.raises(DataError, match="nothing is there"):
            Watcher(library, [tmp_path / "absent"])
        with pytest.raises(ConfigError, match="not a folder"):
            Watcher(library, [music / "album" / "a.wav"])


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_cleanly(
    tmp_path: Path, music: Path, little_model: Path, number: signal.Signals
) -> None:
    database = tmp_path / "library.db"
    words = [
        "library",
        "watch",
        music,
        "--db",
        database,
        "-m",
        little_model,
        "--workers",
        "1",
        "--settle",
        "0.1",
    ]
    command = [sys.executable, "-m", "genrescope", *map(str, words)]
    # A shell starts what runs in its background with Ctrl-C ignored, and so a test run and its processes.
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert "1 classified" in process.stderr.readline()
        assert "watching" in process.stderr.readline()
        soundfile.write(music / "b.wav", hiss(2.0, 1), RATE)
        assert process.stdout.readline().startswith(f"{music / 'b.wav'}: hiss ")
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors == "stopped; the next start goes on from here\n"
    with Library(database, read_only=True) as library:
        assert [entry.genre for entry in library.entries()] == ["drone", "hiss"]
