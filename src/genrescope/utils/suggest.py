"""Hints for names that do not exist: the most similar one that does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# The least similarity, from 0 to 1, at which a name is suggested (Ratcliff and Obershelp's measure, by
# difflib). Below 0.5 the suggestions have little to do with what was typed.
_MIN_SIMILARITY = 0.5


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str | None = None) -> str:
    """Return the hint for an unknown name.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        The names that exist.
    otherwise : str, optional
        The hint where none of ``known`` is similar; None: the list of ``known``.

    Returns
    -------
    str
        ``did you mean 'NAME'?``, or ``otherwise``.
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=_MIN_SIMILARITY)
    if close:
        return f"did you mean {close[0]!r}?"
    return "choose one of: " + ", ".join(names) if otherwise is None else otherwise
