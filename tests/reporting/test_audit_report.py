"""The page of an audit: what it shows, hostile names, limits, and its filters in a browser."""

from __future__ import annotations

import json
import os
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from genrescope.audit import KINDS, Finding, Span, advice
from genrescope.reporting import AuditFile, AuditSummary, audit_page, audit_report, picture_tracks
from helpers.pages import SCRIPTS, chart_data, drawn

PAGE = Path("/reports/page.html")
NASTY = '</script><script>alert(1)</script>"onerror=alert(1) .mp3'


def page_of(findings: list[Finding], files: dict[str, AuditFile] | None = None, page: Path = PAGE) -> str:
    return audit_page(
        findings,
        AuditSummary(
            "Audit", "/music", 9, "2 tracks are suggested to be left out", settings={"seed": "0"}, version="1"
        ),
        page=page,
        descriptions={name: kind.description for name, kind in KINDS.items()},
        advice=advice,
        files=files,
    )


def single(kind: str, track: str, score: float = 0.5, **values: Any) -> Finding:
    path = f"/music/{track}"
    return Finding(kind, score, f"{track} is odd", (track,), (path,), action=KINDS[kind].action, **values)


COPIES = Finding(
    "near_duplicate",
    0.9,
    "two copies",
    ("a.mp3", "b.flac"),
    ("/music/a.mp3", "/music/b.flac"),
    (Span(5.0, 20.0, "a.mp3"), Span(0.0, 15.0, "b.flac")),
    {"keep": "a.mp3", "speed": 1.0},
    "group",
    ("b.flac",),
)
FILES = {
    "a.mp3": AuditFile("rock", 30.0, "mp3", b"\x89PNG"),
    "b.flac": AuditFile("jazz", 15.0, "flac"),
    "c.wav": AuditFile("jazz", 10.0, "pcm"),
}


def test_findings_kinds_and_settings_are_on_the_page() -> None:
    page = page_of([single("silent", "c.wav", 1.0), COPIES, single("clipping", "a.mp3")], FILES)
    assert "3 findings in 9 tracks of /music. 2 tracks are suggested to be left out." in page
    assert "Settings: seed 0." in page
    kinds = re.findall(r'<th scope="row">(\w+)</th><td>(\d+)</td><td>([\d.]+)</td>', page)
    assert kinds == [("silent", "1", "1.00"), ("clipping", "1", "0.50"), ("near_duplicate", "1", "0.90")]
    data = chart_data(page)
    (_, copies, _) = data["findings"]
    assert copies["spans"] == [[0, 5.0, 20.0], [1, 0.0, 15.0]]
    assert (copies["keep"], copies["drop"], copies["pair"]) == (0, [1], True)
    assert data["advice"][copies["advice"]].startswith("Keep a.mp3")
    # A file of two findings is written once.
    assert [file["name"] for file in data["files"]] == ["c.wav", "a.mp3", "b.flac"]
    assert data["files"][1]["picture"] == "data:image/png;base64,iVBORw=="
    assert data["files"][1]["url"] == "../music/a.mp3"


def test_files_without_sound_have_no_player() -> None:
    page = page_of([single("missing", "gone.mp3", 1.0), single("clipping", "a.mp3")], FILES)
    assert [(one["name"], one["audio"]) for one in chart_data(page)["files"]] == [
        ("gone.mp3", False),
        ("a.mp3", True),
    ]


def test_an_audit_without_findings() -> None:
    page = page_of([])
    assert "Nothing was found." in page
    assert "<form" not in page


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/reports/song.mp3", "song.mp3"),
        ("/reports/a/b c.mp3", "a/b%20c.mp3"),
        ("/music/100% #1?.mp3", "../music/100%25%20%231%3F.mp3"),
        ("/reports/javascript:alert(1)", "javascript%3Aalert%281%29"),
        (os.fsdecode(b"/reports/\xff.mp3"), "%FF.mp3"),
        ("/reports/\u00e9.mp3", "%C3%A9.mp3"),
    ],
)
def test_addresses_of_files(path: str, address: str) -> None:
    assert audit_report.file_url(path, "/reports") == address


def test_names_stay_text(tmp_path: Path) -> None:
    nasty = single("clipping", NASTY, evidence={NASTY: NASTY}, label=NASTY)
    bidi = single("clipping", "\u202egnp.3pm\0\udcff")
    page = page_of([nasty, bidi], {NASTY: AuditFile(NASTY, 9.0, NASTY)}, tmp_path / "page.html")
    assert re.findall("<script[^>]*>", page) == SCRIPTS
    page.encode("utf8")
    assert chart_data(page)["files"][1]["name"] == "\\u202egnp.3pm\\x00\\udcff"
    body = drawn(page, tmp_path).partition("<body>")[2].partition("<script")[0]
    assert "alert(1)" in body
    assert not re.search(r"<[^>]*\sonerror=", re.sub(r'"[^"]*"', "", body))


def test_the_policy_allows_the_script_of_the_page_and_local_media_alone() -> None:
    policy = unescape(re.search(r'Policy" content="([^"]*)"', page_of([COPIES]))[1])  # type: ignore[index]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert policy.endswith("; img-src 'self' data:; media-src 'self' file:")
    assert "unsafe" not in policy


def test_large_audits_are_cut_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_report, "MAX_FINDINGS", 10)
    monkeypatch.setattr(audit_report, "MAX_TRACKS", 3)
    monkeypatch.setattr(audit_report, "MAX_SPANS", 2)
    tracks = tuple(f"{number}.mp3" for number in range(8))
    many = Finding("artist_leak", 0.9, "", tracks, tracks, tuple(Span(n, n + 1, tracks[0]) for n in range(9)))
    page = page_of([many, *(single("hum", f"{number}.wav") for number in range(14))])
    data = chart_data(page)
    assert len(data["findings"]) == 10
    assert "5 findings with lower scores are not on this page" in page
    assert data["findings"][0]["files"] == [0, 1, 2]
    assert data["findings"][0]["more"] == 5
    assert len(data["findings"][0]["spans"]) == 2


def test_numbers_that_json_lacks_are_left_out() -> None:
    odd = single(
        "hum", "a", float("nan"), spans=(Span(0, float("inf")), Span(1, 2)), evidence={"x": float("nan")}
    )
    (finding,) = chart_data(page_of([odd]))["findings"]
    assert (finding["score"], finding["spans"], finding["evidence"]) == (0.0, [[0, 1, 2]], {"x": "nan"})
    json.dumps(finding, allow_nan=False)


def test_findings_about_the_whole_or_a_manifest() -> None:
    whole = Finding("class_imbalance", 0.5, "many")
    manifest = Finding("dataset_issue", 0.5, "line 3", paths=("/music/tracks.csv",))
    data = chart_data(page_of([whole, manifest]))
    assert [finding["files"] for finding in data["findings"]] == [[], [0]]
    assert not data["files"][0]["audio"]


def test_which_spectrograms_are_drawn() -> None:
    many = [single("hum", f"{number}.wav") for number in range(5)]
    assert picture_tracks([COPIES, *many], 2) == [
        ("a.mp3", "/music/a.mp3"),
        ("b.flac", "/music/b.flac"),
        ("0.wav", "/music/0.wav"),
        ("1.wav", "/music/1.wav"),
    ]
    assert picture_tracks(many, 0) == []


def test_a_browser_shows_cards_players_and_the_alignment(tmp_path: Path) -> None:
    hums = [single("hum", f"{number:02}.wav", 0.4) for number in range(30)]
    page = page_of([COPIES, *hums], FILES, tmp_path / "page.html")
    body = drawn(page, tmp_path).partition("<body>")[2].partition("<script")[0]
    shown = body.partition("<template")[0]
    assert "31 of 31 findings; 1 to 20 are shown" in shown
    assert shown.count("<article") == 20
    assert shown.count("<audio") == 21
    assert 'points="166.67,1 666.67,1 666.67,19 500.00,65 500.00,83 0.00,83 0.00,65 166.67,19"' in shown
    assert "0:05 to 0:20 above is 0:00 to 0:15 below" in shown
    assert 'style="left: 16.6667%; width: 50%;"' in shown
    assert re.search(r'<form id="filters">', shown)
    # Every field has a label, every picture a text, every player a name.
    labels = set(re.findall(r'<label for="(\w+)"', shown))
    assert labels == set(re.findall(r'<(?:input|select) id="(\w+)"', shown))
    assert all("alt=" in image for image in re.findall(r"<img[^>]*>", shown))
    assert all("aria-label=" in player for player in re.findall(r"<audio[^>]*>", shown))


def test_a_link_to_a_kind_shows_its_findings(tmp_path: Path) -> None:
    page = page_of([COPIES, single("hum", "c.wav")], FILES, tmp_path / "page.html")
    shown = drawn(page, tmp_path, "#kind=hum").partition("<body>")[2].partition("<template")[0]
    assert "1 of 2 findings" in shown
    assert shown.count("<article") == 1
