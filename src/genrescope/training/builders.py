"""The families of models: the features of each, how it is fitted, and how it is exported.

To add a family, write a `ModelBuilder` and name it in ``BUILDERS``. Everything else (splits, calibration,
evaluation, the model file) is the same for all of them, see `genrescope.training.run`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from genrescope import evaluation, features, models
from genrescope.datasets import LabelMatrix
from genrescope.errors import ConfigError, missing_extra
from genrescope.features import FeatureSpec
from genrescope.models import ExportedModel, ModelInfo, UnlabeledExposure
from genrescope.training.config import Config
from genrescope.training.options import DEFAULT_OPTIONS, FitOptions
from genrescope.training.task import Task
from genrescope.types import Float64Array, FloatArray, IntArray
from genrescope.utils import import_object

if TYPE_CHECKING:  # these load torch or scikit-learn, which only the families that use them may do
    from torch import Tensor

    from genrescope.models import ClassicalPipeline, LabelRegression, LinearHead, Network, PretrainedNetwork

Curves = list[dict[str, float]]
# Instead of 0, whose logarithm is infinite; it is still a normal number in float32.
SMALLEST_PROBABILITY = 1e-30


class ModelBuilder(ABC):
    """Builds one model, from settings to a model file.

    Used as an estimator of scikit-learn is: `fit` first, then `logits` and `export`.

    Parameters
    ----------
    config : Config
        Settings of the run.

    Attributes
    ----------
    has_temperature : bool
        Whether the logits are divided by a temperature before the softmax; of the class.
    """

    has_temperature: ClassVar[bool] = True

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that the fitted model scores besides the genres; empty for most families."""
        return ()

    @property
    def exposures(self) -> tuple[UnlabeledExposure, ...]:
        """What the network was exposed to without labels before this training; empty for most families."""
        return ()

    @abstractmethod
    def feature_spec(self) -> FeatureSpec:
        """Return the features that are the model's input, at the configured hop.

        Raises
        ------
        ConfigError
            ``invalid_config``: the settings name a backbone that does not exist.
        MissingDependencyError
            ``missing_dependency``: the family's libraries are not installed. Raised here, before hours of
            reading audio.
        """

    @abstractmethod
    def fit(self, task: Task, folder: Path, options: FitOptions = DEFAULT_OPTIONS) -> Curves:
        """Fit the model on the training part of a task.

        Parameters
        ----------
        task : Task
            Features as `feature_spec` says, with their targets and split.
        folder : Path
            Of checkpoints, from which a killed training carries on; only networks write any.
        options : FitOptions
            Devices, progress and observers; only networks make use of them.

        Returns
        -------
        list of dict
            One row per epoch: losses, accuracies, learning rate; empty for models without epochs.
        """

    @abstractmethod
    def logits(self, inputs: FloatArray) -> FloatArray:
        """Return what the fitted model computes before temperature and softmax.

        Parameters
        ----------
        inputs : ndarray, float32
            Features of segments, the first axis theirs.

        Returns
        -------
        ndarray, shape (segments, classes)
        """

    @abstractmethod
    def export(self, info: ModelInfo, sample: FloatArray, *, temperature: float) -> ExportedModel:
        """Turn the fitted model into a model file, and check it against the fitted model.

        Parameters
        ----------
        info : ModelInfo
            The description to write into the file.
        sample : ndarray, float32
            Features of some segments, on which both must agree.
        temperature : float
            What the logits are divided by; ignored by families without one.

        Raises
        ------
        ModelError
            ``model_export_failed``: scores differ by more than 1e-4.
        """


class ClassicalBuilder(ModelBuilder):
    """Logistic regression and the support vector machine, on feature means; needs scikit-learn."""

    # Their probabilities are fitted already: by maximum likelihood, or by Platt's sigmoids.
    has_temperature = False
    pipeline: ClassicalPipeline
    # Of a multi-label task, in place of the pipeline.
    regression: LabelRegression | None = None

    def feature_spec(self) -> FeatureSpec:
        """Return the paper's vector of means, or the columns of a table that the settings name."""
        if self.config.data.columns == "paper":
            return configured_spec(self.config, features.PAPER_MEANS)
        return FeatureSpec("table", features=self.config.data.column_names)

    def fit(self, task: Task, folder: Path, options: FitOptions = DEFAULT_OPTIONS) -> Curves:
        """Fit standardization and classifier; see `ModelBuilder.fit`."""
        model, seed = self.config.model, self.config.train.seed
        c, balanced = model.inverse_regularization, self.config.train.class_weights == "balanced"
        if task.is_multilabel:
            chosen, labels = training_labels(task)
            self.regression = models.fit_label_regression(
                task.examples.take(chosen), labels.values, labels.judged, c=c, seed=seed, balanced=balanced
            )
            return []
        if task.has_distributions and model.name == "svm":
            raise ConfigError(
                "invalid_config",
                "an svm takes exactly one genre per track, and some have shares of several",
                "train logistic-regression or a network",
            )
        chosen, targets, weights = training_targets(task)
        self.pipeline = models.fit_classical(
            model.name,
            task.examples.take(chosen),
            targets,
            c=c,
            seed=seed,
            balanced=balanced,
            sample_weight=weights,
        )
        return []

    def logits(self, inputs: FloatArray) -> FloatArray:
        """Return the logarithms of the probabilities; of a multi-label task, what the sigmoid is taken of."""
        if self.regression is not None:
            return self.regression.logits(inputs)
        probabilities = self.pipeline.predict_proba(inputs)
        return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))

    def export(self, info: ModelInfo, sample: FloatArray, *, temperature: float) -> ExportedModel:
        """Convert the pipeline; see `ModelBuilder.export`."""
        return models.export_classical(self.regression or self.pipeline, info, sample)


class NetworkBuilder(ModelBuilder):
    """What all networks share: gradient descent, logits and export; needs torch and Lightning."""

    network: Network

    @abstractmethod
    def create_network(self, task: Task) -> Network:
        """Build the network to be trained, from the current random state of torch.

        Parameters
        ----------
        task : Task
            Gives the size of the features and the number of classes.
        """

    def fit(self, task: Task, folder: Path, options: FitOptions = DEFAULT_OPTIONS) -> Curves:
        """Train the network by gradient descent; see `ModelBuilder.fit`."""
        # Imported here, because it takes seconds to import torch and Lightning, which scikit-learn's families
        # do not need.
        from genrescope.training import trainer

        trainer.configure_torch(self.config)
        self.network = self.create_network(task)
        return self._train(task, folder, options)

    def _train(self, task: Task, folder: Path, options: FitOptions) -> Curves:
        from genrescope.training import trainer

        return trainer.train_network(
            self.network,
            task.examples,
            task.targets,
            labels=task.labels if task.is_multilabel or task.has_distributions else None,
            train=task.segments("train"),
            validation=task.segments("validation"),
            classes=len(task.classes),
            config=self.config,
            folder=folder,
            options=options,
        )

    def logits(self, inputs: FloatArray) -> FloatArray:
        """Run the network in evaluation mode and float32; see `ModelBuilder.logits`."""
        return models.network_logits(self.network, inputs)

    def export(self, info: ModelInfo, sample: FloatArray, *, temperature: float) -> ExportedModel:
        """Export the network; see `ModelBuilder.export`."""
        return models.export_network(self.network, info, sample, temperature=temperature)


class ScratchNetworkBuilder(NetworkBuilder):
    """Networks that start from random weights: lstm, crnn, parallel and cnn."""

    def feature_spec(self) -> FeatureSpec:
        """Return the paper's sequence of features for the LSTM, log-mel for the others, as configured."""
        with _naming_missing_libraries():
            family = models.NETWORK_FAMILIES[self.config.model.name]
        base = features.PAPER_SEQUENCE if family.input == "sequence" else features.PAPER_LOG_MEL
        spec = configured_spec(self.config, base)
        self._check(spec)
        return spec

    def create_network(self, task: Task) -> Network:
        """Build a network with fresh weights."""
        return self._build(task.examples.spec, len(task.classes))

    def _build(self, spec: FeatureSpec, classes: int) -> Network:
        network = models.build_network(
            self.config.model.name,
            features=features.feature_dimension(spec),
            frames=features.segment_frames(spec, self.config.data.segment_seconds),
            classes=classes,
            dropout=self.config.model.dropout,
            options=_network_options(self.config),
        )
        if spec.kind == "custom":  # levels below a maximum are for decibels
            network.normalizer = models.StandardizeRows(features.feature_dimension(spec))
        return network

    def _check(self, spec: FeatureSpec) -> None:
        """Refuse layers and an optimizer that do not fit, before any audio is read."""
        from genrescope.training.optimizers import create_optimizer

        try:
            network = self._build(spec, 2)
            models.network_logits(network, _blank_segments(self.config, spec))
        except RuntimeError as reason:  # what torch raises for shapes that do not fit
            seconds = self.config.data.segment_seconds
            raise ConfigError(
                "invalid_config",
                f"{self.config.model_name} does not fit segments of {seconds:g} s: {_first_line(reason)}",
                "use longer segments, more bands, fewer layers or smaller pools",
            ) from None
        create_optimizer(network, self.config.optimizer)


class OwnNetworkBuilder(ScratchNetworkBuilder):
    """A network of the user, which ``model.class`` names.

    Its class is called with ``features``, ``frames``, ``classes`` and what ``network.options`` holds. A
    `genrescope.models.Network` normalizes its input itself; before any other module stands the normalization
    of the shipped networks.
    """

    def feature_spec(self) -> FeatureSpec:
        """Return log-mel; with ``features.names`` a sequence of these; or the function's feature."""
        with _naming_missing_libraries():
            import torch  # noqa: F401
        base = features.PAPER_SEQUENCE if self.config.features.names else features.PAPER_LOG_MEL
        spec = configured_spec(self.config, base)
        self._check(spec)
        return spec

    def _build(self, spec: FeatureSpec, classes: int) -> Network:
        from torch import nn

        name = self.config.model.class_
        kind = import_object(name)
        rows = features.feature_dimension(spec)
        frames = features.segment_frames(spec, self.config.data.segment_seconds)
        try:
            own = kind(features=rows, frames=frames, classes=classes, **dict(self.config.network.options))
        except Exception as reason:  # code of others, which may raise anything
            raise ConfigError(
                "invalid_config",
                f"{name}: {type(reason).__name__}: {_first_line(reason)}",
                "it is called with features, frames, classes and the keys of [network.options]",
            ) from reason
        if not isinstance(own, nn.Module):
            raise ConfigError("invalid_config", f"{name} is no torch.nn.Module", "name a class of networks")
        if isinstance(own, models.Network):
            return own
        if spec.kind == "log_mel":
            return models.OwnNetwork(own, models.RelativeLevel(rows))
        if spec.kind == "custom":
            return models.OwnNetwork(own, models.StandardizeRows(rows))
        return models.OwnNetwork(own, models.Standardize(rows))

    def _check(self, spec: FeatureSpec) -> None:
        """Run the network and export it before any audio is read, as both would fail after training."""
        from genrescope.training.optimizers import create_optimizer

        name, seconds = self.config.model.class_, self.config.data.segment_seconds
        network = self._build(spec, 3)
        create_optimizer(network, self.config.optimizer)
        blank = _blank_segments(self.config, spec)
        try:
            shape = models.network_logits(network, blank).shape
        except Exception as reason:  # code of others, which may raise anything
            raise ConfigError(
                "invalid_config",
                f"{name}: {type(reason).__name__}: {_first_line(reason)}",
                f"it is given features of the shape {blank.shape}",
            ) from reason
        if shape != (2, 3):
            raise ConfigError(
                "invalid_config",
                f"{name} returned the shape {shape} for 2 segments and 3 classes",
                "return logits of the shape (segments, classes)",
            )
        try:
            models.export_network(network, ModelInfo("own", ("a", "b", "c"), spec, seconds, seconds), blank)
        except Exception as reason:  # torch's exporter raises errors of many kinds
            raise ConfigError(
                "invalid_config",
                f"{name} cannot be exported to ONNX: {_first_line(reason)}",
                "use layers and operations that torch.onnx exports (opset 17)",
            ) from reason


class PretrainedBuilder(NetworkBuilder):
    """What networks on a pre-trained backbone share: the backbone's features, weights and styles."""

    network: PretrainedNetwork

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that the backbone scores."""
        return self.network.styles

    @property
    def exposures(self) -> tuple[UnlabeledExposure, ...]:
        """What the backbone was exposed to, as far as it is known; nothing where its weights are random."""
        if self._is_random:
            return ()
        return models.backbone_exposures(self.config.model.backbone, weights=self._weights)

    @property
    def _is_random(self) -> bool:
        return self.config.model.weights == models.RANDOM

    @property
    def _weights(self) -> Path | None:
        return Path(self.config.model.weights) if self.config.model.weights else None

    def feature_spec(self) -> FeatureSpec:
        """Return the features that the backbone was trained on; image networks take them at any hop."""
        with _naming_missing_libraries():
            return models.backbone_spec(self.config.model.backbone, hop_length=self.config.data.hop_length)

    def load_backbone(self) -> models.Backbone:
        """Load the backbone, or initialize it at random; at a learning rate of 0 its weights are frozen.

        Raises
        ------
        ConfigError
            ``invalid_config``: it is too large for a model file, or segments are longer than it can read.
        """
        name = self.config.model.backbone
        if self._is_random:
            backbone = models.random_backbone(name, seed=self.config.train.seed)
        else:
            backbone = models.load_backbone(name, weights=self._weights)
        longest = getattr(backbone.network, "longest_seconds", math.inf)
        if self.config.data.segment_seconds > longest:
            raise ConfigError(
                "invalid_config",
                f"data.segment_seconds is {self.config.data.segment_seconds:g}, and {name} uses the first "
                f"{longest:.4g} s of a segment",
                f"set data.segment_seconds={math.floor(longest * 100) / 100:g}",
            )
        size = sum(parameter.nbytes for parameter in backbone.parameters())
        if size > models.MAX_FILE_BYTES:
            raise ConfigError(
                "invalid_config",
                f"{name} has {size / 1e6:.0f} MB of weights, and a model file at most "
                f"{models.MAX_FILE_BYTES / 1e6:.0f} MB",
                "choose an encoder of a smaller size",
            )
        # Frozen weights need no gradients, which saves the backward pass through the backbone.
        return backbone.requires_grad_(self.config.optimizer.backbone_lr_scale != 0)


class ParallelPretrainedBuilder(PretrainedBuilder):
    """The paper's parallel network with a pre-trained CNN branch."""

    def feature_spec(self) -> FeatureSpec:
        """Return the features of both branches; see `PretrainedBuilder.feature_spec`."""
        spec = super().feature_spec()
        if spec.kind != "log_mel":
            raise ConfigError(
                "invalid_config",
                f"model.backbone is {self.config.model.backbone}, which takes samples, and the GRU beside it "
                "spectrograms",
                "set model.name=frozen or model.name=fine-tuned",
            )
        return spec

    def create_network(self, task: Task) -> PretrainedNetwork:
        """Put a GRU beside the backbone, and one dense layer on both."""
        return models.ParallelPretrained(
            self.load_backbone(),
            task.examples.spec.n_mels,
            len(task.classes),
            dropout=self.config.model.dropout,
            frames=features.segment_frames(task.examples.spec, self.config.data.segment_seconds),
            options=_network_options(self.config),
        )

    def _train(self, task: Task, folder: Path, options: FitOptions) -> Curves:
        """Train; what a frozen backbone computes is kept where its segments are the same in all epochs."""
        augment = self.config.augment
        changes = (
            augment.crops_per_track,
            augment.mixup_alpha,
            augment.spec_augment_masks,
            augment.random_eq_db,
            augment.lowpass_probability,
        )
        self.network.keep_embeddings(self.config.optimizer.backbone_lr_scale == 0 and not any(changes))
        curves = super()._train(task, folder, options)
        self.network.keep_embeddings(False)
        return curves


class FrozenBuilder(PretrainedBuilder):
    """Logistic regression on the embeddings of a backbone, whose weights stay; needs scikit-learn too."""

    network: LinearHead
    dropout: ClassVar[bool] = False

    def create_network(self, task: Task) -> LinearHead:
        """Put a linear layer on the backbone."""
        return models.LinearHead(
            self.load_backbone(),
            len(task.classes),
            dropout=self.config.model.dropout if self.dropout else 0.0,
        )

    def fit(self, task: Task, folder: Path, options: FitOptions = DEFAULT_OPTIONS) -> Curves:
        """Fit the linear layer as a logistic regression; see `ModelBuilder.fit`."""
        self.network = self.create_network(task)
        self._fit_linear_head(task)
        return []

    def _fit_linear_head(self, task: Task) -> None:
        c, seed = self.config.model.inverse_regularization, self.config.train.seed
        if task.is_multilabel:
            chosen, labels = training_labels(task)
            head = models.fit_linear_labels(
                self._embeddings(task, chosen), labels.values, labels.judged, c=c, seed=seed, balanced=True
            )
        else:
            chosen, targets, amounts = training_targets(task)
            head = models.fit_linear(
                self._embeddings(task, chosen), targets, c=c, seed=seed, sample_weight=amounts
            )
        self.network.load_head(*head)

    def _embeddings(self, task: Task, chosen: IntArray) -> FloatArray:
        # A batch at a time: the features of all segments may be larger than memory, their embeddings are not.
        return evaluation.map_segments(
            lambda batch: models.embed_segments(self.network.backbone, batch), task.examples, chosen
        )


class FineTunedBuilder(FrozenBuilder):
    """A backbone and a linear layer on its embedding, both trained, the backbone at a smaller rate."""

    dropout = True

    def fit(self, task: Task, folder: Path, options: FitOptions = DEFAULT_OPTIONS) -> Curves:
        """Fit the linear layer, fine-tune all weights, and interpolate them; see `ModelBuilder.fit`.

        A head that fits before the backbone moves does not distort the pre-trained features (Kumar et al.,
        "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022).
        """
        from genrescope.training import trainer

        trainer.configure_torch(self.config)
        self.network = self.create_network(task)
        # The embeddings that the head is fitted to are those of inference. Lightning leaves layers in the
        # mode that they are in: the backbone keeps its batch statistics, as there may be little music.
        self.network.eval()
        self._fit_linear_head(task)
        self.network.dropout.train()
        start = {name: value.clone() for name, value in self.network.state_dict().items()}
        curves = self._train(task, folder, options)
        _interpolate_weights(self.network, start, self.config.model.weight_interpolation)
        return curves


BUILDERS: dict[str, type[ModelBuilder]] = {
    "logistic-regression": ClassicalBuilder,
    "svm": ClassicalBuilder,
    "lstm": ScratchNetworkBuilder,
    "crnn": ScratchNetworkBuilder,
    "parallel": ScratchNetworkBuilder,
    "cnn": ScratchNetworkBuilder,
    "frozen": FrozenBuilder,
    "fine-tuned": FineTunedBuilder,
    "parallel-pretrained": ParallelPretrainedBuilder,
}


def create_builder(config: Config) -> ModelBuilder:
    """Return the builder of the family that ``config.model.name`` names.

    Parameters
    ----------
    config : Config
        Settings of the run.

    Returns
    -------
    ModelBuilder
        Not fitted yet.

    Raises
    ------
    ConfigError
        ``invalid_config``: no such family.
    """
    name = config.model.name
    if config.model.class_:
        return OwnNetworkBuilder(config)
    if name not in BUILDERS:
        raise ConfigError(
            "invalid_config", f"no model family is named {name!r}", "choose one of: " + ", ".join(BUILDERS)
        )
    return BUILDERS[name](config)


def configured_spec(config: Config, base: FeatureSpec) -> FeatureSpec:
    """Return the features of a family, as configured.

    Parameters
    ----------
    config : Config
        Its ``features``, and ``data.hop_length`` but for vectors.
    base : FeatureSpec
        The family's own.

    Raises
    ------
    ConfigError
        ``invalid_config``: settings that contradict each other.
    """
    chosen = config.features
    spec = replace(
        base,
        sample_rate=chosen.sample_rate,
        n_mels=chosen.n_mels,
        n_fft=chosen.n_fft,
        fmin=chosen.fmin,
        fmax=chosen.fmax or None,
        n_mfcc=chosen.n_mfcc,
        features=base.features if chosen.class_ or not chosen.names else chosen.names,
        hop_length=base.hop_length if base.kind == "vector" else config.data.hop_length,
    )
    if chosen.class_:
        spec = _with_function(spec, chosen.class_, config)
    if base.kind == "vector":
        return replace(spec, statistics=chosen.statistics, pool_bins=chosen.pool_bins)
    return spec


def _with_function(spec: FeatureSpec, name: str, config: Config) -> FeatureSpec:
    """Put a feature function of the user into a spec: as its only feature, or where it lists ``custom``."""
    features.register_feature(name)
    seconds = config.data.segment_seconds
    rows = features.custom_rows(name, spec.sample_rate, spec.hop_length, seconds)
    if spec.kind == "log_mel":
        return replace(spec, kind="custom", function=name, function_rows=rows)
    return replace(spec, features=config.features.names or ("custom",), function=name, function_rows=rows)


def _first_line(reason: Exception) -> str:
    return next(iter(str(reason).splitlines()), type(reason).__name__)[:300]


def _blank_segments(config: Config, spec: FeatureSpec) -> FloatArray:
    """Return two segments of zeros, of the shape of the features."""
    rows = features.feature_dimension(spec)
    frames = features.segment_frames(spec, config.data.segment_seconds)
    return np.zeros((2, frames, rows) if spec.kind == "sequence" else (2, rows, frames), np.float32)


def training_targets(task: Task) -> tuple[IntArray, IntArray, Float64Array | None]:
    """Return the training segments, and the index of the genre of each.

    Parameters
    ----------
    task : Task
        Features, labels and split.

    Returns
    -------
    segments : ndarray of int, shape (segments,)
        One of a track with shares of several genres occurs once for each of them.
    targets : ndarray of int, shape (segments,)
    weights : ndarray, shape (segments,), or None
        The share of the genre; None where all have one genre.
    """
    chosen = task.segments("train")
    if not task.has_distributions:
        return chosen, task.targets[task.examples.track[chosen]], None
    values = task.labels.values[task.examples.track[chosen]]
    rows, targets = np.nonzero(values)
    return chosen[rows], targets.astype(np.int64), values[rows, targets].astype(np.float64)


def training_labels(task: Task) -> tuple[IntArray, LabelMatrix]:
    """Return the training segments, and the genres of each.

    Parameters
    ----------
    task : Task
        Features, labels and split, of a multi-label task.

    Returns
    -------
    segments : ndarray of int, shape (segments,)
    labels : LabelMatrix
        A row for each segment.
    """
    chosen = task.segments("train")
    owners = task.examples.track[chosen]
    return chosen, LabelMatrix(task.labels.values[owners], task.labels.judged[owners])


def _network_options(config: Config) -> models.NetworkOptions:
    layers, model = config.network, config.model
    return models.NetworkOptions(
        models.LayerSizes(
            count=layers.layers,
            units=layers.units,
            filters=layers.filters,
            kernel=(layers.kernel[0], layers.kernel[1]) if layers.kernel else None,
            pooling=layers.pooling,
        ),
        model.recurrent_normalization,
        model.scaling,
        model.initialization,
    )


def _interpolate_weights(network: Network, start: dict[str, Tensor], share: float) -> None:
    """Blend a network with its weights before fine-tuning: ``share`` of them, the rest as trained.

    Keeps much of a pre-trained model's robustness where training data are few (Wortsman et al., "Robust
    fine-tuning of zero-shot models", CVPR 2022).
    """
    blended = network.state_dict()
    # Integers, such as the number of batches that a normalization layer was trained on, stay as trained.
    for name, value in start.items():
        if value.is_floating_point():
            blended[name] = share * value + (1 - share) * blended[name]
    network.load_state_dict(blended)


@contextmanager
def _naming_missing_libraries() -> Iterator[None]:
    """Turn the failed import of a training library into an error that says what to install."""
    try:
        yield
    except ImportError as missing:
        raise missing_extra("train", missing.name or "torch") from None
