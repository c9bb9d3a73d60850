"""Findings about labels: spellings of one label, and how many tracks each label has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from genrescope.audit.findings import Finding, finding_of
from genrescope.audit.records import AuditTrack
from genrescope.labels import label_key

# Shorter words differ by one letter too easily: rap and rai, punk and funk.
_MIN_LETTERS = 6
_IMBALANCE = 5.0
_FEW_TRACKS = 10
_NAMED = 8


def label_findings(tracks: Sequence[AuditTrack]) -> Iterator[Finding]:
    """Yield what is odd about the labels of a data set.

    Parameters
    ----------
    tracks : sequence of AuditTrack
        Those without a label are left out.
    """
    counts = Counter(track.label for track in tracks if track.label)
    if counts:
        yield from _spellings(tracks, counts)
        yield from _imbalance(counts)


def _spellings(tracks: Sequence[AuditTrack], counts: Counter[str]) -> Iterator[Finding]:
    for first, second in combinations(sorted(counts), 2):
        same = label_key(first) == label_key(second)
        if not same and not _is_near(label_key(first), label_key(second)):
            continue
        rare, common = sorted((first, second), key=lambda label: (counts[label], label))
        concerned = [track for track in tracks if track.label == rare]
        how = "differ in case, spaces and punctuation only" if same else "differ by one letter"
        found = finding_of(
            "label_spelling",
            0.9 if same else 0.4,
            f"{rare!r} ({counts[rare]} tracks) and {common!r} ({counts[common]}) {how}",
            rare=rare,
            common=common,
            rare_tracks=counts[rare],
            common_tracks=counts[common],
        )
        yield replace(
            found,
            label=common,
            tracks=tuple(track.id for track in concerned),
            paths=tuple(str(track.path) for track in concerned),
        )


def _is_near(first: str, second: str) -> bool:
    """Return whether two words differ by one letter: another, one more, or two that are swapped."""
    if min(len(first), len(second)) < _MIN_LETTERS or abs(len(first) - len(second)) > 1:
        return False
    start = next(
        (place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other),
        min(len(first), len(second)),
    )
    one, other = first[start:], second[start:]
    # Numbers count things: "class 1" and "class 2" are two labels.
    if any(letter.isdigit() for letter in one[:1] + other[:1]):
        return False
    return (
        one[1:] in (other, other[1:])
        or other[1:] == one
        or (len(one) == len(other) and one[1::-1] == other[:2] and one[2:] == other[2:])
    )


def _imbalance(counts: Counter[str]) -> Iterator[Finding]:
    ranked = counts.most_common()
    (largest, most), (smallest, fewest) = ranked[0], ranked[-1]
    ratio = most / fewest
    if len(ranked) > 1 and ratio >= _IMBALANCE:
        few = [f"{label} ({count})" for label, count in reversed(ranked) if count * _IMBALANCE <= most]
        more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
        yield finding_of(
            "class_imbalance",
            0.2 + 0.1 * ratio / _IMBALANCE + (0.2 if fewest < _FEW_TRACKS else 0.0),
            f"{largest!r} has {most} tracks, {ratio:.0f} times as many as {smallest!r}; rare labels:"
            f" {', '.join(few[:_NAMED])}{more}",
            largest=largest,
            largest_tracks=most,
            smallest=smallest,
            smallest_tracks=fewest,
            ratio=ratio,
        )
