"""The page of an audit: what the commands ``audit`` and ``library audit`` write with ``--html``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genrescope.audit import AuditReport, AuditTrack
    from genrescope.reporting import AuditFile


def write_page(
    path: Path,
    report: AuditReport,
    tracks: Sequence[AuditTrack],
    *,
    title: str,
    pictures: int,
    workers: int,
    owner: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write the findings of an audit as an HTML page.

    Parameters
    ----------
    path : Path
    report : AuditReport
    tracks : sequence of AuditTrack
        Of the audit.
    title : str
        The page's heading.
    pictures : int
        Of how many findings of each kind spectrograms are drawn, for which files are decoded once more.
    workers : int
        Processes that draw them.
    owner : bool
        Whether advice is for the owner of a collection.
    on_progress : callable, optional
        Told how many of how many spectrograms are done.

    Returns
    -------
    int
        How many spectrograms were drawn.

    Raises
    ------
    WriteError
        ``write_failed``.
    """
    from genrescope import audit, reporting, utils
    from genrescope.reporting import AuditFile

    concerned = {track for finding in report.findings for track in finding.tracks}
    known = {track.id: track for track in tracks if track.id in concerned}
    wanted = [
        (track, file)
        for track, file in reporting.picture_tracks(report.findings, pictures)
        if track in known and known[track].kind == "audio" and known[track].facts.seconds
    ]
    drawn = dict(
        audit.draw_spectrograms(
            list(dict.fromkeys(file for _, file in wanted)), workers=workers, on_progress=on_progress
        )
    )
    chosen = {track: drawn[file] for track, file in wanted if file in drawn}
    dropped = len(report.dropped())
    summary = reporting.AuditSummary(
        title,
        report.data,
        report.tracks,
        suggested="" if owner else f"{dropped} tracks are suggested to be left out",
        drop_mark="may go" if owner else "leave out",
        settings=report.settings,
        version=report.version,
    )
    page = reporting.audit_page(
        report.findings,
        summary,
        page=path,
        descriptions={name: kind.description for name, kind in audit.KINDS.items()},
        advice=partial(audit.advice, owner=owner),
        files={
            name: _file(known[name], chosen.get(name, b"")) if name in known else AuditFile(is_audio=False)
            for name in concerned
        },
    )
    utils.write_atomic(path, page)
    return len(drawn)


def _file(track: AuditTrack, picture: bytes) -> AuditFile:
    from genrescope.reporting import AuditFile

    facts = track.facts
    about = [facts.codec]
    if facts.sample_rate:
        about.append(f"{facts.sample_rate / 1000:g} kHz")
    if facts.bit_rate:
        about.append(f"{facts.bit_rate / 1000:.0f} kbit/s")
    if facts.artist:
        about.append(facts.artist)
    if facts.truncated:
        about.append("truncated")
    return AuditFile(
        label=track.label,
        seconds=facts.seconds,
        about=" · ".join(filter(None, about)),
        picture=picture,
        is_audio=track.kind == "audio" and facts.seconds > 0,
    )
