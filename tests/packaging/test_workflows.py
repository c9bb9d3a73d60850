"""The workflows of the code host run what was reviewed: their actions are pinned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WORKFLOWS = sorted((Path(__file__).parents[2] / ".github" / "workflows").glob("*.yml"))


def test_there_are_workflows() -> None:
    assert {path.stem for path in WORKFLOWS} >= {"ci", "docs", "release"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_the_hash_of_a_commit(path: Path) -> None:
    used = [line.strip() for line in path.read_text(encoding="utf8").splitlines() if "uses:" in line]
    assert used
    for line in used:
        assert re.fullmatch(r"(- )?uses: [\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_version_in_all_workflows() -> None:
    found = re.findall(r"uses: (\S+)@(\S+)", "".join(path.read_text(encoding="utf8") for path in WORKFLOWS))
    versions = dict(found)
    assert [(name, version) for name, version in found if version != versions[name]] == []
