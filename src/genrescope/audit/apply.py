"""A cleaned manifest: a data set as findings suggest it. Audio files are never touched."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genrescope.audit.findings import DEFAULT_DROP_SCORE, AuditReport
from genrescope.audit.groups import GroupReport, relative_path
from genrescope.audit.records import AuditTrack
from genrescope.datasets import Dataset
from genrescope.utils import write_atomic

_SPLIT_COLUMNS = ("split", "fold")


@dataclass(frozen=True)
class CleanedManifest:
    """What `write_cleaned` did.

    Attributes
    ----------
    path : Path
        The manifest.
    kept, dropped, relabeled, regrouped : int
        Numbers of tracks.
    """

    path: Path
    kept: int
    dropped: int
    relabeled: int
    regrouped: int


def write_cleaned(
    report: AuditReport,
    tracks: Sequence[AuditTrack],
    path: Path,
    *,
    dataset: Dataset | None = None,
    groups: GroupReport | None = None,
    min_score: float = DEFAULT_DROP_SCORE,
) -> CleanedManifest:
    """Write a CSV that `load_dataset` reads: without the tracks to be dropped, with new labels and groups.

    Parameters
    ----------
    report : AuditReport
        Findings below ``min_score`` are not followed.
    tracks : sequence of AuditTrack
        Of the audit.
    path : Path
        The manifest, with the columns path, label, group and id, and split and fold where the data set has
        them.
    dataset : Dataset, optional
        Where the tracks are from: for tracks of several genres, and its split.
    groups : GroupReport, optional
        Groups of the tracks; None keeps those of the data set.
    min_score : float

    Returns
    -------
    CleanedManifest

    Raises
    ------
    WriteError
        ``write_failed``.
    """
    dropped = report.dropped(min_score)
    labels = _new_labels(report, min_score)
    proposed = {one.track: one.group for one in groups.assignments} if groups is not None else {}
    splits = _splits(dataset)
    kept = [track for track in tracks if track.id not in dropped]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["path", "label", "group", "id", *splits])
    relabeled = regrouped = 0
    for track in kept:
        label = labels.get(track.id) or _label_cell(track, dataset)
        group = proposed.get(track.id, track.group or track.id)
        relabeled += track.id in labels
        regrouped += group != track.group
        parts = [parts.get(track.id, "") for parts in splits.values()]
        writer.writerow([relative_path(track.path, path.parent), label, group, track.id, *parts])
    write_atomic(path, stream.getvalue())
    return CleanedManifest(path, len(kept), len(tracks) - len(kept), relabeled, regrouped)


def _new_labels(report: AuditReport, min_score: float) -> dict[str, str]:
    """Return the label of each track that is to have another; of several findings, the first one's."""
    labels: dict[str, str] = {}
    for finding in report.findings:
        if finding.action == "relabel" and finding.label and finding.score >= min_score:
            for track in finding.tracks:
                labels.setdefault(track, finding.label)
    return labels


def _splits(dataset: Dataset | None) -> dict[str, Mapping[str, str]]:
    splits = dataset.official_splits if dataset is not None else {}
    return {name: splits[name] for name in _SPLIT_COLUMNS if name in splits}


def _label_cell(track: AuditTrack, dataset: Dataset | None) -> str:
    annotation = dataset.annotations.get(track.id) if dataset is not None else None
    if annotation is None:
        return track.label or track.facts.genre
    shares = (f"{genre}:{share:g}" if share != 1 else genre for genre, share in annotation.genres.items())
    return ";".join(shares)
