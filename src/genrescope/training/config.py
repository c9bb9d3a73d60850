"""The settings of a training run: TOML and ``--set`` into frozen pydantic models, unknown keys refused.

Precedence, lowest first: the defaults written here, the TOML file, ``--set section.key=value``.
The description of each field is its documentation: `config_reference` renders ``docs/configuration.md`` from
them, with the ranges that pydantic checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from genrescope.errors import ConfigError, missing_extra
from genrescope.features import FEATURES, STATISTICS
from genrescope.training.config_checks import check_combinations
from genrescope.utils import did_you_mean, package_data, parse_toml

try:
    from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
    from pydantic.fields import FieldInfo

    from genrescope.training.config_types import (
        MAX_LAYERS,
        DottedName,
        Kernel,
        Names,
        Optimizer,
        Options,
        Pools,
        Widths,
        described,
    )
except ImportError:  # pydantic comes with the extras ``train`` and ``web``
    raise missing_extra("train", "pydantic") from None


class _Section(BaseModel):
    # Strict, because a quoted number or a ``true`` where a number belongs is a mistake in the file; an
    # integer is still taken for a float. Values that are not finite have no meaning for any setting.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(_Section):
    """What is read, and how recordings are cut into segments."""

    input: Literal["auto", "audio", "spectrogram", "table"] = Field(
        default="auto", description="Kind of the data set; `auto` finds out from the files."
    )
    task: Literal["single-label", "multi-label"] = Field(
        default="single-label",
        description="`single-label`: a track has exactly one genre, or shares of several that sum to one. "
        "`multi-label`: it has any number of genres, each with a probability of its own.",
    )
    layout: str = Field(
        default="auto",
        description="Layout of the data set, where it is not to be recognized: `csv`, `folders`, `gtzan`, "
        "`fma`, `mtg-jamendo`, `ismir04`, `ballroom`, or `mirdata:NAME`.",
    )
    reader: DottedName = described(
        "",
        values="`module:name`",
        description="A function of yours that reads the data set, see [own models](own-models.md).",
    )
    columns: str = Field(
        default="paper",
        description="Columns of a table of features that logistic regression and SVM take: `paper`, its six "
        "means; `all`; or a list of names.",
    )
    segment_seconds: float = Field(
        default=5.3, ge=0.1, le=3600, description="Length of a segment in seconds."
    )
    hop_seconds: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        description="Distance between the starts of two segments in seconds, at most the length of one; "
        "0: end to end.",
    )
    hop_length: int = Field(
        default=914, ge=1, le=1 << 20, description="Hop of the mel spectrogram in samples."
    )
    segments_per_track: int = Field(
        default=0, ge=0, description="Largest number of segments per track; 0: all that fit."
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _join(cls, value: object) -> object:
        """Take a list of names as well as a text with commas."""
        if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
            return ",".join(value)
        return value

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names in ``columns``; none for ``all``."""
        names = tuple(name.strip() for name in self.columns.split(",") if name.strip())
        return () if names == ("all",) else names


class FeatureConfig(_Section):
    """What is computed of audio; networks on a backbone have the features of the backbone."""

    names: Names = described(
        (),
        values="list of names",
        description="Features per frame of `lstm` and of networks of your own, or that "
        "`logistic-regression` and `svm` take statistics of: "
        + ", ".join(f"`{name}`" for name in FEATURES)
        + "; `custom`, the function of `class`. Empty: those of the paper.",
    )
    statistics: Names = described(
        ("mean",),
        values="list of " + ", ".join(f"`{name}`" for name in STATISTICS),
        description="Statistics over the frames, of `logistic-regression` and `svm`.",
    )
    pool_bins: bool = Field(
        default=True,
        description="Whether statistics run over the rows of a feature too, as in the paper: one number "
        "for all MFCC.",
    )
    sample_rate: int = Field(
        default=22050, ge=1000, le=384_000, description="Rate in Hz that audio is resampled to."
    )
    n_mels: int = Field(default=128, ge=1, le=512, description="Number of mel bands.")
    n_fft: int = Field(default=2048, ge=2, le=1 << 15, description="Length of a frame in samples; even.")
    fmin: float = Field(default=0.0, ge=0, le=192_000, description="Lowest frequency of the mel bands in Hz.")
    fmax: float = Field(
        default=0.0,
        ge=0,
        le=192_000,
        description="Highest frequency of the mel bands in Hz; 0: half the sample rate.",
    )
    n_mfcc: int = Field(default=20, ge=1, le=512, description="Number of MFCC, where they are used.")
    class_: DottedName = described(
        "",
        alias="class",
        values="`module:name`",
        description="A feature function of yours, see [own models](own-models.md).",
    )


class SplitConfig(_Section):
    """Which tracks train, validate and test the model."""

    protocol: str = Field(default="artist-grouped", description="Name of the split protocol.")
    seed: int = Field(
        default=-1,
        ge=-1,
        le=(1 << 32) - 1,
        description="Seed of the split; -1: that of the training, `train.seed`.",
    )
    test_fraction: float = Field(
        default=0.2, ge=0, le=0.99, description="Share of the tracks in the test part."
    )
    validation_fraction: float = Field(
        default=0.1, ge=0, le=0.99, description="Share of the tracks in the validation part."
    )
    folds: int = Field(default=5, ge=2, description="Number of folds of protocols with cross-validation.")
    fold: int = Field(
        default=0,
        ge=0,
        description="The fold that is the test part, from 0; under `given` its number in the data set.",
    )
    train_on_validation: bool = Field(
        default=False,
        description="Train on the validation part too, for a final run whose settings are already chosen.",
    )
    evaluate_on: Literal["test", "validation"] = Field(
        default="test",
        description="Part that the model is evaluated on: `validation` while settings are being chosen, so "
        "that the test part is used once.",
    )


class ModelConfig(_Section):
    """Which network or classifier is trained, and its regularization."""

    name: str = Field(default="cnn", description="Model family.")
    class_: DottedName = described(
        "",
        alias="class",
        values="`module:name`",
        description="A network of yours in place of the family, see [own models](own-models.md).",
    )
    dropout: float = Field(default=0.3, ge=0, le=0.99, description="Dropout probability of networks.")
    recurrent_normalization: Literal["none", "batch"] = Field(
        default="none",
        description="Normalization inside recurrent layers: `batch` is that of Cooijmans et al. (ICLR 2017), "
        "for `lstm`, `crnn`, `parallel` and `parallel-pretrained`.",
    )
    scaling: Literal["per-feature", "none", "batch"] = Field(
        default="per-feature",
        description="Scaling of the input of `lstm`: `per-feature` standardizes each by mean and deviation "
        "of the training data, `batch` is batch normalization with learned scale and shift.",
    )
    initialization: Literal["default", "pytorch", "xavier", "he", "orthogonal"] = Field(
        default="default",
        description="Initial weights of networks without a backbone, and of what `parallel-pretrained` puts "
        "beside its own: `default` mixes He, Xavier and orthogonal weights by layer, `pytorch` leaves "
        "PyTorch's, `xavier` and `he` are for all layers, `orthogonal` for the recurrent weights only, with "
        "PyTorch's for the rest.",
    )
    inverse_regularization: float = Field(
        default=1.0,
        ge=1e-12,
        description="Inverse strength of regularization (C) of logistic regression and SVM.",
    )
    backbone: str = Field(default="mn04", description="Pre-trained network below the families that need one.")
    weights: str = Field(
        default="",
        description="File with the weights of the backbone, `.pt`, `.pth` or `.safetensors`; `random`: "
        "random initialization; empty: the published ones, downloaded.",
    )
    weight_interpolation: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="How far the weights of a fine-tuned network are moved back to those it started from: 0 "
        "not at all, 1 all the way (Wortsman et al., CVPR 2022).",
    )


class NetworkConfig(_Section):
    """Sizes of a network's layers: of `lstm`, `cnn`, `crnn` and `parallel`; empty: as the family has them."""

    layers: int = Field(
        default=0,
        ge=0,
        le=MAX_LAYERS,
        description="Number of convolutions, of `lstm` of recurrent layers; 0: as `filters` or `units` has "
        "entries. Layers beyond those of the family have the width of its last, and no pooling.",
    )
    units: Widths = described(
        (),
        values="integer, or list of integers",
        description="Units of the recurrent layers: of `lstm`, and of the GRU of `crnn` and `parallel`, "
        "where each direction has so many.",
    )
    filters: Widths = described(
        (),
        values="integer, or list of integers",
        description="Channels of the convolutions of `cnn`, `crnn` and `parallel`.",
    )
    kernel: Kernel = described(
        (),
        values="integer, or list of two",
        description="Bands and frames of the convolutions' kernel; odd, but for "
        "`parallel`, which does not pad.",
    )
    pooling: Pools = described(
        (),
        values="integer, or list of integers and pairs",
        description="Bands and frames that are pooled after each convolution; 1: none.",
    )
    options: Options = described(
        (),
        values="table",
        description="Arguments of the network that `model.class` names: `[network.options]`.",
    )


class AugmentConfig(_Section):
    """Random changes to the training data."""

    mixup_alpha: float = Field(
        default=0.3,
        ge=0,
        description="Parameter of mixup's beta distribution (Zhang et al., ICLR 2018); 0: no mixup.",
    )
    spec_augment_masks: int = Field(
        default=2, ge=0, description="Number of SpecAugment masks (Park et al., Interspeech 2019); 0: none."
    )
    spec_augment_max_bands: int = Field(
        default=20, ge=0, description="Largest height of a mask in mel bands."
    )
    spec_augment_max_seconds: float = Field(
        default=0.8, ge=0, description="Largest width of a mask in seconds."
    )
    crops_per_track: int = Field(
        default=4, ge=0, description="Random crops per track and epoch; 0: the fixed segments instead."
    )
    random_eq_db: float = Field(
        default=0.0,
        ge=0,
        description="Strength of random equalizers and noise floors, as codecs cause, in dB; 0: none.",
    )
    lowpass_probability: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of crops that lose their highest bands, as at a low sample rate.",
    )


class OptimizerConfig(_Section):
    """The optimizer, its learning rate, and how the rate changes."""

    name: Optimizer = Field(
        default="adamw",
        description="The optimizer: a class of `torch.optim`. `rmsprop` has Keras' `alpha` and `eps`, as in "
        "the paper.",
    )
    options: Options = described(
        (),
        values="table",
        description="Further arguments of the optimizer, such as `momentum`: `[optimizer.options]`, or "
        "`--set optimizer.options.momentum=0.9`.",
    )
    learning_rate: float = Field(default=0.003, ge=1e-12, description="Learning rate; of one-cycle its peak.")
    weight_decay: float = Field(default=0.02, ge=0, description="Weight decay.")
    backbone_lr_scale: float = Field(
        default=0.1, ge=0, description="Factor on the learning rate of a pre-trained backbone; 0 freezes it."
    )
    schedule: Literal["plateau", "one-cycle", "cosine", "step", "constant"] = Field(
        default="one-cycle",
        description="Learning rate schedule: `plateau` multiplies the rate by `plateau_factor` when "
        "validation accuracy has not risen for `plateau_patience` epochs, "
        "`one-cycle` is that of Smith and Topin (2017), which changes momentum too, `cosine` falls to 0 "
        "over all steps (Loshchilov and Hutter, ICLR 2017, without restarts), `step` multiplies the rate by "
        "`step_factor` every `step_epochs` epochs.",
    )
    plateau_factor: float = Field(
        default=0.5, ge=0.01, le=0.99, description="Factor of the `plateau` schedule."
    )
    plateau_patience: int = Field(default=10, ge=0, description="Epochs that the `plateau` schedule waits.")
    step_factor: float = Field(default=0.1, ge=1e-6, le=1, description="Factor of the `step` schedule.")
    step_epochs: int = Field(default=10, ge=1, description="Epochs between two steps of the `step` schedule.")


class TrainConfig(_Section):
    """The run itself."""

    seed: int = Field(
        default=0,
        ge=0,
        le=(1 << 32) - 1,
        description="Seed of all random numbers, but for those of the split where `split.seed` is given.",
    )
    epochs: int = Field(default=40, ge=1, description="Number of epochs.")
    batch_size: int = Field(default=64, ge=1, description="Segments per step, of each device.")
    label_smoothing: float = Field(default=0.1, ge=0, le=0.99, description="Label smoothing.")
    loss: Literal["cross-entropy", "focal"] = Field(
        default="cross-entropy",
        description="What networks minimize; `focal` weighs segments less that are scored right (Lin et al., "
        "ICCV 2017).",
    )
    focal_gamma: float = Field(default=2.0, ge=0, le=20, description="Exponent of the focal loss.")
    class_weights: Literal["none", "balanced"] = Field(
        default="none",
        description="Weights of genres in training: `balanced` weighs each as much as any other. The "
        "linear layer of `frozen`, and that which `fine-tuned` starts from, is always fitted so.",
    )
    early_stopping_patience: int = Field(
        default=0,
        ge=0,
        description="Stop when validation accuracy has not risen for so many epochs; 0: never.",
    )
    checkpoint: Literal["best", "last"] = Field(
        default="best",
        description="Epoch that becomes the model: the best on the validation part, or the last.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Number format of training; `auto`: what the processor does fastest."
    )
    threads: int = Field(default=0, ge=0, le=1024, description="Threads of torch; 0: torch's default.")
    loader_workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Processes that read and augment batches while the network trains; 0: none. Any "
        "number of them draws the same random numbers, which are not those of 0.",
    )


class CalibrationConfig(_Section):
    """Calibration of the scores; a value of 0 is estimated from a validation part of 100 or more tracks."""

    temperature: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="Divisor of the logits (Guo et al., ICML 2017); 1: unchanged; 0: estimated.",
    )
    threshold: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Score below which an answer is marked unsure; 0: from `target_accuracy`.",
    )
    target_accuracy: float = Field(
        default=0.9,
        ge=0.01,
        le=1,
        description="Accuracy that answers above an estimated threshold must reach.",
    )


class Config(_Section):
    """All settings of a run.

    Attributes
    ----------
    data, features, split, model, network, augment, optimizer, train, calibration
        Sections of the TOML file, whose keys are described where they are defined.
    """

    data: DataConfig = DataConfig()
    features: FeatureConfig = FeatureConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    network: NetworkConfig = NetworkConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    calibration: CalibrationConfig = CalibrationConfig()

    @property
    def model_name(self) -> str:
        """The model family, or the name of the class where the network is one of yours."""
        return self.model.class_.partition(":")[2] or self.model.name

    @property
    def split_seed(self) -> int:
        """The seed of the split: that of the training, unless it has its own."""
        return self.train.seed if self.split.seed < 0 else self.split.seed

    def to_json(self) -> dict[str, Any]:
        """Return the settings as nested plain values."""
        return self.model_dump(mode="json", by_alias=True)

    def to_toml(self) -> str:
        """Return the settings that differ from their defaults as TOML, which `load_config` takes."""
        lines: list[str] = []
        for section, values in self.model_dump(mode="json", by_alias=True, exclude_defaults=True).items():
            tables = {f"[{section}.{key}]": value for key, value in values.items() if isinstance(value, dict)}
            plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
            for heading, table in {f"[{section}]": plain, **tables}.items():
                # JSON's strings, numbers and lists are TOML's too.
                keys = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
                lines += [heading, *keys, ""] if keys else []
        return "\n".join(lines)


def packaged_configs() -> list[str]:
    """Return the names of the configurations that come with the package."""
    folder = package_data("training")
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def load_config(source: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration by file or shipped name, and apply ``section.key=value`` overrides.

    Parameters
    ----------
    source : str or Path, optional
        A TOML file, or a name of `packaged_configs`; None: the defaults.
    overrides : iterable of str
        Each ``section.key=value``, with the value in TOML's notation; what is not valid TOML is a string.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        ``invalid_config``: no such file or name, malformed TOML, an unknown key, a value of the wrong type
        or out of its range.
    """
    # The order decides: an override replaces what the file says, which replaces the default.
    values = {} if source is None else _parse(_text(source), str(source))
    for override in overrides:
        _put(values, override)
    return config_from_json(values)


def config_from_json(values: Mapping[str, Any]) -> Config:
    """Build a configuration from nested plain values, such as `Config.to_json` returns.

    Parameters
    ----------
    values : mapping
        From section to key to value; what is missing has its default.

    Raises
    ------
    ConfigError
        ``invalid_config``: an unknown key, a value of the wrong type or out of its range, or settings that
        contradict each other.
    """
    try:
        config = Config.model_validate(values)
    except ValidationError as failure:
        # One at a time, as everywhere in this package: most often the second error follows from the first.
        raise _explain(failure.errors(include_url=False)[0]) from None
    check_combinations(config)
    return config


def config_reference() -> str:
    """Render the reference page of all settings, ``docs/configuration.md``, as Markdown."""
    lines = [
        "# Training settings",
        "",
        "A run takes the defaults below, then a TOML file (`genrescope train --config FILE`, or the name of",
        "a configuration in the package), then `--set section.key=value`; later values replace earlier ones.",
        "Unknown keys, values of the wrong type and values out of range are errors.",
        "",
        "Configurations in the package: " + ", ".join(f"`{name}`" for name in packaged_configs()) + ".",
        "",
        "This page is generated: `python scripts/write_config_reference.py`.",
    ]
    for section, model in _sections().items():
        lines += ["", f"## `[{section}]`", "", (model.__doc__ or "").strip(), ""]
        lines += ["| Key | Values | Default | Meaning |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{key}` | {_values(field)} | `{_toml(field.default)}` | {field.description} |"
            for key, field in _keys(model).items()
        ]
    return "\n".join(lines) + "\n"


def _text(source: str | Path) -> str:
    path = Path(source)
    if path.suffix != ".toml":
        if str(source) not in packaged_configs():
            raise ConfigError(
                "invalid_config",
                f"no configuration is named {str(source)!r}",
                did_you_mean(str(source), packaged_configs()),
            )
        path = package_data("training", f"{source}.toml")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as reason:
        raise ConfigError(
            "invalid_config", f"{path}: cannot be read: {reason}", "give a TOML file or a packaged name"
        ) from None


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return parse_toml(text)
    except ValueError as reason:
        raise ConfigError(
            "invalid_config", f"{source}: not valid TOML: {reason}", "correct that line"
        ) from None


def _put(values: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    *sections, key = name.strip().split(".")
    if not (equals and sections and all(sections) and key):
        raise ConfigError(
            "invalid_config",
            f"--set {override!r} is not section.key=value",
            "write for example --set train.epochs=20",
        )
    # In a shell a text in quotes would need quotes around the quotes, so what is not valid TOML is a text.
    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text.strip()
    table = values
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(
                "invalid_config", f"{section!r} is not a section", did_you_mean(section, list(_sections()))
            )
    table[key] = value


def _sections() -> dict[str, type[_Section]]:
    return {
        name: field.annotation
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Section)
    }


def _keys(section: type[_Section]) -> dict[str, FieldInfo]:
    """Return the fields of a section by the names that they have in TOML."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _explain(error: Mapping[str, Any]) -> ConfigError:
    """Return the error for what pydantic refused: one of its ``ValidationError.errors``."""
    kind, place, value = error["type"], tuple(map(str, error["loc"])), error["input"]
    name, key = ".".join(place), place[-1]
    if kind == "extra_forbidden":
        known = list(_sections()) if len(place) == 1 else list(_keys(_sections()[place[0]]))
        return ConfigError("invalid_config", f"unknown setting {name!r}", did_you_mean(key, known))
    if len(place) == 1:
        return ConfigError(
            "invalid_config",
            f"{name!r} is a section, not a value",
            f"write [{key}] and its keys below it",
        )
    field = _keys(_sections()[place[0]])[key]
    if kind == "value_error":  # of the functions above, whose messages complete the sentence
        hint = f"the default is {_toml(field.default)}"
        return ConfigError("invalid_config", f"{name} {error['ctx']['error']}", hint)
    if kind == "literal_error":
        choices = ", ".join(map(str, get_args(field.annotation)))
        return ConfigError("invalid_config", f"{name} cannot be {value!r}", f"choose one of: {choices}")
    wrong_range = kind in ("greater_than_equal", "less_than_equal", "finite_number")
    expected = (_range(field) or "finite") if wrong_range else getattr(field.annotation, "__name__", "")
    return ConfigError(
        "invalid_config", f"{name} must be {expected}, not {value!r}", f"the default is {field.default!r}"
    )


def _range(field: FieldInfo) -> str:
    """Return the range of a field in words, empty where it has none."""
    lowest = next((bound.ge for bound in field.metadata if hasattr(bound, "ge")), None)
    highest = next((bound.le for bound in field.metadata if hasattr(bound, "le")), None)
    if lowest is None:
        return ""
    return f"at least {lowest:.10g}" if highest is None else f"from {lowest:.10g} to {highest:.10g}"


def _values(field: FieldInfo) -> str:
    """Return which values a field takes, for the reference page."""
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["values"])
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    names = {int: "integer", float: "number", bool: "`true`, `false`", str: "text"}
    kind = next(name for python, name in names.items() if field.annotation is python)
    return f"{kind} {_range(field)}".strip()


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
