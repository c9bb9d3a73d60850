"""Short digests that tell whether a track, its content or its artist was in a model's training.

Model files keep lists of them, see `genrescope.models.TRAINING_TRACKS`. All are the first digits of a
SHA-256, so that neither paths nor names stand in a model file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from genrescope.datasets import tables
from genrescope.errors import DataError
from genrescope.types import Track
from genrescope.utils import sha256_file, sha256_text

# 40 bits: in a list of a million tracks, one that is not of it is found by mistake once in a million.
DIGEST_DIGITS = 10
_IDENTIFYING_COLUMNS = 8
# Names of folders, and entries of CSV files, that stand for many artists or for none.
_NO_ARTIST = re.compile(
    r"(various|unknown|no|untitled|other|misc|miscellaneous)(artists?)?|va|(cd|dis[ck]|vol|volume|part|side)?\d*"
)
# "The Beatles", and as in sorted lists "Beatles, The"; not "Theory", nor a band called "The".
_ARTICLE = re.compile(r"^the[\W_]+(?=.*\w)|,\s*the\s*$")


def track_digest(track: str) -> str:
    """Return a short digest of a track's id: enough to find it in a list of tracks trained on.

    Parameters
    ----------
    track : str
        The id.

    Returns
    -------
    str
        10 hexadecimal digits.
    """
    return _shortened(sha256_text(track))


def artist_digest(name: str) -> str | None:
    """Return a short digest of an artist's name.

    Case, accents, spaces, punctuation and a leading "the" make no difference.

    Parameters
    ----------
    name : str
        As in a tag, a CSV or the name of a folder.

    Returns
    -------
    str or None
        10 hexadecimal digits; None for names that stand for no artist: "various artists", "unknown", "CD 1".
    """
    # NFKD divides accented letters into letter and accent, and the accent is no letter.
    folded = _ARTICLE.sub("", unicodedata.normalize("NFKD", name).casefold().strip())
    letters = "".join(letter for letter in folded if letter.isalnum())
    return None if _NO_ARTIST.fullmatch(letters) else _shortened(sha256_text(letters))


def artist_digests(tracks: Sequence[Track]) -> dict[str, str]:
    """Return digests of the artists of tracks.

    Parameters
    ----------
    tracks : sequence of Track
        All of one data set, or a part of it.

    Returns
    -------
    dict
        Digest by id, of the tracks whose group is an artist. It is none where it is the id of a track, which
        is the group of tracks whose artist is unknown, and of copies of such a track.
    """
    ids = {track.id for track in tracks}
    digests = {track.id: artist_digest(track.group) for track in tracks if track.group not in ids}
    return {track: digest for track, digest in digests.items() if digest is not None}


def content_digests(tracks: Sequence[Track]) -> dict[str, str]:
    """Return digests of what the files of tracks hold, which stays when they are renamed, moved or copied.

    Parameters
    ----------
    tracks : sequence of Track
        Files are digested whole. Of a row of a table, the paper's means are, to six digits: spreadsheets
        round numbers, and reorder or drop columns. Of a table of other features all values are, if it has
        at least eight columns: fewer can agree by chance, as tempos do.

    Returns
    -------
    dict
        Digest by id; a track whose file can no longer be read has none.
    """
    digests = _row_digests({track.path for track in tracks if track.kind == "table"})
    found = {}
    for track in tracks:
        digest = digests.get(track.path, {}).get(track.id) if track.kind == "table" else _file(track.path)
        if digest is not None:
            found[track.id] = digest
    return found


def _shortened(sha256: str) -> str:
    return sha256[:DIGEST_DIGITS]


def _file(path: Path) -> str | None:
    try:
        return _shortened(sha256_file(path))
    except OSError:
        return None


def _row_digests(paths: set[Path]) -> dict[Path, dict[str, str]]:
    """Return the digests of the rows of tables, by table and id."""
    digests = {}
    for path in paths:
        try:
            table = tables.read_table(path)
        except DataError:
            continue
        try:
            values = tables.paper_means(table)
        except DataError:  # a table of other features
            values = table.values
            if len(table.columns) < _IDENTIFYING_COLUMNS:
                continue
        digests[path] = {
            name: _shortened(sha256_text(" ".join(f"{value:.6g}" for value in row)))
            for name, row in zip(table.tracks, values, strict=True)
        }
    return digests
