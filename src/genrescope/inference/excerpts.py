"""Where to listen to a long track, and when enough was heard: a sequential test over excerpts.

Places follow the golden ratio: however many are taken, they lie evenly over the track and do not fall into
step with verses and choruses. Listening ends when the leading genre is ahead of the second by more than the
lead is likely to be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np

from genrescope.types import FloatArray

MIN_EXCERPTS = 3
# Shorter tracks are heard whole: there is little to gain.
MIN_SEGMENTS = 6
# How many standard errors the lead must have, and the spread that every track is given beforehand: chosen on
# songs put together from clips, see EXPERIMENTS.md.
_ERRORS = 1.0
_SPREAD = 0.25
_GOLDEN = (math.sqrt(5) - 1) / 2


def excerpt_order(pieces: int) -> Iterator[int]:
    """Yield which of ``pieces``, end to end, to hear next, each once; the first few in order."""
    share = 0.5
    seen: set[int] = set()
    while len(seen) < pieces:
        place = min(pieces - 1, int(share * pieces))
        share = (share + _GOLDEN) % 1
        if place in seen:
            continue
        seen.add(place)
        if len(seen) == MIN_EXCERPTS:
            yield from sorted(seen)
        elif len(seen) > MIN_EXCERPTS:
            yield place


def excerpt_batches(pieces: int) -> Iterator[list[int]]:
    """Yield what to hear before asking `is_decided` again: the first few at once, then one by one."""
    order = excerpt_order(pieces)
    yield list(islice(order, MIN_EXCERPTS))
    for place in order:
        yield [place]


def should_stop(scores: FloatArray, pieces: int) -> bool:
    """Whether who leads in ``scores``, shape (heard, classes), would lead over all ``pieces``."""
    heard = len(scores)
    if heard < MIN_EXCERPTS:
        return False
    second, first = np.argsort(scores.mean(axis=0), kind="stable")[-2:]
    lead = scores[:, first] - scores[:, second]
    # Standard error of a mean over part of a finite population.
    error = math.sqrt((float(lead.var()) + _SPREAD**2) / heard * (1 - heard / pieces))
    return float(lead.mean()) >= _ERRORS * error
