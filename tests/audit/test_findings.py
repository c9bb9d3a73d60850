"""Findings and reports: forms that can be read back, and what they suggest to drop."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from genrescope.audit import KINDS, AuditReport, AuditTrack, FileFacts, Finding, Span, TrackPair
from genrescope.audit.copies import pair_findings
from genrescope.errors import ConfigError, DataError

CLIPPED = Finding(
    "clipping",
    0.6,
    "many samples",
    ("a",),
    ("/music/=a.wav",),
    (Span(1.0, 2.0), Span(4.5, 5.0, "a")),
    {"clipped_samples": 70, "clipped_share": 0.01, "codec": "pcm_16"},
)
COPIES = Finding("byte_identical", 0.9, "copies", ("a", "b"), ("a.wav", "b.wav"), action="drop", drop=("b",))
REPORT = AuditReport("/music", 7, (COPIES, CLIPPED), {"protocol": "given"})


def test_a_report_is_read_back(tmp_path: Path) -> None:
    REPORT.write_json(tmp_path / "findings.json")
    assert AuditReport.load(tmp_path / "findings.json") == REPORT
    assert json.loads((tmp_path / "findings.json").read_text())["counts"] == {
        "clipping": 1,
        "byte_identical": 1,
    }
    empty = AuditReport("x", 0, ())
    assert AuditReport.from_json(empty.to_json()) == empty


def test_a_csv_has_a_line_for_each_finding_and_no_formula(tmp_path: Path) -> None:
    REPORT.write_csv(tmp_path / "findings.csv")
    with (tmp_path / "findings.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["kind"] for row in rows] == ["byte_identical", "clipping"]
    assert rows[0]["tracks"] == "a | b"
    assert (rows[1]["start"], rows[1]["end"]) == ("1.0", "2.0")
    assert json.loads(rows[1]["evidence"])["clipped_samples"] == 70


def test_scores_decide_what_is_dropped() -> None:
    weak = replace(COPIES, score=0.3, drop=("a",))
    report = replace(REPORT, findings=(COPIES, weak))
    assert report.dropped() == {"b"}
    assert report.dropped(0.2) == {"a", "b"}
    assert report.dropped(0.95) == frozenset()


def test_findings_are_filtered_by_kind_and_score() -> None:
    assert REPORT.only(["clipping"]).findings == (CLIPPED,)
    assert REPORT.only(min_score=0.7).findings == (COPIES,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 99}',
        REPORT.to_json().replace('"clipping", "score"', '"unknown", "score"'),
        REPORT.to_json().replace('"score": 0.6', '"score": "high"'),
        REPORT.to_json().replace('"action": "drop"', '"action": "erase"'),
        REPORT.to_json().replace('"evidence": {}', '"evidence": {"a": [1]}'),
        REPORT.to_json()[:-20],
    ],
)
def test_what_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "findings.json").write_text(text)
    with pytest.raises(DataError) as failure:
        AuditReport.load(tmp_path / "findings.json")
    assert failure.value.code == "dataset_invalid"


def test_a_report_that_is_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError) as failure:
        AuditReport.load(tmp_path / "none.json")
    assert failure.value.code == "dataset_not_found"


def test_an_unknown_kind_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as failure:
        Finding("cliping", 1.0, "")
    assert "clipping" in failure.value.hint


def test_every_kind_is_described_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []


def test_excerpts_that_overlap_by_a_part_are_not_dropped() -> None:
    tracks = [AuditTrack(name, Path(f"{name}.wav"), facts=FileFacts(seconds=30.0)) for name in ("a", "b")]
    for overlap, dropped in ((30.0, 1), (27.0, 1), (10.0, 0)):
        pair = TrackPair("a", "b", spans=((30.0 - overlap, 30.0), (0.0, overlap)))
        (found,) = pair_findings([pair], tracks)
        assert (len(found.drop), found.action) == (dropped, "group")
