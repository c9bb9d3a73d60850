"""Command lines of version 0.1 work for one more release, with a notice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

import pytest
import typer
from typer.testing import CliRunner

from genrescope.cli import app, deprecated

runner = CliRunner()


class Parameter(Protocol):
    """What the tests need of an option."""

    opts: list[str]
    secondary_opts: list[str]


class Command(Protocol):
    """What the tests need of a command, which may have commands of its own."""

    params: list[Parameter]
    commands: Mapping[str, Command]


def find_command(words: Sequence[str]) -> Command:
    command = cast(Command, typer.main.get_command(app))
    for word in words:
        command = command.commands[word]
    return command


@pytest.mark.parametrize(
    ("old", "new", "replaced"),
    [
        (["fetch", "mn04", "--weights", "x"], ["models", "download", "mn04", "--weights", "x"], ["fetch"]),
        (["features", "a.wav"], ["plot-features", "a.wav"], ["features"]),
        (["models"], ["models", "list"], ["models"]),
        (["models", "mn04"], ["models", "show", "mn04"], ["models NAME"]),
        (["classify", "a", "--min-score", "0.5"], ["classify", "a", "--threshold", "0.5"], ["--min-score"]),
        (["classify", "--min-score=0.5", "a"], ["classify", "--threshold=0.5", "a"], ["--min-score"]),
        (
            ["distil", "music", "--run", "r", "--files", "2"],
            ["distill", "music", "--run-dir", "r", "--shards", "2"],
            ["distil", "--run", "--files"],
        ),
        (["evaluate", "m", "d", "--kind", "audio"], ["evaluate", "m", "d", "--input", "audio"], ["--kind"]),
        (["train", "d", "--run", "r"], ["train", "d", "--run-dir", "r"], ["--run"]),
        (
            ["library", "report", "--db", "a.db", "a.html", "--under", "x"],
            ["library", "report", "--db", "a.db", "--output", "a.html", "--folder", "x"],
            ["--under", "library report FILE"],
        ),
    ],
)
def test_old_commands_and_options_become_new_ones(
    old: list[str], new: list[str], replaced: list[str]
) -> None:
    arguments, notices = deprecated.modernize(old)
    assert arguments == new
    assert [notice.split("'")[1] for notice in notices] == replaced


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--version"],
        ["classify", "fetch", "models", "--threshold", "0.5"],
        ["classify", "--", "--min-score"],
        ["library", "list", "--min-score", "0.5"],
        ["library", "report", "--db", "a.db", "-o", "a.html"],
        ["library", "report", "--folder", "x"],
        ["models", "--help"],
        ["models", "show", "mn04"],
        ["train", "data", "--run-dir", "r"],
        ["nonsense"],
    ],
)
def test_other_arguments_stay(arguments: list[str]) -> None:
    assert deprecated.modernize(arguments) == (arguments, [])


def test_a_notice_is_one_line_on_standard_error() -> None:
    done = runner.invoke(app, ["models", "default"])
    assert json.loads(done.stdout)["classes"][0] == "blues"
    assert done.stderr == (
        "genrescope: 'models NAME' is now 'models show NAME'; the old word goes in the next release\n"
    )
    assert runner.invoke(app, ["models", "show", "default"]).stderr == ""


def old_and_new_options() -> Iterator[tuple[tuple[str, ...], str, str]]:
    for command, renamed in deprecated.OPTIONS.items():
        for old, new in renamed.items():
            yield command, old, new


def test_old_names_are_gone_and_new_names_exist() -> None:
    top = find_command(()).commands
    assert [old for old in deprecated.COMMANDS if len(old) == 1 and old[0] in top] == []
    assert all(find_command(new) for new in deprecated.COMMANDS.values())
    for command, old, new in old_and_new_options():
        params = find_command(command).params
        names = {name for option in params for name in (*option.opts, *option.secondary_opts)}
        assert new in names, f"{command} {new}"
        assert old not in names, f"{command} {old}"


def test_old_names_are_in_the_changelog() -> None:
    text = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf8")
    for old, new in deprecated.COMMANDS.items():
        assert f"`{' '.join(old)}`" in text
        assert f"`{' '.join(new)}`" in text
    for _, old, new in old_and_new_options():
        assert f"`{old}`" in text
        assert f"`{new}`" in text
