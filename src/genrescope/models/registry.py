"""The models that come with the package: their catalog, and opening a model by name or path."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from genrescope.errors import ModelError
from genrescope.models.model import Model
from genrescope.models.sharing import HUB_PREFIX, download_model, model_in_folder
from genrescope.utils import cache_folder, did_you_mean, package_data

DEFAULT = "default"


@dataclass(frozen=True)
class PackagedModel:
    """A model whose file, or whose head, is in the package.

    Attributes
    ----------
    name : str
        What the command line and `load_model` call it.
    file : str
        Name of the model file.
    sha256 : str
        Of the file in the package, in hexadecimal: the model, or the head.
    summary : str
        One line for the list of models.
    head : str
        File of the layers to put on a backbone that is downloaded; empty where the model is whole.
    """

    name: str
    file: str
    sha256: str
    summary: str
    head: str = ""

    @property
    def path(self) -> Path:
        """Path of the model file: in the installation, or in the user's cache once it was downloaded."""
        return cache_folder("models") / self.file if self.head else package_data("models", self.file)


def list_models() -> dict[str, PackagedModel]:
    """Return the models that come with the package, by name."""
    text = package_data("models", "catalog.json").read_text(encoding="utf8")
    return {entry["name"]: PackagedModel(**entry) for entry in json.loads(text)}


def resolve(name: str | Path) -> Path:
    """Return the model file that a name or a path stands for.

    Parameters
    ----------
    name : str or Path
        A name of `list_models`, the path of a ``.onnx`` file or of a folder with one, or ``hub:owner/repo``.

    Raises
    ------
    ModelError
        ``model_not_found``: neither such a name nor a file, or a model whose backbone is not here yet.
    ConfigError, MissingDependencyError, DownloadError
        As of `download_model`, for ``hub:`` only.
    """
    models = list_models()
    if str(name) in models:
        packaged = models[str(name)]
        if packaged.head and not packaged.path.exists():
            raise ModelError(
                "model_not_found",
                f"the model {packaged.name} stands on a backbone that is not here yet",
                f"run once: genrescope models download {packaged.name}",
            )
        return packaged.path
    if str(name).startswith(HUB_PREFIX):
        return download_model(str(name))
    if Path(name).is_dir():
        return model_in_folder(Path(name))
    if Path(name).suffix == ".onnx" or Path(name).exists():
        return Path(name)
    hint = did_you_mean(
        str(name), models, otherwise="give a .onnx file, a folder with one, or one of: " + ", ".join(models)
    )
    raise ModelError("model_not_found", f"no model is named {str(name)!r}", hint)


def load_model(name: str | Path = DEFAULT, *, threads: int = 1, device: str = "cpu") -> Model:
    """Open a model, and verify the checksum of one that comes with the package.

    Parameters
    ----------
    name : str or Path
        As for `resolve`.
    threads : int
        Threads of onnxruntime.
    device : {"cpu", "cuda", "auto"}
        What computes it, as of `Model`.

    Raises
    ------
    ConfigError, MissingDependencyError
        ``invalid_argument``, ``missing_dependency``: no such device, or none that works here.
    ModelError
        As `resolve` and `Model.read`; ``model_corrupt`` also where the checksum is not the catalog's.
    """
    model = Model.read(resolve(name), threads=threads, device=device)
    packaged = list_models().get(str(name))
    # A model with a head was assembled on this machine; the catalog holds the checksum of the head.
    if packaged is not None and not packaged.head and model.sha256 != packaged.sha256:
        raise ModelError(
            "model_corrupt",
            f"{packaged.path}: checksum {model.sha256[:8]} is not the catalog's {packaged.sha256[:8]}",
            "install genrescope again",
        )
    return model
