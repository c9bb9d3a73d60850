"""What `classify` and `library scan` can be given: standard input, playlists, cue sheets, addresses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from genrescope.cli import app
from helpers.small_data import RATE, drone, hiss

runner = CliRunner()


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an album in one file, its cue sheet, and a song."""
    folder = tmp_path_factory.mktemp("music")
    soundfile.write(folder / "album.flac", np.concatenate([drone(3.0, 1), hiss(3.0, 1)]), RATE)
    soundfile.write(folder / "song.wav", hiss(2.0, 2), RATE)
    (folder / "album.cue").write_text(
        'FILE "album.wav" WAVE\nTRACK 01 AUDIO\nTITLE "Low [live]"\nINDEX 01 00:00:00\n'
        'TRACK 02 AUDIO\nTITLE "High"\nINDEX 01 00:03:00\n'
    )
    return folder


def classified(little_model: Path, *words: str | Path, stdin: bytes = b"") -> list[dict[str, Any]]:
    done = runner.invoke(
        app, ["classify", *map(str, words), "-m", str(little_model), "-f", "jsonl"], input=stdin
    )
    assert done.exit_code in (0, 1), done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_tracks_of_a_cue_sheet(music: Path, little_model: Path) -> None:
    rows = classified(little_model, music / "album.cue")
    assert [(row["path"], row["genre"], row["title"]) for row in rows] == [
        (f"{music}/album.cue#01", "drone", "Low [live]"), (f"{music}/album.cue#02", "hiss", "High"),
    ]  # fmt: skip
    table = runner.invoke(app, ["classify", str(music / "album.cue"), "-m", str(little_model), "-f", "table"])
    assert "album.cue#01 Low [live]" in table.stdout
    rows_of_csv = runner.invoke(
        app, ["classify", str(music / "album.cue"), "-m", str(little_model), "-f", "csv"]
    ).stdout.splitlines()
    assert rows_of_csv[0].endswith(",title")
    assert rows_of_csv[2].endswith(",High")


def test_other_rows_have_no_title(music: Path, little_model: Path) -> None:
    (row,) = classified(little_model, music / "song.wav")
    assert "title" not in row


def test_a_playlist_stands_for_its_entries(music: Path, little_model: Path, tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    lines = ["#EXTM3U", f"{music}/song.wav", "none.mp3", "https://radio.example/live", f"{music}/album.cue"]
    # A playlist may name itself.
    playlist.write_text("\r\n".join(["\ufeff#EXTM3U", *lines, "list.m3u8"]), encoding="utf8")
    rows = classified(little_model, playlist)
    assert [row.get("genre") or row["error"]["code"] for row in rows] == [
        "hiss", "audio_missing", "audio_missing", "drone", "hiss",
    ]  # fmt: skip
    assert rows[1]["path"] == str(tmp_path / "none.mp3")
    assert rows[2]["path"] == "https://radio.example/live"


def test_a_broken_cue_sheet_is_one_row_and_the_rest_goes_on(
    music: Path, little_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.cue").write_text("TRACK 01 AUDIO\n")
    rows = classified(little_model, tmp_path / "broken.cue", music / "song.wav")
    assert rows[0]["error"]["code"] == "audio_unreadable"
    assert "line 1: broken cue sheet" in rows[0]["error"]["message"]
    assert rows[1]["genre"] == "hiss"


def test_addresses_are_refused_with_what_to_do(little_model: Path) -> None:
    (row,) = classified(little_model, "https://example.com/a.mp3")
    assert row["path"] == "https://example.com/a.mp3"
    assert "an address, not a file" in row["error"]["message"]
    assert "curl -sL https://example.com/a.mp3 | genrescope classify -" in row["error"]["hint"]


def test_audio_on_standard_input_gives_the_scores_of_the_file(music: Path, little_model: Path) -> None:
    """Through a pipe, which cannot be sought, and as a file."""
    command = [sys.executable, "-m", "genrescope", "classify", "-", "-m", str(little_model)]
    content = (music / "album.flac").read_bytes()
    piped = subprocess.run(command, input=content, capture_output=True, timeout=120)
    with (music / "album.flac").open("rb") as file:
        redirected = subprocess.run(command, stdin=file, capture_output=True, timeout=120)
    (expected,) = classified(little_model, music / "album.flac")
    for done in (piped, redirected):
        row = json.loads(done.stdout)
        assert row["path"] == "<stdin>"
        assert row["scores"] == expected["scores"]


def test_empty_standard_input_is_an_error_row(little_model: Path) -> None:
    (row,) = classified(little_model, "-")
    assert row["error"]["code"] == "audio_empty"


def test_a_list_of_paths(music: Path, little_model: Path, tmp_path: Path) -> None:
    content = f"{music}/song.wav\n{music}/none.wav\n".encode()
    expected = ["hiss", "audio_missing"]
    (tmp_path / "list.txt").write_bytes(content)
    for words, stdin in (
        (["--files-from", "-"], content),
        (["--files-from", "-"], content.replace(b"\n", b"\0")),
        (["--files-from", str(tmp_path / "list.txt")], b""),
    ):
        rows = classified(little_model, *words, stdin=stdin)
        assert [row.get("genre") or row["error"]["code"] for row in rows] == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["classify"], "no files are named"),
        (["classify", "--files-from", "-"], "no files are named in it"),
        (["classify", "--files-from", "absent.txt"], "absent.txt: cannot be read"),
        (["classify", "-", "--files-from", "-"], "at once"),
        (["library", "scan", "https://example.com/a.mp3"], "an address, not a file"),
        (["library", "scan", "-"], "a library keeps files, not standard input"),
        (["library", "scan", "album.cue"], "not the cue sheet album.cue"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(words: list[str], message: str, tmp_path: Path) -> None:
    done = runner.invoke(app, words, env={"GENRESCOPE_DATA": str(tmp_path)}, input=b"")
    assert message in str(done.exception)


def test_a_library_scans_the_files_of_a_playlist(music: Path, little_model: Path, tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u"
    playlist.write_text(f"{music}/song.wav\nnone.wav\n")
    words = [
        str(playlist),
        "--db",
        str(tmp_path / "library.db"),
        "--model",
        str(little_model),
        "--workers",
        "1",
    ]
    done = runner.invoke(app, ["library", "scan", *words])
    assert "1 classified" in done.stderr
    assert f"1 of its files are not there, such as {tmp_path}{os.sep}none.wav" in done.stderr
