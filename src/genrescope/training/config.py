"""The settings of a training run: TOML and ``--set`` into frozen dataclasses, unknown keys refused.

Precedence, lowest first: the defaults written here, the TOML file, ``--set section.key=value``.
"""

from __future__ import annotations

import math
import tomllib
import types
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from genrescope.errors import ConfigError
from genrescope.utils import did_you_mean, package_data


@dataclass(frozen=True)
class DataConfig:
    """What to read, and what the model sees of it.

    ``segment_seconds`` is the length of a segment, ``hop_seconds`` the distance between two (0: end to end);
    ``segments_per_track`` caps their number (0: all that fit).
    """

    input: Literal["auto", "audio", "spectrogram", "table"] = "auto"
    segment_seconds: float = 5.3
    hop_seconds: float = 0.0
    hop_length: int = 914
    segments_per_track: int = 0


@dataclass(frozen=True)
class SplitConfig:
    """Who trains, who selects, who tests; see ``splits``.

    ``join_validation`` trains on the validation part too, for a last run whose settings are chosen.
    ``measure`` says which part the model is measured on: ``validation`` while choosing settings, so that
    the test part is looked at once.
    """

    protocol: str = "artist-grouped"
    test_fraction: float = 0.2
    validation_fraction: float = 0.1
    folds: int = 5
    fold: int = 0
    train_on_validation: bool = False
    evaluate_on: Literal["test", "validation"] = "test"


@dataclass(frozen=True)
class ModelConfig:
    """Which network or classifier, and its regularization.

    ``c`` is the inverse strength for logistic regression and SVM. ``backbone`` is what pre-trained families
    stand on, a name of ``backbones``; ``weights`` a file of its weights (empty: the published ones, fetched).
    ``stay`` is how far a fine-tuned network goes back to where it began: 0 not at all, 1 all the way.
    """

    name: str = "cnn"
    dropout: float = 0.3
    inverse_regularization: float = 1.0
    backbone: str = "mn04"
    weights: str = ""
    weight_interpolation: float = 0.0


@dataclass(frozen=True)
class AugmentConfig:
    """Changes to training data: mix-up strength (0: none), SpecAugment masks, random crops per track.

    ``recolor_db`` is how far equalizers and noise floors differ, as they do between codecs (0: not at all);
    ``band_limit`` the share of crops that lose their highest bands, as at low sample rates.
    """

    mixup_alpha: float = 0.3
    spec_augment_masks: int = 2
    spec_augment_max_bands: int = 20
    spec_augment_max_seconds: float = 0.8
    crops_per_track: int = 4
    random_eq_db: float = 0.0
    lowpass_probability: float = 0.0


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights move: the optimizer, its rate, and how the rate falls.

    ``schedule`` is ``plateau`` (times ``plateau_factor`` when validation accuracy has not risen for
    ``plateau_patience`` epochs), ``one-cycle`` (Smith and Topin, 2017) or ``constant``.
    ``backbone_rate`` times the learning rate is what a pre-trained backbone moves at; 0 freezes it.
    """

    name: Literal["adamw", "rmsprop"] = "adamw"
    learning_rate: float = 0.003
    weight_decay: float = 0.02
    backbone_lr_scale: float = 0.1
    schedule: Literal["plateau", "one-cycle", "constant"] = "one-cycle"
    plateau_factor: float = 0.5
    plateau_patience: int = 10


@dataclass(frozen=True)
class TrainConfig:
    """The run itself. ``patience`` stops it when validation accuracy stalls for so many epochs (0: never).

    ``keep`` says which epoch becomes the model: the ``best`` on validation data, or the ``last``.
    """

    seed: int = 0
    epochs: int = 40
    batch_size: int = 64
    label_smoothing: float = 0.1
    early_stopping_patience: int = 0
    checkpoint: Literal["best", "last"] = "best"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = 0


@dataclass(frozen=True)
class CalibrationConfig:
    """How far scores are to be trusted; what is 0 is found on the validation part, where there is one.

    ``temperature`` is what logits are divided by (1: left as they are), ``min_score`` the score below which
    an answer is unsure: the lowest at which the answers above are right as often as ``accuracy`` says.
    """

    temperature: float = 1.0
    threshold: float = 0.0
    target_accuracy: float = 0.9


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as nested plain values."""
        return asdict(self)


def packaged_configs() -> list[str]:
    """Return the names of the configurations that come with the package."""
    folder = package_data("training")
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def load_config(source: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration by file or shipped name, and apply ``section.key=value`` overrides.

    Raises
    ------
    ConfigError
        ``invalid_config``: no such file or name, malformed TOML, an unknown key, a value of the wrong type.
    """
    values = {} if source is None else _parse(_text(source), str(source))
    for override in overrides:
        _put(values, override)
    return config_from_json(values)


def config_from_json(values: Mapping[str, Any]) -> Config:
    """Build a configuration from nested plain values, refusing keys that do not exist."""
    config: Config = _fill(Config(), values, "")
    _check(config)
    return config


def _text(source: str | Path) -> str:
    path = Path(source)
    if path.suffix != ".toml":
        if str(source) not in packaged_configs():
            raise ConfigError(
                "invalid_config",
                f"no configuration is named {str(source)!r}",
                _nearest(str(source), packaged_configs()),
            )
        path = package_data("training", f"{source}.toml")
    try:
        return path.read_text(encoding="utf8")
    except (OSError, UnicodeDecodeError) as reason:
        raise ConfigError(
            "invalid_config", f"{path}: cannot be read: {reason}", "give a TOML file or a shipped name"
        ) from None


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as reason:
        raise ConfigError("invalid_config", f"{source}: not valid TOML: {reason}", "mend that line") from None


def _put(values: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise ConfigError(
            "invalid_config",
            f"--set {override!r} is not section.key=value",
            "write for example --set train.epochs=20",
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = values.setdefault(section, {})
    if not isinstance(table, dict):
        raise ConfigError(
            "invalid_config", f"{section!r} is not a section", _nearest(section, _names(Config()))
        )
    table[key] = value


def _fill(target: Any, values: Mapping[str, Any], prefix: str) -> Any:
    hints = get_type_hints(type(target))
    changes = {}
    for key, value in values.items():
        if key not in hints:
            raise ConfigError(
                "invalid_config", f"unknown setting {prefix + key!r}", _nearest(key, list(hints))
            )
        current = getattr(target, key)
        if is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ConfigError(
                    "invalid_config",
                    f"{prefix + key!r} is a section, not a value",
                    f"write [{key}] and its keys below it",
                )
            changes[key] = _fill(current, value, f"{prefix}{key}.")
        else:
            changes[key] = _typed(value, hints[key], prefix + key)
    return replace(target, **changes)


def _typed(value: Any, hint: Any, name: str) -> Any:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(
                "invalid_config",
                f"{name} cannot be {value!r}",
                "choose one of: " + ", ".join(map(str, get_args(hint))),
            )
        return value
    if get_origin(hint) in (Union, types.UnionType):
        raise TypeError(f"{name}: settings have one type each")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ConfigError(
            "invalid_config",
            f"{name} must be {hint.__name__}, not {value!r}",
            f"the default is {_default(name)!r}",
        )
    return value


# Lowest and highest value; what is not named here may be anything of its type.
_RANGES: dict[str, tuple[float, float]] = {
    "data.segment_seconds": (0.1, 3600),
    "data.hop_seconds": (0, 3600),
    "data.hop_length": (1, 1 << 20),
    "data.segments_per_track": (0, math.inf),
    "split.test_fraction": (0, 0.99),
    "split.validation_fraction": (0, 0.99),
    "split.folds": (2, math.inf),
    "split.fold": (0, math.inf),
    "model.dropout": (0, 0.99),
    "model.inverse_regularization": (1e-12, math.inf),
    "model.weight_interpolation": (0, 1),
    "augment.mixup_alpha": (0, math.inf),
    "augment.spec_augment_masks": (0, math.inf),
    "augment.spec_augment_max_bands": (0, math.inf),
    "augment.spec_augment_max_seconds": (0, math.inf),
    "augment.crops_per_track": (0, math.inf),
    "augment.random_eq_db": (0, math.inf),
    "augment.lowpass_probability": (0, 1),
    "optimizer.learning_rate": (1e-12, math.inf),
    "optimizer.weight_decay": (0, math.inf),
    "optimizer.backbone_lr_scale": (0, math.inf),
    "optimizer.plateau_factor": (0.01, 0.99),
    "optimizer.plateau_patience": (0, math.inf),
    "train.seed": (0, (1 << 32) - 1),
    "train.epochs": (1, math.inf),
    "train.batch_size": (1, math.inf),
    "train.label_smoothing": (0, 0.99),
    "train.early_stopping_patience": (0, math.inf),
    "train.threads": (0, 1024),
    "calibration.temperature": (0, 100),
    "calibration.threshold": (0, 1),
    "calibration.target_accuracy": (0.01, 1),
}


def _check(config: Config) -> None:
    for name, (lowest, highest) in _RANGES.items():
        if not lowest <= _value(config, name) <= highest:
            span = f"at least {lowest:g}" if highest == math.inf else f"from {lowest:g} to {highest:g}"
            raise ConfigError(
                "invalid_config",
                f"{name} must be {span}, not {_value(config, name)!r}",
                f"the default is {_default(name)!r}",
            )
    if config.data.hop_seconds > config.data.segment_seconds:
        raise ConfigError(
            "invalid_config",
            f"data.hop_seconds is {config.data.hop_seconds:g}, longer than a segment: sound would be lost",
            "set data.hop_seconds=0 for segments end to end",
        )
    unvalidated = config.split.train_on_validation or (
        config.split.validation_fraction == 0 and config.split.protocol != "fault-filtered"
    )
    if config.optimizer.schedule == "plateau" and unvalidated:
        raise ConfigError(
            "invalid_config",
            "the plateau schedule watches validation accuracy, and there is no validation part",
            "set split.validation_fraction above zero, or optimizer.schedule to one-cycle",
        )


def _value(config: Config, name: str) -> Any:
    section, _, key = name.partition(".")
    return getattr(getattr(config, section), key)


def _default(name: str) -> Any:
    return _value(Config(), name)


def _names(target: Any) -> list[str]:
    return [entry.name for entry in fields(target)]


def _nearest(name: str, known: list[str]) -> str:
    return did_you_mean(name, known)
