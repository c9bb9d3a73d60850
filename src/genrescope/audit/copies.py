"""Files that are copies to the byte, or to the sample; and findings for pairs that other searches give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from genrescope.audit.findings import KINDS, Finding, Span, finding_of
from genrescope.audit.records import AuditTrack, TrackPair
from genrescope.audit.signal_findings import is_lossless
from genrescope.labels import label_key

# A copy that is shorter than this share of another is a part of it; less is silence at the ends.
_AS_LONG = 0.95


# What is alike need not reach to the ends of a copy: silence, fades and noise hold no peaks.
_COVERED = 0.7


def exact_sets(tracks: Sequence[AuditTrack]) -> Iterator[tuple[str, list[AuditTrack]]]:
    """Yield the sets of copies: ``byte_identical`` ones, then ``same_samples`` where bytes differ.

    Parameters
    ----------
    tracks : sequence of AuditTrack
        With what workers found out.

    Yields
    ------
    kind : str
    members : list of AuditTrack
        At least two, in their order. Of ``same_samples``, one of each set of byte-identical files.
    """
    # Rows of a table share one file, and are no copies.
    files = [track for track in tracks if track.kind != "table"]
    first_of: dict[str, AuditTrack] = {}
    for members in _alike(files, lambda track: track.facts.sha256 if track.facts.size else ""):
        first_of.update({member.id: members[0] for member in members})
        yield "byte_identical", members
    distinct = [track for track in files if first_of.get(track.id, track) is track]
    for members in _alike(distinct, lambda track: track.facts.sample_hash):
        yield "same_samples", members


def _alike(tracks: Iterable[AuditTrack], key: Callable[[AuditTrack], str]) -> Iterator[list[AuditTrack]]:
    sets: defaultdict[str, list[AuditTrack]] = defaultdict(list)
    for track in tracks:
        if found := key(track):
            sets[found].append(track)
    return (members for members in sets.values() if len(members) > 1)


def exact_pairs(tracks: Sequence[AuditTrack]) -> Iterator[TrackPair]:
    """Yield the pairs of copies; of more than two, each with the first.

    Parameters
    ----------
    tracks : sequence of AuditTrack
    """
    for kind, members in exact_sets(tracks):
        for member in members[1:]:
            yield TrackPair(members[0].id, member.id, kind)


def exact_findings(tracks: Sequence[AuditTrack]) -> Iterator[Finding]:
    """Yield a finding for each set of copies, and another where their labels differ.

    Parameters
    ----------
    tracks : sequence of AuditTrack
    """
    for kind, members in exact_sets(tracks):
        best = better_copy(members)
        words = "the same bytes" if kind == "byte_identical" else "the same samples"
        shown = ", ".join(member.id for member in members[:5]) + (" ..." if len(members) > 5 else "")
        found = finding_of(
            kind,
            0.9,
            f"{len(members)} files have {words}: {shown}",
            copies=len(members),
            keep=best.id,
            seconds=best.facts.seconds,
        )
        drop = tuple(member.id for member in members if member is not best)
        yield replace(_concerning(found, members), drop=drop)
        yield from _conflict(members)


def better_copy(members: Sequence[AuditTrack]) -> AuditTrack:
    """Return the copy to keep.

    The file itself before symbolic links to it; whole before truncated; about as long as the longest one
    before shorter ones; lossless; of the higher bit rate; the first.

    Parameters
    ----------
    members : sequence of AuditTrack
    """
    longest = max(member.facts.seconds for member in members)

    def quality(track: AuditTrack) -> tuple[bool, bool, bool, bool, float]:
        facts = track.facts
        return (
            not track.path.is_symlink(),
            not facts.truncated,
            facts.seconds >= _AS_LONG * longest,
            is_lossless(facts.codec),
            round(facts.bit_rate, -3),
        )

    return max(members, key=quality)


def why_better(best: AuditTrack, others: Sequence[AuditTrack]) -> str:
    """Return in a few words what `better_copy` chose a copy for; empty where all are as good.

    Parameters
    ----------
    best : AuditTrack
    others : sequence of AuditTrack
    """
    facts = [track.facts for track in others]
    if not best.facts.truncated and any(one.truncated for one in facts):
        return "it is whole"
    if any(one.seconds < _AS_LONG * best.facts.seconds for one in facts):
        return f"it is longer, {best.facts.seconds:.0f} s"
    if is_lossless(best.facts.codec) and not all(is_lossless(one.codec) for one in facts):
        return f"it is lossless ({best.facts.codec})"
    if any(round(one.bit_rate, -3) < round(best.facts.bit_rate, -3) for one in facts):
        return f"its bit rate is higher, {best.facts.bit_rate / 1000:.0f} kbit/s"
    return ""


def pair_findings(pairs: Iterable[TrackPair], tracks: Sequence[AuditTrack]) -> Iterator[Finding]:
    """Yield a finding for each pair of a search for near-duplicates, and another where the labels differ.

    Parameters
    ----------
    pairs : iterable of TrackPair
        Ids that are not among the tracks are left out.
    tracks : sequence of AuditTrack
    """
    by_id = {track.id: track for track in tracks}
    for pair in pairs:
        if pair.first not in by_id or pair.second not in by_id:
            continue
        members = [by_id[pair.first], by_id[pair.second]]
        message = pair.message or f"{pair.first} and {pair.second}: {KINDS[pair.kind].description}"
        best = better_copy(members)
        evidence = {**pair.evidence, "keep": best.id}
        spans = tuple(Span(*span, track=track.id) for span, track in zip(pair.spans, members, strict=False))
        found = replace(finding_of(pair.kind, pair.score, message, **evidence), spans=spans)
        found = _concerning(found, members)
        # Another version is music in its own right.
        if pair.kind != "other_version":
            found = replace(
                found, drop=tuple(one.id for one in _dispensable(pair, members) if one is not best)
            )
            yield from _conflict(members, score=pair.score)
        yield found


def _dispensable(pair: TrackPair, members: Sequence[AuditTrack]) -> Iterator[AuditTrack]:
    """Yield those of two tracks of which nothing is lost while the other is kept.

    Excerpts of one recording that overlap by a part are kept both, in one group.
    """
    if not pair.spans:
        yield from members
        return
    for (start, end), member in zip(pair.spans, members, strict=True):
        if end - start >= _COVERED * member.facts.seconds:
            yield member


def _conflict(members: Sequence[AuditTrack], *, score: float = 1.0) -> Iterator[Finding]:
    labels = sorted({member.label for member in members if member.label})
    if len({label_key(label) for label in labels}) < 2:
        return
    pairs = ", ".join(f"{member.id} is {member.label!r}" for member in members[:5])
    found = finding_of("label_conflict", 0.9 * score, f"one recording under {len(labels)} labels: {pairs}")
    found = _concerning(replace(found, evidence={"labels": "; ".join(labels)}), members)
    # Which label is right cannot be told from the files.
    yield replace(found, drop=found.tracks)


def _concerning(finding: Finding, members: Sequence[AuditTrack]) -> Finding:
    return replace(
        finding,
        tracks=tuple(member.id for member in members),
        paths=tuple(str(member.path) for member in members),
    )
