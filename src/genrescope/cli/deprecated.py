"""The command line of version 0.1, understood for one more release.

Commands and options that have a new name are rewritten before they are parsed, with a notice on standard
error. They are in no help text and are not completed. To end the support, delete this module, its use in
``main.py`` and its tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Old words of a command -> new words.
COMMANDS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("distil",): ("distill",),
    ("features",): ("plot-features",),
    ("fetch",): ("models", "download"),
    ("library", "show"): ("library", "list"),
}

_FILTERS = {"--under": "--folder", "--unsure": "--uncertain", "--sure": "--certain"}

# New words of a command -> its old options -> their new names.
OPTIONS: Mapping[tuple[str, ...], Mapping[str, str]] = {
    ("classify",): {"--min-score": "--threshold"},
    ("train",): {"--run": "--run-dir"},
    ("distill",): {"--run": "--run-dir", "--files": "--shards"},
    ("evaluate",): {"--kind": "--input"},
    ("library", "scan"): {"--retry": "--retry-failed"},
    ("library", "list"): {**_FILTERS, "--gone": "--missing", "--errors": "--failed"},
    ("library", "stats"): {"--under": "--folder"},
    ("library", "export"): _FILTERS,
    ("library", "report"): {"--under": "--folder"},
    ("library", "tag"): {
        "--under": "--folder",
        "--min-score": "--genre-threshold",
        "--styles": "--style-threshold",
        "--most": "--max-genres",
        "--unsure": "--uncertain",
    },
    ("library", "untag"): {"--under": "--folder"},
    ("serve",): {
        "--queue": "--max-queue",
        "--max-megabytes": "--max-upload-mb",
        "--max-seconds": "--max-audio-seconds",
        "--upload-seconds": "--upload-timeout",
        "--job-seconds": "--job-timeout",
        "--job-megabytes": "--job-memory-mb",
        "--rate": "--rate-limit",
        "--behind-proxy": "--proxy-headers",
    },
}

_MODELS_COMMANDS = ("list", "show", "download")
# Options of ``library report`` that the word after them belongs to.
_REPORT_OPTIONS = ("--output", "-o", "--db", "--folder")


def modernize(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Rewrite a command line of version 0.1 as one of this version.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``genrescope``, from the command's name on.

    Returns
    -------
    arguments : list of str
        The same command under today's names; what needs no change is kept as it is.
    notices : list of str
        One line for each name that was replaced.
    """
    words, notices = _rename_command(list(arguments))
    for command, renamed in OPTIONS.items():
        if tuple(words[: len(command)]) == command:
            rest, more = _rename_options(words[len(command) :], renamed)
            words, notices = [*command, *rest], [*notices, *more]
    if words[:2] == ["library", "report"]:
        rest, more = _name_report_file(words[2:])
        words, notices = ["library", "report", *rest], [*notices, *more]
    return words, notices


def _rename_command(words: list[str]) -> tuple[list[str], list[str]]:
    for old, new in COMMANDS.items():
        if tuple(words[: len(old)]) == old:
            return [*new, *words[len(old) :]], [notice(" ".join(old), " ".join(new))]
    if words == ["models"]:
        return ["models", "list"], [notice("models", "models list")]
    if words[:1] == ["models"] and not words[1].startswith("-") and words[1] not in _MODELS_COMMANDS:
        return ["models", "show", *words[1:]], [notice("models NAME", "models show NAME")]
    return words, []


def _rename_options(words: list[str], renamed: Mapping[str, str]) -> tuple[list[str], list[str]]:
    # Behind "--" are arguments only, whatever they begin with.
    end = words.index("--") if "--" in words else len(words)
    result, notices = list(words), []
    for index, word in enumerate(words[:end]):
        name, equals, value = word.partition("=")
        if name in renamed:
            result[index] = renamed[name] + equals + value
            notices.append(notice(name, renamed[name]))
    return result, notices


def _name_report_file(words: list[str]) -> tuple[list[str], list[str]]:
    """Put ``--output`` before the file that version 0.1 took as an argument."""
    if any(word.partition("=")[0] in ("--output", "-o") for word in words):
        return words, []
    for index, word in enumerate(words):
        if not word.startswith("-") and (index == 0 or words[index - 1] not in _REPORT_OPTIONS):
            renamed = notice("library report FILE", "library report --output FILE")
            return [*words[:index], "--output", *words[index:]], [renamed]
    return words, []


def notice(old: str, new: str) -> str:
    """Return the line that tells the new name of an old word.

    Parameters
    ----------
    old, new : str
        The word of version 0.1, and today's.
    """
    return f"genrescope: {old!r} is now {new!r}; the old word goes in the next release"
