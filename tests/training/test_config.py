"""Settings: defaults, TOML, overrides, and a clear refusal of what does not exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from genrescope.errors import ConfigError
from genrescope.training import config


def test_overrides_precede_the_file_and_the_file_precedes_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[train]\nepochs = 7\nseed = 3\n")
    settings = config.load_config(file, ["train.epochs=9", "model.name=svm", "optimizer.learning_rate=1"])
    assert (settings.train.epochs, settings.train.seed, settings.train.batch_size) == (9, 3, 64)
    assert settings.model.name == "svm"
    assert settings.optimizer.learning_rate == 1.0
    assert isinstance(settings.optimizer.learning_rate, float)


@pytest.mark.parametrize("name", config.packaged_configs())
def test_every_shipped_configuration_loads_and_survives_json(name: str) -> None:
    settings = config.load_config(name)
    assert config.config_from_json(settings.to_json()) == settings


def test_the_papers_settings_are_those_of_the_paper() -> None:
    paper = config.load_config("paper-parallel")
    assert (paper.optimizer.name, paper.optimizer.learning_rate, paper.train.epochs) == ("rmsprop", 0.005, 50)
    assert (paper.data.segment_seconds, paper.data.segments_per_track) == (4.5, 6)
    assert (paper.augment.mixup_alpha, paper.augment.spec_augment_masks, paper.train.label_smoothing) == (
        0,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.epoch=3", "epochs"),
        ("trian.epochs=3", "train"),
        ("train.epochs=many", "must be int"),
        ("train.epochs=0", "at least 1"),
        ("model.dropout=1.5", "from 0 to 0.99"),
        ("augment.mixup_alpha=-1", "at least 0"),
        ("optimizer.plateau_factor=2", "0.01 to 0.99"),
        ("data.segments_per_track=-1", "at least 0"),
        ("data.hop_seconds=9", "longer than a segment"),
        ("optimizer.schedule=nothing", "plateau"),
        ("optimizer.name=adamv", "adamw"),
        ("epochs=3", "section.key=value"),
        ("train.epochs", "section.key=value"),
        ("train.seed=true", "must be int"),
        ("train.epochs=1.5", "must be int"),
        ("optimizer.learning_rate=true", "must be float"),
        ("optimizer.learning_rate=nan", "at least 1e-12"),
        ("optimizer.learning_rate=0", "the default is 0.003"),
        ("split.train_on_validation=1", "must be bool"),
        ("model.name=3", "must be str"),
    ],
)
def test_unknown_settings_are_refused_with_a_suggestion(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load_config(None, [override])
    assert caught.value.code == "invalid_config"
    assert re.search(said, f"{caught.value.message} {caught.value.hint}")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[train\n")
    section = tmp_path / "section.toml"
    section.write_text("train = 3\n")
    for source in (broken, section, tmp_path / "absent.toml", "parralel"):
        with pytest.raises(ConfigError):
            config.load_config(source)


def test_the_most_similar_configuration_is_suggested() -> None:
    with pytest.raises(ConfigError) as caught:
        config.load_config("parralel")
    assert "parallel" in caught.value.hint


def test_settings_are_compared_by_value_and_cannot_be_changed() -> None:
    one, other = (config.load_config(None, ["train.epochs=9"]) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != config.load_config(None)
    with pytest.raises(ValueError, match="frozen"):
        one.train.epochs = 3  # type: ignore[misc]


def test_without_pydantic_the_missing_extra_is_named() -> None:
    code = """
import sys
sys.modules["pydantic"] = None
from genrescope import training
from genrescope.errors import GenrescopeError
try:
    training.load_config(None)
except GenrescopeError as failure:
    print(failure.code, failure.hint)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["missing_dependency", "pip", "install", "'genrescope[train]'"]


def test_the_committed_reference_page_is_the_generated_one() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf8") == config.config_reference()
