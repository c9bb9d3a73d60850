"""SHA-256 of files, bytes and texts, in hexadecimal: what identifies content everywhere in this package."""

from __future__ import annotations

import hashlib
from io import BufferedReader
from pathlib import Path


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file.

    Parameters
    ----------
    path : Path
        A regular file; it is read in blocks, in bounded memory.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with path.open("rb") as stream:
        return sha256_stream(stream)


def sha256_stream(stream: BufferedReader) -> str:
    """Return the SHA-256 of an open file, from its first byte on.

    Parameters
    ----------
    stream : binary file, seekable
        Left at its end.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    stream.seek(0)
    return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    """Return the SHA-256 of bytes.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(content).hexdigest()


def sha256_text(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8.

    Parameters
    ----------
    text : str
        May hold surrogates that stand for bytes of a file name that is not UTF-8 (PEP 383).

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    try:
        return sha256_bytes(text.encode("utf8", "surrogateescape"))
    except UnicodeEncodeError:  # a name of Windows, in which half a character of UTF-16 may stand alone
        return sha256_bytes(text.encode("utf8", "surrogatepass"))
