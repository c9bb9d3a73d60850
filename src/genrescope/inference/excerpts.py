"""Which segments of a long track are classified, and when enough of them were: sequential tests.

Positions follow the golden ratio: any number of them is spread evenly over the track, and they do not
coincide with the period of verses and choruses. The test stops when the mean lead of the top genre over the
second is larger than the standard error of that lead.

A track that is classified in full has all of its sound decoded and checked, but once the lead is twice its
standard error, only one segment of each batch is scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np

from genrescope.types import FloatArray

MIN_EXCERPTS = 3
# Tracks of fewer segments are classified in full: excerpts would save little.
MIN_SEGMENTS = 6
# How many standard errors the lead must have, and the standard deviation that is assumed of it in addition to
# the measured one, because that of a few segments is uncertain. Both were chosen on tracks joined of clips,
# see EXPERIMENTS.md.
_ERRORS = 1.0
_SPREAD = 0.25
# The same for a track that is classified in full: 99.1 % of 320 pieces of 100 s and more keep their genre,
# and all of those whose score is at least 0.5; 57 % of the segments are scored. See EXPERIMENTS.md.
_THINNING_ERRORS = 2.0
# Seconds from the start of a track in which every segment is scored.
_DENSE_SECONDS = 40.0
_GOLDEN = (math.sqrt(5) - 1) / 2


def excerpt_order(segments: int) -> Iterator[int]:
    """Yield the indices of a track's ``segments`` in the order of classification, each once.

    The first `MIN_EXCERPTS` are in ascending order; nothing is yielded for a track of fewer segments.
    """
    share = 0.5
    seen: set[int] = set()
    while len(seen) < segments:
        index = min(segments - 1, int(share * segments))
        share = (share + _GOLDEN) % 1
        if index in seen:
            continue
        seen.add(index)
        if len(seen) == MIN_EXCERPTS:
            yield from sorted(seen)
        elif len(seen) > MIN_EXCERPTS:
            yield index


def excerpt_batches(segments: int) -> Iterator[list[int]]:
    """Yield the indices to classify between two calls of `should_stop`: the first few together, then each.

    ``segments`` is the number of segments of the track.
    """
    order = excerpt_order(segments)
    yield list(islice(order, MIN_EXCERPTS))
    for index in order:
        yield [index]


def should_stop(scores: FloatArray, segments: int) -> bool:
    """Return whether the top genre of some segments is likely to be that of the whole track.

    Parameters
    ----------
    scores : ndarray, shape (excerpts, classes)
        Scores of the segments classified so far.
    segments : int
        How many the track has.
    """
    excerpts = len(scores)
    if excerpts < MIN_EXCERPTS:
        return False
    # The standard error of a mean over part of a finite population is smaller.
    return _lead_exceeds(scores, _ERRORS * math.sqrt(1 - excerpts / segments))


def should_thin(scores: FloatArray, seconds: float) -> bool:
    """Return whether the top genre of a track is so clear that one segment of each further batch is enough.

    Parameters
    ----------
    scores : ndarray, shape (segments, classes)
        Scores of the segments classified so far.
    seconds : float
        How much of the track lies before the next batch.
    """
    return seconds >= _DENSE_SECONDS and _lead_exceeds(scores, _THINNING_ERRORS)


def _lead_exceeds(scores: FloatArray, errors: float) -> bool:
    """Return whether the mean lead of the top genre is at least so many standard errors."""
    second, first = np.argsort(scores.mean(axis=0), kind="stable")[-2:]
    lead = scores[:, first] - scores[:, second]
    error = math.sqrt((float(lead.var()) + _SPREAD**2) / len(scores))
    return float(lead.mean()) >= errors * error
