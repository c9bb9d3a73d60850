"""The tree of commands, and what happens to a failure.

A command parses its options, makes one call into the package, and prints the result. It imports the
packages that it needs when it runs, so that ``genrescope --help`` loads none of them.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any, Protocol

import typer
from typer.core import TyperGroup

from genrescope import __version__
from genrescope.cli import (
    audit,
    classify,
    cluster,
    compare_tags,
    config,
    deprecated,
    library,
    mcp,
    models,
    schema,
    serve,
    training,
    watch,
)
from genrescope.errors import GenrescopeError

# The headings of ``genrescope --help``, in their order.
CLASSIFY, LIBRARY, MODELS, SERVE, SETTINGS = _PANELS = (
    "Classify",
    "Library",
    "Models and training",
    "Serve",
    "Settings",
)

_EXAMPLES = f"""genrescope {__version__}: the genre of music, from its sound

  genrescope classify song.mp3       genre and styles of a file, or of a folder
  genrescope library scan ~/Music    a collection, kept to list, tag and export
  genrescope serve                   a web page, at http://127.0.0.1:8000

All commands: genrescope --help; of one command: genrescope classify --help"""


# Where a context keeps whether a command is to run, in place of help.
_NEEDS_CONFIG = "genrescope.needs_config"


class _HelpFormatter(Protocol):
    """What the list of commands needs of click's formatter."""

    @property
    def width(self) -> int: ...

    def section(self, name: str) -> AbstractContextManager[None]: ...

    def write_dl(self, rows: Sequence[tuple[str, str]]) -> None: ...


class CommandTree(TyperGroup):
    """The command ``genrescope``: lists its commands under headings, and knows the names of version 0.1.

    Typer itself prints headings only when rich renders the help, which takes several times as long as the
    rest of ``genrescope --help``. They are plain text here.
    """

    def format_commands(self, ctx: object, formatter: _HelpFormatter) -> None:
        """List the commands by heading.

        Parameters
        ----------
        ctx : click.Context
            Not used: the commands are known without one.
        formatter : click.HelpFormatter
            What the help is written to.
        """
        shown = {name: command for name, command in self.commands.items() if not command.hidden}
        column = max(map(len, shown))
        for heading in _PANELS:
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (name.ljust(column), command.get_short_help_str(formatter.width - 6 - column))
                        for name, command in shown.items()
                        if getattr(command, "rich_help_panel", None) == heading
                    ]
                )

    # Any: the context's class is click's in some versions of typer and typer's own in others.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line, in the words of version 0.1 too.

        Parameters
        ----------
        ctx : click.Context
            Where the parsed options go. ``resilient_parsing`` marks one that only completes words.
        args : list of str
            The command line without the program's name.

        Returns
        -------
        list of str
            What is left for the command that was named.
        """
        # A broken file of settings does not keep anybody from reading the help, or the version.
        names_command = any(not word.startswith("-") for word in args)
        ctx.meta[_NEEDS_CONFIG] = names_command and {"-h", "--help"}.isdisjoint(args)
        if not ctx.resilient_parsing:
            args, notices = deprecated.modernize(args)
            for notice in notices:
                typer.echo(notice, err=True)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> object:
        """Run the command that was named, with the user's defaults for its options.

        Parameters
        ----------
        ctx : click.Context
            Its ``default_map`` gets the values of the user's file.

        Raises
        ------
        ConfigError
            ``invalid_config``: the file cannot be read, or sets what does not exist.
        """
        if ctx.meta[_NEEDS_CONFIG]:
            settings = config.load(self, ctx)
            config.allow_negation(self, settings)
            ctx.default_map = settings.default_map()
        result: object = super().invoke(ctx)
        return result


app = typer.Typer(
    cls=CommandTree,
    help="Classify music by genre, and train models that do.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help and one-line errors; rich would add half a second to both
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(rich_help_panel=CLASSIFY)(classify.classify)
app.command(rich_help_panel=CLASSIFY)(classify.plot_features)
library.app.command()(compare_tags.compare)
library.app.command()(watch.watch)
app.add_typer(library.app, name="library", rich_help_panel=LIBRARY)
app.add_typer(cluster.app, name="cluster", rich_help_panel=LIBRARY)
app.add_typer(models.app, name="models", rich_help_panel=MODELS)
app.command(rich_help_panel=MODELS)(audit.audit)
app.command(rich_help_panel=MODELS)(training.train)
app.command(rich_help_panel=MODELS)(training.evaluate)
app.command(rich_help_panel=MODELS)(training.compare)
app.command(rich_help_panel=MODELS)(training.tune)
app.command(rich_help_panel=MODELS)(training.distill)
app.command(rich_help_panel=MODELS)(training.train_taxonomy)
app.command(rich_help_panel=MODELS)(training.reproduce)
app.command(rich_help_panel=SERVE)(serve.serve)
app.command(rich_help_panel=SERVE)(mcp.mcp)
app.command(rich_help_panel=SERVE)(schema.schema)
app.add_typer(config.app, name="config", rich_help_panel=SETTINGS)


@app.callback(invoke_without_command=True)
def version(
    ctx: typer.Context,
    shown: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Classify music by genre, and train models that do."""
    if shown:
        typer.echo(f"genrescope {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(_EXAMPLES)


def run() -> None:
    """Run the command line: a failure is one clear line, a hint and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        # Rows are UTF-8 wherever they go; a file name that is not shows its bytes, which JSON can read.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf8", errors="backslashreplace")
    try:
        app()
    except GenrescopeError as failure:
        print(f"genrescope: {failure.message}\n  {failure.hint}", file=sys.stderr)
        sys.exit(failure.outcome.exit_status)
    except OSError as failure:
        if isinstance(failure, BrokenPipeError):
            # The reader of our output is gone; the interpreter would report that when it exits.
            sys.stderr.close()
            sys.exit(1)
        print(
            f"genrescope: {failure}\n  free some space, or check the path and its permissions",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("genrescope: interrupted", file=sys.stderr)
        sys.exit(130)
