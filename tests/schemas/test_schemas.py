"""The schemas describe what is really printed and written, and nothing else."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from genrescope import experiments
from genrescope.cli import app
from genrescope.datasets import load_dataset
from genrescope.errors import ConfigError
from genrescope.reporting import write_comparison
from genrescope.schemas import SCHEMAS, load_schema
from genrescope.training import load_config, train
from helpers.small_data import LITTLE

ROOT = Path(__file__).resolve().parents[2]


def check(name: str, value: Any) -> None:
    schema = load_schema(name)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    validator.validate(value)
    # What it describes is all required: a row without one of its keys is another version.
    if isinstance(value, dict):
        for key in schema.get("required", ()):
            assert not validator.is_valid({other: one for other, one in value.items() if other != key})


def printed(*arguments: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == status, result.output
    return result.stdout


def rows(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_files_are_those_that_the_script_writes() -> None:
    pytest.importorskip("pydantic")
    for name, text in runpy.run_path(str(ROOT / "scripts" / "write_schemas.py"))["texts"]().items():
        assert json.loads(text) == load_schema(name), "run scripts/write_schemas.py"


def test_rows_of_classify_and_of_a_library(little_music: Path, little_model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp3"
    damaged.write_bytes(b"no music")
    song = next(little_music.rglob("*.wav"))
    for model in (little_model, "default"):
        found = rows(printed("classify", song, damaged, "-m", model, "--timeline", "-f", "jsonl", status=1))
        assert [set(row) >= {"timeline"} for row in found] == [True, False]
        for row in found:
            check("classify", row)
    database = tmp_path / "library.db"
    printed("library", "scan", little_music, damaged, "-m", little_model, "--db", database, status=1)
    listed = rows(printed("library", "list", "--db", database, "-f", "jsonl"))
    assert len(listed) == 25
    for row in listed:
        check("classify", row)


def test_rows_of_cue_sheets_and_of_tags_beside_answers(
    little_music: Path, little_model: Path, tmp_path: Path
) -> None:
    sheet, song = tmp_path / "a.cue", next(little_music.rglob("*.wav"))
    sheet.write_text(f'FILE "{song}" WAVE\nTRACK 01 AUDIO\nTITLE "One"\nINDEX 01 00:00:00\n')
    (row,) = rows(printed("classify", sheet, "-m", little_model, "-f", "jsonl"))
    assert row["title"] == "One"
    check("classify", row)
    database = tmp_path / "library.db"
    printed("library", "scan", song.parent, "-m", little_model, "--db", database)
    compared = rows(printed("library", "compare", "--db", database, "-f", "jsonl"))
    assert compared
    for row in compared:
        check("tag-comparison", row)


def test_lines_of_progress(little_music: Path, little_model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp3"
    damaged.write_bytes(b"no music")
    commands = (
        ["classify", little_music, damaged, "-m", little_model],
        ["library", "scan", little_music, damaged, "-m", little_model, "--db", tmp_path / "library.db"],
    )
    for command in commands:
        shown = CliRunner().invoke(app, [*map(str, command), "--progress", "json"])
        lines = rows(shown.stderr)
        for line in lines:
            check("progress", line)
        assert [line["finished"] for line in lines] == [False] * (len(lines) - 1) + [True]
        assert (lines[-1]["done"], lines[-1]["total"], lines[-1]["failed"]) == (25, 25, 1)


def test_quiet_commands_print_results_alone(little_music: Path, little_model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    command = ["classify", little_music, "-m", little_model, "--quiet", "--report", page]
    shown = CliRunner().invoke(app, [*map(str, command), "--format", "jsonl"])
    assert (len(rows(shown.stdout)), shown.stderr) == (24, "")
    assert page.exists()
    command = [
        "library",
        "scan",
        little_music,
        "-m",
        little_model,
        "--quiet",
        "--db",
        tmp_path / "library.db",
    ]
    shown = CliRunner().invoke(app, [*map(str, command)])
    assert (shown.stdout, shown.stderr, shown.exit_code) == ("", "", 0)


def test_rows_of_albums(little_music: Path, little_model: Path, tmp_path: Path) -> None:
    database = tmp_path / "library.db"
    printed("library", "scan", little_music, "-m", little_model, "--db", database)
    albums = rows(printed("library", "albums", "--db", database, "-f", "jsonl"))
    assert albums
    for row in albums:
        check("album", row)


def test_findings_of_an_audit(little_music: Path, tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "damaged.mp3").write_bytes(b"no music")
    for name in ("one.wav", "two.wav"):
        (tmp_path / "music" / name).write_bytes(next(little_music.rglob("*.wav")).read_bytes())
    output = tmp_path / "findings.json"
    printed("audit", tmp_path / "music", "--unlabeled", "-o", output, "--journal", tmp_path / "journal")
    report = json.loads(output.read_text())
    assert {"unreadable", "byte_identical"} <= {one["kind"] for one in report["findings"]}
    check("audit", report)


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_files_of_a_training_run(task: str, little_music: Path, tmp_path: Path) -> None:
    settings = load_config("logistic-regression", [*LITTLE, f"data.task={task}", "split.folds=4"])
    run = train(load_dataset(little_music, task=task), settings, tmp_path / "run")
    check("evaluation", json.loads((run.folder / "evaluation.json").read_text()))
    check("predictions", json.loads((run.folder / "predictions.json").read_text()))


def test_the_report_of_a_comparison(little_music: Path, tmp_path: Path) -> None:
    report = experiments.compare_models(
        little_music,
        ["logistic-regression", "svm"],
        tmp_path / "comparison",
        protocols=["artist-grouped"],
        seeds=2,
        overrides=[*LITTLE],
    )
    check("comparison", json.loads(write_comparison(report, tmp_path / "comparison").json.read_text()))


def test_the_command_lists_and_prints_them() -> None:
    assert {line.split()[0] for line in printed("schema").splitlines()} == set(SCHEMAS)
    for name in SCHEMAS:
        assert json.loads(printed("schema", name)) == load_schema(name)
    with pytest.raises(ConfigError, match="no schema is named"):
        load_schema("nothing")
