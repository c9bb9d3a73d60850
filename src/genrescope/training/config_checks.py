"""Settings that are valid one by one, but contradict each other or the model family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from genrescope.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from genrescope.training.config import Config

CLASSICAL = ("logistic-regression", "svm")
ON_BACKBONE = ("frozen", "fine-tuned", "parallel-pretrained")
_CONVOLUTIONS = ("layers", "filters", "kernel", "pooling")
_MEL = ("sample_rate", "n_mels", "n_fft", "fmin", "fmax", "class")
_PER_FRAME = ("names", *_MEL, "n_mfcc")
# The keys of [network] and [features] that each family takes.
NETWORK_KEYS: dict[str, tuple[str, ...]] = {
    "lstm": ("layers", "units"),
    "cnn": _CONVOLUTIONS,
    "crnn": (*_CONVOLUTIONS, "units"),
    "parallel": (*_CONVOLUTIONS, "units"),
}
_RECURRENT = ("lstm", "crnn", "parallel", "parallel-pretrained")
# The families that each of these keys of [model] applies to.
NETWORK_OPTIONS: dict[str, tuple[str, ...]] = {
    "recurrent_normalization": _RECURRENT,
    "scaling": ("lstm",),
    "initialization": (*_RECURRENT, "cnn"),
}
FEATURE_KEYS: dict[str, tuple[str, ...]] = {
    "logistic-regression": ("statistics", "pool_bins", *_PER_FRAME),
    "svm": ("statistics", "pool_bins", *_PER_FRAME),
    "lstm": _PER_FRAME,
    "cnn": _MEL,
    "crnn": _MEL,
    "parallel": _MEL,
}


def check_combinations(config: Config) -> None:
    """Refuse settings that are valid one by one, but contradict each other or the model family.

    Parameters
    ----------
    config : Config
        All settings.

    Raises
    ------
    ConfigError
        ``invalid_config``.
    """
    _check_family(config)
    _check_network_options(config)
    _check_training(config)
    if config.data.hop_seconds > config.data.segment_seconds:
        raise ConfigError(
            "invalid_config",
            f"data.hop_seconds is {config.data.hop_seconds:g}, longer than a segment: "
            "audio between segments would be skipped",
            "set data.hop_seconds=0 for segments end to end",
        )
    if config.data.task == "multi-label":
        _check_multilabel(config)
    if config.data.columns != "paper" and config.model.name not in CLASSICAL:
        raise ConfigError(
            "invalid_config",
            f"data.columns is {config.data.columns!r}, and {config.model.name} takes no tables",
            "set data.columns=paper, or train logistic-regression or svm",
        )
    unvalidated = config.split.train_on_validation or (
        config.split.validation_fraction == 0 and config.split.protocol != "fault-filtered"
    )
    if config.optimizer.schedule == "plateau" and unvalidated:
        raise ConfigError(
            "invalid_config",
            "the plateau schedule needs validation accuracy, and there is no validation part",
            "set split.validation_fraction above zero, or optimizer.schedule to one-cycle",
        )


def _check_family(config: Config) -> None:
    """Refuse settings of layers and features that the model family does not take."""
    model, features = config.model, config.features
    if model.class_:
        if model.name != type(model)().name:
            raise ConfigError(
                "invalid_config",
                f"model.name is {model.name!r} and model.class {model.class_!r}: which is to be trained?",
                "leave out one of them; in a packaged configuration: --config cnn",
            )
        _refuse_others("a network of your own", "network", config.network, ["options"])
        _refuse_others("a network of your own", "features", features, _PER_FRAME)
    else:
        _refuse_others(model.name, "network", config.network, NETWORK_KEYS.get(model.name, ()))
        _refuse_others(model.name, "features", features, FEATURE_KEYS.get(model.name, ()))
    if features.class_ and not features.names and model.name not in (*CLASSICAL, "lstm"):
        # The function takes the place of the log-mel spectrogram.
        _refuse_others("a feature function of your own", "features", features, ["class", "sample_rate"])
    if ("custom" in features.names) != bool(features.class_) and (features.names or not features.class_):
        raise ConfigError(
            "invalid_config",
            "features.names lists 'custom', and features.class names no function"
            if not features.class_
            else f"features.class is {features.class_!r}, and features.names does not list 'custom'",
            "give both, or leave out both",
        )
    if config.data.columns != "paper" and features != type(features)():
        raise ConfigError(
            "invalid_config",
            "data.columns takes features from a table, and [features] says how they are computed from audio",
            "leave out one of them",
        )


def _check_multilabel(config: Config) -> None:
    """Refuse what is for tasks with one genre per track."""
    if config.model.name == "svm" and not config.model.class_:
        raise ConfigError(
            "invalid_config",
            "data.task is 'multi-label', and an svm gives each track exactly one genre",
            "train logistic-regression or a network",
        )
    if config.train.loss != "cross-entropy":
        raise ConfigError(
            "invalid_config",
            f"data.task is 'multi-label', and train.loss is {config.train.loss!r}",
            "leave train.loss out: each genre has its binary cross-entropy",
        )
    if config.train.class_weights != "none" and config.model.name != "logistic-regression":
        raise ConfigError(
            "invalid_config",
            f"data.task is 'multi-label', and train.class_weights is {config.train.class_weights!r}",
            "leave train.class_weights out, or train logistic-regression",
        )


def _check_network_options(config: Config) -> None:
    """Refuse options of networks for families that have nothing to apply them to."""
    model = config.model
    for key, families in NETWORK_OPTIONS.items():
        value, default = getattr(model, key), type(model).model_fields[key].default
        if value != default and (model.class_ or model.name not in families):
            family = "a network of your own" if model.class_ else model.name
            raise ConfigError(
                "invalid_config",
                f"model.{key} is {value!r}, and does not apply to {family}",
                f"set model.{key}={default}, or model.name to one of: " + ", ".join(families),
            )


def _refuse_others(family: str, section: str, settings: BaseModel, taken: Sequence[str]) -> None:
    """Refuse settings of a section that are not at their defaults, but for those that are taken."""
    for name, field in type(settings).model_fields.items():
        key = field.alias or name
        if key in taken or getattr(settings, name) == field.default:
            continue
        keys = ", ".join(f"{section}.{one}" for one in taken)
        raise ConfigError(
            "invalid_config",
            f"{family} takes no {section}.{key}",
            f"leave it out; {family} takes: {keys}"
            if taken
            else f"leave it out; {family} takes none of [{section}]",
        )


def _check_training(config: Config) -> None:
    """Refuse settings of the optimizer and the loss that would not be obeyed."""
    for key in ("lr", "params", "weight_decay"):
        if key in dict(config.optimizer.options):
            raise ConfigError(
                "invalid_config",
                f"optimizer.options holds {key}",
                "give optimizer.learning_rate and optimizer.weight_decay",
            )
    if config.train.loss != "cross-entropy" and config.model.name in (*CLASSICAL, "frozen"):
        raise ConfigError(
            "invalid_config",
            f"{config.model.name} has a loss of its own, not {config.train.loss}",
            "leave out train.loss, or train a network by gradient descent",
        )
