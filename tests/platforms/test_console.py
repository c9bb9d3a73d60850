"""Text that is printed and written: a console of Windows with its own encoding, line ends, cp1252."""

from __future__ import annotations

import ast
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

import genrescope
from genrescope import datasets, training
from genrescope.audio import read_path_list
from genrescope.tagging import Vocabulary
from helpers.small_data import RATE, drone, hiss

SOURCE = Path(genrescope.__file__).parent
# In no code page of Windows all at once: Japanese, an accent of its own, an emoji, a bar.
NAME = "日本 Bjo\u0308rk 🎵 █"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, little_model: Path) -> Path:
    """Return a folder with music, a library of it, and a model."""
    folder = tmp_path_factory.mktemp("console")
    (folder / NAME).mkdir()
    soundfile.write(folder / NAME / f"{NAME}.wav", drone(2.0, 1), RATE)
    soundfile.write(folder / NAME / "b.flac", hiss(2.0, 1), RATE)
    (folder / NAME / "broken.wav").write_bytes(b"RIFF")
    done = run(folder, "library", "scan", NAME, "--workers", "1", "-m", little_model)
    assert done.returncode == 1, done.stderr
    return folder


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command as under Windows in Western Europe: output in cp1252, whatever Python's mode."""
    environment = os.environ | {
        "PYTHONIOENCODING": "cp1252:strict",
        "PYTHONUTF8": "0",
        "PYTHONPATH": str(SOURCE.parent),
        "GENRESCOPE_DATA": str(folder),
        "COLUMNS": "100",
    }
    command = [sys.executable, "-m", "genrescope", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=environment, cwd=folder)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["library", "stats"], "█"),
        (["library", "list", "-f", "table"], NAME),
        (["library", "list", "-f", "jsonl"], NAME),
        (["library", "albums", "-f", "table"], "日本"),
        (["library", "export", "-f", "csv"], NAME),
        (["library", "list", "--failed", "-f", "table"], "broken"),
        (["--help"], "classify"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_names_and_bars_are_printed_where_the_console_has_another_encoding(
    library: Path, arguments: list[str], shown: str
) -> None:
    done = run(library, *arguments)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout.decode("utf8")


def test_tables_and_errors_are_printed_where_the_console_has_another_encoding(
    library: Path, little_model: Path
) -> None:
    done = run(library, "classify", NAME, "-m", little_model, "-f", "table")
    assert done.returncode == 1
    assert NAME in done.stdout.decode("utf8")
    done = run(library, "classify", f"{NAME}.mp3", "-m", little_model)
    assert json.loads(done.stdout)["error"]["code"] == "audio_missing"
    done = run(library, "library", "scan", f"{NAME} not there")
    assert done.returncode == 2
    assert NAME in done.stderr.decode("utf8")


def test_what_is_written_has_the_same_bytes_on_every_system(library: Path) -> None:
    done = run(library, "library", "export", "-f", "m3u8", "-o", "lists")
    assert done.returncode == 0, done.stderr
    texts = [path.read_bytes() for path in (library / "lists").iterdir()]
    assert texts
    for text in texts:
        assert b"\r" not in text
        assert text.decode("utf8").startswith("#EXTM3U\n")


def text_streams_without_encoding(tree: ast.AST) -> list[str]:
    """Return the calls that read or write text in whatever encoding the system has."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        given = {one.arg: ast.unparse(one.value) for one in node.keywords}
        arguments = [ast.unparse(one) for one in node.args]
        states = "encoding" in given or any("utf" in one or "ascii" in one for one in arguments)
        mode = given.get("mode") or next((one for one in arguments if one.strip("'") in _TEXT_MODES), None)
        binary = any("b" in one.strip("'") and set(one.strip("'")) <= set("rwxab+") for one in arguments)
        is_own = isinstance(node.func, ast.Name) and name in ("read_text", "write_text")
        reads = name in ("read_text", "write_text", "TextIOWrapper") and not is_own
        opens = name == "fdopen" or (name == "open" and _opens_a_file(node))
        opens = opens and not binary
        runs = given.get("text") == "True" or given.get("universal_newlines") == "True"
        named = name in ("NamedTemporaryFile", "TemporaryFile") and mode is not None
        if (reads or opens or runs or named) and not states:
            found.append(ast.unparse(node))
    return found


_TEXT_MODES = ("r", "w", "a", "x", "r+", "w+", "a+")


def _opens_a_file(node: ast.Call) -> bool:
    """Whether an ``open`` is that of Python or of a path, and not one of another module or object."""
    if isinstance(node.func, ast.Name):
        return True
    owner = ast.unparse(node.func.value)  # type: ignore[attr-defined]
    return owner not in ("os", "av", "Image", "search", "self", "location.filesystem", "tagging", "formats")


def test_text_is_read_and_written_in_a_stated_encoding() -> None:
    wrong = "open('a')\nPath('a').open('w')\nPath('a').read_text()\nrun(x, text=True)\nos.fdopen(1, 'w')"
    assert len(text_streams_without_encoding(ast.parse(wrong))) == 5
    right = "open('a', 'rb')\nPath('a').read_text(encoding='utf8')\nio.TextIOWrapper(x, 'utf8')"
    assert text_streams_without_encoding(ast.parse(right)) == []
    found = [
        (path.name, text)
        for path in sorted(SOURCE.rglob("*.py"))
        for text in text_streams_without_encoding(ast.parse(path.read_text(encoding="utf8")))
    ]
    assert found == []


def test_line_ends_and_byte_order_marks_of_windows_are_read(tmp_path: Path) -> None:
    for number, play in enumerate((drone, hiss)):
        soundfile.write(tmp_path / f"{number}.wav", play(1.0, number), RATE)
    manifest = tmp_path / "tracks.csv"
    with manifest.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream, lineterminator="\r\n").writerows(
            [["path", "label"], ["0.wav", "rock"], ["1.wav", "pop"]]
        )
    assert {track.label for track in datasets.load_dataset(manifest).tracks} == {"rock", "pop"}
    assert read_path_list(b"\xef\xbb\xbfa.mp3\r\nb.mp3\r\n") == ["a.mp3", "b.mp3"]
    words, plain = tmp_path / "words.toml", tmp_path / "plain.toml"
    plain.write_bytes(b'[words]\nrock = "Rock"\n')
    words.write_bytes(b'\xef\xbb\xbf[words]\r\nrock = "Rock"\r\n')
    assert Vocabulary.load(words) == Vocabulary.load(plain)
    settings = tmp_path / "settings.toml"
    settings.write_bytes(b'\xef\xbb\xbf[model]\r\nname = "svm"\r\n')
    assert training.load_config(settings).model.name == "svm"
