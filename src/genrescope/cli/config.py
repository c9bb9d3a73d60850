"""The user's defaults for options: ``genrescope.toml``, and the command ``config show``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, cast

import typer

from genrescope.errors import ConfigError

app = typer.Typer(help="Your own defaults for options, in a file.", no_args_is_help=True)

FILE_NAME = "genrescope.toml"
# Names another file; "none", or an empty value: no file.
VARIABLE = "GENRESCOPE_CONFIG"
# What must be asked for each time, since it changes files or has no value to keep.
_NOT_KEPT = frozenset({"help", "version", "write", "install_completion", "show_completion"})
_SECRETS = frozenset({"token"})


class Option(Protocol):
    """What is needed of a parameter of click or typer.

    Attributes
    ----------
    name : str
        Of the parameter of the function.
    opts, secondary_opts : list of str
        What it is called on a command line; what switches a flag off.
    default : object
        Its value where nothing sets it.
    multiple, is_flag, hidden : bool
        Whether it may be repeated; has no value; is not in the help.
    envvar : str, list of str or None
        Environment variables that set it.
    param_type_name : str
        ``option`` or ``argument``.
    """

    name: str
    opts: list[str]
    secondary_opts: list[str]
    default: Any
    multiple: bool
    is_flag: bool
    hidden: bool
    envvar: str | list[str] | None
    param_type_name: str

    def process_value(self, ctx: Any, value: Any) -> Any:
        """Return ``value`` as the command of ``ctx`` gets it; an error where it has another type."""


class Setting(NamedTuple):
    """The value of an option, and where it comes from.

    Attributes
    ----------
    name : str
        Of the option, without dashes in front.
    value : object
        None: it has none.
    source : str
        ``default``, the name of the file, or the name of an environment variable.
    """

    name: str
    value: Any
    source: str


@dataclass(frozen=True)
class UserConfig:
    """The options that a user's file sets.

    Attributes
    ----------
    path : Path or None
        The file; None: there is to be none.
    values : mapping of str to mapping of str to object
        By the words of a command, such as ``library scan``: value by parameter of its function.
    """

    path: Path | None
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def default_map(self) -> dict[str, Any]:
        """Return the values as click's ``default_map``: nested as the commands are."""
        nested: dict[str, Any] = {}
        for words, values in self.values.items():
            table = nested
            for word in words.split():
                table = table.setdefault(word, {})
            table |= values
        return nested


def config_path() -> Path | None:
    """Return where the user's file is or would be; None where there is to be none.

    Returns
    -------
    Path or None
        What ``GENRESCOPE_CONFIG`` names, else ``genrescope.toml`` in the platform's folder for settings
        (platformdirs: ``~/.config/genrescope`` on Linux, or as ``XDG_CONFIG_HOME`` says).
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        return None if named in ("", "none") else Path(named).expanduser()
    import platformdirs

    return platformdirs.user_config_path("genrescope", appauthor=False) / FILE_NAME


def load(root: object, ctx: object) -> UserConfig:
    """Read and check the user's file.

    Parameters
    ----------
    root : TyperGroup
        The command ``genrescope``, whose commands have the options.
    ctx : Context
        Of click, in which values are checked.

    Raises
    ------
    ConfigError
        ``invalid_config``: it is no TOML file, ``GENRESCOPE_CONFIG`` names a file that is not there, or it
        sets a command, option or value that does not exist.
    """
    path = config_path()
    if path is None or (VARIABLE not in os.environ and not path.exists()):
        return UserConfig(path)
    from genrescope.utils import parse_toml

    try:
        tables = parse_toml(path.read_text(encoding="utf-8-sig"))
    except OSError as reason:
        raise ConfigError(
            "invalid_config",
            f"{path}: cannot be read: {reason.strerror or reason}",
            f"correct {VARIABLE}, or set it to 'none' to run without a file",
        ) from None
    except ValueError as reason:
        raise ConfigError(
            "invalid_config",
            f"{path}: not TOML: {reason}",
            "correct the file; paths of Windows stand in single quotes, as in 'C:\\Music'",
        ) from None
    reader = _Reader(path, ctx)
    reader.read(root, tables, ())
    return UserConfig(path, reader.values)


def allow_negation(root: object, config: UserConfig) -> None:
    """Give flags that the file sets an option that unsets them, such as ``--no-timeline``.

    Parameters
    ----------
    root : TyperGroup
        The command ``genrescope``.
    config : UserConfig
        What the file sets. Options of a command line win over it, flags included.
    """
    for words, command in commands(root):
        for option in options(command):
            if option.is_flag and not option.secondary_opts and config.values.get(words, {}).get(option.name):
                option.secondary_opts.append(f"--no-{_key(option)}")


def commands(root: object, words: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    """Yield all commands that are no groups, with their words.

    Parameters
    ----------
    root : TyperGroup
        The command ``genrescope``, or a group in it.
    words : tuple of str
        Of the group.
    """
    children = _children(root)
    if children is None:
        yield " ".join(words), root
        return
    for name, child in children.items():
        yield from commands(child, (*words, name))


def options(command: object) -> list[Option]:
    """Return the options of a command that a file may set.

    Parameters
    ----------
    command : TyperCommand
    """
    found = cast("list[Option]", getattr(command, "params", []))
    return [
        one
        for one in found
        if one.param_type_name == "option" and not one.hidden and one.name not in _NOT_KEPT
    ]


def effective(words: str, command: object, config: UserConfig) -> list[Setting]:
    """Return the values that a command runs with when it is given no options.

    Parameters
    ----------
    words : str
        Of the command.
    command : TyperCommand
    config : UserConfig
    """
    found = []
    for option in options(command):
        names = [option.envvar] if isinstance(option.envvar, str) else option.envvar or []
        variable = next((name for name in names if os.environ.get(name)), None)
        values = config.values.get(words, {})
        if variable is not None:
            setting = Setting(_key(option), os.environ[variable], variable)
        elif option.name in values and config.path is not None:
            setting = Setting(_key(option), values[option.name], config.path.name)
        else:
            setting = Setting(_key(option), option.default, "default")
        if option.name in _SECRETS and setting.value is not None:
            setting = setting._replace(value="***")
        found.append(setting)
    return found


@app.command()
def show(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="Only of this command, such as: library scan."),
    ] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only values that are not the program's defaults.")
    ] = False,
) -> None:
    """Print the options that commands run with, and where each comes from, as TOML.

    The file is genrescope.toml in your folder for settings, or what GENRESCOPE_CONFIG names; 'none': no file.
    """
    from genrescope.utils import did_you_mean

    root = ctx.find_root().command
    config = load(root, ctx)
    wanted = " ".join(command or ())
    shown = {words: one for words, one in commands(root) if f"{words} ".startswith(f"{wanted} ".lstrip())}
    if not shown:
        names = {name for words, _ in commands(root) for name in (words, words.split()[0])}
        hint = did_you_mean(wanted, sorted(names), otherwise="see: genrescope --help")
        raise ConfigError("invalid_argument", f"no command {wanted!r}", hint)
    if config.path is None:
        typer.echo(f"# no file: {VARIABLE} says so")
    else:
        typer.echo(f"# {config.path}" + ("" if config.path.exists() else " (not there)"))
    for words, one in shown.items():
        settings = [
            setting for setting in effective(words, one, config) if not changed or setting.source != "default"
        ]
        if settings:
            typer.echo("\n" + "\n".join(_toml_table(words, settings)))


class _Reader:
    """Reads the tables of a file into values by command.

    Parameters
    ----------
    path : Path
        Of the file, for errors.
    ctx : Context
        Of click.
    """

    def __init__(self, path: Path, ctx: object) -> None:
        self._path = path
        self._ctx = ctx
        self.values: dict[str, dict[str, Any]] = {}

    def read(self, command: object, table: Mapping[str, Any], words: tuple[str, ...]) -> None:
        """Read the ``table`` of a ``command`` or group of these ``words``, and the tables in it."""
        children = _children(command)
        if children is None:
            for key, value in table.items():
                self._set(" ".join(words), command, key, value)
            return
        # First what counts for all commands of a group, then what single ones have in its place.
        for key, value in table.items():
            if key not in children or not isinstance(value, Mapping):
                self._set_for_all(command, children, words, key, value)
        for key, value in table.items():
            if key in children and isinstance(value, Mapping):
                self.read(children[key], value, (*words, key))

    def _set_for_all(
        self,
        group: object,
        children: Mapping[str, object],
        words: tuple[str, ...],
        key: str,
        value: Any,
    ) -> None:
        inside = [*commands(group, words)] if words and not isinstance(value, Mapping) else []
        having = [(name, command) for name, command in inside if _find(command, key) is not None]
        for name, command in having:
            self._set(name, command, key, value)
        if not having:
            names = {*children, *(_key(option) for _, command in inside for option in options(command))}
            raise self._unknown(words, key, names)

    def _set(self, words: str, command: object, key: str, value: Any) -> None:
        found = _find(command, key)
        if found is None:
            raise self._unknown(tuple(words.split()), key, {_key(option) for option in options(command)})
        option, negated = found
        where = f"{self._path}: [{'.'.join(words.split())}] {key} = {json.dumps(value, default=str)}"
        if option.is_flag != isinstance(value, bool):
            kind = "true or false" if option.is_flag else "a value other than true and false"
            raise ConfigError("invalid_config", f"{where}: not of the right type", f"give {kind}")
        # What the shell does on a command line.
        parts = [
            os.path.expanduser(one) if isinstance(one, str) else one  # noqa: PTH111 - not every value is a path
            for one in (value if isinstance(value, list) else [value])
        ]
        if not option.multiple and isinstance(value, list):
            raise ConfigError("invalid_config", f"{where}: the option takes one value", "give one value")
        try:
            option.process_value(self._ctx, parts if option.multiple else parts[0])
        except typer.BadParameter as failure:
            raise ConfigError("invalid_config", f"{where}: {failure.message}", "correct the file") from None
        values = self.values.setdefault(words, {})
        values[option.name] = (not value) if negated else (parts if option.multiple else parts[0])

    def _unknown(self, words: tuple[str, ...], key: str, known: set[str]) -> ConfigError:
        from genrescope.utils import did_you_mean

        table = f"[{'.'.join(words)}] " if words else ""
        if key.replace("-", "_") in _NOT_KEPT:
            what, hint = "cannot be set in a file", "give it on the command line, each time"
        else:
            what = "no such option" if words else "no such command; options are in the table of a command"
            hint = did_you_mean(key.replace("_", "-"), sorted(known), otherwise="see: genrescope config show")
        return ConfigError("invalid_config", f"{self._path}: {table}{key}: {what}", hint)


def _children(command: object) -> Mapping[str, object] | None:
    """Return the commands of a group that are listed, None of what is no group."""
    found = cast("Mapping[str, Any] | None", getattr(command, "commands", None))
    if found is None:
        return None
    return {name: child for name, child in found.items() if not child.hidden}


def _find(command: object, key: str) -> tuple[Option, bool] | None:
    """Return the option that a key names, and whether it is the name that switches the option off."""
    name = f"--{key.replace('_', '-')}"
    for option in options(command):
        if name in option.opts:
            return option, False
        if name in option.secondary_opts:
            return option, True
    return None


def _key(option: Option) -> str:
    """Return what an option is called in a file: its long name, without dashes in front."""
    return max(option.opts, key=len).lstrip("-")


def _toml_table(words: str, settings: list[Setting]) -> Iterator[str]:
    yield f"[{'.'.join(words.split())}]"
    lines = [
        f"# {setting.name}" if setting.value in (None, [], ()) else f"{setting.name} = {_toml(setting.value)}"
        for setting in settings
    ]
    width = min(40, max(map(len, lines)))
    for line, setting in zip(lines, settings, strict=True):
        source = "not set" if line.startswith("#") else setting.source
        yield f"{line:{width}}  # {source}" if not line.startswith("#") else f"{line}: {source}"


def _toml(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's texts, numbers and truth values are TOML's.
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
