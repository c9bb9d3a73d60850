"""The page about an audit: findings with players, spectrograms and alignments, to be filtered and sorted."""

from __future__ import annotations

import base64
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from genrescope.reporting.formatting import format_clock, format_count
from genrescope.reporting.pages import render_script

MAX_FINDINGS: Final = 20_000
"""A page lists this number of findings; more would keep a browser busy for seconds."""
MAX_TRACKS: Final = 50
"""Tracks of one finding that are listed, such as those of an artist on both sides of a split."""
MAX_SPANS: Final = 100
"""Places in a track that are marked."""
_STATIC_FINDINGS = 200


class FindingRow(Protocol):
    """What the page needs of a finding: `genrescope.audit.Finding`, which this package may not import."""

    @property
    def kind(self) -> str:
        """Kind of the finding."""

    @property
    def section(self) -> str:
        """What it is about; pairs of ``duplicate`` are shown with their alignment."""

    @property
    def score(self) -> float:
        """From 0 to 1."""

    @property
    def message(self) -> str:
        """What is wrong, in a sentence."""

    @property
    def tracks(self) -> Sequence[str]:
        """Ids of the tracks."""

    @property
    def paths(self) -> Sequence[str]:
        """Their files."""

    @property
    def spans(self) -> Sequence[tuple[float, float, str]]:
        """Start and end in seconds, and the id of the track; an empty id is the first track."""

    @property
    def evidence(self) -> Mapping[str, float | int | str]:
        """Measurements by name."""

    @property
    def action(self) -> str:
        """What is suggested, in a word."""

    @property
    def drop(self) -> Sequence[str]:
        """The tracks that are suggested to be left out."""

    @property
    def label(self) -> str:
        """The label that is suggested."""


@dataclass(frozen=True)
class AuditFile:
    """What the page shows of a track besides its path.

    Attributes
    ----------
    label : str
        Its genre; empty where there is none.
    seconds : float
        Length; 0 where unknown.
    about : str
        Such as coding and bit rate.
    picture : bytes
        Its spectrogram as PNG; empty where there is none.
    is_audio : bool
        Whether it can be played.
    """

    label: str = ""
    seconds: float = 0.0
    about: str = ""
    picture: bytes = b""
    is_audio: bool = True


@dataclass(frozen=True)
class AuditSummary:
    """What stands at the top of the page.

    Attributes
    ----------
    title, data : str
        The heading, and what was examined.
    tracks : int
        How many were examined.
    suggested : str
        How many of them are suggested to be left out, in words; empty: not said.
    drop_mark : str
        What is written at tracks that are suggested to be left out.
    settings : mapping of str to str
        Such as the protocol of the split.
    version : str
        Of genrescope.
    """

    title: str
    data: str
    tracks: int
    suggested: str = ""
    drop_mark: str = "leave out"
    settings: Mapping[str, str] | None = None
    version: str = ""


def audit_page(
    findings: Sequence[FindingRow],
    summary: AuditSummary,
    *,
    page: Path,
    descriptions: Mapping[str, str],
    advice: Callable[[Any], str],
    files: Mapping[str, AuditFile] | None = None,
) -> str:
    """Return the findings of an audit as one HTML page, which plays the files where they lie.

    Parameters
    ----------
    findings : sequence of FindingRow
        The most important ones first; those beyond `MAX_FINDINGS` are counted, but not listed.
    summary : AuditSummary
    page : Path
        Where the page will be: paths of files are written relative to its folder.
    descriptions : mapping of str to str
        What each kind of finding means, in the order in which kinds are listed.
    advice : callable
        From a finding to what to do about it, in a sentence.
    files : mapping of str to AuditFile, optional
        What is known of each track, by id.

    Returns
    -------
    str
        The page: without network, and with as many findings in the document at a time as are shown.
    """
    counts = Counter(finding.kind for finding in findings)
    highest = {finding.kind: finding.score for finding in reversed(findings)}
    listed = findings[:MAX_FINDINGS]
    collector = _Collector(page.absolute().parent, files or {}, advice)
    data = {
        "descriptions": {kind: descriptions.get(kind, "") for kind in counts},
        "findings": [collector.finding(finding) for finding in listed],
        "files": collector.files,
        "advice": list(collector.advice),
        "dropMark": summary.drop_mark,
    }
    order = [kind for kind in descriptions if counts[kind]]
    lead = f"{format_count(len(findings), 'finding')} in {format_count(summary.tracks, 'track')}"
    return render_script(
        "audit_report.html",
        "audit.js",
        "audit.css",
        data,
        title=summary.title,
        lead=f"{lead} of {printable(summary.data)}{'. ' * bool(summary.suggested)}{summary.suggested}.",
        footer=f"Made by genrescope {summary.version}. Nothing was changed.".replace("  ", " "),
        kinds=[(kind, counts[kind], f"{highest[kind]:.2f}", descriptions[kind]) for kind in order],
        actions=sorted({finding.action for finding in findings}),
        settings=dict(summary.settings or {}),
        left_out=len(findings) - len(listed),
        static=[
            (finding.kind, f"{finding.score:.2f}", printable(finding.message), printable(advice(finding)))
            for finding in findings[:_STATIC_FINDINGS]
        ],
    )


# Kinds of findings about files that hold nothing to play.
_SILENT_KINDS = frozenset({"missing", "unreadable", "empty"})


class _Collector:
    """Turns findings into what the script of the page reads; each file and advice is written once."""

    def __init__(self, folder: Path, known: Mapping[str, AuditFile], advice: Callable[[Any], str]) -> None:
        self._folder = str(folder)
        self._known = known
        self._advise = advice
        self._places: dict[tuple[str, str], int] = {}
        self.files: list[dict[str, Any]] = []
        self.advice: dict[str, int] = {}

    def finding(self, finding: FindingRow) -> dict[str, Any]:
        """Return a finding, JSON-ready."""
        tracks = list(finding.tracks)[:MAX_TRACKS]
        paths = [*finding.paths, *([""] * len(tracks))]
        # What concerns a folder or a manifest has a path, but no track.
        named = list(zip(tracks, paths, strict=False)) or [(path, path) for path in finding.paths[:1]]
        places = [self._place(track, path, bool(tracks)) for track, path in named]
        if finding.kind in _SILENT_KINDS:
            for place in places:
                self.files[place]["audio"] = False
        dropped = frozenset(finding.drop)
        keep = finding.evidence.get("keep")
        return {
            "kind": finding.kind,
            "score": finding.score if math.isfinite(finding.score) else 0.0,
            "action": finding.action,
            "message": printable(finding.message),
            "advice": self.advice.setdefault(printable(self._advise(finding)), len(self.advice)),
            "files": places,
            "more": max(0, len(finding.tracks) - len(tracks)),
            "drop": [place for place, track in enumerate(tracks) if track in dropped],
            "keep": tracks.index(keep) if keep in tracks else -1,
            "spans": self._spans(finding, tracks),
            "pair": finding.section == "duplicate" and len(tracks) > 1,
            "evidence": {name: _value(value) for name, value in finding.evidence.items()},
            "label": printable(finding.label),
        }

    def _spans(self, finding: FindingRow, tracks: Sequence[str]) -> list[tuple[int, float, float]]:
        places = {track: place for place, track in reversed(list(enumerate(tracks)))}
        found = [
            (places.get(track, 0 if not track else -1), start, end) for start, end, track in finding.spans
        ]
        counted: Counter[int] = Counter()
        kept = []
        for place, start, end in found:
            counted[place] += 1
            if not (math.isfinite(start) and math.isfinite(end)):
                continue  # JSON has no such numbers
            if place >= 0 and counted[place] <= MAX_SPANS:
                kept.append((place, round(start, 3), round(end, 3)))
        return kept

    def _place(self, track: str, path: str, is_track: bool) -> int:
        key = (track, path)
        if key not in self._places:
            self._places[key] = len(self.files)
            known = self._known.get(track, AuditFile(is_audio=is_track))
            shown: dict[str, Any] = {"name": printable(track), "path": printable(path)}
            if path:
                shown["url"] = file_url(path, self._folder)
            if known.label:
                shown["label"] = printable(known.label)
            if known.about or known.seconds:
                length = format_clock(known.seconds) if known.seconds else ""
                shown["about"] = printable(" · ".join(text for text in (length, known.about) if text))
            shown |= {"seconds": round(known.seconds, 3), "audio": known.is_audio and bool(path)}
            if known.picture:
                shown["picture"] = f"data:image/png;base64,{base64.b64encode(known.picture).decode('ascii')}"
            self.files.append(shown)
        return self._places[key]


def _value(value: float | int | str) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return printable(str(value))


def file_url(path: str, folder: str) -> str:
    """Return the address of a file for a page in a folder, relative to it where there is a way.

    Parameters
    ----------
    path : str
        Of the file, in any bytes, as `os.fsdecode` gives it.
    folder : str
        Absolute.

    Returns
    -------
    str
        Every character with a meaning in an address is escaped: a file named ``javascript:x`` stays a file.
    """
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # Windows: on another drive
        return Path(path).absolute().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def printable(text: str) -> str:
    """Return a text without bytes that are no UTF-8, control characters and marks of writing direction.

    Parameters
    ----------
    text : str
        Such as a file name, which a stranger may have chosen.
    """
    if text.isprintable() and text.isascii():
        return text
    return "".join(
        one
        if one.isprintable() or one in "\u200c\u200d"
        else one.encode("utf8", "backslashreplace").decode()
        if "\udc80" <= one <= "\udcff"
        else one.encode("unicode_escape").decode()
        for one in text
    )


def picture_tracks(findings: Iterable[FindingRow], per_kind: int) -> list[tuple[str, str]]:
    """Return id and path of the tracks whose spectrogram is worth drawing.

    Parameters
    ----------
    findings : iterable of FindingRow
        In the order of the page.
    per_kind : int
        Of how many findings of each kind; of each the first two tracks.
    """
    counted: Counter[str] = Counter()
    chosen: dict[str, str] = {}
    for finding in findings:
        counted[finding.kind] += 1
        if counted[finding.kind] <= per_kind:
            chosen.update(zip(finding.tracks[:2], finding.paths[:2], strict=False))
    return list(chosen.items())
