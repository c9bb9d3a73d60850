"""Every way in which genrescope fails: a code, a message, and what to do next.

One table, ``OUTCOMES``, says what each code means for a shell (exit status) and for HTTP (status).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Outcome(NamedTuple):
    """What a failure means outside Python.

    Attributes
    ----------
    exit_status : int
        Of a command: 1 where some input failed, 2 where the request itself cannot be met.
    http_status : int
        Of a response.
    """

    exit_status: int
    http_status: int


OUTCOMES: dict[str, Outcome] = {
    # A piece of audio that cannot be used; other pieces still can.
    "audio_missing": Outcome(1, 404),
    "audio_is_directory": Outcome(1, 400),
    "audio_permission_denied": Outcome(1, 403),
    "audio_empty": Outcome(1, 422),
    "audio_unreadable": Outcome(1, 415),
    # The system failed to read it, which may pass.
    "audio_read_failed": Outcome(1, 500),
    "audio_no_samples": Outcome(1, 422),
    "audio_too_short": Outcome(1, 422),
    "audio_not_finite": Outcome(1, 422),
    "audio_out_of_range": Outcome(1, 422),
    "audio_silent": Outcome(1, 422),
    "audio_truncated": Outcome(1, 422),
    # What a worker process could not do with a piece of audio.
    "worker_crashed": Outcome(1, 422),
    "timeout": Outcome(1, 422),
    "memory_limit": Outcome(1, 413),
    "audio_too_long": Outcome(1, 413),
    # Tags in an audio file.
    "tags_unsupported": Outcome(1, 415),
    "tags_corrupt": Outcome(1, 422),
    "tags_not_representable": Outcome(1, 422),
    "file_changed": Outcome(1, 409),
    # A data set, or what was asked of it.
    "dataset_not_found": Outcome(2, 404),
    "dataset_invalid": Outcome(2, 422),
    "dataset_empty": Outcome(2, 422),
    "dataset_too_small": Outcome(2, 422),
    # The library, as a whole or one row of it.
    "library_locked": Outcome(1, 503),
    "library_corrupt": Outcome(1, 422),
    # Settings, names and options.
    "invalid_argument": Outcome(2, 400),
    "invalid_config": Outcome(2, 400),
    # Model files.
    "model_not_found": Outcome(2, 404),
    "model_incompatible": Outcome(2, 422),
    "model_corrupt": Outcome(2, 422),
    "model_export_failed": Outcome(1, 500),
    "model_output_invalid": Outcome(1, 500),
    # Libraries, disk, network, training, workers and server.
    "missing_dependency": Outcome(2, 501),
    "write_failed": Outcome(1, 507),
    "download_failed": Outcome(1, 502),
    "upload_failed": Outcome(1, 502),
    "training_failed": Outcome(1, 500),
    "worker_failed": Outcome(1, 500),
    "overloaded": Outcome(1, 503),
    # A cluster, and the storage that it reads from and writes to.
    "cluster_unreachable": Outcome(2, 503),
    "cluster_failed": Outcome(1, 500),
    "storage_unreachable": Outcome(2, 502),
    "storage_permission_denied": Outcome(2, 403),
    # The web service, and what is asked of it.
    "bind_failed": Outcome(1, 500),
    "request_malformed": Outcome(1, 400),
    "request_timeout": Outcome(1, 408),
    "host_not_allowed": Outcome(1, 421),
    "cross_site_request": Outcome(1, 403),
    "upload_malformed": Outcome(1, 400),
    "upload_too_large": Outcome(1, 413),
    "upload_timeout": Outcome(1, 408),
    "unauthorized": Outcome(1, 401),
    "too_many_requests": Outcome(1, 429),
    "not_found": Outcome(1, 404),
    "method_not_allowed": Outcome(1, 405),
}


# Errors of one file: they are returned to the client or in the file's row, and other files are processed.
FILE_CODES = frozenset(
    [code for code in OUTCOMES if code.startswith("audio_")]
    + ["model_output_invalid", "worker_crashed", "timeout", "memory_limit"]
)


class GenrescopeError(Exception):
    """A failure that a person can act on.

    Parameters
    ----------
    code : str
        A key of ``OUTCOMES``.
    message : str
        What happened, and where.
    hint : str
        What to do next.
    """

    def __init__(self, code: str, message: str, hint: str) -> None:
        if code not in OUTCOMES:
            raise KeyError(f"unknown error code {code!r}")
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[GenrescopeError], tuple[str, str, str]]:
        """Return how a copy is made; an exception's default would pass on the message alone."""
        return type(self), (self.code, self.message, self.hint)

    @property
    def outcome(self) -> Outcome:
        """Exit status and HTTP status of this failure."""
        return OUTCOMES[self.code]

    def to_dict(self) -> dict[str, str]:
        """Return the failure as the ``error`` field of a result row."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class AudioError(GenrescopeError):
    """A file or buffer that cannot be classified."""


class TagError(GenrescopeError):
    """A file whose tags cannot be read, or cannot hold what they should."""


class DataError(GenrescopeError):
    """A data set that cannot be read, or cannot be split as asked."""


class LibraryError(GenrescopeError):
    """A library, or a row of it, that cannot be used: ``library_locked``, ``library_corrupt``."""


class ConfigError(GenrescopeError):
    """A setting that does not exist or does not make sense."""


class ModelError(GenrescopeError):
    """A model file that cannot be found, trusted or written."""


class MissingDependencyError(GenrescopeError):
    """An optional library that is not installed, or does not load: ``missing_dependency``."""


class WriteError(GenrescopeError):
    """A file that cannot be written: ``write_failed``, or ``file_changed`` by another program meanwhile."""


class DownloadError(GenrescopeError):
    """A file that cannot be fetched from the network: ``download_failed``."""


class UploadError(GenrescopeError):
    """A model that cannot be uploaded: ``upload_failed``."""


class ServerError(GenrescopeError):
    """A web server that cannot start: ``bind_failed``."""


class WorkerError(GenrescopeError):
    """A worker process that cannot do its work.

    ``worker_failed`` and ``overloaded`` concern the pool; ``worker_crashed``, ``timeout`` and
    ``memory_limit`` concern one task.
    """


class ClusterError(GenrescopeError):
    """A cluster that cannot be reached, or ended the work: ``cluster_unreachable``, ``cluster_failed``."""


class StorageError(GenrescopeError):
    """Storage that cannot be used: ``storage_unreachable``, ``storage_permission_denied``."""


def missing_extra(extra: str, package: str) -> MissingDependencyError:
    """Build the error for an optional dependency that is not installed.

    Parameters
    ----------
    extra : str
        The extra of genrescope that brings it, such as ``train``.
    package : str
        Name of the missing library.

    Returns
    -------
    MissingDependencyError
        To be raised by the caller.
    """
    return MissingDependencyError(
        "missing_dependency",
        f"this needs the package {package!r}, which is not installed",
        f"pip install 'genrescope[{extra}]'",
    )


def write_failed(path: Path, reason: OSError) -> WriteError:
    """Build the error for a file that could not be written, whole or at all.

    Parameters
    ----------
    path : Path
        The file.
    reason : OSError
        What the system said.

    Returns
    -------
    WriteError
        To be raised by the caller.
    """
    return WriteError(
        "write_failed",
        f"{path}: cannot be written: {reason.strerror or reason}",
        "free some space or choose another folder; nothing half-written was left behind",
    )
