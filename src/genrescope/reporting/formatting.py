"""Numbers and paths as text: lengths of time, shares, intervals, the folder of several files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # For annotations only: the command line formats lengths, and would wait for the package to load.
    from genrescope.evaluation import Interval

# Stands in a table for a value that there is none of.
MISSING = "–"


def format_clock(seconds: float) -> str:
    """Write a length of time as minutes and seconds, or as hours too.

    Parameters
    ----------
    seconds : float
        Rounded to whole seconds.

    Returns
    -------
    str
        Such as ``1:15`` or ``10:10:10``.
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_percent(share: float, decimals: int = 0) -> str:
    """Write a share in percent.

    Parameters
    ----------
    share : float
        From 0 to 1.
    decimals : int
        Digits after the point.

    Returns
    -------
    str
        Such as ``12.5 %``.
    """
    return f"{100 * share:.{decimals}f} %"


def format_percent_interval(interval: Interval) -> str:
    """Write a share and its bounds in percent.

    Parameters
    ----------
    interval : Interval
        Value and bounds, from 0 to 1.

    Returns
    -------
    str
        Such as ``83.1 % [76.6, 88.7]``.
    """
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def format_interval(interval: Interval) -> str:
    """Write a value and its bounds with two decimals.

    Parameters
    ----------
    interval : Interval
        Such as of a macro F1.

    Returns
    -------
    str
        Such as ``0.83 [0.77, 0.89]``.
    """
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def format_count(number: int, noun: str) -> str:
    """Write a number of things.

    Parameters
    ----------
    number : int
        How many.
    noun : str
        In the singular; an ``s`` is added where the number is not 1.
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def as_sentence(text: str) -> str:
    """Return a note as a sentence.

    Parameters
    ----------
    text : str
        Not empty.

    Returns
    -------
    str
        With a capital at its beginning and a period at its end.
    """
    return f"{text[:1].upper()}{text[1:]}{'' if text[-1] in '.!?:' else '.'}"


def common_folder(paths: Sequence[str]) -> str:
    """Return the folder that holds all paths, with the separator at its end.

    Parameters
    ----------
    paths : sequence of str
        Of this system or of another one: a report may be of files from elsewhere.

    Returns
    -------
    str
        Empty where the paths have no folder in common, or only the root.
    """
    separator = "/" if any("/" in path for path in paths) else "\\"
    # The first and the last of sorted texts differ where any two of them do.
    first, last = (min(paths), max(paths)) if paths else ("", "")
    shared = next(
        (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other),
        len(first),
    )
    folder = first[: first.rfind(separator, 0, shared) + 1]
    return "" if folder == separator else folder
