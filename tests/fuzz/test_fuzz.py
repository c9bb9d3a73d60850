"""300 damaged files give finite numbers or a typed error. Any number by hand: ``tests/fuzz/run.py``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from fuzz.harness import BandModel, Outcome, broken, check, damaged_file
from fuzz.run import Share
from fuzz.seeds import seeds
from genrescope import Classifier
from genrescope.errors import OUTCOMES

COUNT = 300
PARTS = 6


@cache
def files() -> dict[str, bytes]:
    return seeds()


def test_there_are_many_formats_and_each_is_classified_in_both_modes(tmp_path: Path) -> None:
    classifier = Classifier(BandModel())
    assert len(files()) >= 25
    for name, content in files().items():
        (tmp_path / name).write_bytes(content)
        for excerpts in (False, True):
            assert classifier.predict(tmp_path / name, excerpts=excerpts).seconds > 7, name


# A header may send libsndfile to a place before the file; soundfile then reports the refused seek aside.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_files_are_answered_or_refused(part: int, tmp_path: Path) -> None:
    classifier = Classifier(BandModel())
    outcomes = [
        check(classifier, files(), 0, number, tmp_path / "audio") for number in range(part, COUNT, PARTS)
    ]
    assert [outcome.to_dict() for outcome in broken(outcomes)] == []
    reached = {what for outcome in outcomes for what in outcome.modes.values()}
    assert "answered" in reached
    assert reached <= {"answered", *OUTCOMES}


def test_a_file_is_determined_by_seed_and_number() -> None:
    assert damaged_file(files(), 3, 17) == damaged_file(files(), 3, 17)
    assert damaged_file(files(), 3, 17) != damaged_file(files(), 4, 17)


def test_every_file_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        def is_alive(self) -> bool:
            return False

        kill = join = lambda self: None

    def start(share: Share) -> Ended:
        rows = [row for number in (4, 6) for row in ({"begun": number}, Outcome(number, "wav").to_dict())]
        share.log.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return Ended()

    monkeypatch.setattr(Share, "_start", start)
    share = Share(tmp_path / "log", "bands", 0, [4, 6])
    # It is asked again and again until the other workers have ended too.
    assert all(share.is_done() for _ in range(3))
    assert [outcome.number for outcome in share.outcomes] == [4, 6]


def test_excerpts_are_slow_relative_to_the_whole_file() -> None:
    assert Outcome(0, "wav", {}, {"full": 0.2, "excerpts": 0.8}).is_slow
    assert not Outcome(0, "wav", {}, {"full": 0.01, "excerpts": 0.2}).is_slow
