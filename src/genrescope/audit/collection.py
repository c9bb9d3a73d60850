"""The tracks that an audit is about: of a data set, or of any folder of music, whatever state it is in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from genrescope import audio
from genrescope.audit.findings import Finding, finding_of
from genrescope.audit.records import AuditTrack
from genrescope.datasets import Dataset, DatasetIssue, load_dataset
from genrescope.errors import DataError
from genrescope.utils import ListedPaths

_ISSUE_KINDS = {
    "file_missing": "missing",
    "file_empty": "empty",
    "file_unreadable": "unreadable",
    "known_corrupt": "unreadable",
}
# What the audit finds by itself, with more detail.
_OWN_CHECKS = frozenset({"replica", "label_spelling"})
_MAX_CSV_BYTES = 1 << 28


@dataclass(frozen=True)
class Collection:
    """Tracks to be audited.

    Attributes
    ----------
    tracks : tuple of AuditTrack
    findings : tuple of Finding
        What was met while they were looked for.
    dataset : Dataset or None
        None for a folder without labels, and for a data set that cannot be read as one.
    root : Path
        The folder that all of it lies in.
    """

    tracks: tuple[AuditTrack, ...]
    findings: tuple[Finding, ...]
    dataset: Dataset | None
    root: Path


def read_collection(
    data: Path, *, unlabeled: bool = False, kind: str | None = None, layout: str = "auto"
) -> Collection:
    """Find the tracks of a data set or a folder.

    Parameters
    ----------
    data : Path
        As of `genrescope.datasets.load_dataset`, or any folder with audio files, or one file.
    unlabeled : bool
        Take folders as folders, not as genres.
    kind, layout : str
        As of `load_dataset`.

    Returns
    -------
    Collection
        A data set that cannot be read gives a finding, and the tracks that can be found nevertheless.

    Raises
    ------
    DataError
        ``dataset_not_found``: nothing is there.
    ConfigError
        ``invalid_argument``: no such layout or kind.
    """
    if not data.exists():
        raise DataError("dataset_not_found", f"{data}: nothing there", "check the path")
    root = data if data.is_dir() else data.parent
    if unlabeled or (data.is_file() and data.suffix.lower() not in (".csv", ".tsv", ".txt")):
        return Collection(*_walk(data), None, root)
    try:
        dataset = load_dataset(data, kind=kind, layout=layout)
    except DataError as failure:
        tracks, findings = _walk(data) if data.is_dir() else _manifest(data)
        # A single genre is no fault of a folder of music.
        if failure.code == "dataset_too_small" and data.is_dir():
            return Collection(tracks, findings, None, root)
        found = finding_of(
            "dataset_issue", 0.8, f"not readable as a data set: {failure.message}", code=failure.code
        )
        return Collection(tracks, (replace(found, paths=(str(data),)), *findings), None, root)
    tracks = tuple(
        AuditTrack(track.id, track.path, track.label, track.group, track.kind) for track in dataset.tracks
    )
    return Collection(tracks, tuple(_issue_findings(dataset)), dataset, root)


def _issue_findings(dataset: Dataset) -> Iterator[Finding]:
    for issue in dataset.issues:
        if issue.code not in _OWN_CHECKS:
            yield _issue_finding(issue)


def _issue_finding(issue: DatasetIssue) -> Finding:
    kind = _ISSUE_KINDS.get(issue.code, "dataset_issue")
    found = finding_of(kind, 1.0 if kind in ("missing", "empty", "unreadable") else 0.3, issue.message)
    found = replace(found, evidence={"code": issue.code}, paths=(issue.path,))
    return found.for_track(issue.track, issue.path) if issue.track else found


def _walk(data: Path) -> tuple[tuple[AuditTrack, ...], tuple[Finding, ...]]:
    """Return the audio files below a folder, and what may not be read."""
    tracks: list[AuditTrack] = []
    findings: list[Finding] = []
    root = data if data.is_dir() else data.parent
    for found in audio.discover([data]):
        path = Path(found.path)
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else found.path
        if found.kind == "unreadable":
            message = f"{found.path}: this folder may not be read"
            findings.append(
                replace(finding_of("unreadable", 0.8, message), paths=(found.path,), action="check")
            )
        elif found.kind == "audio":
            tracks.append(AuditTrack(name, path, group=name))
    return tuple(tracks), tuple(findings)


def _manifest(data: Path) -> tuple[tuple[AuditTrack, ...], tuple[Finding, ...]]:
    """Read what can be read of a damaged manifest: rows with a path."""
    tracks: dict[str, AuditTrack] = {}
    findings: list[Finding] = []
    try:
        content = data.read_bytes()[:_MAX_CSV_BYTES]
    except OSError:
        return (), ()
    text = content.decode("utf-8-sig", errors="replace").replace("\0", "")
    listed = ListedPaths(data.parent)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            values = {
                (key or "").strip(): value.strip() for key, value in row.items() if isinstance(value, str)
            }
            where = f"{data}, line {reader.line_num}"
            path = values.get("path", "")
            name = values.get("id") or path
            if not path or not values.get("label"):
                findings.append(_row_finding(f"{where}: no {'label' if path else 'path'}", data))
            if path and name in tracks:
                findings.append(_row_finding(f"{where}: {name!r} is listed twice", data))
            elif path:
                group = values.get("group") or name
                tracks[name] = AuditTrack(name, Path(listed.find(path)), values.get("label", ""), group)
    except csv.Error as reason:
        findings.append(_row_finding(f"{data}, line {reader.line_num}: {reason}", data))
    return tuple(tracks.values()), tuple(findings)


def _row_finding(message: str, data: Path) -> Finding:
    return replace(finding_of("dataset_issue", 0.5, message), paths=(str(data),))
