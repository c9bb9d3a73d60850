"""The user's defaults for options: which are read, which are refused, and who wins."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import soundfile
from typer.testing import CliRunner, Result

from genrescope.cli import app, config
from helpers.small_data import RATE, drone

runner = CliRunner()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a file of settings that the commands read; it is not there yet."""
    path = tmp_path / "settings.toml"
    monkeypatch.setenv("GENRESCOPE_CONFIG", str(path))
    return path


@pytest.fixture
def song(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "song.wav", drone(3.0, 1), RATE)
    return tmp_path / "song.wav"


def run(*words: str | Path) -> Result:
    return runner.invoke(app, [*map(str, words)])


def shown(*words: str) -> dict[str, Any]:
    done = runner.invoke(app, ["config", "show", *words], catch_exceptions=False)
    return tomllib.loads(done.stdout)


def test_options_of_the_file_hold_and_those_of_the_command_line_win(
    settings: Path, song: Path, little_model: Path
) -> None:
    settings.write_text(f"[classify]\nmodel = '{little_model}'\ntimeline = true\nthreshold = 1\n")
    row = json.loads(run("classify", song).stdout)
    assert row["genre"] == "drone"
    assert row["unsure"] is True
    assert "timeline" in row
    row = json.loads(run("classify", song, "--threshold", "0", "--no-timeline").stdout)
    assert row["unsure"] is False
    assert "timeline" not in row


def test_a_table_of_a_group_counts_for_its_commands(settings: Path, tmp_path: Path) -> None:
    settings.write_text('[library]\ndb = "a.db"\nmin_score = 0.5\n[library.stats]\ndb = "b.db"\n')
    library = shown("library")["library"]
    assert (library["list"]["db"], library["list"]["min-score"]) == ("a.db", 0.5)
    assert (library["stats"]["db"], library["stats"]["min-score"]) == ("b.db", 0.5)
    assert "min-score" not in library["scan"]
    assert "b.db: no library is there" in str(run("library", "stats").exception)


def test_the_other_name_of_a_flag_and_lists(settings: Path) -> None:
    settings.write_text('[library.scan]\nfull = true\n[library.list]\ngenre = "jazz"\nstyle = ["a", "b"]\n')
    library = shown("library")["library"]
    assert library["scan"]["excerpts"] is False
    assert (library["list"]["genre"], library["list"]["style"]) == (["jazz"], ["a", "b"])


def test_show_names_the_source_of_every_value(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.write_text("[serve]\nport = 8080\nburst = 7\n")
    monkeypatch.setenv("GENRESCOPE_TOKEN", "a secret")
    printed = run("config", "show", "serve").stdout
    lines = [line.split("#") for line in printed.splitlines() if " = " in line]
    sources = {line[0].split()[0]: line[-1].strip() for line in lines}
    assert (sources["port"], sources["token"]) == ("settings.toml", "GENRESCOPE_TOKEN")
    assert sources["host"] == "default"
    assert "a secret" not in printed
    assert str(settings) in printed
    assert shown("--changed") == {"serve": {"port": 8080, "token": "***", "burst": 7}}


def test_what_show_prints_is_a_file_that_can_be_used(settings: Path) -> None:
    settings.write_text("")
    settings.write_text(run("config", "show").stdout)
    assert run("config", "show").exit_code == 0


def test_without_a_file_all_is_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GENRESCOPE_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    place = config.config_path()
    assert place is not None
    assert place.name == "genrescope.toml"
    assert shown("--changed") == {}
    monkeypatch.setenv("GENRESCOPE_CONFIG", "none")
    assert config.config_path() is None
    assert "no file" in run("config", "show").stdout


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ("[classify]\nmodle = 'x'\n", "[classify] modle: no such option", "'model'"),
        ("[clasify]\nmodel = 'x'\n", "clasify: no such command", "'classify'"),
        ("[library.scann]\nworkers = 1\n", "[library] scann: no such option", "'scan'"),
        ("[library]\nworker = 1\n", "[library] worker: no such option", "'workers'"),
        ("model = 'x'\n", "model: no such command; options are in the table", ""),
        ("[library.scan]\nworkers = 0\n", "[library.scan] workers = 0", ""),
        ("[library.scan]\nworkers = 'two'\n", '[library.scan] workers = "two"', ""),
        ("[library.scan]\nexcerpts = 'yes'\n", "not of the right type", "true or false"),
        ("[classify]\nmodel = true\n", "not of the right type", "other than true"),
        ("[classify]\nmodel = ['a', 'b']\n", "takes one value", ""),
        ("[library.tag]\nwrite = true\n", "[library.tag] write: cannot be set in a file", "command line"),
        ("[classify\n", "not TOML", ""),
    ],
)
def test_what_does_not_exist_is_refused(settings: Path, content: str, message: str, hint: str) -> None:
    settings.write_text(content)
    failure: Any = run("classify", "song.wav").exception
    assert failure.code == "invalid_config"
    assert str(settings) in failure.message
    assert message in failure.message
    assert hint in failure.hint


def test_a_broken_file_does_not_hide_help_version_and_examples(settings: Path) -> None:
    settings.write_text("[classify\n")
    assert run("classify", "--help").exit_code == 0
    assert run("--version").stdout.startswith("genrescope ")
    assert run().stdout.count("  genrescope ") == 3


def test_a_named_file_must_exist(settings: Path) -> None:
    failure: Any = run("models", "list").exception
    assert failure.code == "invalid_config"
    assert "cannot be read" in failure.message


def test_an_unknown_command_is_refused_by_show() -> None:
    failure: Any = run("config", "show", "lib").exception
    assert "'library'" in failure.hint


def test_the_program_alone_shows_three_examples() -> None:
    done = run()
    examples = [line for line in done.stdout.splitlines() if line.startswith("  genrescope ")]
    assert len(examples) == 3
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert done.exit_code == 0
