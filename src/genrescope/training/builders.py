"""The families of models: the features of each, how it is fitted, and how it is exported.

To add a family, write a `ModelBuilder` and name it in ``BUILDERS``. Everything else (splits, calibration,
evaluation, the model file) is the same for all of them, see `genrescope.training.run`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from genrescope import evaluation, features, models
from genrescope.errors import ConfigError, missing_extra
from genrescope.features import FeatureSpec
from genrescope.models import ExportedModel, ModelInfo, UnlabeledExposure
from genrescope.training.config import Config
from genrescope.training.options import DEFAULT_OPTIONS, FitOptions
from genrescope.training.task import Task
from genrescope.types import FloatArray, IntArray

if TYPE_CHECKING:  # these load torch or scikit-learn, which only the families that use them may do
    from torch import Tensor

    from genrescope.models import ClassicalPipeline, LinearHead, Network, PretrainedNetwork

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

    def feature_spec(self) -> FeatureSpec:
        """Return the paper's vector of means, or the columns of a table that the settings name."""
        if self.config.data.columns == "paper":
            return features.PAPER_MEANS
        return FeatureSpec("table", features=self.config.data.column_names)

    def fit(self, task: Task, folder: Path, options: FitOptions = DEFAULT_OPTIONS) -> Curves:
        """Fit standardization and classifier; see `ModelBuilder.fit`."""
        inputs, targets = training_data(task)
        model = self.config.model
        self.pipeline = models.fit_classical(
            model.name, inputs, targets, c=model.inverse_regularization, seed=self.config.train.seed
        )
        return []

    def logits(self, inputs: FloatArray) -> FloatArray:
        """Return the logarithms of the probabilities, whose softmax gives these back."""
        probabilities = self.pipeline.predict_proba(inputs)
        return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))

    def export(self, info: ModelInfo, sample: FloatArray, *, temperature: float) -> ExportedModel:
        """Convert the pipeline; see `ModelBuilder.export`."""
        return models.export_classical(self.pipeline, info, sample)


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
        """Return the paper's sequence of features for the LSTM, log-mel for the others."""
        with _naming_missing_libraries():
            family = models.NETWORK_FAMILIES[self.config.model.name]
        base = features.PAPER_SEQUENCE if family.input == "sequence" else features.PAPER_LOG_MEL
        return replace(base, hop_length=self.config.data.hop_length)

    def create_network(self, task: Task) -> Network:
        """Build a network with fresh weights."""
        spec = task.examples.spec
        return models.build_network(
            self.config.model.name,
            features=features.feature_dimension(spec),
            frames=features.segment_frames(spec, self.config.data.segment_seconds),
            classes=len(task.classes),
            dropout=self.config.model.dropout,
        )


class PretrainedBuilder(NetworkBuilder):
    """What networks on a pre-trained backbone share: the backbone's features, weights and styles."""

    network: PretrainedNetwork

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that the backbone scores."""
        return self.network.styles

    @property
    def exposures(self) -> tuple[UnlabeledExposure, ...]:
        """What the backbone was exposed to, as far as it is known."""
        return models.backbone_exposures(self.config.model.backbone, weights=self._weights)

    @property
    def _weights(self) -> Path | None:
        return Path(self.config.model.weights) if self.config.model.weights else None

    def feature_spec(self) -> FeatureSpec:
        """Return the features that the backbone was trained on, at its own hop."""
        with _naming_missing_libraries():
            return models.backbone_spec(self.config.model.backbone)

    def load_backbone(self) -> models.Backbone:
        """Load the backbone; at a learning rate of 0 its weights are frozen."""
        # Frozen weights need no gradients, which saves the backward pass through the backbone.
        backbone = models.load_backbone(self.config.model.backbone, weights=self._weights)
        return backbone.requires_grad_(self.config.optimizer.backbone_lr_scale != 0)


class ParallelPretrainedBuilder(PretrainedBuilder):
    """The paper's parallel network with a pre-trained CNN branch."""

    def create_network(self, task: Task) -> PretrainedNetwork:
        """Put a GRU beside the backbone, and one dense layer on both."""
        return models.ParallelPretrained(
            self.load_backbone(),
            task.examples.spec.n_mels,
            len(task.classes),
            dropout=self.config.model.dropout,
        )


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
        chosen = task.segments("train")
        # A batch at a time: the features of all segments may be larger than memory, their embeddings are not.
        embeddings = evaluation.map_segments(
            lambda batch: models.embed_segments(self.network.backbone, batch), task.examples, chosen
        )
        weights, biases = models.fit_linear(
            embeddings,
            task.targets[task.examples.track[chosen]],
            c=self.config.model.inverse_regularization,
            seed=self.config.train.seed,
        )
        self.network.load_head(weights, biases)


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
        # Batch statistics and dropout off: the embeddings that the head is fitted to are those of inference.
        self.network.eval()
        self._fit_linear_head(task)
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
    if name not in BUILDERS:
        raise ConfigError(
            "invalid_config", f"no model family is named {name!r}", "choose one of: " + ", ".join(BUILDERS)
        )
    return BUILDERS[name](config)


def training_data(task: Task) -> tuple[FloatArray, IntArray]:
    """Return the features of all training segments, and the index of the genre of each.

    Parameters
    ----------
    task : Task
        Features, targets and split.

    Returns
    -------
    features : ndarray, float32
        The first axis is that of the segments.
    targets : ndarray of int, shape (segments,)
    """
    chosen = task.segments("train")
    return task.examples.take(chosen), task.targets[task.examples.track[chosen]]


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
