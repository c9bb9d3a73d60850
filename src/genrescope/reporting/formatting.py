"""Numbers as text: lengths of time, shares, intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # For annotations only: the command line formats lengths, and would wait for the package to load.
    from genrescope.evaluation import Interval

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
    """Write a share of 0 to 1 in percent, with ``decimals`` digits after the point."""
    return f"{100 * share:.{decimals}f} %"


def format_percent_interval(interval: Interval) -> str:
    """Write a share and its bounds, all of ``interval`` from 0 to 1, in percent."""
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def format_interval(interval: Interval) -> str:
    """Write the value and the bounds of ``interval`` with two decimals."""
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def format_count(number: int, noun: str) -> str:
    """Write ``number`` with its ``noun``, in the plural where the number is not 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
