"""The library's commands, as they are typed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from genrescope.audit import AuditReport
from genrescope.cli import app
from genrescope.errors import ConfigError
from genrescope.library import database as library_database
from helpers.small_data import RATE, drone, hiss

runner = CliRunner()


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory, little_model: Path) -> tuple[Path, Path]:
    """Return a library of two songs and a broken file, and their folder."""
    root = tmp_path_factory.mktemp("scanned")
    music = root / "music"
    music.mkdir()
    for number, play in enumerate((drone, hiss)):
        soundfile.write(music / f"{number}.wav", play(2.0, number), RATE)
    (music / "broken.mp3").write_bytes(b"")
    database = root / "library.db"
    words = [str(music), "--db", str(database), "--model", str(little_model), "--workers", "1"]
    done = runner.invoke(app, ["library", "scan", *words])
    assert done.exit_code == 1
    assert "2 classified, 1 failed" in done.stderr
    assert "broken.mp3: empty" in done.stderr
    again = runner.invoke(app, ["library", "scan", *words])
    assert again.exit_code == 0
    assert "3 unchanged" in again.stderr
    return database, music


def ask(database: Path, *words: str) -> str:
    done = runner.invoke(app, ["library", *words, "--db", str(database)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_list(scanned: tuple[Path, Path]) -> None:
    database, music = scanned
    rows = [json.loads(line) for line in ask(database, "list", "--folder", str(music)).splitlines()]
    assert [row.get("genre") for row in rows] == ["drone", "hiss", None]
    assert rows[2]["error"]["code"] == "audio_empty"
    (only,) = ask(database, "list", "--genre", "hiss").splitlines()
    assert json.loads(only)["genre"] == "hiss"
    assert len(ask(database, "list", "--limit", "1").splitlines()) == 1
    assert len(ask(database, "list", "--failed").splitlines()) == 1
    assert ask(database, "list", "--missing") == ""
    assert "drone" in ask(database, "list", "--format", "table")


def test_stats(scanned: tuple[Path, Path]) -> None:
    counts = ask(scanned[0], "stats")
    for word in ("genre (2)", "drone", "hiss", "wav", "audio_empty", "█"):
        assert word in counts


def test_export(scanned: tuple[Path, Path], tmp_path: Path) -> None:
    database, music = scanned
    assert len(ask(database, "export", "-f", "csv").splitlines()) == 4
    ask(database, "export", "-f", "jsonl", "-o", str(tmp_path / "rows.jsonl"), "--min-score", "0.1")
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 2
    ask(database, "export", "-f", "m3u8", "-o", str(tmp_path / "lists"))
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == ["drone.m3u8", "hiss.m3u8"]
    ask(database, "export", "-f", "m3u8", "-o", str(tmp_path / "nas"), "--prefix", f"{music}=/nas")
    assert (tmp_path / "nas" / "drone.m3u8").read_text().endswith("\n/nas/0.wav\n")
    ask(database, "export", "-f", "parquet", "-o", str(tmp_path / "rows.parquet"))
    assert (tmp_path / "rows.parquet").read_bytes().startswith(b"PAR1")


def test_report(scanned: tuple[Path, Path], tmp_path: Path) -> None:
    ask(scanned[0], "report", "-o", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert "2 tracks" in page
    assert "audio_empty" in page


def test_audit(scanned: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path / "cache"))
    database, music = scanned
    before = {path: path.read_bytes() for path in (database, *music.iterdir())}
    files = [
        f"--{name}={tmp_path / f'out.{kind}'}"
        for name, kind in (("output", "json"), ("csv", "csv"), ("html", "html"))
    ]
    done = runner.invoke(app, ["library", "audit", "--db", str(database), "--workers", "1", *files])
    assert done.exit_code == 0, done.output
    assert "1 finding in 3 tracks; 0 files have another copy" in done.stdout
    assert "decoded: nothing" in done.stderr
    report = AuditReport.load(tmp_path / "out.json")
    assert (report.counts, report.data) == ({"empty": 1}, str(database))
    assert "broken.mp3" in (tmp_path / "out.csv").read_text()
    assert "Library audit" in (tmp_path / "out.html").read_text()
    for reused in (0, 3):
        done = runner.invoke(app, ["library", "audit", "--db", str(database), "--workers", "1", "--decode"])
        assert f"decoded: {3 - reused} files; {reused} were known from before" in done.stderr
    assert "1 finding" in ask(database, "audit", "--kinds", "empty", "--min-score", "0.9")
    assert "0 findings in 0 tracks" in ask(database, "audit", "--folder", str(tmp_path))
    assert {path: path.read_bytes() for path in before} == before


def test_audit_of_a_library_that_is_absent_foreign_or_locked(
    scanned: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = runner.invoke(app, ["library", "audit", "--db", str(tmp_path / "none.db")])
    assert "no library is there" in str(done.exception)
    (tmp_path / "notes.db").write_text("no library")
    done = runner.invoke(app, ["library", "audit", "--db", str(tmp_path / "notes.db")])
    assert "not a library" in str(done.exception)
    copy = Path(shutil.copy(scanned[0], tmp_path / "library.db"))
    monkeypatch.setattr(library_database, "_LOCK_TIMEOUT_SECONDS", 0.05)
    with closing(sqlite3.connect(copy)) as link:
        link.execute("PRAGMA locking_mode = EXCLUSIVE")
        link.execute("BEGIN EXCLUSIVE")
        done = runner.invoke(app, ["library", "audit", "--db", str(copy)])
    assert "locked" in str(done.exception)


def test_a_playlist_needs_an_output_path(scanned: tuple[Path, Path]) -> None:
    done = runner.invoke(app, ["library", "export", "-f", "m3u8", "--db", str(scanned[0])])
    assert done.exit_code != 0
    assert "needs a place" in str(done.exception)


def test_a_missing_library(tmp_path: Path) -> None:
    done = runner.invoke(app, ["library", "list", "--db", str(tmp_path / "none.db")])
    assert "no library is there" in str(done.exception)
    assert not (tmp_path / "none.db").exists()


def test_results_do_not_replace_music_or_the_library(scanned: tuple[Path, Path], tmp_path: Path) -> None:
    database, music = scanned
    song = music / "0.wav"
    before = song.read_bytes(), database.read_bytes()
    place = ["--db", str(database)]
    for words in (
        ["classify", str(song), "--report", str(song)],
        ["library", "report", "-o", str(song), *place],
        ["library", "export", "-f", "csv", "-o", str(song), *place],
        ["library", "export", "-f", "jsonl", "-o", str(database), *place],
    ):
        done = runner.invoke(app, words)
        assert "is there already" in str(done.exception), words
    assert (song.read_bytes(), database.read_bytes()) == before


def test_a_misspelled_genre_is_an_error(scanned: tuple[Path, Path]) -> None:
    done = runner.invoke(app, ["library", "list", "--genre", "Hisss", "--db", str(scanned[0])])
    assert "no genre or style is named 'Hisss'" in str(done.exception)
    assert "hiss" in getattr(done.exception, "hint", "")


def test_control_codes_in_names_are_shown_not_sent(tmp_path: Path) -> None:
    from genrescope.cli.output import printable

    assert printable("a\x1b[31mb\nc\udce9 é") == r"a\x1b[31mb\nc\udce9 é"


def test_old_spellings_work_with_a_notice(scanned: tuple[Path, Path], tmp_path: Path) -> None:
    database, music = scanned
    place = ["--db", str(database)]
    page = tmp_path / "page.html"
    for words, notice in (
        (["show", "--errors"], "'library show' is now 'library list'"),
        (["list", f"--under={music}", "--unsure"], "'--unsure' is now '--uncertain'"),
        (["list", "--gone"], "'--gone' is now '--missing'"),
        (["report", str(page)], "'library report FILE' is now 'library report --output FILE'"),
        (["tag", "--min-score", "0.5", "--styles", "0.5"], "'--min-score' is now '--genre-threshold'"),
    ):
        done = runner.invoke(app, ["library", *words, *place], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert notice in done.stderr
        assert "is now" not in done.stdout
    assert page.exists()
    listed = runner.invoke(app, ["library", "list", "--min-score", "0.5", *place])
    assert "is now" not in listed.stderr
    shown = runner.invoke(app, ["library", "--help"]).stdout
    assert " list" in shown
    assert " show" not in shown


def test_relocation_to_a_place_that_does_not_exist_is_refused(
    scanned: tuple[Path, Path], tmp_path: Path
) -> None:
    database, music = scanned
    words = ["library", "relocate", str(music), str(tmp_path / "absent"), "--db", str(database)]
    done = runner.invoke(app, words)
    # The main program ends with status 2 for this code, as for other invalid arguments.
    assert isinstance(done.exception, ConfigError)
    assert done.exception.code == "invalid_argument"
    assert "absent: no such file or folder" in done.exception.message
    assert str(music) in ask(database, "list")
