"""Spans of a timeline, which genre leads from when to when; what a prediction and a failed file hold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from genrescope.types import FailedFile, LeadingSpan, Prediction, Timeline


def timeline(*scores: float) -> Timeline:
    """Return a timeline of segments of 2 s, given the score of the first of two genres in each."""
    first = np.array(scores, np.float32)
    starts = np.arange(len(first)) * 2.0
    return Timeline(("jazz", "rock"), starts, starts + 2, np.stack([first, 1 - first], axis=1))


def test_runs_of_one_leading_genre_are_spans() -> None:
    spans = timeline(0.75, 0.5, 0.25, 0.0, 1.0).leading_spans()
    assert spans == [
        LeadingSpan("jazz", 0.0, 4.0, 0.625, 0.75),
        LeadingSpan("rock", 4.0, 8.0, 0.875, 1.0),
        LeadingSpan("jazz", 8.0, 10.0, 1.0, 1.0),
    ]


def test_a_timeline_of_one_genre_is_one_span() -> None:
    assert timeline(0.75, 0.75).leading_spans() == [LeadingSpan("jazz", 0.0, 4.0, 0.75, 0.75)]


def test_a_timeline_without_segments_has_no_spans() -> None:
    assert timeline().leading_spans() == []


def test_the_shortest_spans_join_those_before_them() -> None:
    spans = timeline(0.75, 0.75, 0.25, 1.0, 1.0).leading_spans(max_spans=2)
    assert [(span.genre, span.start, span.end) for span in spans] == [("jazz", 0.0, 6.0), ("jazz", 6.0, 10.0)]


def test_the_first_span_joins_the_second() -> None:
    spans = timeline(0.75, 0.25, 0.0, 1.0, 1.0).leading_spans(max_spans=2)
    assert [(span.genre, span.start, span.end) for span in spans] == [("rock", 0.0, 6.0), ("jazz", 6.0, 10.0)]


@pytest.mark.parametrize("most", [1, 3, 7, 50])
def test_spans_follow_each_other_without_gaps(most: int) -> None:
    course = timeline(*np.random.default_rng(0).random(40).tolist())
    spans = course.leading_spans(most)
    assert 1 <= len(spans) <= most
    assert spans[0].start == 0.0
    assert spans[-1].end == 80.0
    assert all(one.end == other.start for one, other in itertools.pairwise(spans))


def test_spans_of_overlapping_segments_may_end_where_the_next_begins() -> None:
    scores = np.float32([[0.75, 0.25], [0.25, 0.75]])
    overlapping = Timeline(("jazz", "rock"), np.array([0.0, 2.0]), np.array([4.0, 6.0]), scores)
    assert [(one.start, one.end) for one in overlapping.leading_spans()] == [(0.0, 4.0), (2.0, 6.0)]
    separate = overlapping.leading_spans(overlapping=False)
    assert [(one.start, one.end) for one in separate] == [(0.0, 2.0), (2.0, 6.0)]


def test_a_prediction_without_scores_is_refused() -> None:
    with pytest.raises(ValueError, match="without scores"):
        Prediction("a.mp3", {}, 30.0, "m")


def test_a_failed_file_is_a_row_with_the_error() -> None:
    row = FailedFile("b.wav", "audio_empty", "b.wav: empty", "copy it again").to_dict()
    error = {"code": "audio_empty", "message": "b.wav: empty", "hint": "copy it again"}
    assert row == {"path": "b.wav", "error": error}
