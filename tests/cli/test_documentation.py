"""Commands and options that README and docs show exist, and the README shows every command."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, cast, get_args

import pytest
import typer

from genrescope import models
from genrescope.cli import app
from genrescope.cli.training import DataInput
from genrescope.datasets import PROTOCOLS
from genrescope.library import ScanOptions
from genrescope.training.config import packaged_configs
from genrescope.types import TrackKind

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# The changelog lists names that are gone.
PAGES = [page for page in PAGES if page.name != "CHANGELOG.md"]
_FENCED = re.compile(r"^```\w*\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^ {4}.*\n)+", flags=re.MULTILINE)
_INLINE = re.compile(r"`(genrescope [^`]+)`")
_SEPARATORS = {"|", ";", "&&", "||", "&"}
_HELP = {"-h", "--help"}


class Parameter(Protocol):
    """What the tests need of an option."""

    opts: list[str]
    secondary_opts: list[str]
    help: str
    default: object


class Command(Protocol):
    """What the tests need of a command."""

    params: list[Parameter]


class Use(NamedTuple):
    """One command of a page: ``library``, ``list`` and ``--genre``, ``jazz``."""

    page: str
    words: list[str]


def uses(page: Path) -> Iterator[Use]:
    """Yield each ``genrescope ...`` in a page's code: fenced, indented or within a line."""
    text = page.read_text(encoding="utf8")
    blocks = [*_FENCED.findall(text), *_INDENTED.findall(_FENCED.sub("", text))]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *_INLINE.findall(text)]:
        if "genrescope " in line:
            for words in split_commands(line.strip().removeprefix("$ ")):
                if words and words[0] == "genrescope":
                    yield Use(page.name, words[1:])


def split_commands(line: str) -> Iterator[list[str]]:
    """Split a line of shell at pipes and semicolons."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # not shell: an apostrophe in the text of another language
        return
    command: list[str] = []
    for word in words:
        if word in _SEPARATORS:
            yield command
            command = []
        else:
            command.append(word)
    yield command


def problem(words: Sequence[str]) -> str | None:
    """Return which command or option of a command line does not exist."""
    command = cast(Command, typer.main.get_command(app))
    rest = list(words)
    # "library scan|list" names two commands; it is split above, so the first is checked.
    while (commands := cast("Mapping[str, Command] | None", getattr(command, "commands", None))) and rest:
        if rest[0].startswith("-"):
            break
        if rest[0] not in commands:
            return f"no command {rest[0]!r}"
        command = commands[rest.pop(0)]
    known = {name for option in command.params for name in [*option.opts, *option.secondary_opts]} | _HELP
    for word in rest:
        if word == "--":
            break
        # "-" alone is standard input.
        if word.startswith("-") and word != "-" and word.partition("=")[0] not in known:
            return f"no option {word!r}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_of_the_pages_exist(page: Path) -> None:
    wrong = [(" ".join(use.words), problem(use.words)) for use in uses(page) if problem(use.words)]
    assert wrong == []


def test_the_check_finds_commands_and_what_is_wrong_with_them() -> None:
    assert len(list(uses(ROOT / "README.md"))) > 15
    assert problem(["models", "nothing"]) == "no command 'nothing'"
    assert problem(["classify", "song.mp3", "--tresholds", "1"]) == "no option '--tresholds'"
    assert problem(["classify", "song.mp3", "--full", "-f", "csv"]) is None


def test_options_named_in_the_readme_exist() -> None:
    named = set(re.findall(r"`(--?[a-z][a-z-]*)[^`]*`", (ROOT / "README.md").read_text(encoding="utf8")))
    assert named
    assert named - {name for command in commands().values() for name in option_names(command)} == set()


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf8")
    assert [name for name in commands() if f"genrescope {name}" not in text] == []


def commands() -> dict[str, Command]:
    """Return all commands that are no groups, by their words."""
    found: dict[str, Command] = {}
    stack = [("", cast(Command, typer.main.get_command(app)))]
    while stack:
        words, command = stack.pop()
        children = cast("Mapping[str, Command] | None", getattr(command, "commands", None))
        if children is None:
            found[words] = command
        else:
            stack += [(f"{words} {name}".strip(), child) for name, child in children.items()]
    return found


def option(command: str, name: str) -> Parameter:
    return next(one for one in commands()[command].params if name in one.opts)


def test_the_help_names_every_packaged_configuration() -> None:
    named = set(re.findall(r"[\w-]+", option("train", "--config").help))
    assert set(packaged_configs()) <= named


def test_the_help_names_every_protocol_that_has_test_tracks() -> None:
    named = set(re.findall(r"[\w-]+", option("evaluate", "--protocol").help))
    assert set(PROTOCOLS) - {"segment-random"} <= named


def test_options_have_the_defaults_and_values_of_the_package() -> None:
    """The command line repeats them, so that help and completion need not load these packages."""
    scan = ScanOptions()
    assert option("library scan", "--model").default == scan.model == models.DEFAULT
    assert option("classify", "--model").default == models.DEFAULT
    assert option("library scan", "--excerpts").default == scan.excerpts
    assert option("library scan", "--timeout").default == scan.timeout
    assert {one.value for one in DataInput} == {"auto", *get_args(TrackKind)}


def option_names(command: Command) -> list[str]:
    return [name for option in command.params for name in [*option.opts, *option.secondary_opts]]


def test_the_import_figure_of_contributing_is_the_checked_rule() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    (figure,) = re.findall(r"^```text\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["tool"]["importlinter"]
    (layers,) = [rule["layers"] for rule in settings["contracts"] if rule["type"] == "layers"]
    shorter = [
        line.replace("beetsplug.genrescope", "beetsplug").replace("genrescope.", "") for line in layers
    ]
    assert figure.splitlines() == shorter


def test_contributing_has_a_line_on_every_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    packages = [path.parent.name for path in (ROOT / "src" / "genrescope").glob("*/__init__.py")]
    assert [name for name in packages if f"\n| `{name}` |" not in text] == []
