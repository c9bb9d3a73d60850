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
    meaning : str
        What the code says, in a sentence.
    """

    exit_status: int
    http_status: int
    meaning: str


OUTCOMES: dict[str, Outcome] = {
    # A piece of audio that cannot be used; other pieces still can.
    "audio_missing": Outcome(1, 404, "No file is at this path."),
    "audio_is_directory": Outcome(1, 400, "The path is a folder."),
    "audio_permission_denied": Outcome(1, 403, "The file may not be read."),
    "audio_empty": Outcome(1, 422, "The file has no bytes."),
    "audio_unreadable": Outcome(1, 415, "It is not audio that can be decoded."),
    # The system failed to read it, which may pass.
    "audio_read_failed": Outcome(1, 500, "The system failed to read the file, which may pass."),
    "audio_no_samples": Outcome(1, 422, "The file is audio, and holds no samples."),
    "audio_too_short": Outcome(1, 422, "It is shorter than a second, or than a segment of the model needs."),
    "audio_not_finite": Outcome(1, 422, "Samples are not numbers, or infinite."),
    "audio_out_of_range": Outcome(1, 422, "Samples are far outside of full scale."),
    "audio_silent": Outcome(1, 422, "It is silent."),
    "audio_truncated": Outcome(1, 422, "The file holds less than it declares, where that is refused."),
    # What a worker process could not do with a piece of audio.
    "worker_crashed": Outcome(
        1, 422, "The process that worked on the file ended, such as by a fault of a decoder."
    ),
    "timeout": Outcome(1, 422, "The file took longer than allowed."),
    "memory_limit": Outcome(1, 413, "The file took more memory than allowed."),
    "audio_too_long": Outcome(1, 413, "The audio is longer than allowed."),
    # Tags in an audio file.
    "tags_unsupported": Outcome(1, 415, "Tags of this format are not written."),
    "tags_corrupt": Outcome(1, 422, "The tags, or the structure that holds them, are damaged."),
    "tags_not_representable": Outcome(1, 422, "The format would give the genre back as another one."),
    "file_changed": Outcome(1, 409, "Another program wrote the file in the meantime."),
    # A data set, or what was asked of it.
    "dataset_not_found": Outcome(2, 404, "There is no data set, manifest or library at this path."),
    "dataset_invalid": Outcome(2, 422, "The data set, or a file of it, is not as it should be."),
    "dataset_empty": Outcome(2, 422, "No track is left."),
    "dataset_too_small": Outcome(2, 422, "There are too few tracks, groups or genres for what was asked."),
    # The library, as a whole or one row of it.
    "library_locked": Outcome(1, 503, "Another program writes into the library."),
    "library_corrupt": Outcome(1, 422, "The library, or a row of it, is damaged."),
    # Settings, names and options.
    "invalid_argument": Outcome(2, 400, "An argument or option cannot be used."),
    "invalid_config": Outcome(2, 400, "A setting of a configuration cannot be used."),
    # Model files.
    "model_not_found": Outcome(2, 404, "There is no model of this name, or at this path."),
    "model_incompatible": Outcome(
        2, 422, "The model file is of another kind or version, or lacks what was asked for."
    ),
    "model_corrupt": Outcome(2, 422, "The model file is damaged."),
    "model_export_failed": Outcome(1, 500, "The exported model does not give the scores of the trained one."),
    "model_output_invalid": Outcome(
        1, 500, "The model gave scores that are not finite or do not fit together."
    ),
    # Libraries, disk, network, training, workers and server.
    "missing_dependency": Outcome(2, 501, "A library of an extra is not installed."),
    "write_failed": Outcome(
        1, 507, "A file could not be written: the disk is full, or the folder may not be written."
    ),
    "download_failed": Outcome(1, 502, "A download failed."),
    "upload_failed": Outcome(1, 502, "An upload failed."),
    "training_failed": Outcome(1, 500, "Training came to numbers that are not finite."),
    "device_failed": Outcome(1, 500, "The GPU failed, or its memory was not enough."),
    "worker_failed": Outcome(1, 500, "Worker processes could not be started, or ended repeatedly."),
    "overloaded": Outcome(1, 503, "All workers are busy and the queue is full."),
    # A cluster, and the storage that it reads from and writes to.
    "cluster_unreachable": Outcome(2, 503, "No cluster can be reached at the address."),
    "cluster_failed": Outcome(1, 500, "The cluster ended the work, or a later command took it over."),
    "storage_unreachable": Outcome(2, 502, "The object store or the disk cannot be used."),
    "storage_permission_denied": Outcome(
        2, 403, "The storage refuses the credentials, or they give no right."
    ),
    # The web service, and what is asked of it.
    "bind_failed": Outcome(1, 500, "The server cannot listen at this address."),
    "request_malformed": Outcome(1, 400, "The request is not valid."),
    "request_timeout": Outcome(1, 408, "The request did not arrive in time."),
    "host_not_allowed": Outcome(1, 421, "The request names another host than this server."),
    "cross_site_request": Outcome(1, 403, "The request comes from a page of another origin."),
    "upload_malformed": Outcome(1, 400, "The body of the request is not what its header says."),
    "upload_too_large": Outcome(1, 413, "The body of the request is larger than allowed."),
    "upload_timeout": Outcome(1, 408, "The body of the request did not arrive in time."),
    "unauthorized": Outcome(1, 401, "The request lacks the server's token."),
    "too_many_requests": Outcome(1, 429, "The client sent more requests a minute than allowed."),
    "not_found": Outcome(1, 404, "The server has nothing at this address."),
    "method_not_allowed": Outcome(1, 405, "The address does not take requests of this method."),
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


class DeviceError(GenrescopeError):
    """A GPU that failed at its work, whatever the file: ``device_failed``."""


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
    hint = "free some space or choose another folder"
    if isinstance(reason, PermissionError):
        hint = (
            "close the program that has it open, ask for the right to write there, or choose another folder"
        )
    return WriteError(
        "write_failed",
        f"{path}: cannot be written: {reason.strerror or reason}",
        f"{hint}; nothing half-written was left behind",
    )
