"""The command line as a process: output, exit status, one clear line for what fails."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import soundfile
import typer

from genrescope.cli import app
from helpers.small_data import LITTLE, RATE, drone, hiss


def genrescope(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "genrescope", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two songs."""
    folder = tmp_path_factory.mktemp("album")
    soundfile.write(folder / "a [live].wav", drone(5.0, 1), RATE)
    soundfile.write(folder / "b.flac", hiss(5.0, 1), RATE)
    return folder


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("broken") / "broken.mp3"
    file.write_text("no sound")
    return file


def test_rows_as_json_lines(album: Path, little_model: Path) -> None:
    done = genrescope("classify", album, "-m", little_model)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [row["genre"] for row in rows] == ["drone", "hiss"]
    assert set(rows[0]) == {
        "path",
        "genre",
        "score",
        "answer",
        "unsure",
        "music",
        "not_music",
        "set",
        "scores",
        "styles",
        "seconds",
        "model",
        "flags",
    }
    assert rows[0]["score"] == rows[0]["scores"]["drone"]


def test_a_timeline_on_request(album: Path, little_model: Path) -> None:
    done = genrescope("classify", album / "b.flac", "-m", little_model, "--timeline")
    (segment,) = json.loads(done.stdout)["timeline"]
    assert (segment["start"], segment["end"]) == (0.0, 5.0)


def test_rows_as_csv(album: Path, broken: Path, little_model: Path) -> None:
    done = genrescope("classify", album, broken, "-m", little_model, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["genre"] for row in rows] == ["drone", "hiss", ""]
    assert rows[2]["error"] == "audio_unreadable"
    assert float(rows[0]["drone"]) == float(rows[0]["score"])
    assert done.returncode == 1


def test_rows_as_a_table(album: Path, broken: Path, little_model: Path) -> None:
    done = genrescope("classify", album, broken, "-m", little_model, "--format", "table", "--timeline")
    assert "a [live].wav" in done.stdout
    assert "0:00 to 0:05" in done.stdout
    assert "failed" in done.stdout
    assert done.returncode == 1


def test_a_failed_file_is_an_error_row_and_the_rest_is_classified(
    album: Path, broken: Path, little_model: Path
) -> None:
    done = genrescope("classify", broken, album / "absent.wav", album / "b.flac", "-m", little_model)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row.get("error", {}).get("code") for row in rows] == ["audio_unreadable", "audio_missing", None]
    assert all(row["error"]["hint"] for row in rows[:2])
    assert done.returncode == 1


def test_a_page_with_all_results(album: Path, little_model: Path, tmp_path: Path) -> None:
    page = tmp_path / "new folder" / "page.html"
    done = genrescope("classify", album, "-m", little_model, "--report", page)
    assert done.returncode == 0
    assert "timeline" not in json.loads(done.stdout.splitlines()[0])
    HTMLParser().feed(page.read_text())
    assert "a [live].wav" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify"], "PATH"),
        (["classify", "{empty}"], "no audio files"),
        (["classify", "x.wav", "-m", "defualt"], "default"),
        (["classify", "x.wav", "-m", "{broken}"], "not a readable ONNX model"),
        (["train", "{empty}"], "genre"),
        (["train", "{music}", "--set", "train.epoch=3"], "epochs"),
        (["train", "{music}", "-c", "paralel"], "parallel"),
        (["train", "{one_genre}"], "genre"),
        (
            [
                "train",
                "{music}",
                "-c",
                "svm",
                "--set",
                "split.protocol=artist-grouped",
                "--set",
                "split.folds=9",
            ],
            "folds",
        ),
        (["evaluate", "{model}", "{empty}"], "genre"),
        (["evaluate", "{model}", "{music}", "--protocol", "artist-groupd"], "artist-grouped"),
        (["models", "show", "nothing"], "no model"),
        (["plot-features", "absent.wav"], "absent.wav"),
        (["reproduce", "{empty}"], ""),
        (["nonsense"], "nonsense"),
    ],
)
def test_invalid_arguments_give_one_clear_line(
    arguments: list[str], message: str, little_music: Path, little_model: Path, broken: Path, tmp_path: Path
) -> None:
    empty, one_genre = tmp_path / "empty", tmp_path / "one"
    empty.mkdir()
    (one_genre / "drone").mkdir(parents=True)
    soundfile.write(one_genre / "drone" / "a.wav", drone(2.0, 1), RATE)
    values = {
        "empty": empty,
        "one_genre": one_genre,
        "music": little_music,
        "model": little_model,
        "broken": broken,
    }
    done = genrescope(*(argument.format(**values) for argument in arguments), cwd=tmp_path)
    assert not list(tmp_path.glob("runs/*/*"))  # no incomplete run is left
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_train_and_evaluate(little_music: Path, tmp_path: Path) -> None:
    settings = [word for override in LITTLE for word in ("--set", override)]
    trained = genrescope(
        "train",
        little_music,
        "-c",
        "svm",
        "--run-dir",
        tmp_path / "run",
        *settings,
        "--set",
        "split.protocol=artist-grouped",
    )
    assert trained.returncode == 0, trained.stderr
    assert "accuracy 100.0%" in trained.stdout
    model = tmp_path / "run" / "model.onnx"

    again = genrescope("evaluate", model, little_music, "--output", tmp_path / "report")
    assert again.returncode == 0, again.stderr
    assert "leaky" in again.stdout  # these tracks trained the model
    assert {path.name for path in (tmp_path / "report").glob("report.*")} == {
        "report.html",
        "report.json",
        "report.md",
    }


def test_models_and_version() -> None:
    listed = genrescope("models", "list")
    assert listed.returncode == 0
    assert listed.stdout.startswith("default")
    described = genrescope("models", "show", "default")
    assert json.loads(described.stdout)["classes"][0] == "blues"
    assert genrescope("--version").stdout.startswith("genrescope 0.")


def test_features_are_plotted(album: Path, tmp_path: Path) -> None:
    done = genrescope("plot-features", album / "b.flac", "--output", tmp_path / "plot.svg")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes and this shell are of POSIX")
def test_file_names_in_any_encoding(little_model: Path, tmp_path: Path) -> None:
    """A pipe of another encoding, a name that is not UTF-8: rows are UTF-8 JSON all the same."""
    names = ["日本.wav".encode(), b"caf\xe9 [r&b].wav"]
    for name in names:
        soundfile.write(os.fsencode(tmp_path) + b"/" + name, drone(2.0, 1), RATE, format="WAV")
    command = [sys.executable, "-m", "genrescope", "classify", str(tmp_path), "-m", str(little_model)]
    command += ["--report", str(tmp_path / "page.html")]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60)
    rows = [json.loads(line) for line in done.stdout.decode("utf8").splitlines()]
    assert done.returncode == 0, done.stderr
    assert sorted(os.fsencode(row["path"].rpartition("/")[2]) for row in rows) == sorted(names)
    assert "日本.wav" in (tmp_path / "page.html").read_text(encoding="utf8")


def test_an_empty_folder_among_files_is_an_error_row(album: Path, little_model: Path, tmp_path: Path) -> None:
    done = genrescope("classify", album / "b.flac", tmp_path, "-m", little_model)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row.get("error", {}).get("code") for row in rows] == [None, "audio_is_directory"]
    assert done.returncode == 1


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes and this shell are of POSIX")
def test_a_closed_pipe_is_no_error(album: Path, little_model: Path) -> None:
    command = f"{sys.executable} -m genrescope classify '{album}' -m '{little_model}' | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


def test_help_lists_the_commands_under_headings() -> None:
    done = genrescope("--help")
    lines = done.stdout.splitlines()
    headings = ["Classify:", "Library:", "Models and training:", "Serve:", "Settings:"]
    assert [line for line in lines if line in headings] == headings
    section = lines[lines.index("Models and training:") + 1 : lines.index("Serve:") - 1]
    assert {line.split()[0] for line in section} == {
        "train",
        "audit",
        "evaluate",
        "compare",
        "tune",
        "distill",
        "train-taxonomy",
        "reproduce",
        "models",
    }
    assert done.returncode == 0


def test_every_command_is_under_a_heading() -> None:
    listed = {line.split()[0] for line in genrescope("--help").stdout.splitlines() if line.startswith("  ")}
    assert {
        name for name, command in typer.main.get_group(app).commands.items() if not command.hidden
    } <= listed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise typer looks for a shell among the parents of the process, which a CI runner need not have.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    shown = genrescope("--show-completion", shell)
    assert shown.returncode == 0
    assert "_COMPLETE" in shown.stdout


def test_completion_offers_new_names_only() -> None:
    asked = {"_GENRESCOPE_COMPLETE": "complete_bash", "COMP_WORDS": "genrescope ", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['genrescope']; from genrescope.cli import run; run()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | asked, timeout=60)
    assert set(done.stdout.split()) == set(typer.main.get_group(app).commands)


def test_a_threshold_marks_uncertain_results(album: Path, little_model: Path) -> None:
    for threshold, expected in (("0", False), ("1", True)):
        done = genrescope("classify", album / "b.flac", "-m", little_model, "--threshold", threshold)
        assert json.loads(done.stdout)["unsure"] is expected
