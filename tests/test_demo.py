"""The demo music: the default model answers it as its page says, and surely."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genrescope import Classifier

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "demo_music"
ROWS = re.findall(
    r"^\| `(.+?)` \|.*\| ([^|]+) \|$", (FOLDER / "README.md").read_text(encoding="utf8"), re.MULTILINE
)


def test_every_file_has_its_license_on_the_page() -> None:
    assert sorted(name for name, _ in ROWS) == sorted(file.name for file in (FOLDER / "music").iterdir())


@pytest.mark.parametrize(("name", "genre"), ROWS)
def test_the_answer_is_right_and_sure(name: str, genre: str) -> None:
    found = Classifier.from_pretrained().predict(FOLDER / "music" / name)
    if genre == "not music":
        assert not found.is_music
        assert found.answer is None
    else:
        assert found.genre == genre
        assert not found.is_uncertain
        # So far above the threshold that another processor gives the same answer.
        assert found.threshold is not None
        assert found.confidence > found.threshold + 0.01
