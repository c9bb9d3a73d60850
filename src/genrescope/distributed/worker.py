"""The work of the worker processes of an actor: open a file wherever it lies, and classify it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genrescope import audio, models, tagging
from genrescope.distributed.scoring import RemoteScorer
from genrescope.distributed.storage import StorageOptions, is_remote, local_path, open_remote
from genrescope.errors import DeviceError, GenrescopeError
from genrescope.inference import Classifier
from genrescope.library import LibraryEntry
from genrescope.utils import sha256_file

Job = dict[str, Any]


def create_handler(
    model: str,
    *,
    excerpts: bool = False,
    strict: bool = False,
    threshold: float | None = None,
    storage_options: StorageOptions | None = None,
    scoring: dict[str, Any] | None = None,
) -> Callable[[Job], Job]:
    """Open a model in a worker process, and return the function that does its jobs.

    Parameters
    ----------
    model : str
        A shipped name or a ``.onnx`` file.
    excerpts, strict : bool
        As of `genrescope.inference.Classifier.predict`.
    threshold : float, optional
        As of `genrescope.inference.Classifier`.
    storage_options : mapping, optional
        For the file systems of remote files.
    scoring : dict, optional
        As of `genrescope.distributed.scoring.ScoringServer.address`: the actor scores, and not this process.

    Returns
    -------
    callable
        A job is ``{"path"}``, a local path or an address; an empty job has an empty result. The result
        holds ``entry``, the columns of a `LibraryEntry`, and ``traffic``: bytes and requests, of a remote
        file.
    """
    opened = models.load_model(model)
    scorer = RemoteScorer(opened, **scoring) if scoring else None
    classifier = Classifier(opened, threshold=threshold, scorer=scorer)
    # Before the memory limit is set and the first job's time runs, see `genrescope.workers.process.run`.
    audio.import_decoders()
    tagging.import_readers()

    def predict(source: audio.Source, path: str, **file: Any) -> LibraryEntry:
        try:
            prediction = classifier.predict(source, timeline=True, excerpts=excerpts, strict=strict)
        except DeviceError:
            raise  # of the machine, and not of this file
        except GenrescopeError as failure:
            sha256, name = classifier.model.sha256, classifier.model.name
            return LibraryEntry.from_error(failure, path, model=sha256, model_name=name, **file)
        return LibraryEntry.from_prediction(prediction, model=classifier.model.sha256, **file)

    def classify_local(path: str) -> Job:
        # Read once for its hash, at the speed of the disk, as by a scan of a library.
        regular = Path(path).is_file()
        found = next(iter(audio.discover([path])), None) if regular else None
        file = {
            "size": found.size if found else 0,
            "mtime_ns": found.mtime_ns if found else 0,
            "hash": _content_hash(path) if regular else None,
        }
        entry = predict(path, path, **file)
        if regular:
            entry = entry.with_album_tags(tagging.read_album_tags(path))
        return {"entry": entry.to_columns()}

    def classify_remote(uri: str) -> Job:
        try:
            remote = open_remote(uri, storage_options)
        except GenrescopeError as failure:
            model_sha256, name = classifier.model.sha256, classifier.model.name
            entry = LibraryEntry.from_error(
                failure, uri, size=0, mtime_ns=0, hash=None, model=model_sha256, model_name=name
            )
            return {"entry": entry.to_columns(), "traffic": [0, 1]}
        # No hash, since only some of the bytes are fetched.
        entry = predict(remote.reader, uri, size=remote.size, mtime_ns=remote.mtime_ns, hash=None)  # type: ignore[arg-type]
        # One more request told size and time.
        return {
            "entry": entry.to_columns(),
            "traffic": [remote.reader.bytes_read, remote.reader.requests + 1],
        }

    def classify(job: Job) -> Job:
        if not job:
            return {}
        path = job["path"]
        return classify_remote(path) if is_remote(path) else classify_local(local_path(path))

    return classify


def _content_hash(path: str) -> str | None:
    try:
        return sha256_file(Path(path))
    except OSError:
        return None  # The decoder meets the same failure, and reports it with a reason.


def path_of(value: str | bytes) -> str:
    """Return a path as Python has it, of text or bytes in a table.

    Parameters
    ----------
    value : str or bytes
        Bytes, where a path need not be UTF-8.
    """
    return os.fsdecode(value) if isinstance(value, bytes) else value
