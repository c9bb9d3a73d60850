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


def prediction(*scores: float, **facts: float) -> Prediction:
    genres = ("rock", "metal", "pop", "blues")
    return Prediction(
        "a.mp3", dict(zip(genres, scores, strict=True)), 9.0, "m", threshold=0.8, set_level=0.84, **facts
    )


def test_the_set_is_one_genre_where_the_model_is_sure() -> None:
    sure = prediction(0.81, 0.1, 0.05, 0.04)
    assert (sure.genre_set, sure.answer, sure.is_uncertain) == (("rock",), "rock", False)


def test_the_set_of_an_uncertain_answer_reaches_the_level() -> None:
    assert prediction(0.5, 0.3, 0.15, 0.05).genre_set == ("rock", "metal", "pop")
    assert prediction(0.5, 0.35, 0.1, 0.05).genre_set == ("rock", "metal")
    # Scores that do not quite reach the level for want of precision.
    assert prediction(0.25, 0.25, 0.25, 0.089).genre_set == ("rock", "metal", "pop", "blues")
    assert prediction(0.5, 0.3, 0.15, 0.05).answer is None


def test_what_is_not_music_has_no_answer() -> None:
    speech = prediction(0.9, 0.05, 0.03, 0.02, music=0.2, music_threshold=0.7)
    assert (speech.is_music, speech.is_uncertain, speech.answer, speech.genre_set) == (False, True, None, ())
    assert speech.to_dict()["not_music"] is True
    assert prediction(0.9, 0.05, 0.03, 0.02, music=0.7, music_threshold=0.7).is_music


def test_a_model_that_does_not_tell_takes_all_for_music() -> None:
    plain = Prediction("a.mp3", {"rock": 0.9}, 9.0, "m")
    row = plain.to_dict()
    assert (row["music"], row["not_music"], row["set"], row["answer"]) == (None, False, [], "rock")


def test_a_sure_style_is_the_answer_where_the_genre_is_sure() -> None:
    sure = Prediction("a.mp3", {"rock": 0.9}, 9.0, "m", threshold=0.8, style="hard rock")
    unsure = Prediction("a.mp3", {"rock": 0.7}, 9.0, "m", threshold=0.8, style="hard rock")
    assert (sure.answer, unsure.answer) == ("hard rock", None)


def test_the_labels_of_a_multi_label_model_are_its_set() -> None:
    scores = {"rock": 0.9, "pop": 0.8, "blues": 0.4}
    both = Prediction("a.mp3", scores, 9.0, "m", threshold=0.95, labels=("pop", "blues"))
    assert (both.genre_set, both.answer, both.is_uncertain) == (("pop", "blues"), "pop", False)
    row = both.to_dict()
    assert (row["genre"], row["set"], row["unsure"]) == ("rock", ["pop", "blues"], False)
    none = Prediction("a.mp3", scores, 9.0, "m", labels=())
    assert (none.genre_set, none.answer, none.is_uncertain) == ((), None, True)
    speech = Prediction("a.mp3", scores, 9.0, "m", labels=("rock",), music=0.1, music_threshold=0.5)
    assert (speech.genre_set, speech.answer, speech.is_uncertain) == ((), None, True)
