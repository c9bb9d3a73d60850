"""The fingerprints of a library, read from its database one at a time: those of a million files take 3 GB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Lock

from genrescope.library.database import Database


class StoredFingerprints(Mapping[str, bytes]):
    """Packed fingerprints by the SHA-256 of the files' content; what is asked for is read then.

    Threads may share it, while the library that it is of stays open and is not used otherwise.

    Parameters
    ----------
    database : Database
        Of the library.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = Lock()

    def __getitem__(self, content: str) -> bytes:
        with self._lock:
            found = self._database.fingerprint(content)
        if found is None:
            raise KeyError(content)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._database.fingerprinted())

    def __len__(self) -> int:
        return len(self._database.fingerprinted())
