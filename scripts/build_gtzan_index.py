"""Rebuild ``src/genrescope/datasets/data/gtzan.json`` from the shared research index of GTZAN.

    python scripts/build_gtzan_index.py ../shared/data/gtzan/tracks.csv

Artist names are used here to form groups and are not part of the package. The groups are stricter than the
published artist groups, which give 23 artists several groups on different folds (A Tribe Called Quest has
fourteen).
"""

from __future__ import annotations

import csv
import itertools
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

Row = dict[str, str]

TARGET = Path(__file__).resolve().parents[1] / "src" / "genrescope" / "datasets" / "data" / "gtzan.json"

ABOUT = {
    "name": "GTZAN",
    "tracks": "genre.00000 to genre.00099, in this order, in each string below",
    "groups": (
        "runs of group x tracks. One group per artist as the index credits them (spelling and punctuation "
        "aside; a joint credit is an artist of its own); where the artist is unknown, the published artist "
        "group, else the track itself; byte-identical tracks share a group"
    ),
    "folds": "the published artist-filtered 3 folds; - for the 52 tracks removed as replicas or distorted",
    "sides": "the published fault-filtered split: r train (443), v validation (197), t test (290), - removed",
    "replicas": "byte-identical tracks",
    "corrupt": "damaged in the copies that circulate",
    "citations": [
        "B. L. Sturm, The GTZAN dataset: Its contents, its faults, their effects on evaluation, and its "
        "future use, arXiv:1306.1461, 2013 (index of artists, replicas, distortions)",
        "C. Kereliuk, B. L. Sturm, J. Larsen, Deep Learning and Music Adversaries, IEEE Transactions on "
        "Multimedia 17(11), 2015 (fault-filtered split)",
        "J. H. Foleiss, T. F. Tavares, artist-filtered folds for GTZAN (artist groups, 3 folds)",
    ],
}

SIDES = {"train": "r", "valid": "v", "test": "t", "": "-"}


def read_rows(path: Path) -> list[Row]:
    """Return the index's rows in order of genre and number, checked to be 100 a genre."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["track"])
    genres = sorted({row["genre"] for row in rows})
    expected = [f"{genre}.{number:05d}" for genre in genres for number in range(100)]
    if [row["track"] for row in rows] != expected:
        raise SystemExit(f"{path}: not 100 numbered tracks for each of {len(genres)} genres")
    return rows


def artist(row: Row) -> str:
    """Return the artist of a track, or else its published group, or else the track itself."""
    name = re.sub(r"[\W_]+", " ", row["artist"].casefold().replace("&", " and ")).strip()
    published = f"group {row['artist_group']}" if row["artist_group"] else ""
    return name or published or row["track"]


def group_numbers(rows: list[Row]) -> list[int]:
    """Return one group per row, numbered by first appearance; replicas take their partners' group."""
    known = {row["track"]: artist(row) for row in rows}
    for pair in replica_sets(rows):
        merged = {known[track] for track in pair}
        known = {track: min(merged) if name in merged else name for track, name in known.items()}
    numbers: dict[str, int] = {}
    return [numbers.setdefault(known[row["track"]], len(numbers)) for row in rows]


def replica_sets(rows: list[Row]) -> list[list[str]]:
    """Return each set of byte-identical tracks once."""
    sets = {tuple(sorted([row["track"], *row["replica_of"].split()])) for row in rows if row["replica_of"]}
    return [list(tracks) for tracks in sorted(sets)]


def runs(numbers: Iterable[int]) -> str:
    """Write ``4 4 4 7`` as ``4x3 7x1``."""
    return " ".join(f"{number}x{len(list(run))}" for number, run in itertools.groupby(numbers))


def build(source: Path) -> str:
    """Return the text of the packaged index."""
    rows = read_rows(source)
    numbered = list(zip(rows, group_numbers(rows), strict=True))
    genres = {}
    for genre, members in itertools.groupby(numbered, key=lambda pair: pair[0]["genre"]):
        tracks = list(members)
        genres[genre] = {
            "groups": runs(number for _, number in tracks),
            "folds": "".join(row["fold"] or "-" for row, _ in tracks),
            "sides": "".join(SIDES[row["fault_filtered"]] for row, _ in tracks),
        }
    index = {"about": ABOUT, "genres": genres, "replicas": replica_sets(rows), "corrupt": ["jazz.00054"]}
    return json.dumps(index, indent=1) + "\n"


def main() -> None:
    """Write the index to a temporary file beside its target, then rename it."""
    if len(sys.argv) != 2:
        raise SystemExit("use: python scripts/build_gtzan_index.py TRACKS_CSV")
    draft = TARGET.with_suffix(".json.part")
    draft.write_text(build(Path(sys.argv[1])), encoding="utf-8")
    draft.replace(TARGET)


if __name__ == "__main__":
    main()
