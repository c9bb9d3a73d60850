#!/usr/bin/env python3
"""Write genres into damaged audio files, and check that nothing else changes. Usage: fuzz_tags.py COUNT [SEED]

Each file is one of the tests' tagged files with some bytes changed. Writing must keep all other tags, or refuse
with a typed error and leave the file; undoing must bring back all bytes; no other exception may come out.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from random import Random

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("src", "tests")]

from genrescope.errors import GenrescopeError
from genrescope.tagging import read_genres, undo, write_genres
from helpers import crafted, raw_tags, tagged

REFUSALS = {"tags_corrupt", "tags_unsupported"}
LONG = ["long" * 400]
GENRES = (["Rock", "Hip Hop", "Æther"], ["Jazz"], [], LONG)
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\x80\0\0\0", b"\1\0\0\0")


def mutated(content: bytes, random: Random) -> bytes:
    """Return a file with one to four changes, most of them where tags are."""
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        size = len(data)
        place = random.randrange(max(size, 1))
        if random.random() < 0.8:
            near = random.randrange(min(size, 3000) or 1)
            place = near if random.random() < 0.7 else max(size - 1 - near, 0)
        length = random.choice((1, 2, 4, 8, 30, 300))
        match random.randrange(8):
            case 0:
                data[place : place + 1] = bytes([random.randrange(256)])
            case 1 if size:
                data[place % size] ^= 1 << random.randrange(8)
            case 2:
                data[place : place + 4] = random.choice(EXTREMES)
            case 3:
                del data[place : place + length]
            case 4:
                data[place:place] = random.randbytes(length)
            case 5:
                data[place:place] = data[max(0, place - length) : place]
            case 6:
                data[place : place + length] = bytes(length)
            case 7 if random.random() < 0.3:
                del data[place:]
    return bytes(data)


def check(path: Path, content: bytes, genres: list[str]) -> str:
    """Return what became of one file; raise where a promise is broken."""
    path.write_bytes(content)
    try:
        change = write_genres(path, genres)
    except GenrescopeError as failure:
        assert failure.code in REFUSALS, failure
        assert path.read_bytes() == content, "a refused file was changed"
        return failure.code
    finally:
        assert [*path.parent.iterdir()] == [path], "something was left behind"
    after = path.read_bytes()
    assert read_genres(path) == tuple(genres)
    assert undo(change).status in ("restored", "unchanged")
    assert path.read_bytes() == content, "the old bytes did not come back"
    try:
        before = raw_tags.entries(content)
    except Exception:
        return "written, too damaged to compare"
    # A file that has no ID3v2 tag gets one, which repeats what its ID3v1 tag says.
    kept = (
        raw_tags.entries(after)[-1:] if [name for name, _ in before] == ["sound"] else raw_tags.entries(after)
    )
    assert kept == before, "other tags changed"
    return "written"


def main(count: int, seed: int = 0) -> int:
    """Check ``count`` files, and print what became of them; return the number of broken promises."""
    random = Random(seed)
    found: Counter[str] = Counter()
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        forms = {form: tagged.write(Path(folder), form) for form in tagged.FORMS}
        plain = {form: path.read_bytes() for form, path in forms.items()}
        seeds = {form: (content, forms[form].suffix) for form, content in plain.items()}
        for name, (form, change) in crafted.recipes().items():
            seeds[name] = change(plain[form]), forms[form].suffix
        names = sorted(seeds)
        for number in range(count):
            name = names[number % len(names)]
            content, suffix = seeds[name]
            data, genres = mutated(content, random), random.choice(GENRES)
            with tempfile.TemporaryDirectory() as own:
                try:
                    found[check(Path(own, f"song{suffix}"), data, genres)] += 1
                except Exception:
                    broken += 1
                    kept = Path(tempfile.gettempdir(), f"fuzz_tags_{seed}_{number}{suffix}")
                    kept.write_bytes(data)
                    print(
                        f"{name}: {genres!r:.40}: {kept}",
                        *traceback.format_exc().splitlines()[-3:],
                        sep="\n    ",
                    )
    print(
        f"{count} files, {broken} broken promises;",
        ", ".join(f"{n} {what}" for what, n in found.most_common()),
    )
    return broken


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))
