"""Write genres into damaged audio files, and check that nothing else changes.

By hand, any number of files: ``PYTHONPATH=src:tests python -m helpers.tag_fuzzer COUNT [SEED]``.

Each file is one of the tests' tagged files with some bytes changed. Writing must keep all other tags, or
refuse with a typed error and leave the file; undo must restore all bytes; no other exception may come out.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from genrescope.errors import GenrescopeError
from genrescope.tagging import read_genres, undo, write_genres
from helpers import raw_tags, tagged_files, unusual_tags

REFUSALS = {"tags_corrupt", "tags_unsupported"}
LONG = ["long" * 400]
GENRES = (["Rock", "Hip Hop", "Æther"], ["Jazz"], [], LONG)
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\x80\0\0\0", b"\1\0\0\0")


def mutated(content: bytes, random: Random) -> bytes:
    """Return a file with one to four changes, most of them where tags are."""
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        _change(data, random)
    return bytes(data)


def _change(data: bytearray, random: Random) -> None:
    size = len(data)
    place = random.randrange(max(size, 1))
    if random.random() < 0.8:
        near = random.randrange(min(size, 3000) or 1)
        place = near if random.random() < 0.7 else max(size - 1 - near, 0)
    length = random.choice((1, 2, 4, 8, 30, 300))
    removed, added = random.choice(
        [
            (1, bytes([random.randrange(256)])),
            (1, bytes([data[place] ^ 1 << random.randrange(8)]) if size else b""),
            (4, random.choice(EXTREMES)),
            (length, b""),
            (0, random.randbytes(length)),
            (0, bytes(data[max(0, place - length) : place])),
            (length, bytes(length)),
            (size if random.random() < 0.3 else 0, b""),
        ]
    )
    data[place : place + removed] = added


def check(path: Path, content: bytes, genres: list[str]) -> str:
    """Return what became of one file; raise where a promise is broken."""
    path.write_bytes(content)
    try:
        change = write_genres(path, genres)
    except GenrescopeError as failure:
        if failure.code not in REFUSALS:
            raise
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


def seeds() -> dict[str, tuple[str, bytes]]:
    """Return suffix and content of sound files in all formats, by name."""
    with tempfile.TemporaryDirectory() as folder:
        forms = {form: tagged_files.write(Path(folder), form) for form in tagged_files.FORMS}
        plain = {form: (path.suffix, path.read_bytes()) for form, path in forms.items()}
    made = {
        name: (plain[form][0], make(plain[form][1])) for name, (form, make) in unusual_tags.recipes().items()
    }
    return plain | made


def run(count: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Check ``count`` files; return how often each outcome came, and what broke a promise."""
    random, outcomes, broken = Random(seed), Counter[str](), []
    files = sorted(seeds().items())
    random.shuffle(files)
    for number in range(count):
        name, (suffix, content) = files[number % len(files)]
        data, genres = mutated(content, random), random.choice(GENRES)
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcomes[check(Path(folder, f"song{suffix}"), data, genres)] += 1
            except Exception:
                broken.append(f"{number} of seed {seed}: {name}, {genres!r:.40}: {traceback.format_exc()}")
    return outcomes, broken


if __name__ == "__main__":
    outcomes, broken = run(*map(int, sys.argv[1:]))
    print(*broken, sep="\n")
    print(f"{len(broken)} broken promises;", ", ".join(f"{n} {what}" for what, n in outcomes.most_common()))
    sys.exit(bool(broken))
