"""Scans: unchanged files are not analyzed again, and a killed scan loses nothing."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from genrescope import Classifier, datasets
from genrescope.errors import DataError, ModelError
from genrescope.library import Library, LibraryEntry, ScanOptions, count_by
from genrescope.library.database import Database
from genrescope.training import config
from genrescope.training import run as train
from helpers.small_data import RATE, drone, hiss


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return a folder of four songs."""
    folder = tmp_path / "music"
    (folder / "album").mkdir(parents=True)
    for number, play in enumerate((drone, hiss, drone, hiss)):
        place = folder / "album" if number > 1 else folder
        soundfile.write(place / f"{number}.wav", play(2.0, number), RATE)
    return folder


@pytest.fixture
def plan(little_model: Path) -> ScanOptions:
    return ScanOptions(model=str(little_model), workers=1)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "data" / "library.db") as library:
        yield library


MINIMAL_ENTRY = LibraryEntry(
    path="a", size=1, mtime_ns=2, model="m", model_name="m", genre="pop", score=0.5, scanned=0.0
)


def outcomes(library: Library, music: Path, plan: ScanOptions) -> Counter[str]:
    return Counter(one.status for one in library.scan([music], plan))


def check_whole(path: Path) -> int:
    """Return how many rows there are, after checking that the database is intact and no path occurs twice."""
    with sqlite3.connect(path) as link:
        assert link.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows, paths = link.execute("SELECT count(*), count(DISTINCT path) FROM files").fetchone()
    assert rows == paths
    return int(rows)


def test_rows_hold_what_classify_says(library: Library, music: Path, plan: ScanOptions) -> None:
    assert outcomes(library, music, plan) == {"classified": 4}
    classifier = Classifier.from_pretrained(plan.model)
    for row in library.entries():
        assert row.to_dict() == classifier.predict(row.path).to_dict()
        assert (row.format, row.sample_rate, row.channels) == ("wav", RATE, 1)
        assert row.size == Path(row.path).stat().st_size
        (span,) = row.timeline
        assert (span.start, span.end, span.genre) == (0.0, 2.0, row.genre)
        assert span.score == pytest.approx(row.score, abs=1e-5)


def test_a_second_scan_analyzes_nothing(library: Library, music: Path, plan: ScanOptions) -> None:
    outcomes(library, music, plan)
    before = list(library.entries())
    assert outcomes(library, music, plan) == {"unchanged": 4}
    assert list(library.entries()) == before


def test_changed_moved_copied_touched_and_missing_files(
    library: Library, music: Path, plan: ScanOptions
) -> None:
    outcomes(library, music, plan)
    soundfile.write(music / "0.wav", hiss(3.0, 9), RATE)
    (music / "1.wav").rename(music / "album" / "moved.wav")
    shutil.copy(music / "album" / "2.wav", music / "copy.wav")
    os.utime(music / "album" / "3.wav")
    assert outcomes(library, music, plan) == {"classified": 1, "moved": 1, "copied": 1, "unchanged": 2}
    assert {Path(row.path).name for row in library.entries()} == {
        "0.wav", "moved.wav", "copy.wav", "2.wav", "3.wav",
    }  # fmt: skip
    (music / "copy.wav").unlink()
    outcomes(library, music, plan)
    assert [Path(row.path).name for row in library.entries(missing=True)] == ["copy.wav"]
    shutil.copy(music / "album" / "2.wav", music / "copy.wav")
    outcomes(library, music, plan)
    assert list(library.entries(missing=True)) == []


def test_files_that_exchanged_names(library: Library, music: Path, plan: ScanOptions) -> None:
    outcomes(library, music, plan)
    before = {row.path: row.scores for row in library.entries()}
    first, second = music / "0.wav", music / "1.wav"
    assert first.stat().st_size == second.stat().st_size
    first.rename(music / "x")
    second.rename(first)
    (music / "x").rename(second)
    os.utime(first)
    os.utime(second)
    assert outcomes(library, music, plan)["failed"] == 0
    after = {row.path: row.scores for row in library.entries()}
    assert after[str(first)] == before[str(second)]
    assert after[str(second)] == before[str(first)]


def test_another_model_analyzes_all_again(
    library: Library, music: Path, plan: ScanOptions, tmp_path: Path, little_music: Path
) -> None:
    outcomes(library, music, plan)
    settings = ["split.protocol=artist-grouped", "split.folds=4", "model.inverse_regularization=0.01"]
    other = train.train(
        datasets.load_dataset(little_music),
        config.load_config("logistic-regression", settings),
        tmp_path / "run",
    ).model
    again = ScanOptions(model=str(other), workers=1)
    assert outcomes(library, music, again) == {"classified": 4}
    assert len({row.model for row in library.entries()}) == 1


def test_excerpts_are_analyzed_again_in_full_but_not_the_reverse(
    library: Library, tmp_path: Path, little_model: Path
) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    soundfile.write(folder / "long.wav", drone(300.0, 1), RATE)
    short, full = (
        ScanOptions(model=str(little_model), workers=1, excerpts=excerpts) for excerpts in (True, False)
    )
    assert outcomes(library, folder, short) == {"classified": 1}
    (row,) = library.entries()
    assert row.excerpts
    assert row.flags == ("excerpts",)
    assert outcomes(library, folder, full) == {"classified": 1}
    assert outcomes(library, folder, short) == {"unchanged": 1}


@pytest.mark.skipif(os.name != "posix", reason="pipes, names of any bytes and SIGKILL are of POSIX")
def test_files_that_cannot_be_decoded_are_rows_too(library: Library, music: Path, plan: ScanOptions) -> None:
    (music / "empty.mp3").touch()
    (music / "text.flac").write_text("no music")
    (music / "cover.jpg").touch()
    (music / "loop").symlink_to(music)
    (music / "nowhere.mp3").symlink_to("nothing")
    os.mkfifo(music / "pipe.ogg")
    assert outcomes(library, music, plan) == {"classified": 4, "failed": 4, "skipped": 1}
    failed = {Path(row.path).name: row.error for row in library.entries(failed=True)}
    assert failed == {
        "empty.mp3": "audio_empty", "text.flac": "audio_unreadable", "nowhere.mp3": "audio_missing",
        "pipe.ogg": "audio_unreadable",
    }  # fmt: skip
    # What may pass without the file changing is tried again, the rest only when asked.
    assert outcomes(library, music, plan) == {"unchanged": 7, "failed": 1, "skipped": 1}
    assert outcomes(library, music, ScanOptions(plan.model, workers=1, retry_failed=True))["failed"] == 4


@pytest.mark.skipif(os.name != "posix", reason="pipes, names of any bytes and SIGKILL are of POSIX")
def test_names_that_are_not_utf8(library: Library, tmp_path: Path, plan: ScanOptions) -> None:
    folder = os.fsencode(tmp_path) + b"/odd"
    os.mkdir(folder)  # noqa: PTH102
    soundfile.write(tmp_path / "odd" / "plain.wav", drone(2.0, 1), RATE)
    try:
        os.rename(folder + b"/plain.wav", folder + b"/caf\xe9.wav")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system takes no names that are not UTF-8")
    odd = Path(os.fsdecode(folder))
    Path(os.fsdecode(folder + b"/bad\xe9.mp3")).write_text("no music")
    assert outcomes(library, odd, plan) == {"classified": 1, "failed": 1}
    assert outcomes(library, odd, plan) == {"unchanged": 2}
    (row,) = library.entries(folder=odd, failed=False)
    assert os.fsencode(row.path).endswith(b"caf\xe9.wav")


def test_a_folder_that_may_not_be_read(library: Library, music: Path, plan: ScanOptions) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("root may read everything")
    (music / "secret").mkdir(mode=0)
    assert outcomes(library, music, plan)["unreadable"] == 1


def test_filters(library: Library, music: Path, plan: ScanOptions) -> None:
    outcomes(library, music, plan)
    rows = list(library.entries())
    assert [row.path for row in rows] == sorted(row.path for row in rows)
    assert {row.genre for row in library.entries(genre="hiss")} == {"hiss"}
    assert len(list(library.entries(folder=music / "album"))) == 2
    assert len(list(library.entries(folder=music / "alb"))) == 0
    middle = sorted(row.score for row in rows)[2]
    assert len(list(library.entries(min_score=middle))) == 2
    assert len(list(library.entries(max_score=middle))) == 3
    assert list(library.entries(failed=True)) == []
    assert count_by(library.entries())["genre"] == {"drone": 2, "hiss": 2}


def test_wrong_paths_models_and_files(library: Library, music: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing is there"):
        library.scan([music / "none"])
    with pytest.raises(ModelError):
        next(library.scan([music], ScanOptions(model="no-such-model")))
    (tmp_path / "other.db").write_text("a diary, not a database, and long enough to be sure of it" * 9)
    with pytest.raises(DataError, match="not a library"):
        Library(tmp_path / "other.db")
    with sqlite3.connect(tmp_path / "later.db") as link:
        link.execute("CREATE TABLE files (path)")
        link.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match="version is 99"):
        Library(tmp_path / "later.db")


CRASHING = """
import os, signal
from genrescope.audio import decoders, loading
plain = decoders.open_decoder
def open_decoder(file, name, *header):
    if name.endswith("1 crash.wav"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return plain(file, name, *header)
decoders.open_decoder = loading.open_decoder = open_decoder
"""


def test_a_decoder_crash_fails_its_file_only(
    library: Library, music: Path, plan: ScanOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CRASHING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    shutil.copy(music / "0.wav", music / "1 crash.wav")
    assert outcomes(library, music, plan) == {"classified": 4, "failed": 1}
    (row,) = library.entries(failed=True)
    assert row.error == "worker_crashed"
    assert row.path.endswith("1 crash.wav")


FAILING_DISK = """
from errno import EIO
from genrescope.audio import loading
plain = loading._open
class BadFile:
    def __init__(self, file): self.file = file
    def __getattr__(self, name): return getattr(self.file, name)
    def read(self, count=-1):
        raise OSError(EIO, "Input/output error")
def open_file(source):
    file, name = plain(source)
    return (BadFile(file) if name.endswith("1 bad.wav") else file), name
loading._open = open_file
"""


def test_a_file_that_the_system_cannot_read_is_a_row_and_tried_again(
    library: Library, music: Path, plan: ScanOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(FAILING_DISK)
    shutil.copy(music / "0.wav", music / "1 bad.wav")
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path / "site"))
        assert outcomes(library, music, plan) == {"classified": 4, "failed": 1}
    (row,) = library.entries(failed=True)
    assert (Path(row.path).name, row.error) == ("1 bad.wav", "audio_read_failed")
    assert outcomes(library, music, plan)["unchanged"] == 4
    assert list(library.entries(failed=True)) == []


SCAN = "import sys; from genrescope.cli import run; sys.argv = ['genrescope', 'library', 'scan', *{}]; run()"


# Presses Ctrl-C after the fifth file, however fast the machine is.
INTERRUPT = """
import itertools, os, signal
from genrescope.library.database import Database
# A shell ignores SIGINT for programs in its background, and the tests may be run by one.
signal.signal(signal.SIGINT, signal.default_int_handler)
count, upsert = itertools.count(1), Database.upsert
def upsert_then_interrupt(*arguments):
    upsert(*arguments)
    if next(count) == 5:
        os.kill(os.getpid(), signal.SIGINT)
Database.upsert = upsert_then_interrupt
"""


def begin_scan(
    music: Path, database: Path, plan: ScanOptions, *, before: str = ""
) -> subprocess.Popen[bytes]:
    words = [str(music), "--db", str(database), "--model", plan.model, "--workers", "2"]
    return subprocess.Popen([sys.executable, "-c", before + SCAN.format(words)], stderr=subprocess.PIPE)


def many_songs(folder: Path, number: int) -> Path:
    folder.mkdir()
    for place in range(number):
        soundfile.write(folder / f"{place:03}.wav", (drone, hiss)[place % 2](1.5, place), RATE)
    return folder


@pytest.mark.skipif(os.name != "posix", reason="pipes, names of any bytes and SIGKILL are of POSIX")
def test_kills_at_any_moment_lose_nothing(tmp_path: Path, plan: ScanOptions) -> None:
    songs, database = many_songs(tmp_path / "songs", 120), tmp_path / "library.db"
    dice = random.Random(0)
    counts = [0]
    for number in range(12):
        # Progress, not the clock, says when to kill: early runs before the first row, later ones among them.
        enough = 0 if number < 3 else counts[-1] + dice.randint(1, 8)
        with begin_scan(songs, database, plan) as scan:
            while scan.poll() is None and _rows(database) < enough:
                time.sleep(0.01)
            time.sleep(dice.uniform(0, 0.1))
            scan.send_signal(signal.SIGKILL)
        if _rows(database):
            counts.append(check_whole(database))
    assert counts == sorted(counts)
    assert any(0 < count < 120 for count in counts)  # some kill fell among the files
    with begin_scan(songs, database, plan) as scan:
        assert scan.wait() == 0
    assert check_whole(database) == 120
    with Library(database) as library:
        assert outcomes(library, songs, plan) == {"unchanged": 120}


def test_an_interrupt_ends_cleanly_and_soon(tmp_path: Path, plan: ScanOptions) -> None:
    songs, database = many_songs(tmp_path / "songs", 200), tmp_path / "library.db"
    with begin_scan(songs, database, plan, before=INTERRUPT) as scan:
        assert scan.wait(timeout=120) == 130
        assert scan.stderr is not None
        assert b"the same command goes on" in scan.stderr.read()
    assert 5 <= check_whole(database) < 200


def _rows(database: Path) -> int:
    try:
        with sqlite3.connect(database) as link:
            return int(link.execute("SELECT count(*) FROM files").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_copies_of_excerpt_results_are_analyzed_in_full_too(
    library: Library, tmp_path: Path, little_model: Path
) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    soundfile.write(folder / "a.wav", drone(300.0, 1), RATE)
    shutil.copy(folder / "a.wav", folder / "b.wav")
    full = ScanOptions(model=str(little_model), workers=1, excerpts=False)
    outcomes(library, folder, ScanOptions(model=str(little_model), workers=1))
    list(library.scan([folder / "a.wav"], full))
    outcomes(library, folder, full)
    assert [row.excerpts for row in library.entries()] == [False, False]


def test_a_file_replaced_by_a_folder_is_missing_and_one_on_an_unmounted_disk_has_not_moved(
    library: Library, music: Path, plan: ScanOptions, tmp_path: Path
) -> None:
    outcomes(library, music, plan)
    (music / "0.wav").unlink()
    (music / "0.wav").mkdir()
    outcomes(library, music, plan)
    assert [Path(row.path).name for row in library.entries(missing=True)] == ["0.wav"]
    shutil.copytree(music / "album", tmp_path / "backup")
    music.rename(tmp_path / "unplugged")
    assert outcomes(library, tmp_path / "backup", plan) == {"copied": 2}


def test_another_scan_may_have_moved_the_row_before(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db")
    database.upsert(MINIMAL_ENTRY)
    for _ in range(2):
        database.move("a", "b", size=1, mtime_ns=2)
    assert [found.path for found in database.entries()] == ["b"]
    database.close()


def test_a_database_of_another_program_is_left_unchanged(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as link:
        link.execute("CREATE TABLE songs (name)")
        link.execute("PRAGMA user_version = 1")
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(DataError):
        Library(tmp_path / "other.db")
    assert (tmp_path / "other.db").read_bytes() == before


def test_a_library_is_read_while_it_is_written(tmp_path: Path, music: Path, plan: ScanOptions) -> None:
    with Library(tmp_path / "one.db") as writing, Library(tmp_path / "one.db") as reading:
        seen = [len(list(reading.entries())) for _ in writing.scan([music], plan)]
    assert seen == [1, 2, 3, 4]


def test_closing_a_scan_stops_it(library: Library, music: Path, plan: ScanOptions) -> None:
    scan = library.scan([music], plan)
    next(scan)
    scan.close()
    assert 1 <= len(list(library.entries())) < 4
    assert sum(outcomes(library, music, plan).values()) == 4


def test_put_replaces(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db")
    database.upsert(replace(MINIMAL_ENTRY, styles={"pop": 0.5}))
    database.upsert(replace(MINIMAL_ENTRY, size=3, styles={"pop": 0.5}))
    assert [(found.size, found.styles) for found in database.entries()] == [(3, {"pop": 0.5})]
    database.close()
