"""The part of a scan that runs in worker processes: identify a file by its content, or analyze it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genrescope import audio, tagging
from genrescope.errors import GenrescopeError
from genrescope.inference import Classifier
from genrescope.library.records import LibraryEntry
from genrescope.tagging import AlbumTags
from genrescope.utils import sha256_file

Job = dict[str, Any]


def create_handler(model: str, *, excerpts: bool) -> Callable[[Job], Job]:
    """Open a model in a worker process, and return the function that does its jobs.

    Parameters
    ----------
    model : str
        A shipped name or a ``.onnx`` file.
    excerpts : bool
        Analyze excerpts of long tracks only.

    Returns
    -------
    callable
        A job is ``{"path", "size", "mtime_ns", "known"}``. The result holds the ``hash`` of the content
        and, unless that is among the ``known`` ones, the ``entry``: columns of a `LibraryEntry`, and the
        ``fingerprint`` of the sound, in base64, if there is one. Of a known one it holds ``album_tags``,
        which its entry may lack.
    """
    classifier = Classifier.from_pretrained(model)
    # Before the memory limit is set and the first job's time runs, see `genrescope.workers.process.run`.
    audio.import_decoders()
    tagging.import_readers()

    def analyze(job: Job) -> Job:
        # Hashing reads the file once, at the speed of the disk; to classify it takes far longer.
        digest = content_hash(Path(job["path"]))
        if digest is not None and digest in job["known"]:
            return {"hash": digest, "album_tags": _album_tags(job["path"])}
        entry, fingerprint = analyze_file(classifier, job, digest, excerpts)
        entry = entry.with_album_tags(_album_tags(job["path"]))
        packed = None if fingerprint is None else base64.b64encode(fingerprint).decode("ascii")
        return {"hash": digest, "entry": entry.to_columns(), "fingerprint": packed}

    return analyze


def _album_tags(path: str) -> AlbumTags | None:
    # A pipe or a device is not opened, as for its hash.
    return tagging.read_album_tags(path) if Path(path).is_file() else None


def content_hash(path: Path) -> str | None:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits; None for what cannot be read.

    Parameters
    ----------
    path : Path
        A pipe or a device is not even opened: reading it could block for ever.
    """
    try:
        return sha256_file(path) if path.is_file() else None
    except OSError:
        return None  # The decoder meets the same failure, and reports it with a reason.


def analyze_file(
    classifier: Classifier, job: Job, digest: str | None, excerpts: bool
) -> tuple[LibraryEntry, bytes | None]:
    """Classify a file; a file that cannot be classified gives an entry with the error.

    Parameters
    ----------
    classifier : Classifier
    job : dict
        ``path``, ``size`` in bytes and ``mtime_ns`` of the file.
    digest : str or None
        SHA-256 of its content.
    excerpts : bool
        Analyze excerpts of long tracks only.

    Returns
    -------
    entry : LibraryEntry
    fingerprint : bytes or None
        Of what was analyzed, as `Classifier.predict` gives it.
    """
    path, size, mtime_ns = job["path"], job["size"], job["mtime_ns"]
    sha256, name = classifier.model.sha256, classifier.model.name
    try:
        prediction = classifier.predict(path, timeline=True, excerpts=excerpts, fingerprint=True)
    except GenrescopeError as failure:
        failed = LibraryEntry.from_error(
            failure, path, size=size, mtime_ns=mtime_ns, hash=digest, model=sha256, model_name=name
        )
        return failed, None
    entry = LibraryEntry.from_prediction(prediction, size=size, mtime_ns=mtime_ns, hash=digest, model=sha256)
    return entry, prediction.fingerprint
