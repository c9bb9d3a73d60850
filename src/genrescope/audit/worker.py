"""The part of an audit that runs in worker processes: everything about one file, from one decoding."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol, cast

from genrescope import audio, tagging
from genrescope.audio import AudioFile
from genrescope.audit.findings import Finding, finding_of
from genrescope.audit.records import FileFacts, FileResult
from genrescope.audit.signal import SignalMeter
from genrescope.audit.signal_findings import check_signal
from genrescope.errors import AudioError, GenrescopeError
from genrescope.types import AudioInfo, FloatArray
from genrescope.utils import sha256_file

Job = dict[str, Any]

# The kind of finding for an error of a file. Those that are not listed: `unreadable`.
_ERROR_KINDS: Final = {
    "audio_missing": "missing",
    "audio_empty": "empty",
    "audio_no_samples": "empty",
    "audio_too_short": "too_short",
    "audio_silent": "silent",
    "audio_not_finite": "spikes",
    "audio_out_of_range": "spikes",
    "worker_crashed": "not_analyzed",
    "worker_failed": "not_analyzed",
    "timeout": "not_analyzed",
    "memory_limit": "not_analyzed",
}
_FLAG_FINDINGS: Final = {
    "truncated": (0.7, "the file ends early: it holds less than it declares"),
    "header_mismatch": (0.3, "the file holds more sound than its header states; some players stop early"),
    "spikes_removed": (0.4, "single samples are of an impossible level; they were taken as zero"),
}


class Extractor(Protocol):
    """Something that is computed from the sound in the same pass, such as a fingerprint."""

    def add(self, mono: FloatArray) -> None:
        """Take the next samples.

        Parameters
        ----------
        mono : ndarray, shape (n,), float32
            At the file's own rate, mixed to mono.
        """
        ...

    def result(self) -> object:
        """Return what goes into `FileFacts.extra`, ready for JSON."""
        ...


# From the path of a file and what its header says to the extractor; a function at the top level of a module.
ExtractorFactory = Callable[[str, AudioInfo], Extractor]
# From the path of a stored spectrogram to what goes into `FileFacts.extra`.
SpectrogramExtractor = Callable[[str], object]


def address_of(factory: ExtractorFactory | SpectrogramExtractor) -> str:
    """Return ``module:name`` of a factory, by which workers import it.

    Parameters
    ----------
    factory : callable
        At the top level of a module.
    """
    return f"{factory.__module__}:{factory.__qualname__}"


def create_handler(
    extractors: Mapping[str, str], spectrogram_extractors: Mapping[str, str]
) -> Callable[[Job], Job]:
    """Return the function that does the jobs of a worker process.

    Parameters
    ----------
    extractors : mapping of str to str
        Names and addresses (`address_of`) of what is computed beside the audit's own measurements.
    spectrogram_extractors : mapping of str to str
        The same for stored spectrograms.

    Returns
    -------
    callable
        A job is ``{"path", "kind"}``, the answer a `FileResult` as a dictionary.
    """
    # Before the memory limit is set and the first job's time runs, see `genrescope.workers.process.run`.
    audio.import_decoders()
    tagging.import_readers()
    factories = {name: cast(ExtractorFactory, _import(one)) for name, one in extractors.items()}
    of_spectrograms = {
        name: cast(SpectrogramExtractor, _import(one)) for name, one in spectrogram_extractors.items()
    }

    def examine(job: Job) -> Job:
        path = str(job["path"])
        if job["kind"] == "audio":
            return examine_file(path, factories).to_dict()
        return examine_spectrogram(path, of_spectrograms).to_dict()

    return examine


def _import(address: str) -> object:
    module, _, name = address.partition(":")
    return getattr(importlib.import_module(module), name)


def examine_spectrogram(
    path: str, extractors: Mapping[str, SpectrogramExtractor] | None = None
) -> FileResult:
    """Hash a stored spectrogram, and compute what is wanted of it.

    Parameters
    ----------
    path : str
    extractors : mapping of str to callable, optional

    Returns
    -------
    FileResult
        Whatever is wrong with the file is a finding; nothing is raised for it.
    """
    facts = _file_facts(path)
    if facts.sha256 and facts.size:
        try:
            extra = {name: extract(path) for name, extract in (extractors or {}).items()}
        except GenrescopeError as failure:
            return FileResult(facts, (failure_finding(failure),))
        return FileResult(replace(facts, extra=extra))
    code = "empty" if facts.sha256 else ("unreadable" if Path(path).exists() else "missing")
    return FileResult(facts, (finding_of(code, 1.0, f"{path}: {code}"),))


def examine_file(path: str, extractors: Mapping[str, ExtractorFactory] | None = None) -> FileResult:
    """Examine an audio file: hash it, read its tags, decode it once, and measure its sound.

    Parameters
    ----------
    path : str
    extractors : mapping of str to callable, optional
        What else is computed from the sound.

    Returns
    -------
    FileResult
        Whatever is wrong with the file is a finding; nothing is raised for it.
    """
    facts = _file_facts(path)
    try:
        with AudioFile(path) as file:
            return _examine_sound(file, facts, extractors or {})
    except AudioError as failure:
        return FileResult(facts, (failure_finding(failure),))


def failure_finding(failure: GenrescopeError) -> Finding:
    """Return the finding for an error that reading a file has raised.

    Parameters
    ----------
    failure : GenrescopeError
        Of the file, or of the worker that read it.
    """
    kind = _ERROR_KINDS.get(failure.code, "unreadable")
    found = finding_of(kind, 1.0, failure.message, code=failure.code, hint=failure.hint)
    # The disk or the permissions may be to blame, and not the file.
    passing = failure.code in ("audio_read_failed", "audio_permission_denied", "worker_failed")
    return replace(found, action="check") if passing else found


def _file_facts(path: str) -> FileFacts:
    file = Path(path)
    # A pipe or a device is not opened: reading it could block for ever.
    with suppress(OSError, ValueError):
        if file.is_file():
            tags = tagging.read_album_tags(path) or tagging.AlbumTags()
            return FileFacts(
                size=file.stat().st_size,
                sha256=sha256_file(file),
                album=tags.album,
                album_artist=tags.album_artist,
                artist=tags.artist,
                genre=_genre(file),
            )
    return FileFacts()


def _genre(path: Path) -> str:
    try:
        return next(iter(tagging.read_genres(path)), "")
    except GenrescopeError:  # no tags, damaged ones, or no mutagen
        return ""


def _examine_sound(
    file: AudioFile, facts: FileFacts, extractors: Mapping[str, ExtractorFactory]
) -> FileResult:
    info = file.info
    meter = SignalMeter(info.sample_rate, info.channels, info.codec)
    running = {name: create(file.source, info) for name, create in extractors.items()}
    failure: AudioError | None = None
    with file.stream(observe=meter.add) as stream:
        try:
            for block in stream:
                for one in running.values():
                    one.add(block)
        except AudioError as error:
            failure = error
    stats = meter.result()
    whole = failure is None or failure.code in ("audio_silent", "audio_too_short")
    facts = replace(
        facts,
        sample_hash=stats.sample_hash if whole and stats.seconds else "",
        seconds=round(stats.seconds, 3),
        sample_rate=info.sample_rate,
        channels=info.channels,
        codec=info.codec,
        truncated="truncated" in stream.flags,
        extra={name: one.result() for name, one in running.items()} if failure is None else {},
    )
    findings = [*_flag_findings(stream.flags, info, stats.seconds), *check_signal(stats, info.codec)]
    if failure is not None and not _is_antiphase(failure, findings):
        findings.insert(0, failure_finding(failure))
    return FileResult(facts, tuple(findings))


def _is_antiphase(failure: AudioError, findings: Sequence[Finding]) -> bool:
    """Return whether only the mean of the channels is silent."""
    return failure.code == "audio_silent" and any(finding.kind == "antiphase" for finding in findings)


def flag_findings(flags: Sequence[str], seconds: float) -> Iterator[Finding]:
    """Yield a finding for each flag that says what is wrong with a file, without its track.

    Parameters
    ----------
    flags : sequence of str
        As of `genrescope.types.Prediction`; others are left out.
    seconds : float
        Of sound that was decoded.
    """
    for flag in flags:
        if flag in _FLAG_FINDINGS:
            score, message = _FLAG_FINDINGS[flag]
            kind = "spikes" if flag == "spikes_removed" else flag
            yield finding_of(kind, score, message, decoded_seconds=seconds)


def _flag_findings(flags: Sequence[str], info: AudioInfo, seconds: float) -> Iterator[Finding]:
    declared = info.seconds
    for found in flag_findings(flags, seconds):
        if declared is not None and found.kind != "spikes" and abs(declared - seconds) > 0.1:
            message = found.message
            evidence = {**found.evidence, "declared_seconds": round(declared, 3)}
            found = replace(
                found, message=f"{message} ({seconds:.1f} of {declared:.1f} s)", evidence=evidence
            )
        yield found
