"""Findings of an audit, and the report that collects them: JSON and CSV.

`KINDS` lists every kind of finding, with what its score means and what is usually done about it. The modules
beside this one make the findings; whatever reads a report needs this module alone.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from genrescope._version import __version__
from genrescope.errors import ConfigError, DataError
from genrescope.utils import did_you_mean, parse_json, spreadsheet_cell, write_atomic

Action = Literal["drop", "relabel", "group", "repair", "check", "none"]
Section = Literal["file", "signal", "duplicate", "label", "split"]
Value = float | int | str

SCHEMA: Final = 1
# Tracks that findings suggest to drop are left out from this score on.
DEFAULT_DROP_SCORE: Final = 0.5


class Kind(NamedTuple):
    """A kind of finding.

    Attributes
    ----------
    section : {"file", "signal", "duplicate", "label", "split"}
        What it is about.
    description : str
        What it means, in a few words.
    action : str
        What is usually suggested: ``drop`` (leave a track out), ``relabel``, ``group`` (keep tracks in one
        part of a split), ``repair`` (get a better copy), ``check`` (look at it), ``none`` (nothing; for
        information).
    """

    section: Section
    description: str
    action: Action


KINDS: Final[dict[str, Kind]] = {
    # The file.
    "missing": Kind("file", "no file at the path", "drop"),
    "unreadable": Kind("file", "cannot be opened or decoded", "drop"),
    "empty": Kind("file", "no bytes, or no sound behind the header", "drop"),
    "too_short": Kind("file", "less than a second of sound", "drop"),
    "not_analyzed": Kind("file", "crashed or exceeded the limits of its worker", "drop"),
    "truncated": Kind("file", "holds less than it declares", "repair"),
    "header_mismatch": Kind("file", "holds more than its header states", "repair"),
    "dataset_issue": Kind("file", "what the reader of the data set met", "check"),
    # The sound.
    "silent": Kind("signal", "silent throughout", "drop"),
    "silence": Kind("signal", "long stretches of silence", "check"),
    "zero_run": Kind("signal", "exact zeros that interrupt the sound", "check"),
    "clipping": Kind("signal", "samples cut off at full scale or below", "check"),
    "spikes": Kind("signal", "samples of an impossible level, or no numbers", "repair"),
    "dc_offset": Kind("signal", "the mean of the samples is not zero", "repair"),
    "antiphase": Kind("signal", "the channels cancel each other", "repair"),
    "silent_channel": Kind("signal", "one channel without sound", "check"),
    "dual_mono": Kind("signal", "two equal channels", "none"),
    "hum": Kind("signal", "lines of the mains, 50 or 60 Hz", "check"),
    "upsampled": Kind("signal", "nothing above a frequency far below half the sample rate", "check"),
    "transcoded": Kind("signal", "a lossless file with the upper limit of a lossy coder", "check"),
    # Copies.
    "byte_identical": Kind("duplicate", "files with the same bytes", "drop"),
    "same_samples": Kind("duplicate", "the same samples in another file", "drop"),
    "near_duplicate": Kind("duplicate", "the same recording, coded or cut in another way", "group"),
    "wrong_speed": Kind("duplicate", "the same recording, faster or slower", "group"),
    "other_version": Kind("duplicate", "likely the same song in another version", "group"),
    # Labels.
    "label_conflict": Kind("label", "one recording under two labels", "drop"),
    "label_spelling": Kind("label", "two spellings of what is likely one label", "relabel"),
    "label_suspect": Kind("label", "likely wrong label", "relabel"),
    "tag_disagrees": Kind("label", "the genre of the tags is not that of the sound", "check"),
    "label_noise": Kind("label", "estimated share of wrong labels", "none"),
    "class_imbalance": Kind("label", "far more tracks of some labels than of others", "check"),
    # Splits.
    "artist_leak": Kind("split", "an artist on both sides of the split", "group"),
    "album_leak": Kind("split", "an album on both sides of the split", "group"),
    "recording_leak": Kind("split", "a recording on both sides of the split", "group"),
    "too_few_groups": Kind("split", "too few tracks or groups for the protocol", "check"),
    "groups_unknown": Kind("split", "artists are unknown: nothing keeps them apart", "group"),
}
"""All kinds of findings by name."""


class Span(NamedTuple):
    """A stretch of a track.

    Attributes
    ----------
    start, end : float
        In seconds.
    track : str
        Id of the track; empty for the first one of the finding.
    """

    start: float
    end: float
    track: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that may be wrong with one track or several.

    Attributes
    ----------
    kind : str
        A key of `KINDS`.
    score : float
        From 0 to 1: how sure it is, and how much it matters. 0.8 and more: the track cannot be used as it is;
        0.5 and more: worth acting on; less: good to know.
    message : str
        The evidence in a sentence.
    tracks : tuple of str
        Ids of the tracks concerned; empty where the data set as a whole is.
    paths : tuple of str
        Their files.
    spans : tuple of Span
        Where in the files.
    evidence : mapping of str to number or str
        What was measured; names end in the unit (``_seconds``, ``_db``, ``_hz``, ``_share``).
    action : {"drop", "relabel", "group", "repair", "check", "none"}
        What is suggested.
    drop : tuple of str
        Those of ``tracks`` that are suggested to be left out.
    label : str
        The label that is suggested for ``tracks``, where ``action`` is ``relabel``.
    """

    kind: str
    score: float
    message: str
    tracks: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    evidence: Mapping[str, Value] = field(default_factory=dict)
    action: Action = "check"
    drop: tuple[str, ...] = ()
    label: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(
                "invalid_argument",
                f"no kind of finding is named {self.kind!r}",
                did_you_mean(self.kind, KINDS),
            )

    @property
    def section(self) -> Section:
        """What it is about: ``file``, ``signal``, ``duplicate``, ``label`` or ``split``."""
        return KINDS[self.kind].section

    def for_track(self, track: str, path: str) -> Finding:
        """Return the finding of a single file with its track.

        Parameters
        ----------
        track : str
            Its id.
        path : str
        """
        return replace(self, tracks=(track,), paths=(path,), drop=(track,) if self.action == "drop" else ())

    def to_dict(self) -> dict[str, Any]:
        """Return the finding, ready for JSON."""
        # Not asdict, which copies every number and takes ten times as long.
        return {
            "kind": self.kind,
            "score": self.score,
            "message": self.message,
            "tracks": list(self.tracks),
            "paths": list(self.paths),
            "spans": [list(span) for span in self.spans],
            "evidence": dict(self.evidence),
            "action": self.action,
            "drop": list(self.drop),
            "label": self.label,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        """Return the finding that `to_dict` gave.

        Parameters
        ----------
        values : mapping

        Raises
        ------
        ValueError
            It is none, such as of a later version.
        """
        try:
            action = values["action"]
            if action not in get_args(Action) or values["kind"] not in KINDS:
                raise ValueError(f"no finding: {values['kind']!r}, {action!r}")
            evidence = values["evidence"]
            if not all(isinstance(one, Value) for one in evidence.values()):
                raise ValueError("evidence is a number or a text")
            return cls(
                str(values["kind"]),
                float(values["score"]),
                str(values["message"]),
                tuple(map(str, values["tracks"])),
                tuple(map(str, values["paths"])),
                tuple(Span(float(start), float(end), str(track)) for start, end, track in values["spans"]),
                {str(name): value for name, value in evidence.items()},
                cast(Action, action),
                tuple(map(str, values["drop"])),
                str(values["label"]),
            )
        except (KeyError, TypeError, AttributeError) as reason:
            raise ValueError(f"no finding: {reason!r}") from None


def finding_of(kind: str, score: float, message: str, **evidence: Value) -> Finding:
    """Return a finding with the usual action of its kind; the score is cut to 0 and 1, and rounded.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    score : float
    message : str
    **evidence : number or str
    """
    rounded = {
        name: round(value, 4) if isinstance(value, float) else value for name, value in evidence.items()
    }
    return Finding(
        kind, round(min(1.0, max(0.0, score)), 3), message, evidence=rounded, action=KINDS[kind].action
    )


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    Attributes
    ----------
    data : str
        The data set or folder.
    tracks : int
        Number of tracks that were examined.
    findings : tuple of Finding
        The highest scores first.
    settings : mapping of str to str
        Such as protocol and seed.
    version : str
        Of genrescope.
    """

    data: str
    tracks: int
    findings: tuple[Finding, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    version: str = __version__

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings by kind, in the order of `KINDS`."""
        counted = Counter(finding.kind for finding in self.findings)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}

    def only(self, kinds: Sequence[str] = (), min_score: float = 0.0) -> AuditReport:
        """Return the report with some of the findings.

        Parameters
        ----------
        kinds : sequence of str
            Empty: all.
        min_score : float
        """
        kept = (one for one in self.findings if not kinds or one.kind in kinds)
        return replace(self, findings=tuple(one for one in kept if one.score >= min_score))

    def dropped(self, min_score: float = DEFAULT_DROP_SCORE) -> frozenset[str]:
        """Return the ids of the tracks that findings suggest to leave out.

        Parameters
        ----------
        min_score : float
            Findings with a lower score are not followed.
        """
        followed = (finding for finding in self.findings if finding.score >= min_score)
        return frozenset(track for finding in followed for track in finding.drop)

    def to_json(self) -> str:
        """Return the report as JSON, one finding on a line."""
        head = {
            "schema": SCHEMA,
            "version": self.version,
            "data": self.data,
            "tracks": self.tracks,
            "settings": dict(self.settings),
            "counts": self.counts,
        }
        lines = ",\n".join(json.dumps(finding.to_dict(), ensure_ascii=False) for finding in self.findings)
        return json.dumps(head, ensure_ascii=False, indent=1)[:-2] + f',\n "findings": [\n{lines}\n]}}\n'

    @classmethod
    def from_json(cls, text: str | bytes) -> AuditReport:
        """Return the report that `to_json` gave.

        Parameters
        ----------
        text : str or bytes

        Raises
        ------
        ValueError
            It is none, or of a later version.
        """
        values = parse_json(text)
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            raise ValueError(f"no findings of schema {SCHEMA}")
        try:
            return cls(
                str(values["data"]),
                int(values["tracks"]),
                tuple(Finding.from_dict(one) for one in values["findings"]),
                {str(name): str(value) for name, value in values["settings"].items()},
                str(values["version"]),
            )
        except (KeyError, TypeError, AttributeError) as reason:
            raise ValueError(f"no findings: {reason!r}") from None

    @classmethod
    def load(cls, path: Path) -> AuditReport:
        """Read a report from a JSON file.

        Parameters
        ----------
        path : Path

        Raises
        ------
        DataError
            ``dataset_not_found``: it cannot be read; ``dataset_invalid``: it is no report.
        """
        try:
            return cls.from_json(path.read_bytes())
        except OSError as reason:
            raise DataError(
                "dataset_not_found", f"{path}: cannot be read: {reason.strerror or reason}", "check the path"
            ) from None
        except ValueError as reason:
            raise DataError(
                "dataset_invalid",
                f"{path}: no findings: {reason}",
                "give a file from 'genrescope audit --output'",
            ) from None

    def write_json(self, path: Path) -> None:
        """Write the report as JSON.

        Parameters
        ----------
        path : Path

        Raises
        ------
        WriteError
            ``write_failed``.
        """
        write_atomic(path, self.to_json())

    def write_csv(self, path: Path) -> None:
        """Write the findings as CSV: a line for each; several tracks in one cell, separated by `` | ``.

        ``start`` and ``end`` are those of the first span, ``spans`` has all, in seconds.

        Parameters
        ----------
        path : Path

        Raises
        ------
        WriteError
            ``write_failed``.
        """
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            [
                "kind",
                "score",
                "action",
                "tracks",
                "paths",
                "start",
                "end",
                "drop",
                "label",
                "message",
                "evidence",
                "spans",
            ]
        )
        for one in self.findings:
            start, end = one.spans[0][:2] if one.spans else ("", "")
            cells = [one.kind, one.score, one.action, _cell(one.tracks), _cell(one.paths), start, end]
            cells += [_cell(one.drop), one.label, one.message, json.dumps(dict(one.evidence))]
            cells.append(
                _cell(
                    f"{span.track}{': ' * bool(span.track)}{span.start:g} to {span.end:g}"
                    for span in one.spans
                )
            )
            writer.writerow([spreadsheet_cell(cell) for cell in cells])
        write_atomic(path, stream.getvalue())


def _cell(names: Iterable[str]) -> str:
    return " | ".join(names)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with the highest scores first, then by kind and track.

    Parameters
    ----------
    findings : iterable of Finding
    """
    places = {kind: place for place, kind in enumerate(KINDS)}
    return tuple(sorted(findings, key=lambda one: (-one.score, places[one.kind], one.tracks)))
