"""Every command that the documentation shows is one; those that take no training and no cluster are run."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest
import typer.main
from typer.testing import CliRunner

from genrescope.cli.main import app
from genrescope.training.config import load_config

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "examples" / "demo_music" / "music"
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]
# Of these the commands are run in the order of the page, in a home folder with some music.
RUN = ["README.md", "docs/audit.md", "docs/classify.md", "docs/index.md", "docs/library.md"]
RUN += ["docs/picard-and-scripts.md", "docs/settings.md", "docs/tagging.md"]
# What cannot be run on some songs: a watch does not end, the others need a data set, a cluster or its rows.
NOT_RUN = ("library watch", "library import", "train", "distill", "evaluate", "compare", "tune", "reproduce")
NOT_RUN += ("train-taxonomy", "cluster", "audit DATA", "serve", "mcp", "models download")


def code_lines(text: str) -> Iterator[str]:
    """Yield the lines of code, those that a backslash joins as one."""
    fenced, joined = False, ""
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            joined += re.sub(r"\s+#\s.*", "", line.strip())
            if joined.endswith("\\"):
                joined = joined[:-1]
                continue
            yield joined
            joined = ""


def commands(page: str) -> list[list[str]]:
    """Return the arguments of each genrescope command that a page shows in its code."""
    found = []
    for line in code_lines((ROOT / page).read_text(encoding="utf8")):
        for part in re.split(r"; |&& |\| ", line.removeprefix("$ ")):
            if re.match(r"genrescope(\s|$)", part):
                found.append(shlex.split(re.split(r"\s(?:2?>>?|<)\s?", part)[0])[1:])
    return found


def mentioned(page: str) -> list[list[str]]:
    """Return the arguments of commands that a page names in its text."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf8"), flags=re.DOTALL)
    spans = re.findall(r"`genrescope ([a-z][^`\n]*)`", text)
    return [shlex.split(span) for span in spans]


def parse(arguments: list[str]) -> None:
    """Parse a command as the command line does; raise what it would print."""
    command: click.Command = typer.main.get_command(app)
    context = None
    rest = arguments
    while True:
        context = command.make_context(command.name, list(rest), parent=context)
        if not isinstance(command, click.Group):
            return
        # As `click.Group.invoke` finds the next command.
        remaining = [*context._protected_args, *context.args]
        if not remaining:
            return
        name, found, rest = command.resolve_command(context, remaining)
        assert found is not None, name
        command = found


def test_pages_show_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 80
    assert commands("docs/picard-and-scripts.md").count(["library", "tag", "--write", "--keep-mtime"]) == 1


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_shows_can_be_parsed(page: str) -> None:
    for arguments in commands(page):
        parse(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_text_names_is_one(page: str) -> None:
    for arguments in mentioned(page):
        # A text may leave out what a command is about.
        with contextlib.suppress(click.MissingParameter):
            parse(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_settings_of_training_that_a_page_shows_are_known(page: str, tmp_path: Path) -> None:
    for arguments in commands(page):
        if arguments[0] in ("train", "tune", "compare"):
            values = [value for name, value in pairwise(arguments) if name == "--set"]
            load_config("cnn", [value for value in values if not value.startswith("model.")])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder with music, which is the working directory too."""
    music = tmp_path / "Music" / "Album"
    music.mkdir(parents=True)
    songs = sorted(DEMO.glob("*.mp3"))[:2]
    for place in (tmp_path / "song.mp3", music / "1.mp3"):
        shutil.copy(songs[0], place)
    shutil.copy(songs[1], music / "2.mp3")
    for place in ("mix.flac", "mnt/more/3.mp3"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(songs[1], tmp_path / place)
    for name in ("party.m3u8", "list.m3u8"):
        (tmp_path / name).write_text("Music/Album/1.mp3\n")
    (tmp_path / "album.cue").write_text(
        'FILE "song.mp3" MP3\n  TRACK 01 AUDIO\n    TITLE "One"\n    INDEX 01 00:00:00\n'
    )
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOME": tmp_path, "XDG_DATA_HOME": tmp_path / "data"}.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


@pytest.mark.parametrize("page", RUN)
def test_commands_work_as_shown(page: str, home: Path) -> None:
    run = [one for one in commands(page) if not " ".join(one).startswith(NOT_RUN)]
    assert run
    run.insert(0, ["library", "scan", "~/Music"])
    for arguments in run:
        placed = [value.replace("/mnt", f"{home}/mnt") for value in arguments]
        placed = [str(home / value[2:]) if value.startswith("~/") else value for value in placed]
        if placed[:2] == ["library", "relocate"]:
            (home / "new").mkdir(exist_ok=True)
            placed[2:] = [str(home / "Music"), str(home / "new")]
        given = b"song.mp3\n" if "--files-from" in placed else (home / "song.mp3").read_bytes()
        result = CliRunner().invoke(app, placed, input=given)
        # 1: some file could not be answered, which is said.
        assert result.exit_code in (0, 1), (arguments, result.output, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit), arguments


def test_configurations_that_pages_show_are_toml() -> None:
    for page in PAGES:
        for block in re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(encoding="utf8"), re.DOTALL):
            assert tomllib.loads(block), page
