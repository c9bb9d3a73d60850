"""Models in folders and in repositories of the Hugging Face hub: one model file, and its model card.

huggingface_hub (extra ``hub``) is imported for the hub alone. No code of a repository is run: a downloaded
file is opened as every model file is.
"""

from __future__ import annotations

import re
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from genrescope.errors import (
    ConfigError,
    DownloadError,
    GenrescopeError,
    ModelError,
    UploadError,
    missing_extra,
)
from genrescope.models.model import MAX_FILE_BYTES, Model
from genrescope.models.model_card import model_card
from genrescope.utils import sha256_bytes, write_atomic

HUB_PREFIX = "hub:"
MODEL_FILE, CARD_FILE = "model.onnx", "README.md"
# As the hub has it: letters, digits, and marks that a path cannot be made of.
_REPO = re.compile(r"(?P<id>\w[\w.-]{0,95}/\w[\w.-]{0,95})(@(?P<revision>[\w][\w./-]{0,199}))?", re.ASCII)


class HubApi(Protocol):
    """What is used of ``huggingface_hub.HfApi``."""

    def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool) -> object:
        """Create the repository ``repo_id``, perhaps ``private``, unless ``exist_ok`` and it is there."""

    def upload_folder(self, *, repo_id: str, folder_path: str | Path, commit_message: str) -> object:
        """Upload the files in ``folder_path`` to ``repo_id`` as one commit with ``commit_message``."""


class HubRepo(NamedTuple):
    """A repository of the hub.

    Attributes
    ----------
    id : str
        ``owner/repo``.
    revision : str or None
        A branch, tag or commit; None: the main branch.
    """

    id: str
    revision: str | None

    @classmethod
    def parse(cls, text: str) -> HubRepo:
        """Read ``owner/repo`` or ``owner/repo@revision``, with or without ``hub:`` before it.

        Parameters
        ----------
        text : str

        Raises
        ------
        ConfigError
            ``invalid_argument``.
        """
        found = _REPO.fullmatch(text.removeprefix(HUB_PREFIX))
        if found is None or ".." in text:
            raise ConfigError(
                "invalid_argument",
                f"{text!r} names no repository of the hub",
                "write owner/repo, as in hub:owner/repo or hub:owner/repo@revision",
            )
        return cls(found["id"], found["revision"])


def model_in_folder(folder: Path) -> Path:
    """Return the model file in a folder: ``model.onnx``, or the only ``.onnx`` file.

    Parameters
    ----------
    folder : Path
        Such as that of a training run.

    Raises
    ------
    ModelError
        ``model_not_found``: none, or several.
    """
    if (folder / MODEL_FILE).is_file():
        return folder / MODEL_FILE
    try:
        found = sorted(folder.glob("*.onnx"))
    except OSError:
        found = []
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} model files, none of them {MODEL_FILE}" if found else "no model file"
    raise ModelError("model_not_found", f"{folder}: {what}", "give the path of the .onnx file")


def download_model(name: str) -> Path:
    """Return the model file of a repository of the hub, downloaded into the hub's cache if need be.

    Parameters
    ----------
    name : str
        ``hub:owner/repo`` or ``hub:owner/repo@revision``.

    Raises
    ------
    ConfigError
        ``invalid_argument``: no such form.
    MissingDependencyError
        ``missing_dependency``: huggingface_hub is not installed.
    ModelError
        ``model_not_found``: no such repository, or none with a file ``model.onnx``.
    DownloadError
        ``download_failed``: no network.
    """
    repo = HubRepo.parse(name)
    hub = _import_hub()
    try:
        return Path(hub.hf_hub_download(repo.id, MODEL_FILE, revision=repo.revision))
    except (OSError, ValueError, hub.errors.EntryNotFoundError) as reason:
        raise _download_failure(name, reason, hub) from None


def save_pretrained(model: Model, folder: Path, *, repo: str = "") -> Path:
    """Write a model file and its model card into a folder.

    Parameters
    ----------
    model : Model
        Read from a file that is still there.
    folder : Path
        Is created if need be.
    repo : str
        ``owner/repo``, for the example in the card.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ModelError
        ``model_corrupt``: the file has changed or is gone.
    WriteError
        ``write_failed``.
    """
    graph = _read_again(model)
    write_atomic(folder / MODEL_FILE, graph)
    write_atomic(folder / CARD_FILE, model_card(model, repo=repo))
    return folder


def push_to_hub(
    model: Model,
    repo: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str = "Upload a genrescope model",
    api: HubApi | None = None,
) -> str:
    """Upload a model file and its model card to a repository of the hub.

    Parameters
    ----------
    model : Model
        Read from a file that is still there.
    repo : str
        ``owner/repo``; is created if need be.
    private : bool
        Whether a repository that is created is private.
    token : str, optional
        Of the hub; None: that of ``hf auth login``.
    message : str
        Of the commit.
    api : HubApi, optional
        Instead of ``huggingface_hub.HfApi``.

    Returns
    -------
    str
        Address of the repository.

    Raises
    ------
    ConfigError
        ``invalid_argument``: no ``owner/repo``, or a revision, which a commit has not yet.
    MissingDependencyError
        ``missing_dependency``: huggingface_hub is not installed.
    ModelError
        ``model_corrupt``: the file has changed or is gone.
    UploadError
        ``upload_failed``: no network, or no right to write.
    """
    parsed = HubRepo.parse(repo)
    if parsed.revision is not None:
        raise ConfigError(
            "invalid_argument", f"{repo!r}: a commit is made on the main branch", "leave out @revision"
        )
    client: HubApi = api or _import_hub().HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, Path(folder), repo=parsed.id)
        try:
            client.create_repo(parsed.id, private=private, exist_ok=True)
            client.upload_folder(repo_id=parsed.id, folder_path=folder, commit_message=message)
        except (OSError, ValueError) as reason:
            raise UploadError(
                "upload_failed",
                f"{parsed.id}: cannot be uploaded: {_first_line(reason)}",
                "go online, and log in with a token that may write: hf auth login",
            ) from None
    return f"https://huggingface.co/{parsed.id}"


def _read_again(model: Model) -> bytes:
    """Return the content of the file that a model was read from."""
    try:
        with Path(model.source).open("rb") as stream:
            graph = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError):
        graph = b""
    if sha256_bytes(graph) != model.sha256:
        raise ModelError(
            "model_corrupt",
            f"{model.source}: not the file any more that the model was read from",
            "open the model again",
        )
    return graph


def _import_hub() -> Any:
    try:
        hub = import_module("huggingface_hub")
        import_module("huggingface_hub.errors")
    except ImportError:
        raise missing_extra("hub", "huggingface_hub") from None
    return hub


def _download_failure(name: str, reason: Exception, hub: Any) -> GenrescopeError:
    errors = hub.errors
    absent = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError)
    # This one says that there is no network, though it is of the kind that says that there is no file.
    if isinstance(reason, absent) and not isinstance(reason, errors.LocalEntryNotFoundError):
        return ModelError(
            "model_not_found",
            f"{name}: no such repository, or none with a file {MODEL_FILE}: {_first_line(reason)}",
            "check the name; a private repository needs a login: hf auth login",
        )
    return DownloadError(
        "download_failed",
        f"{name}: cannot be fetched: {_first_line(reason)}",
        "go online and try again, or copy the repository to a folder and give that",
    )


def _first_line(reason: BaseException) -> str:
    return (str(reason).strip() or type(reason).__name__).splitlines()[0]
