"""GTZAN's index: equal to its sources, and to the output of the script."""

from __future__ import annotations

import csv
import runpy
from collections import Counter
from pathlib import Path

import pytest

from genrescope.datasets.gtzan import load_index
from genrescope.utils import package_data

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "build_gtzan_index.py"


def test_counts_are_the_published_ones() -> None:
    known = load_index()
    assert Counter(known.fault_filtered.values()) == {"train": 443, "validation": 197, "test": 290}
    assert Counter(known.folds.values()) == {"1": 315, "2": 316, "3": 317}
    assert len(known.groups) == 1000
    assert len(known.replicas) == 28
    assert len(known.citations) == 3


def test_the_published_split_divides_no_group() -> None:
    known = load_index()
    sides: dict[str, set[str]] = {}
    for track, side in known.fault_filtered.items():
        sides.setdefault(known.groups[track], set()).add(side)
    assert all(len(found) == 1 for found in sides.values())


def test_replicas_share_a_group() -> None:
    known = load_index()
    assert all(known.replicas[other] == track for track, other in known.replicas.items())
    assert all(known.groups[track] == known.groups[other] for track, other in known.replicas.items())


@pytest.mark.parametrize(
    ("name", "track"),
    [
        ("rock.00007", "rock.00007"),
        ("rock.00007.3", "rock.00007"),
        ("rock.00007.x", None),
        ("rock.00100", None),
        ("rock", None),
    ],
)
def test_track_of(name: str, track: str | None) -> None:
    assert load_index().canonical_id(name) == track


def test_the_script_rebuilds_what_is_shipped(gtzan: Path) -> None:
    build = runpy.run_path(str(SCRIPT))["build"]
    shipped = package_data("datasets", "gtzan.json").read_text(encoding="utf-8")
    assert build(gtzan / "tracks.csv") == shipped
    assert len(shipped) < 15_000


def test_groups_are_artists(gtzan: Path) -> None:
    with (gtzan / "tracks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    known = load_index()
    for column in ("artist", "replica_of"):
        groups: dict[str, set[str]] = {}
        for row in rows:
            if row[column]:
                groups.setdefault(row[column], set()).add(known.groups[row["track"]])
        assert all(len(found) == 1 for found in groups.values()), column
    bob_marley = {known.groups[row["track"]] for row in rows if row["artist"] == "Bob Marley"}
    assert {row["artist"] for row in rows if known.groups[row["track"]] in bob_marley} == {"Bob Marley"}
