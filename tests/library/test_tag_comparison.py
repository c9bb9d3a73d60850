"""Tags beside answers: which words mean which genres, what agrees, and what surprises most."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from genrescope import library as collection
from genrescope import tagging
from genrescope.audit import tag_disagreement
from genrescope.cli import app
from genrescope.errors import AudioError
from genrescope.library import Library, LibraryEntry, TagComparison
from genrescope.reporting import tag_comparison_page


def entry(path: str, scores: dict[str, float], **changes: object) -> LibraryEntry:
    genre, score = next(iter(scores.items()))
    values = {"size": 1, "mtime_ns": 1, "model": "m", "model_name": "m", "genre": genre, "score": score}
    return LibraryEntry(path=path, scores=scores, **(values | changes))  # type: ignore[arg-type]


TAGS: dict[str, tuple[str, ...]] = {
    "/agree": ("Rock",),
    "/style": ("Punk Rock",),
    "/sure": ("Jazz",),
    "/surer": ("jazz",),
    "/unsure": ("Classical",),
    "/several": ("Pop/Rock",),
    "/none": (),
    "/own": ("My Favorites",),
    "/speech": ("Rock",),
}
ENTRIES = [
    entry("/agree", {"rock": 0.9, "jazz": 0.1}),
    entry("/style", {"rock": 0.8, "jazz": 0.2}),
    entry("/sure", {"rock": 0.7, "jazz": 0.3}),
    entry("/surer", {"rock": 0.95, "jazz": 0.05}),
    entry("/unsure", {"rock": 0.99, "classical": 0.01}, is_uncertain=True),
    entry("/several", {"pop": 0.6, "rock": 0.4}),
    entry("/none", {"rock": 1.0}),
    entry("/own", {"rock": 1.0}),
    entry("/speech", {"rock": 1.0}, not_music=True, is_uncertain=True, music=0.02),
    LibraryEntry(
        path="/failed", size=0, mtime_ns=0, model="m", model_name="m", error="audio_empty", message="no"
    ),
    entry("/absent", {"rock": 1.0}),
]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[TagComparison]:
    def read(path: str) -> tuple[str, ...]:
        if path not in TAGS:
            raise AudioError("audio_missing", f"{path}: no such file", "")
        return TAGS[path]

    monkeypatch.setattr("genrescope.library.tag_comparison.tagging.read_genres", read)
    return list(collection.compare_tags(ENTRIES))


@pytest.mark.parametrize(
    ("tag", "agrees", "differs"),
    [
        ("Progressive Death Metal", "metal", "jazz"),
        ("Country Rock", "rock", "jazz"),
        ("Classic Rock", "rock", "classical"),
        ("Folk Metal", "folk", "hiphop"),
    ],
)
def test_tags_are_read_as_in_an_audit(
    monkeypatch: pytest.MonkeyPatch, tag: str, agrees: str, differs: str
) -> None:
    monkeypatch.setattr("genrescope.tagging.read_genres", lambda path: (tag,))
    for genre, verdict in ((agrees, "agree"), (differs, "differ")):
        scores = {genre: 1.0, **dict.fromkeys({agrees, "rock", "metal"} - {genre}, 0.0)}
        (one,) = collection.compare_tags([entry("/a", scores)])
        assert one.verdict == verdict
        assert (tag_disagreement([tag], genre, 1.0, scores) is None) == (verdict == "agree")


def test_verdicts(compared: list[TagComparison]) -> None:
    assert {one.path: one.verdict for one in compared} == {
        "/agree": "agree", "/style": "agree", "/sure": "differ", "/surer": "differ", "/unsure": "differ",
        "/several": "agree", "/none": "untagged", "/own": "unknown", "/speech": "not music",
        "/failed": "failed", "/absent": "failed",
    }  # fmt: skip


def test_sure_answers_come_first_by_how_far_they_are_ahead(compared: list[TagComparison]) -> None:
    surprising = [one for one in collection.most_surprising(compared) if one.surprise]
    assert [one.path for one in surprising] == ["/speech", "/surer", "/sure", "/unsure"]
    assert surprising[1].surprise == pytest.approx(0.9)
    assert (surprising[1].score, surprising[1].tag_score) == (0.95, 0.05)


def test_agreement_by_genre_of_the_tags(compared: list[TagComparison]) -> None:
    found = {one.genre: one for one in collection.agreement_by_genre(compared)}
    assert (found["rock"].files, found["rock"].agree) == (3, 3)
    assert (found["jazz"].files, found["jazz"].agree, found["jazz"].instead) == (2, 0, {"rock": 2})
    assert (found["classical"].files, found["classical"].sure) == (1, 0)
    assert (found["pop"].files, found["pop"].agree) == (1, 1)
    assert collection.unknown_words(compared) == {"My Favorites": 1}


def test_rows_for_other_programs(compared: list[TagComparison]) -> None:
    stream = io.StringIO()
    collection.write_comparisons_csv(compared, stream)
    rows = {row["path"]: row for row in csv.DictReader(io.StringIO(stream.getvalue()))}
    assert rows["/surer"]["verdict"] == "differ"
    assert (rows["/several"]["tags"], rows["/several"]["tag_genres"]) == ("Pop/Rock", "pop; rock")
    assert rows["/absent"]["message"] == "/absent: no such file"
    assert json.loads(json.dumps(compared[0].to_dict()))["tags"] == ["Rock"]


def test_the_page(compared: list[TagComparison]) -> None:
    found = collection.most_surprising(compared)
    words = {"<b>My</b> Favorites": 1}
    page = tag_comparison_page(found, collection.agreement_by_genre(found), words, title="Tags")
    HTMLParser().feed(page)
    assert "11 files" in page
    assert page.index("/surer") < page.index("/unsure")
    assert "&lt;b&gt;My&lt;/b&gt; Favorites" in page
    assert tag_comparison_page([], [], {}, title="Tags")


def test_the_command(little_model: Path, forms: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    music = tmp_path / "music"
    music.mkdir()
    for name, genres in (("a", ["Hiss"]), ("b", ["Own Word"]), ("c", [])):
        shutil.copy(forms["flac"], music / f"{name}.flac")
        tagging.write_genres(music / f"{name}.flac", genres)
    database, runner = str(tmp_path / "library.db"), CliRunner()
    words = ["library", "scan", str(music), "--db", database, "--model", str(little_model), "--workers", "1"]
    assert runner.invoke(app, words).exit_code == 0
    with Library(database, read_only=True) as library:
        assert len(list(library.entries())) == 3

    def run(*options: str) -> tuple[str, str]:
        done = runner.invoke(app, ["library", "compare", "--db", database, *options], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout, done.stderr

    table, account = run()
    assert table.startswith("tags say")
    assert "hiss" in table
    numbers = [int(line.split()[0]) for line in account.splitlines()]
    assert numbers[0] == sum(numbers[1:]) == 3
    assert len(run("-f", "csv")[0].splitlines()) == 4
    assert {json.loads(line)["verdict"] for line in run("-f", "jsonl")[0].splitlines()} >= {
        "unknown",
        "untagged",
    }
    assert run("-o", str(tmp_path / "page.html"))[1].startswith("comparison: ")
    assert "Own Word" in (tmp_path / "page.html").read_text()
    run("-o", str(tmp_path / "rows.csv"))
    assert (tmp_path / "rows.csv").read_text().startswith("path,verdict,")
