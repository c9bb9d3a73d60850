"""An audit of a library for its owner: copies, tags that disagree with the sound, broken files.

It needs no decoding: sizes, hashes, lengths, answers and fingerprints are those of the library's last scan.
With ``decode`` the files are examined as by `genrescope.audit.audit` as well.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import Final, NamedTuple, Protocol

from genrescope import tagging
from genrescope.audit import near_duplicates
from genrescope.audit.auditor import (
    AuditOptions,
    AuditProgress,
    AuditResult,
    Extensions,
    audit_collection,
    examine_files,
)
from genrescope.audit.collection import Collection
from genrescope.audit.copies import exact_findings, exact_pairs, pair_findings, why_better
from genrescope.audit.findings import Action, AuditReport, Finding, finding_of, ordered
from genrescope.audit.records import AuditTrack, FileFacts
from genrescope.audit.tag_genres import read_tags, tag_disagreement
from genrescope.audit.worker import failure_finding, flag_findings
from genrescope.errors import OUTCOMES, GenrescopeError, MissingDependencyError, WorkerError

# What is suggested to an owner, who trains nothing: files are repaired or looked at, and not left out.
_OWNER_ACTIONS: Final[Mapping[str, Action]] = {
    "unreadable": "repair",
    "empty": "repair",
    "not_analyzed": "check",
    "missing": "check",
    "too_short": "check",
    "silent": "check",
    "near_duplicate": "drop",
    "wrong_speed": "check",
    "other_version": "none",
}
# Members of a finding about many files, and up to how many there is one for each.
_LISTED = 200
_SINGLE = 50


class ScannedFile(Protocol):
    """What is read of a row of a library: `genrescope.LibraryEntry`, which this package may not import."""

    @property
    def path(self) -> str:
        """Absolute path."""

    @property
    def size(self) -> int:
        """Bytes, when it was scanned."""

    @property
    def mtime_ns(self) -> int:
        """Time of modification, when it was scanned."""

    @property
    def hash(self) -> str | None:
        """SHA-256 of its bytes."""

    @property
    def missing(self) -> bool:
        """Whether the last scan did not find it."""

    @property
    def codec(self) -> str | None:
        """As FFmpeg names it."""

    @property
    def sample_rate(self) -> int | None:
        """In Hz."""

    @property
    def channels(self) -> int | None:
        """Number of channels."""

    @property
    def seconds(self) -> float | None:
        """Length."""

    @property
    def genre(self) -> str | None:
        """The answer."""

    @property
    def score(self) -> float | None:
        """Its score."""

    @property
    def is_uncertain(self) -> bool:
        """Whether the answer is not to be relied on."""

    @property
    def is_music(self) -> bool:
        """Whether it is music."""

    @property
    def genre_set(self) -> Sequence[str]:
        """The genres that it may be of."""

    @property
    def scores(self) -> Mapping[str, float]:
        """Score by genre."""

    @property
    def styles(self) -> Mapping[str, float]:
        """Probability by style."""

    @property
    def flags(self) -> Sequence[str]:
        """What is special about the audio."""

    @property
    def album(self) -> str | None:
        """Of the tags."""

    @property
    def album_artist(self) -> str | None:
        """Of the tags."""

    @property
    def artist(self) -> str | None:
        """Of the tags."""

    @property
    def error(self) -> str | None:
        """Code of the error in place of an answer."""

    @property
    def message(self) -> str | None:
        """Text of the error."""

    @property
    def hint(self) -> str | None:
        """What to do about it."""


class _Answer(NamedTuple):
    """A sure answer of a model."""

    genre: str
    score: float
    scores: Mapping[str, float]
    possible: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """A file of the library, as far as it matters here; timelines would fill the memory."""

    track: AuditTrack
    state: str  # "same", "changed" since the scan, "gone", or "special": neither file nor folder
    failure: GenrescopeError | None
    flags: tuple[str, ...]
    answer: _Answer | None


def audit_library(
    files: Iterable[ScannedFile],
    database: Path,
    options: AuditOptions | None = None,
    *,
    decode: bool = False,
    decode_missing: bool = False,
    fingerprints: Mapping[str, bytes] | None = None,
    extensions: Extensions | None = None,
    on_progress: Callable[[AuditProgress], None] | None = None,
    on_tags: Callable[[int, int], None] | None = None,
) -> AuditResult:
    """Find copies, tags that disagree with the sound, and broken files among those of a library.

    Nothing is changed or deleted. Tags are read from the files; sound is decoded only with ``decode``.

    Parameters
    ----------
    files : iterable of ScannedFile
        Rows of the library, as `genrescope.Library.entries` yields them.
    database : Path
        The library's file: what the report is about.
    options : AuditOptions, optional
        Those on data sets have no meaning here.
    decode : bool
        Examine the sound of all files, too, which finds all copies in other codings, and faults of the sound.
    decode_missing : bool
        Decode those files that have no fingerprint, for one.
    fingerprints : mapping of str to bytes, optional
        What scans have kept, as `genrescope.Library.fingerprints` returns it, by which copies in other
        codings are found unless all files are decoded. Each is read several times, from two threads.
    extensions : Extensions, optional
        As of `genrescope.audit.audit`; only used where all files are decoded.
    on_progress : callable, optional
        Told of each file that is decoded.
    on_tags : callable, optional
        Told of how many of how many files the tags are read.

    Returns
    -------
    AuditResult
        The ids of tracks are paths below the folder that all files lie in.

    Raises
    ------
    WriteError
        ``write_failed``: the journal cannot be written.
    """
    options = options or AuditOptions()
    rows, root = _read_rows(files)
    found = [*_state_findings(rows)]
    settings = {"decoded": "all files" if decode else "no files"}
    try:
        tagging.require_mutagen()
        found += _tag_findings(rows, options.workers or os.cpu_count() or 1, on_tags)
    except MissingDependencyError as missing:
        settings["tags"] = f"not read: {missing.hint}"
    if not decode:
        for row in rows:
            if row.state == "same":
                found += [finding.for_track(row.track.id, str(row.track.path)) for finding in _stored(row)]
    tracks = tuple(row.track for row in rows)
    if decode:
        there = tuple(row.track for row in rows if row.state in ("same", "changed"))
        collection = Collection(there, tuple(found), None, root)
        everything = replace(options, kinds=())
        result = audit_collection(
            collection, database, everything, extensions=extensions, on_progress=on_progress
        )
        findings, pairs = result.report.findings, result.pairs
        examined = {track.id: track for track in result.collection.tracks}
        tracks = tuple(examined.get(track.id, track) for track in tracks)
    else:
        stored = {} if fingerprints is None else fingerprints
        # A file that has changed has no hash here, and so no fingerprint.
        lacking = [row.track for row in rows if _has_sound(row) and row.track.facts.sha256 not in stored]
        sound = sum(map(_has_sound, rows))
        settings["fingerprints"] = f"of {sound - len(lacking)} of {sound} files"
        if decode_missing:
            settings["decoded"] = "files without a fingerprint"
            tracks = _with_missing_fingerprints(tracks, lacking, database, options, on_progress)
        searched = tuple(near_duplicates.search_pairs(tracks, stored)) if options.near_duplicates else ()
        findings = (*found, *exact_findings(tracks), *pair_findings(searched, tracks))
        pairs = (*exact_pairs(tracks), *searched)
    owned = _for_owner(findings, {track.id: track for track in tracks})
    report = AuditReport(str(database), len(tracks), ordered(owned), settings)
    return AuditResult(report.only(options.kinds), Collection(tracks, tuple(found), None, root), pairs)


def _has_sound(row: _Row) -> bool:
    return row.state == "same" and row.failure is None


def _with_missing_fingerprints(
    tracks: Sequence[AuditTrack],
    lacking: Sequence[AuditTrack],
    database: Path,
    options: AuditOptions,
    on_progress: Callable[[AuditProgress], None] | None,
) -> tuple[AuditTrack, ...]:
    """Return the tracks with the fingerprints that they lack, for which their files are decoded."""
    only = Extensions().with_near_duplicates()
    examined = examine_files(lacking, database, options, only, on_progress)
    return tuple(
        track.with_facts(replace(track.facts, extra=examined[track.id].facts.extra))
        if track.id in examined
        else track
        for track in tracks
    )


def _read_rows(files: Iterable[ScannedFile]) -> tuple[list[_Row], Path]:
    rows = [_row(file) for file in files]
    try:
        root = os.path.commonpath([row.track.path.parent for row in rows]) if rows else ""
    except ValueError:  # Windows: several drives
        root = ""
    named = [
        replace(row, track=replace(row.track, id=_name(row.track.path, root), group=str(row.track.path)))
        for row in rows
    ]
    return named, Path(root)


def _name(path: Path, root: str) -> str:
    return path.relative_to(root).as_posix() if root and path.is_relative_to(root) else str(path)


def _row(file: ScannedFile) -> _Row:
    path = Path(file.path)
    state = _state(path, file)
    same = state == "same"
    facts = FileFacts(
        size=file.size if same else 0,
        sha256=(file.hash or "") if same else "",
        seconds=file.seconds or 0.0,
        sample_rate=file.sample_rate or 0,
        channels=file.channels or 0,
        codec=file.codec or "",
        truncated="truncated" in file.flags,
        album=file.album or "",
        album_artist=file.album_artist or "",
        artist=file.artist or "",
    )
    failure = None
    if file.error is not None:
        code = file.error if file.error in OUTCOMES else "audio_unreadable"
        failure = GenrescopeError(code, file.message or f"{file.path}: {file.error}", file.hint or "")
    answer = None
    if file.genre is not None and file.score is not None and not file.is_uncertain and file.is_music:
        answer = _Answer(file.genre, file.score, dict(file.scores), (*file.genre_set, *file.styles))
    return _Row(AuditTrack(file.path, path, facts=facts), state, failure, tuple(file.flags), answer)


def _state(path: Path, file: ScannedFile) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return "gone"
    if not S_ISREG(status.st_mode):
        return "special"
    # -1: a damaged row.
    known = (file.size, file.mtime_ns)
    return "same" if known == (status.st_size, status.st_mtime_ns) or file.size < 0 else "changed"


def _stored(row: _Row) -> Iterator[Finding]:
    """Yield what the scan met in a file."""
    yield from flag_findings(row.flags, row.track.facts.seconds)
    if row.failure is None:
        return
    if row.failure.code == "library_corrupt":
        yield finding_of("dataset_issue", 0.5, row.failure.message, code=row.failure.code)
    else:
        yield failure_finding(row.failure)


def _state_findings(rows: Sequence[_Row]) -> Iterator[Finding]:
    """Yield files that are gone, that are no files, and, in one finding, those that were changed."""
    for row in rows:
        if row.state == "special":
            path = str(row.track.path)
            yield finding_of("unreadable", 1.0, f"{path}: it is a file no more").for_track(row.track.id, path)
    gone = [row.track for row in rows if row.state == "gone"]
    if len(gone) > _SINGLE:  # as on a disk that is not connected
        yield _about_many("missing", 1.0, "of the library are not there", gone)
    else:
        for track in gone:
            message = f"{track.path}: the library has it, but it is not there"
            yield finding_of("missing", 1.0, message).for_track(track.id, str(track.path))
    if changed := [row.track for row in rows if row.state == "changed"]:
        what = "changed since the scan, whose results were not used; 'library scan' reads them again"
        yield _about_many("dataset_issue", 0.3, what, changed)


def _about_many(kind: str, score: float, what: str, tracks: Sequence[AuditTrack]) -> Finding:
    files = "file" if len(tracks) == 1 else "files"
    return replace(
        finding_of(kind, score, f"{len(tracks)} {files} {what}", files=len(tracks)),
        tracks=tuple(track.id for track in tracks[:_LISTED]),
        paths=tuple(str(track.path) for track in tracks[:_LISTED]),
    )


def _tag_findings(
    rows: Sequence[_Row], workers: int, on_tags: Callable[[int, int], None] | None
) -> Iterator[Finding]:
    answered = {str(row.track.path): row for row in rows if row.answer is not None and row.state == "same"}
    found: dict[str, Finding] = {}
    lost: list[tuple[AuditTrack, str]] = []
    read = read_tags(list(answered), min(workers, len(answered)))
    for done, (path, tags) in enumerate(read, 1):
        if on_tags is not None:
            on_tags(done, len(answered))
        row = answered[path]
        assert row.answer is not None  # chosen so above
        if isinstance(tags, GenrescopeError):
            # Files whose tags are damaged, or that cannot have any, are no news.
            if isinstance(tags, WorkerError):
                lost.append((row.track, tags.message))
            continue
        finding = tag_disagreement(tags, *row.answer)
        if finding is not None:
            found[path] = finding.for_track(row.track.id, path)
    # In the order of the rows, whichever worker was first.
    yield from (found[path] for path in answered if path in found)
    if lost:
        what = f"have tags that could not be read: {lost[0][1]}"
        yield _about_many("not_analyzed", 0.4, what, [track for track, _ in lost])


def _for_owner(findings: Iterable[Finding], tracks: Mapping[str, AuditTrack]) -> Iterator[Finding]:
    for finding in findings:
        action = _OWNER_ACTIONS.get(finding.kind, finding.action)
        changed = replace(finding, action=action, drop=finding.drop if action == "drop" else ())
        keep = str(finding.evidence.get("keep", ""))
        if finding.section == "duplicate" and keep in tracks:
            changed = _better(changed, tracks[keep], [tracks[track] for track in finding.tracks])
        yield changed


def _better(finding: Finding, best: AuditTrack, members: Sequence[AuditTrack]) -> Finding:
    """Say why one copy is the better one; names of one file (links) are no copies."""
    identity = _identity(best.path)
    links = {track.id for track in members if track is not best and _identity(track.path) == identity}
    drop = tuple(track for track in finding.drop if track not in links)
    others = [track for track in members if track is not best and track.id not in links]
    if not others:
        message = f"{len(members)} names of one file (links), which take its space once: {best.id}, ..."
        return replace(finding, message=message, action="none", score=0.1, drop=(), evidence={})
    reason = why_better(best, others)
    sizes = Counter({track.id: track.facts.size for track in others})
    evidence = {**finding.evidence, "other_megabytes": round(sizes.total() / 1e6, 1)}
    if reason:
        evidence["keep_because"] = reason
    message = f"{finding.message}; better: {best.id}{', ' * bool(reason)}{reason}"
    return replace(finding, message=message, drop=drop, evidence=evidence)


def _identity(path: Path) -> tuple[int, int] | Path:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return path
    return (status.st_dev, status.st_ino) if status.st_ino else path
