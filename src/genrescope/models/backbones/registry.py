"""Pre-trained networks: their sources, licenses and features, and loading them.

Names of the catalog, ``BACKBONES``, are loaded from a file or downloaded on demand, those of
``ARCHITECTURES`` from a given file only; ``hub:NAME`` and ``hub:FOLDER`` are any audio encoder of the Hugging
Face hub. All have `Backbone.embed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genrescope import utils
from genrescope.errors import ConfigError, MissingDependencyError, ModelError, missing_extra
from genrescope.features import EFFICIENTAT, MUSICNN, SPECTROGRAM_LOG_MEL, FeatureSpec, samples_spec
from genrescope.labels import STYLE_INDICES, STYLES
from genrescope.models.backbones import hub, imagenet, musicnn
from genrescope.models.backbones.efficientat import AUDIOSET_CLASSES, WIDTHS, EfficientAt, embedding_size
from genrescope.models.exposure import UnlabeledExposure, read_exposures
from genrescope.models.initialization import initialize_weights
from genrescope.models.student import WIDTH as STUDENT_WIDTH
from genrescope.models.student import Student
from genrescope.utils import cache_folder, package_data

HUB = "hub:"
STUDENT, STUDENT_FILE = "student", "student.pt"
# In place of a file of weights: a network that is initialized at random.
RANDOM = "random"


@dataclass(frozen=True)
class BackboneInfo:
    """What is known of a backbone without loading it.

    Attributes
    ----------
    name : str
        In the catalog, or ``hub:`` and a name of the hub.
    source : str
        URL of the weights, the folder that they come from, or their name in the package.
    license : str
        Of the weights.
    sha256 : str, optional
        Of the weight file, 64 hexadecimal digits; None where it is not known, so that only a given file is
        loaded, and for encoders of the hub.
    sample_rate : int
        In Hz.
    spec : FeatureSpec, optional
        Its input, log-mel (segments, mels, frames); None: samples (segments, n).
    size : int
        Length of an embedding.
    classes : int
        Logits besides the embedding; 0 for none.
    styles : tuple of int
        Which of the logits are those of ``labels.STYLES``; empty for none.
    mean_average_precision : float, optional
        On AudioSet's evaluation data, as its authors report it.
    exposures : tuple of UnlabeledExposure
        The audio that the published weights were trained on; empty for networks of pictures, and where it is
        not known.
    any_hop : bool
        Whether spectrograms may have another hop than that of ``spec``: image networks resize them.
    """

    name: str
    source: str
    license: str
    sha256: str | None
    sample_rate: int
    spec: FeatureSpec | None
    size: int
    classes: int = 0
    styles: tuple[int, ...] = ()
    mean_average_precision: float | None = None
    exposures: tuple[UnlabeledExposure, ...] = ()
    any_hop: bool = False

    @property
    def file(self) -> str:
        """Name of the weight file."""
        return PurePosixPath(self.source).name


class Backbone(nn.Module):
    """A pre-trained network and what is known of it.

    Attributes
    ----------
    info : BackboneInfo
    network : torch.nn.Module
        The network itself, with the parameters that training may change.
    """

    def __init__(self, info: BackboneInfo, network: nn.Module) -> None:
        super().__init__()
        self.info = info
        self.network = network

    def embed(self, batch: Tensor) -> Tensor:
        """Return embeddings, shape (segments, size), of ``batch``, features as ``info.spec`` says."""
        embedding: Tensor = self.network.embed(batch)  # type: ignore[operator]
        return embedding

    def embed_with_styles(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings of ``batch`` and logits of ``labels.STYLES``; for those with ``info.styles``."""
        embedding, logits = self.network(batch)
        return embedding, logits[:, list(self.info.styles)]

    def forward(self, batch: Tensor) -> Any:
        """Return what the network makes of ``batch``: an embedding, EfficientAT logits too."""
        return self.network(batch)


class BackboneEntry(NamedTuple):
    """A backbone of the catalog.

    Attributes
    ----------
    info : BackboneInfo
    build : callable
        Returns the network, its weights still to be loaded.
    translate : callable
        From the state dict of the published file to that of the network.
    read : callable, optional
        Returns the published file's state dict; None: `read_weights`.
    """

    info: BackboneInfo
    build: Callable[[], nn.Module]
    translate: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict
    read: Callable[[Path], dict[str, Tensor]] | None = None


def _efficientat(name: str, precision: int, sha256: str | None = None) -> BackboneEntry:
    release = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1"
    width = WIDTHS[name]
    info = BackboneInfo(
        name,
        f"{release}/{name}_as_mAP_{precision}.pt",
        "MIT, (c) 2022 Florian Schmid",
        sha256,
        EFFICIENTAT.sample_rate,
        EFFICIENTAT,
        embedding_size(width),
        AUDIOSET_CLASSES,
        tuple(STYLE_INDICES.values()),
        precision / 1000,
        exposures=(UnlabeledExposure("AudioSet"),),
    )
    return BackboneEntry(info, lambda: EfficientAt(width))


# torchvision publishes the first eight digits, in the file's name; the others are as several projects that
# use the file have recorded them.
_VGG16_SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"


def _image_network(
    name: str, file: str, sha256: str | None, network: type[imagenet.ImageNetwork]
) -> BackboneEntry:
    info = BackboneInfo(
        name,
        f"https://download.pytorch.org/models/{file}",
        "BSD-3-Clause, (c) Soumith Chintala 2016; trained on ImageNet, which is for non-commercial research",
        sha256,
        # The hop of the student's examples and of GTZAN's spectrograms.
        SPECTROGRAM_LOG_MEL.sample_rate,
        SPECTROGRAM_LOG_MEL,
        network.size,
        any_hop=True,
    )
    return BackboneEntry(info, network, imagenet.without_head)


def _student() -> BackboneEntry:
    info = BackboneInfo(
        STUDENT,
        STUDENT_FILE,
        "MIT; after EfficientAT mn04, MIT, (c) 2022 Florian Schmid",
        "4dcd776bb8fd7b386e87e0685170883f773a206eeeb75b291460150e1b328668",
        SPECTROGRAM_LOG_MEL.sample_rate,
        SPECTROGRAM_LOG_MEL,
        embedding_size(STUDENT_WIDTH),
        len(STYLES),
        tuple(range(len(STYLES))),
        exposures=(UnlabeledExposure("AudioSet"),),  # through its teacher
    )
    return BackboneEntry(info, lambda: Student(len(STYLES)))


def _musicnn() -> BackboneEntry:
    info = BackboneInfo(
        "musicnn",
        "https://pypi.org/project/musicnn/",
        "ISC, (c) 2019 Music Technology Group, Universitat Pompeu Fabra, and Jordi Pons",
        None,
        MUSICNN.sample_rate,
        MUSICNN,
        musicnn.SIZE,
        len(musicnn.TAGS),
        exposures=(UnlabeledExposure("Million Song Dataset"),),
    )
    return BackboneEntry(info, musicnn.Musicnn, read=musicnn.read_weights)


# The catalog: weights that are downloaded, or in the package, and verified by their whole SHA-256.
BACKBONES: dict[str, BackboneEntry] = {
    entry.info.name: entry
    for entry in (
        _efficientat("mn04", 432, "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"),
        _student(),
        _image_network("vgg16", "vgg16-397923af.pth", _VGG16_SHA256, imagenet.Vgg16),
    )
}
# Networks whose weights no one has published a whole SHA-256 of: they are never downloaded, only loaded from
# a file that is given. torchvision publishes the first eight digits of Inception's, in the file's name.
ARCHITECTURES: dict[str, BackboneEntry] = {
    entry.info.name: entry
    for entry in (
        *(
            _efficientat(name, precision)
            for name, precision in {
                "mn01": 298,
                "mn02": 378,
                "mn05": 443,
                "mn10": 471,
                "mn20": 478,
                "mn30": 482,
                "mn40": 484,
            }.items()
        ),
        # Its package holds TensorFlow's checkpoint; the arrays of it are given as a file.
        _musicnn(),
        _image_network("inception-v3", "inception_v3_google-0cc3c7bd.pth", None, imagenet.InceptionV3),
    )
}


def load_backbone(name: str, *, weights: Path | None = None, cache: Path | None = None) -> Backbone:
    """Load a backbone, in eval mode; torch's random state is left as it is.

    Parameters
    ----------
    name : str
        A key of ``BACKBONES`` or ``ARCHITECTURES``, or ``hub:`` and the name or folder of an encoder of the
        Hugging Face hub.
    weights : Path, optional
        A file of weights to load instead of the published ones; no checksum is verified.
    cache : Path, optional
        Folder of downloaded weights; None: ``utils.cache_folder("weights")``. The hub has its own cache.

    Raises
    ------
    ConfigError
        ``invalid_config``: no such backbone; ``invalid_argument``: ``weights`` for one of the hub.
    ModelError
        ``model_not_found``, ``model_corrupt``: no file there, or one that holds no weights or not the
        published ones; ``model_incompatible``: weights of another network.
    DownloadError, MissingDependencyError, WriteError
        ``download_failed``: no network; ``missing_dependency``: transformers is missing or does not load;
        ``write_failed``.
    """
    if name.startswith(HUB):
        return _from_hub(name, weights, cache)
    info, build, translate, read = _entry(name)
    # On the meta device no weights are allocated or drawn: the file has them all, and the random state of
    # the run stays untouched.
    with torch.device("meta"):
        network = build()
    if weights is None and info.sha256 is None:
        raise ModelError(
            "model_not_found",
            f"{name}: its weights are not downloaded, because their whole SHA-256 was not published",
            f"download {info.source} yourself, and give the file as the weights",
        )
    if weights is None and name == STUDENT:
        weights = package_data("models", info.file)
    elif weights is None:
        assert info.sha256 is not None  # refused above
        target = (cache or cache_folder("weights")) / info.file
        weights = utils.download_file(info.source, target, sha256=info.sha256)
    _load_state(network, translate((read or read_weights)(weights)), f"{weights}: not the weights of {name}")
    return Backbone(info, network).eval()


def random_backbone(name: str, *, seed: int) -> Backbone:
    """Return a backbone's network with random weights, in eval mode; torch's random state is left as it is.

    Convolutions start as `initialize_weights` has them, so that the network can be trained. Its outputs
    besides the embedding mean nothing, so it scores no styles.

    Parameters
    ----------
    name : str
        As of `load_backbone`; of an encoder of the hub only the configuration is loaded.
    seed : int
        Of the weights.

    Raises
    ------
    ConfigError, DownloadError, MissingDependencyError, ModelError
        As of `load_backbone`.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if name.startswith(HUB):
            backbone = _from_hub(name, None, None, random=True)
            return Backbone(replace(backbone.info, license=""), backbone.network).eval()
        entry = _entry(name)
        network = entry.build()
        initialize_weights(network)
    info = replace(
        entry.info,
        source=RANDOM,
        license="",
        sha256=None,
        styles=(),
        mean_average_precision=None,
        exposures=(),
    )
    return Backbone(info, network).eval()


def _entry(name: str) -> BackboneEntry:
    known = BACKBONES | ARCHITECTURES
    if name not in known:
        raise ConfigError(
            "invalid_config",
            f"no backbone is named {name!r}",
            f"choose one of: {', '.join(known)}; or {HUB}NAME for an encoder of the Hugging Face hub",
        )
    return known[name]


def backbone_spec(name: str, *, hop_length: int | None = None) -> FeatureSpec:
    """Return the features that a backbone needs, without loading it.

    Parameters
    ----------
    name : str
        A key of ``BACKBONES`` or ``ARCHITECTURES``, or one of the hub: its features are samples.
    hop_length : int, optional
        Hop of the spectrograms in samples, for backbones that take any; the others have their own.

    Raises
    ------
    ConfigError
        ``invalid_config``: no such backbone.
    DownloadError, MissingDependencyError, ModelError
        As of `load_backbone`, for one of the hub; ``model_incompatible`` also where its input cannot be part
        of a model file.
    """
    if name.startswith(HUB):
        return samples_spec(hub.hub_sample_rate(name.removeprefix(HUB)))
    info = _entry(name).info
    assert info.spec is not None  # only those of the hub take samples
    return replace(info.spec, hop_length=hop_length) if hop_length and info.any_hop else info.spec


def backbone_exposures(name: str, *, weights: Path | None = None) -> tuple[UnlabeledExposure, ...]:
    """Return what a backbone was exposed to without labels of genres, as far as it is known.

    Parameters
    ----------
    name : str
        A key of ``BACKBONES`` or ``ARCHITECTURES``; for others nothing is known.
    weights : Path, optional
        The file that the weights are loaded from, if not the published ones. What `distill` wrote beside it
        comes before what is known of the backbone in general.

    Raises
    ------
    ModelError
        ``model_corrupt``: the file beside the weights is damaged.
    """
    if weights is None and name == STUDENT:
        weights = package_data("models", STUDENT_FILE)
    beside = None if weights is None else read_exposures(weights)
    known = BACKBONES | ARCHITECTURES
    if beside is not None:
        return beside
    return known[name].info.exposures if name in known else ()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict; a file that would run code on loading is refused, and one with values not finite.

    Parameters
    ----------
    path : Path
        What ``torch.save`` made of a state dict, or a ``.safetensors`` file.

    Raises
    ------
    ModelError
        ``model_not_found``, ``model_corrupt``, ``model_incompatible``.
    MissingDependencyError
        ``missing_dependency``: a ``.safetensors`` file without the library safetensors.
    """
    load = _load_safetensors if path.suffix == ".safetensors" else _load_pickled_tensors
    try:
        loaded = load(path)
    except FileNotFoundError:
        raise ModelError("model_not_found", f"{path}: no such file", "check the path") from None
    except MissingDependencyError:
        raise
    except Exception as reason:  # a damaged file makes torch raise errors of many kinds
        raise ModelError(
            "model_corrupt",
            f"{path}: cannot be read as weights, nothing but weights: {str(reason).partition(chr(10))[0]}",
            "give a file that torch.save made of a state dict, or a .safetensors file",
        ) from None
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ModelError(
            "model_incompatible", f"{path}: holds something else than a state dict", "save that alone"
        )
    for name, value in loaded.items():
        # Also of half precision, in which a large variance becomes infinite.
        if value.is_floating_point() and not value.isfinite().all():
            raise ModelError(
                "model_corrupt",
                f"{path}: {str(name)[:100]} holds values that are not finite",
                "store the statistics of normalization in float32",
            )
    return loaded


def _load_pickled_tensors(path: Path) -> object:
    # Limited to tensors and plain values, it runs no code.
    return torch.load(path, map_location="cpu", weights_only=True)


def _load_safetensors(path: Path) -> object:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise missing_extra("train", "safetensors") from None
    return load_file(path)


def _load_state(network: nn.Module, state: dict[str, Tensor], complaint: str) -> None:
    """Give a network its weights; names or shapes that differ are an error that begins with ``complaint``."""
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as reason:
        differences = str(reason).splitlines()[1:2] or [str(reason)]
        raise ModelError(
            "model_incompatible",
            f"{complaint}: {differences[0].strip()[:200]}",
            "check the name and the file",
        ) from None
    network.float()  # weights may be stored in half precision


def _from_hub(name: str, weights: Path | None, cache: Path | None, *, random: bool = False) -> Backbone:
    if weights is not None:
        raise ConfigError(
            "invalid_argument", f"{name}: takes no file of weights", f"name its folder instead: {HUB}FOLDER"
        )
    source = name.removeprefix(HUB)
    encoder = hub.load_hub_encoder(source, cache=cache, random=random)
    info = BackboneInfo(
        name,
        source if Path(source).is_dir() else f"https://huggingface.co/{source}",
        hub.license(source, cache=cache),
        None,
        encoder.sample_rate,
        None,
        encoder.size,
    )
    return Backbone(info, encoder).eval()
