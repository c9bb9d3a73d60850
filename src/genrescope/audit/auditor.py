"""An audit: every file examined by a worker process, then the tracks compared with each other.

::

    collection --> files --> workers (one decoding each) --> journal --> facts and findings of each file
                                                                                |
              copies, labels, split, further searches  <------------------------+

A file that crashes its worker, takes too long or too much memory is a finding, as is every error. Only facts
and findings stay in memory, some kilobytes a track.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from genrescope.audit import worker
from genrescope.audit.collection import Collection, read_collection
from genrescope.audit.copies import exact_findings, exact_pairs, pair_findings
from genrescope.audit.findings import KINDS, AuditReport, Finding, ordered
from genrescope.audit.groups import GroupReport, propose_groups
from genrescope.audit.journal import Journal
from genrescope.audit.labels import label_findings
from genrescope.audit.leaks import ProtocolOptions, split_findings
from genrescope.audit.records import AuditTrack, FileFacts, FileResult, TrackPair
from genrescope.audit.worker import ExtractorFactory, SpectrogramExtractor, address_of, failure_finding
from genrescope.errors import ConfigError, GenrescopeError, WriteError
from genrescope.utils import cache_folder, did_you_mean, sha256_text
from genrescope.workers import WorkerSpec, run_jobs

if TYPE_CHECKING:
    from genrescope.audit.suspects import LabelCheck

_TIMEOUT_SECONDS = 1800.0
_MEMORY_LIMIT_MB = 1500
# Failures that may pass without the file changing are tried again by the next audit.
_PASSING = frozenset({"worker_failed", "audio_read_failed", "audio_permission_denied"})

PairSearch = Callable[[Sequence[AuditTrack]], Iterable[TrackPair]]
TrackCheck = Callable[[Sequence[AuditTrack]], Iterable[Finding]]


@dataclass(frozen=True)
class AuditOptions:
    """How to audit.

    Attributes
    ----------
    kinds : tuple of str
        The kinds of findings that are reported; empty: all.
    split : ProtocolOptions
        The split that is examined.
    unlabeled : bool
        Take folders as folders, not as genres.
    input, layout : str
        As ``kind`` and ``layout`` of `genrescope.datasets.load_dataset`.
    workers : int or None
        Processes; None: one for each core.
    timeout : float
        Seconds that one file may take.
    check_labels : bool
        Look for labels that are likely wrong. Files are then embedded by the default model while they are
        decoded.
    memory_limit_mb : int
        Megabytes that one file may take, beyond what a worker takes when idle.
    journal : Path or None
        Where the results of files are kept for the next audit; None: in the user's cache folder.
    near_duplicates : bool
        Compute fingerprints, and search for recordings that are the same sound in another file.
    """

    kinds: tuple[str, ...] = ()
    split: ProtocolOptions = field(default_factory=ProtocolOptions)
    unlabeled: bool = False
    check_labels: bool = False
    input: str = "auto"
    layout: str = "auto"
    workers: int | None = None
    timeout: float = _TIMEOUT_SECONDS
    memory_limit_mb: int = _MEMORY_LIMIT_MB
    journal: Path | None = None
    near_duplicates: bool = True

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise ConfigError(
                    "invalid_argument", f"no kind of finding is named {kind!r}", did_you_mean(kind, KINDS)
                )


@dataclass(frozen=True)
class Extensions:
    """What other modules add to an audit.

    Attributes
    ----------
    extractors : mapping of str to callable
        Computed from the sound of each file in the workers; the results are in ``FileFacts.extra`` by name.
    spectrogram_extractors : mapping of str to callable
        The same from the path of a stored spectrogram.
    pair_searches : tuple of callable
        From all tracks to pairs of copies, such as a search for near-duplicates among fingerprints. Pairs
        become findings, join groups, and count as recordings on both sides of a split.
    checks : tuple of callable
        From all tracks to findings, such as a ranking of labels that are likely wrong.
    """

    extractors: Mapping[str, ExtractorFactory] = field(default_factory=dict)
    spectrogram_extractors: Mapping[str, SpectrogramExtractor] = field(default_factory=dict)
    pair_searches: tuple[PairSearch, ...] = ()
    checks: tuple[TrackCheck, ...] = ()

    def with_near_duplicates(self) -> Extensions:
        """Return these extensions with fingerprints and the search for near-duplicates."""
        from genrescope.audit import near_duplicates as parts

        return Extensions(
            {parts.FINGERPRINT: parts.FingerprintExtractor, **self.extractors},
            {parts.FINGERPRINT: parts.extract_spectrogram, **self.spectrogram_extractors},
            (parts.search_pairs, *self.pair_searches),
            self.checks,
        )


class AuditProgress(NamedTuple):
    """How far an audit is.

    Attributes
    ----------
    done, total : int
        Files.
    reused : int
        Of the files done, those that the journal knew.
    findings : int
        So far.
    """

    done: int
    total: int
    reused: int
    findings: int


class AuditResult(NamedTuple):
    """The result of an audit.

    Attributes
    ----------
    report : AuditReport
    collection : Collection
        The tracks, with what is known of their files.
    pairs : tuple of TrackPair
        All copies that were found.
    """

    report: AuditReport
    collection: Collection
    pairs: tuple[TrackPair, ...]

    def groups(self) -> GroupReport:
        """Propose a group for each track, see `genrescope.audit.propose_groups`."""
        return propose_groups(self.collection.tracks, self.pairs, self.collection.root)


def audit(
    data: Path,
    options: AuditOptions | None = None,
    *,
    extensions: Extensions | None = None,
    on_progress: Callable[[AuditProgress], None] | None = None,
) -> AuditResult:
    """Find what is wrong with a data set, or with a folder of music. Nothing is changed.

    An audit that was interrupted is resumed: files that have not changed are not decoded again.

    Parameters
    ----------
    data : Path
        As of `genrescope.audit.read_collection`.
    options : AuditOptions, optional
    extensions : Extensions, optional
        Further measurements, searches and checks.
    on_progress : callable, optional
        Told of each file that is done.

    Returns
    -------
    AuditResult

    Raises
    ------
    DataError
        ``dataset_not_found``: nothing is there.
    ConfigError
        ``invalid_argument``: no such kind, layout or protocol.
    WriteError
        ``write_failed``: the journal cannot be written.
    """
    options = options or AuditOptions()
    collection = read_collection(data, unlabeled=options.unlabeled, kind=options.input, layout=options.layout)
    return audit_collection(collection, data, options, extensions=extensions, on_progress=on_progress)


def audit_collection(
    collection: Collection,
    data: Path,
    options: AuditOptions,
    *,
    extensions: Extensions | None = None,
    on_progress: Callable[[AuditProgress], None] | None = None,
) -> AuditResult:
    """Find what is wrong with tracks that are known already; see `audit`.

    Parameters
    ----------
    collection : Collection
        Its findings are among those of the result.
    data : Path
        What the report is about; the journal is named after it.
    options : AuditOptions
    extensions : Extensions, optional
    on_progress : callable, optional

    Returns
    -------
    AuditResult

    Raises
    ------
    ConfigError, WriteError
        As of `audit`.
    """
    extensions = extensions or Extensions()
    if options.near_duplicates:
        extensions = extensions.with_near_duplicates()
    checks_labels = options.check_labels and collection.dataset is not None
    if checks_labels:
        extensions = _with_embedding(extensions)
    examined = examine_files(collection.tracks, data, options, extensions, on_progress)
    tracks = tuple(
        track.with_facts(examined[track.id].facts) if track.id in examined else track
        for track in collection.tracks
    )
    collection = Collection(tracks, collection.findings, collection.dataset, collection.root)
    searched = tuple(pair for search in extensions.pair_searches for pair in search(tracks))
    pairs = (*exact_pairs(tracks), *searched)
    findings = [*collection.findings]
    for track in tracks:
        if track.id in examined:
            findings += [one.for_track(track.id, str(track.path)) for one in examined[track.id].findings]
    findings += [*exact_findings(tracks), *pair_findings(searched, tracks), *label_findings(tracks)]
    if collection.dataset is not None:
        findings += split_findings(collection.dataset, tracks, pairs, options.split)
    settings = _settings(options, collection)
    if checks_labels:
        checked = _check_labels(collection, pairs)
        findings += checked.findings
        settings["label_check"] = checked.note
    for check in extensions.checks:
        findings += check(tracks)
    report = AuditReport(str(data), len(tracks), ordered(findings), settings)
    return AuditResult(report.only(options.kinds), collection, pairs)


def examine_files(
    tracks: Sequence[AuditTrack],
    data: Path,
    options: AuditOptions,
    extensions: Extensions,
    on_progress: Callable[[AuditProgress], None] | None = None,
) -> dict[str, FileResult]:
    """Have the files of tracks examined by worker processes, except those that the journal knows.

    Parameters
    ----------
    tracks : sequence of AuditTrack
    data : Path
        The journal is named after it.
    options : AuditOptions
    extensions : Extensions
        Whose extractors are used.
    on_progress : callable, optional

    Returns
    -------
    dict of str to FileResult
        Of each track that has a file of its own, by id.
    """
    return _FileExaminer(options, extensions, on_progress).run(tracks, data)


def _with_embedding(extensions: Extensions) -> Extensions:
    # Not imported above: audits without it need neither onnxruntime nor scipy.
    from genrescope.audit.embeddings import EXTRACTOR, create_embedding

    return replace(extensions, extractors={**extensions.extractors, EXTRACTOR: create_embedding})


def _check_labels(collection: Collection, pairs: Sequence[TrackPair]) -> LabelCheck:
    from genrescope.audit.suspects import check_labels

    all_labels = collection.dataset.all_labels if collection.dataset is not None else {}
    return check_labels(collection.tracks, pairs, collection.root, all_labels)


def _settings(options: AuditOptions, collection: Collection) -> dict[str, str]:
    if collection.dataset is None:
        return {"labels": "none"}
    split = options.split
    return {
        "protocol": split.name(collection.dataset),
        "seed": str(split.seed),
        "folds": str(split.folds),
        "fold": str(split.fold),
    }


def _open_journal(data: Path, options: AuditOptions, settings: Mapping[str, str]) -> Journal:
    if options.journal is not None:
        return Journal(options.journal, settings)
    name = sha256_text(os.fsencode(data.resolve()).hex())[:16]
    try:
        return Journal(cache_folder("audit") / f"{name}.jsonl", settings)
    except WriteError:  # of a cache that nobody asked for: the audit is possible, but cannot be resumed
        return Journal(None, settings)


class _FileExaminer:
    """Has the files of tracks examined by worker processes, except those that a journal knows."""

    def __init__(
        self,
        options: AuditOptions,
        extensions: Extensions,
        on_progress: Callable[[AuditProgress], None] | None,
    ) -> None:
        self._options = options
        self._addresses = {name: address_of(create) for name, create in extensions.extractors.items()}
        of_spectrograms = extensions.spectrogram_extractors
        self._spectrogram_addresses = {name: address_of(one) for name, one in of_spectrograms.items()}
        self._on_progress = on_progress
        self._results: dict[str, FileResult] = {}
        self._total = self._reused = self._found = 0

    def run(self, tracks: Sequence[AuditTrack], data: Path) -> dict[str, FileResult]:
        """Return the result of each track that has a file of its own, by id."""
        # The rows of a table have no files.
        files = [track for track in tracks if track.kind != "table"]
        self._total = len(files)
        settings = self._addresses | {
            f"{name} of spectrograms": address for name, address in self._spectrogram_addresses.items()
        }
        with _open_journal(data, self._options, settings) as journal:
            self._examine(list(self._look_up(files, journal)), journal)
        return self._results

    def _look_up(
        self, files: Sequence[AuditTrack], journal: Journal
    ) -> Iterator[tuple[AuditTrack, tuple[int, int]]]:
        for track in files:
            identity = _identity(track.path)
            known = journal.find(str(track.path), *identity)
            if known is None:
                yield track, identity
            else:
                self._reused += 1
                self._keep(track, known)

    def _examine(self, files: Sequence[tuple[AuditTrack, tuple[int, int]]], journal: Journal) -> None:
        options = self._options
        spec = WorkerSpec(
            worker.create_handler,
            {"extractors": self._addresses, "spectrogram_extractors": self._spectrogram_addresses},
            timeout=options.timeout,
            memory_limit_mb=options.memory_limit_mb,
        )
        jobs = (
            ((track, identity), {"path": str(track.path), "kind": track.kind}) for track, identity in files
        )
        workers = min(options.workers or os.cpu_count() or 1, len(files))
        for (track, identity), answer in run_jobs(spec, jobs, workers):
            if isinstance(answer, GenrescopeError):  # of the worker, which does not know the path by then
                named = GenrescopeError(answer.code, f"{track.path}: {answer.message}", answer.hint)
                result = FileResult(FileFacts(), (failure_finding(named),))
            else:
                result = FileResult.from_dict(answer)
            codes = {str(finding.evidence.get("code", "")) for finding in result.findings}
            if not codes & _PASSING:
                journal.add(str(track.path), *identity, result)
            self._keep(track, result)

    def _keep(self, track: AuditTrack, result: FileResult) -> None:
        self._results[track.id] = result
        self._found += len(result.findings)
        if self._on_progress is not None:
            self._on_progress(AuditProgress(len(self._results), self._total, self._reused, self._found))


def _identity(path: Path) -> tuple[int, int]:
    """Return size and time of modification of a file; -1 where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return -1, -1
    return status.st_size, status.st_mtime_ns
