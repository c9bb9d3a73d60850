"""Damaged, locked, full and moved: one clear error each, and the rest of a library goes on."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from genrescope import tagging
from genrescope.errors import (
    AudioError,
    DataError,
    GenrescopeError,
    LibraryError,
    MissingDependencyError,
    ModelError,
)
from genrescope.library import Library, LibraryEntry, ScanOptions, database, write_csv
from genrescope.reporting import library_page
from helpers import database_fuzzer
from helpers.small_data import RATE, drone, hiss

ENTRY = LibraryEntry(
    path="/music/a.wav",
    size=1,
    mtime_ns=2,
    hash="00",
    model="m",
    model_name="m",
    genre="pop",
    score=0.75,
    scores={"pop": 0.75, "rock": 0.25},
    scanned=0.0,
)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return a folder of three songs, one of them in a folder of its own."""
    folder = tmp_path / "Music"
    (folder / "album").mkdir(parents=True)
    soundfile.write(folder / "0.flac", drone(2.0, 0), RATE)
    soundfile.write(folder / "1.flac", hiss(2.0, 1), RATE)
    soundfile.write(folder / "album" / "2.flac", drone(2.0, 2), RATE)
    return folder


@pytest.fixture
def options(little_model: Path) -> ScanOptions:
    return ScanOptions(model=str(little_model), workers=1)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "data" / "library.db") as library:
        yield library


def statuses(library: Library, folder: Path, options: ScanOptions) -> Counter[str]:
    return Counter(one.status for one in library.scan([folder], options))


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "genrescope", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf8",
        timeout=120,
        env=os.environ | environment,
    )


# Values that no reader could use.


@pytest.mark.parametrize(
    "change",
    [
        {"score": math.nan},
        {"score": math.inf},
        {"score": -0.5},
        {"score": None},
        {"genre": None},
        {"scores": {"pop": math.nan}},
        {"styles": {"ska": 2.0}},
        {"seconds": math.inf},
        {"genre": 3},
    ],
)
def test_an_answer_that_is_not_finite_is_refused(library: Library, change: dict[str, object]) -> None:
    with pytest.raises(ModelError) as failure:
        library.database.upsert(replace(ENTRY, **change))  # type: ignore[arg-type]
    assert failure.value.code == "model_output_invalid"
    assert list(library.entries()) == []


@pytest.mark.parametrize(
    "damage",
    [
        "score = 9e999",
        "score = NULL",
        "score = 'much'",
        "scores = '{\"pop\": NaN}'",
        "scores = '{\"pop\": 1e999}'",
        "scores = '{'",
        "scores = '[1]'",
        "styles = 7",
        "flags = '{\"a\": {}}'",
        "timeline = '[{\"start\": 1}]'",
        "genre = CAST(x'ff' AS TEXT)",
        "genre = NULL",
        "seconds = 'long'",
        "mtime_ns = x'00'",
        "flags = '" + "[" * 100_000 + "'",
    ],
)
def test_a_damaged_row_is_a_failed_file_and_the_others_are_read(
    library: Library, tmp_path: Path, damage: str
) -> None:
    library.database.upsert(ENTRY)
    library.database.upsert(replace(ENTRY, path="/music/b.wav"))
    with sqlite3.connect(library.database.path) as link:
        link.execute(f"UPDATE files SET {damage} WHERE path = '/music/a.wav'")
    link.close()
    damaged, good = library.entries()
    assert (damaged.path, damaged.error) == ("/music/a.wav", "library_corrupt")
    assert "/music/a.wav" in str(damaged.message)
    assert (good.error, good.score) == (None, 0.75)
    assert [entry.path for entry in library.entries(failed=True)] == ["/music/a.wav"]
    assert [entry.path for entry in library.entries(failed=False)] == ["/music/b.wav"]
    assert len(list(library.entries(genre="pop", failed=False))) == 1
    # Whatever is made of all entries.
    page = library_page(library.entries(), title="Library")
    assert "1 tracks" in page
    assert "1 files could not be read" in page
    json.dumps([entry.to_dict() for entry in library.entries()], allow_nan=False)
    with (tmp_path / "x.csv").open("w") as stream:
        write_csv(library.entries(), stream)
    assert [one.path for one in library.plan_tags()] == ["/music/b.wav"]  # which is not there


@pytest.mark.parametrize(
    ("damage", "retry"),
    [("score = NULL", False), ("scores = '{'", False), ("flags = '[5]'", True), ("styles = '[]'", True)],
)
def test_a_damaged_row_is_scanned_again(
    library: Library, music: Path, options: ScanOptions, damage: str, retry: bool
) -> None:
    statuses(library, music, options)
    with sqlite3.connect(library.database.path) as link:
        link.execute(f"UPDATE files SET {damage} WHERE path LIKE '%0.flac'")
    link.close()
    again = statuses(library, music, replace(options, retry_failed=retry))
    assert again == {"classified": 1, "unchanged": 2}
    assert list(library.entries(failed=True)) == []


def test_the_entry_of_an_unchanged_file_is_read_when_it_is_asked_for(
    library: Library, music: Path, options: ScanOptions
) -> None:
    first = {one.path: one.entry for one in library.scan([music], options)}
    again = {one.path: one.entry for one in library.scan([music], options)}
    assert again == first
    assert None not in first.values()


def test_a_damaged_journal_stops_no_other_undo(library: Library, music: Path, options: ScanOptions) -> None:
    statuses(library, music, options)
    assert len(list(library.apply_tags())) == 3
    for number, damage in enumerate(("'{'", "'[]'"), 1):
        with sqlite3.connect(library.database.path) as link:
            link.execute(f"UPDATE changes SET change = {damage} WHERE id = {number}")
        link.close()
    undone = list(library.undo_tags())
    assert [one.error and one.error.code for one in undone] == [None, "library_corrupt", "library_corrupt"]
    assert tagging.read_genres(undone[0].path) == ()


# Damaged, locked and private files.


def test_a_damaged_file_is_one_line(library: Library, music: Path, options: ScanOptions) -> None:
    statuses(library, music, options)
    path = library.database.path
    library.close()
    content = bytearray(path.read_bytes())
    content[4096 : len(content)] = b"\x55" * (len(content) - 4096)
    path.write_bytes(content)
    for command in (
        ["list"],
        ["stats"],
        ["tag"],
        ["untag"],
        ["export", "-f", "csv"],
        ["prune"],
        ["scan", music],
    ):
        done = run("library", *command, "--db", path)
        assert done.returncode == 1, command
        assert "Traceback" not in done.stderr
        assert f"{path}: the library is damaged" in done.stderr
        assert len(done.stderr.splitlines()) == 2


def test_a_locked_library_is_said_to_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_LOCK_TIMEOUT_SECONDS", 0.05)
    with Library(tmp_path / "x.db") as library:
        other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LibraryError, match="another program") as failure:
            library.database.upsert(ENTRY)
        assert failure.value.code == "library_locked"
        assert "let the other program finish" in failure.value.hint
        other.close()
        library.database.upsert(ENTRY)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_a_library_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Library(tmp_path / "new" / "library.db") as library:
            library.database.upsert(ENTRY)
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode)
                for path in [tmp_path / "new", *(tmp_path / "new").iterdir()]
            }
    finally:
        os.umask(before)
    assert modes.pop("new") == 0o700
    assert set(modes.values()) == {0o600}


def leave_log(path: Path) -> None:
    """Put a database and its log in place as a killed program leaves them, with a row in the log alone."""
    with Library(path.with_name("writing.db")) as writing:
        writing.database.upsert(ENTRY)
        shutil.copy(writing.database.path, path)
        shutil.copy(f"{writing.database.path}-wal", f"{path}-wal")


def test_reading_sees_the_rows_of_a_log_that_was_left(tmp_path: Path) -> None:
    leave_log(tmp_path / "x.db")
    with Library(tmp_path / "x.db", read_only=True) as library:
        assert [entry.path for entry in library.entries()] == [ENTRY.path]


def test_reading_sees_the_rows_of_a_log_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_log(tmp_path / "x.db")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    connect = sqlite3.connect

    def on_a_read_only_disk(address: str, **options: object) -> sqlite3.Connection:
        if "x.db?mode=ro" in address and "immutable" not in address:
            # What SQLite says where it cannot make the file of shared memory; root may write everywhere.
            return connect("file:/nowhere/x.db?mode=ro", uri=True)
        return connect(address, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", on_a_read_only_disk)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Library(tmp_path / "x.db") as library:
        assert [entry.path for entry in library.entries()] == [ENTRY.path]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# Folders that were renamed, and files that are gone.


def test_a_renamed_folder_is_recognized_and_its_journal_follows(
    library: Library, music: Path, options: ScanOptions
) -> None:
    statuses(library, music, options)
    assert len(list(library.apply_tags())) == 3
    renamed = music.rename(music.with_name("music2"))
    assert statuses(library, renamed, options) == {"moved": 3}
    assert [Path(entry.path) for entry in library.entries(missing=None)] == [
        renamed / "0.flac",
        renamed / "1.flac",
        renamed / "album" / "2.flac",
    ]
    assert list(library.plan_tags()) == []
    assert [one.done and one.done.status for one in library.undo_tags()] == ["restored"] * 3


def test_of_identical_files_each_keeps_its_own_row(
    library: Library, music: Path, options: ScanOptions
) -> None:
    shutil.copy2(music / "0.flac", music / "album" / "0.flac")
    statuses(library, music, options)
    renamed = music.rename(music.with_name("music2"))
    assert statuses(library, renamed, options) == {"moved": 4}
    assert len(list(library.entries(missing=None))) == 4


def test_relocate_moves_rows_and_journals(
    library: Library, music: Path, options: ScanOptions, tmp_path: Path
) -> None:
    statuses(library, music, options)
    assert len(list(library.apply_tags())) == 3
    elsewhere = tmp_path / "disk" / "Music"
    shutil.copytree(music, elsewhere)
    (elsewhere / "1.flac").unlink()
    shutil.rmtree(music)
    done = library.relocate(music, elsewhere)
    assert (done.files, done.absent) == (3, (str(elsewhere / "1.flac"),))
    undone = list(library.undo_tags())
    assert sorted(Path(one.path).name for one in undone if one.done) == ["0.flac", "2.flac"]
    with pytest.raises(DataError, match="knows no file"):
        library.relocate(music, elsewhere)


def test_relocate_into_a_folder_within(library: Library, tmp_path: Path) -> None:
    base = str(tmp_path)
    (tmp_path / "m/m").mkdir(parents=True)
    for path in ("/m/a", "/m/m/a", "/m/m/m/a", "/mm/a"):
        library.database.upsert(replace(ENTRY, path=base + path, model_name=path))
    assert library.relocate(f"{base}/m", f"{base}/m/m").files == 3
    assert [(entry.path, entry.model_name) for entry in library.entries(missing=None)] == [
        (f"{base}/m/m/a", "/m/a"),
        (f"{base}/m/m/m/a", "/m/m/a"),
        (f"{base}/m/m/m/m/a", "/m/m/m/a"),
        (f"{base}/mm/a", "/mm/a"),
    ]


def test_relocate_keeps_the_row_of_a_file_that_was_scanned_at_its_new_place(
    library: Library, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    library.database.upsert(replace(ENTRY, path="/old/a", model_name="before"))
    library.database.upsert(replace(ENTRY, path=str(new / "a"), model_name="after"))
    library.relocate("/old", new)
    assert [(one.path, one.model_name) for one in library.entries(missing=None)] == [
        (str(new / "a"), "after")
    ]


def test_prune_removes_what_a_scan_missed(library: Library, music: Path, options: ScanOptions) -> None:
    statuses(library, music, options)
    list(library.apply_tags())
    (music / "0.flac").unlink()
    assert library.missing_paths() == []  # no scan has missed it yet
    statuses(library, music, options)
    path = library.database.path
    shown = run("library", "prune", "--db", path)
    assert (shown.stdout, len(list(library.entries(missing=True)))) == (f"{music / '0.flac'}\n", 1)
    assert "1 files would be removed" in shown.stderr
    assert run("library", "prune", "--write", "--db", path).stdout == f"{music / '0.flac'}\n"
    assert len(list(library.entries(missing=None))) == 2
    assert {Path(one.path).name for one in library.undo_tags()} == {"1.flac", "2.flac"}


def test_prune_of_a_folder_looks_at_its_files(library: Library) -> None:
    for path in ("/not/there/a", "/neither/b"):
        library.database.upsert(replace(ENTRY, path=path))
    assert library.prune("/not/there") == ["/not/there/a"]
    assert [entry.path for entry in library.entries()] == ["/neither/b"]


# Tags.


def test_a_file_that_vanishes_between_preview_and_writing_stops_nothing(
    library: Library, music: Path, options: ScanOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses(library, music, options)
    preview = tagging.preview

    def preview_then_lose(
        path: str, genres: list[str], *, overwrite: bool, placeholders: tuple[str, ...]
    ) -> object:
        plan = preview(path, genres, overwrite=overwrite, placeholders=placeholders)
        if path.endswith("1.flac"):
            Path(path).unlink()
        return plan

    monkeypatch.setattr(tagging, "preview", preview_then_lose)
    results = list(library.apply_tags())
    assert [one.error and type(one.error) for one in results] == [None, AudioError, None]
    error = results[1].error
    assert error is not None
    assert error.code == "audio_missing"


def test_a_library_that_cannot_be_written_stops_the_writing_of_tags(
    library: Library, music: Path, options: ScanOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses(library, music, options)
    before = (music / "0.flac").read_bytes()

    def refuse(*_: object) -> None:
        raise LibraryError("library_locked", "locked", "wait")

    monkeypatch.setattr(library.database, "log_change", refuse)
    with pytest.raises(LibraryError):
        list(library.apply_tags())
    assert (music / "0.flac").read_bytes() == before


def test_copies_of_killed_runs_are_removed(library: Library, music: Path, options: ScanOptions) -> None:
    statuses(library, music, options)
    left = music / "album" / ".genrescope-0123456789ab.part"
    left.touch()
    list(library.undo_tags())
    assert not left.exists()


def test_without_mutagen_there_is_one_error_before_any_work(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.database.upsert(ENTRY)
    monkeypatch.setitem(sys.modules, "mutagen", None)
    for start in (library.plan_tags, library.apply_tags, library.undo_tags):
        with pytest.raises(MissingDependencyError, match="mutagen") as failure:
            start()  # before the first result is asked for
        assert "genrescope[tags]" in failure.value.hint


# Names of files.


@pytest.mark.skipif(os.name == "nt", reason="Windows has one encoding")
def test_names_are_the_same_in_every_locale(library: Library, music: Path, options: ScanOptions) -> None:
    named = (music / "0.flac").rename(music / "Bjørk – Jóga.flac")
    (music / "1.flac").rename(os.fsdecode(os.fsencode(music) + b"/\xff.flac"))
    statuses(library, music, options)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    path = library.database.path
    for command in ("stats", "list", "tag"):
        done = run("library", command, "--db", path, **ascii_only)
        assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    again = run("library", "scan", music, "--model", options.model, "--db", path, **ascii_only)
    assert "3 unchanged" in again.stderr
    assert {Path(entry.path).name for entry in library.entries()} >= {named.name, "2.flac"}


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1.wav", "'=1+1.wav"),
        ("+1", "'+1"),
        ("-x", "'-x"),
        ("@x", "'@x"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("\t=1", "\\t=1"),
        ("a\x1b[2Jb\r\nc", "a\\x1b[2Jb\\r\\nc"),
        ("a=1", "a=1"),
    ],
)
def test_cells_are_safe_for_spreadsheets(library: Library, tmp_path: Path, name: str, cell: str) -> None:
    library.database.upsert(replace(ENTRY, model_name=name))
    with (tmp_path / "x.csv").open("w", encoding="utf8", newline="") as stream:
        write_csv(library.entries(), stream)
    with (tmp_path / "x.csv").open(encoding="utf8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["model_name"] == cell
    assert row["mtime_ns"] == "2"


def test_playlists_say_what_they_leave_out(library: Library, tmp_path: Path) -> None:
    library.database.upsert(replace(ENTRY, path="/music/two\nlines.wav"))
    library.database.upsert(ENTRY)
    done = run("library", "export", "-f", "m3u8", "-o", tmp_path / "lists", "--db", library.database.path)
    assert "left out, because no playlist can hold its name: '/music/two\\nlines.wav'" in done.stderr
    assert (tmp_path / "lists" / "pop.m3u8").read_text().count("/music/") == 1


def test_errors_of_the_library_are_errors_of_the_package() -> None:
    assert issubclass(LibraryError, GenrescopeError)


@pytest.mark.parametrize("seed", [2, 3])
def test_damaged_databases_raise_no_error_of_others(seed: int) -> None:
    ends = database_fuzzer.run(60, seed)
    assert ends["done"] > 0
    assert ends["library_corrupt"] > 0
