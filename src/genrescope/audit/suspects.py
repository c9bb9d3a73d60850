"""Findings about labels that are likely wrong, and what share of these suggestions to expect to be false."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from genrescope.audit.embeddings import track_vectors
from genrescope.audit.findings import DEFAULT_DROP_SCORE, Finding, finding_of
from genrescope.audit.groups import propose_groups
from genrescope.audit.label_errors import LabelErrors, find_label_errors, why_not_judged
from genrescope.audit.records import AuditTrack, TrackPair
from genrescope.labels import label_key
from genrescope.types import IntArray

# Less probable errors are not reported.
_MIN_PROBABILITY: Final = 0.2
_MAX_PROBABILITY: Final = 0.99


class LabelCheck(NamedTuple):
    """The result of looking for wrong labels.

    Attributes
    ----------
    findings : tuple of Finding
        One for each label that is likely wrong, and one that sums them up.
    note : str
        The sum, or why labels could not be checked.
    """

    findings: tuple[Finding, ...]
    note: str


def check_labels(
    tracks: Sequence[AuditTrack],
    pairs: Iterable[TrackPair] = (),
    root: Path | None = None,
    all_labels: Mapping[str, Sequence[str]] | None = None,
) -> LabelCheck:
    """Find labels that are likely wrong.

    Parameters
    ----------
    tracks : sequence of AuditTrack
        With what workers found out, `genrescope.audit.create_embedding` among the extractors.
    pairs : iterable of TrackPair
        Copies: no track is judged by its own copies.
    root : Path, optional
        As of `genrescope.audit.propose_groups`, which names the groups that are kept together.
    all_labels : mapping of str to sequence of str, optional
        All genres of a track, where it has several: none of these is suggested.

    Returns
    -------
    LabelCheck
    """
    labeled = [track for track in tracks if track.label]
    vectors = track_vectors(labeled)
    classes, labels = _numbers([track.label for track in vectors.tracks])
    of_track = {one.track: one.group for one in propose_groups(tracks, pairs, root).assignments}
    _, groups = _numbers([of_track[track.id] for track in vectors.tracks])
    if reason := why_not_judged(labels, groups):
        return LabelCheck((), f"not checked for errors: {reason}")
    errors = find_label_errors(vectors.views, labels, groups)
    found = tuple(_suspects(vectors.tracks, classes, errors, all_labels or {}))
    summary = _summary(found, errors, len(labeled))
    return LabelCheck((*found, summary) if found else (), summary.message)


def _numbers(names: Sequence[str]) -> tuple[list[str], IntArray]:
    """Return the distinct names, sorted, and the place of each name among them."""
    distinct = sorted(set(names))
    places = {name: place for place, name in enumerate(distinct)}
    return distinct, np.array([places[name] for name in names], dtype=np.int64)


def _suspects(
    tracks: Sequence[AuditTrack],
    classes: Sequence[str],
    errors: LabelErrors,
    all_labels: Mapping[str, Sequence[str]],
) -> Iterator[Finding]:
    for place, track in enumerate(tracks):
        probability = min(_MAX_PROBABILITY, float(errors.probability[place]))
        suggested = classes[errors.suggested[place]]
        if probability < _MIN_PROBABILITY or _is_among(
            suggested, (track.label, *all_labels.get(track.id, ()))
        ):
            continue
        chances = np.exp(errors.log_probabilities[place])
        found = finding_of(
            "label_suspect",
            probability,
            f"labeled {track.label!r}, sounds like {suggested!r}: the label is wrong with a probability of"
            f" {100 * probability:.0f} %",
            given=track.label,
            suggested=suggested,
            probability=probability,
            given_probability=float(chances[classes.index(track.label)]),
            suggested_probability=float(chances[errors.suggested[place]]),
        )
        yield replace(found.for_track(track.id, str(track.path)), label=suggested)


def _is_among(suggested: str, labels: Iterable[str]) -> bool:
    return label_key(suggested) in {label_key(label) for label in labels}


def _summary(found: Sequence[Finding], errors: LabelErrors, labeled: int) -> Finding:
    judged = int(errors.judged.sum())
    sure = [one.score for one in found if one.score >= DEFAULT_DROP_SCORE]
    false = sum(1 - score for score in sure)
    share = f" ({100 * false / len(sure):.0f} %)" if sure else ""
    return finding_of(
        "label_noise",
        0.1 + errors.noise,
        f"of {judged} labels an estimated {100 * errors.noise:.1f} % are wrong, at most; {len(sure)} others"
        f" are suggested: expect {false:.1f} of these{share} to be false, more where hard tracks look like"
        " errors",
        noise_share=errors.noise,
        judged=judged,
        not_judged=labeled - judged,
        suggestions=len(sure),
        expected_false=float(false),
    )
