"""Training: a run is repeatable, survives a kill, and refuses invalid settings."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import datasets
from genrescope.errors import ConfigError, DataError, GenrescopeError, WriteError
from genrescope.evaluation.evaluator import predict_segments
from genrescope.models import export
from genrescope.models.model import Model
from genrescope.training import config
from genrescope.training import run as training
from genrescope.training import trainer as fitting
from genrescope.training.builders import create_builder
from genrescope.training.task import Task, prepare_task
from helpers.small_data import LITTLE


def settings(name: str, *overrides: str) -> config.Config:
    return config.load_config(name, [*LITTLE, "split.protocol=artist-grouped", *overrides])


def prepared(dataset: datasets.Dataset, chosen: config.Config) -> Task:
    return prepare_task(dataset, chosen, create_builder(chosen).feature_spec())


@pytest.mark.parametrize("name", ["lstm", "crnn", "parallel", "cnn"])
def test_every_network_learns_to_separate_noise_from_tones(
    name: str, little_music: Path, tmp_path: Path
) -> None:
    chosen = settings(
        name,
        "data.segment_seconds=1.5",
        "train.epochs=4",
        "optimizer.schedule=constant",
        "augment.mixup_alpha=0",
    )
    run = training.train(datasets.load_dataset(little_music), chosen, tmp_path / "run")
    assert run.evaluation.tracks is not None
    assert run.evaluation.tracks.accuracy.value == 1.0
    assert len(run.curves) == 4
    assert run.curves[-1]["train_loss"] < run.curves[0]["train_loss"]


@pytest.mark.parametrize("name", ["logistic-regression", "svm"])
def test_every_classifier_learns_to_separate_noise_from_tones(
    name: str, little_music: Path, tmp_path: Path
) -> None:
    run = training.train(datasets.load_dataset(little_music), settings(name), tmp_path / "run")
    assert run.evaluation.tracks is not None
    assert run.evaluation.tracks.accuracy.value == 1.0


def test_the_same_command_gives_the_same_model(little_music: Path, tmp_path: Path) -> None:
    dataset = datasets.load_dataset(little_music)
    first, second = (training.train(dataset, settings("cnn"), tmp_path / name) for name in ("a", "b"))
    assert first.model.read_bytes() == second.model.read_bytes()
    other = training.train(dataset, settings("cnn", "train.seed=1"), tmp_path / "c")
    assert other.model.read_bytes() != first.model.read_bytes()


def test_the_model_file_has_its_provenance(little_music: Path, tmp_path: Path) -> None:
    dataset = datasets.load_dataset(little_music)
    run = training.train(dataset, settings("cnn"), tmp_path / "run")
    info = Model.read(run.model).info
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert info.classes == ("drone", "hiss")
    assert info.provenance["protocol"] == "artist-grouped"
    assert len(info.provenance["training_tracks"]) == len(split["train"]) + len(split["validation"])
    assert len(info.provenance["training_content"]) == len(info.provenance["training_tracks"])
    trained = [*split["train"], *split["validation"]]
    artists = {datasets.artist_digest(track.group) for track in dataset.tracks if track.id in trained}
    assert info.training_digests("training_artists") == artists
    assert info.provenance["unlabeled_exposure"] == []
    assert info.scores["track_accuracy"]["value"] == 1.0
    assert info.scores["leaky"] is False


KILLED = """
import logging, os, signal, sys
from collections.abc import Callable
from pathlib import Path
from genrescope import datasets, training
chosen = training.load_config("cnn", sys.argv[3:])
class Watch(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith(os.environ.get("KILL_AT", "epoch 2/")):
            os.kill(os.getpid(), signal.SIGKILL)
logger = logging.getLogger("genrescope.training")
logger.setLevel(logging.INFO)
logger.addHandler(Watch())
training.train(datasets.load_dataset(Path(sys.argv[1])), chosen, Path(sys.argv[2]))
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX")
@pytest.mark.parametrize("schedule", ["one-cycle", "plateau"])
def test_a_killed_and_resumed_run_gives_the_same_model(
    schedule: str, little_music: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = [*LITTLE, "split.protocol=artist-grouped", "train.epochs=4", f"optimizer.schedule={schedule}"]
    arguments = [str(little_music), str(tmp_path / "killed"), *overrides]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.onnx").exists()
    before = json.loads((tmp_path / "killed" / "split.json").read_text())

    caplog.set_level(logging.INFO, "genrescope.training")
    dataset, chosen = datasets.load_dataset(little_music), config.load_config("cnn", overrides)
    resumed = training.train(dataset, chosen, tmp_path / "killed")
    lines = caplog.messages.copy()
    whole = training.train(dataset, chosen, tmp_path / "whole")

    assert json.loads((tmp_path / "killed" / "split.json").read_text()) == before
    assert any(line.startswith("epoch 4/4: ") for line in lines)
    assert not any(line.startswith("epoch 1/") for line in lines)
    assert resumed.curves == whole.curves
    assert resumed.model.read_bytes() == whole.model.read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX")
@pytest.mark.parametrize("line", ["", "epoch 1/", "evaluating"])
def test_a_kill_before_the_first_checkpoint_or_after_the_last_changes_nothing(
    line: str, little_music: Path, tmp_path: Path
) -> None:
    """The first line of the log comes before any file of the run, that of an epoch before its checkpoint."""
    overrides = [*LITTLE, "split.protocol=artist-grouped", "train.threads=1"]
    arguments = [str(little_music), str(tmp_path / "killed"), *overrides]
    environment = {**os.environ, "KILL_AT": line}
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert list((tmp_path / "killed").glob("checkpoints/*.ckpt")) == [] or line == "evaluating"

    dataset, chosen = datasets.load_dataset(little_music), config.load_config("cnn", overrides)
    resumed = training.train(dataset, chosen, tmp_path / "killed")
    whole = training.train(dataset, chosen, tmp_path / "whole")
    assert resumed.curves == whole.curves
    assert resumed.model.read_bytes() == whole.model.read_bytes()
    names = ("split.json", "evaluation.json", "curves.json")
    assert [(tmp_path / "killed" / name).read_bytes() for name in names] == [
        (tmp_path / "whole" / name).read_bytes() for name in names
    ]


@pytest.mark.parametrize("sample", [np.nan, np.inf, 1e30])
def test_a_file_of_samples_that_are_not_finite_is_named(
    sample: float, little_music: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    music = tmp_path / "music"
    shutil.copytree(little_music, music)
    damaged = next((music / "hiss").rglob("*.wav"))
    sound, rate = soundfile.read(damaged, dtype="float32")
    # A single sample of 1e30 is a spike, which is removed.
    sound[1000 : 1000 + len(sound) // 2] = sample
    soundfile.write(damaged, sound, rate, subtype="FLOAT")
    caplog.set_level(logging.INFO, "genrescope")
    run = training.train(datasets.load_dataset(music), settings("cnn"), tmp_path / "run")
    assert any(damaged.name in line for line in caplog.messages)
    assert all(np.isfinite(list(row.values())).all() for row in run.curves)


def test_a_folder_contains_one_run(little_music: Path, tmp_path: Path) -> None:
    dataset = datasets.load_dataset(little_music)
    training.train(dataset, settings("svm"), tmp_path / "run")
    with pytest.raises(ConfigError, match="finished"):
        training.train(dataset, settings("svm"), tmp_path / "run")
    (tmp_path / "run" / "evaluation.json").unlink()
    with pytest.raises(ConfigError, match="other data or settings"):
        training.train(dataset, settings("svm", "model.inverse_regularization=3.0"), tmp_path / "run")


def test_a_finished_run_is_found_only_for_its_own_settings(little_music: Path, tmp_path: Path) -> None:
    dataset = datasets.load_dataset(little_music)
    run = training.train(dataset, settings("svm"), tmp_path / "run")
    found = training.load_finished(tmp_path / "run", dataset, settings("svm"))
    assert found is not None
    assert found.evaluation == run.evaluation
    assert training.load_finished(tmp_path / "run", dataset, settings("svm", "train.seed=5")) is None


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, "[]", "{", '{"config": 3}', '{"config": {"train": []}, "data_sha256": []}', "\xff"],
)
def test_damaged_settings_of_a_run_are_a_typed_error(
    content: str, little_music: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    dataset, chosen = datasets.load_dataset(little_music), settings("logistic-regression")
    with pytest.raises(ConfigError, match=r"config\.json|holds a run with other"):
        training.train(dataset, chosen, tmp_path)
    assert training.load_finished(tmp_path, dataset, chosen) is None


DAMAGED_RESULTS: dict[str, Callable[[str], str]] = {
    "empty": lambda whole: "",
    "truncated": lambda whole: whole[: len(whole) // 2],
    "deep": lambda whole: "[" * 100_000,
    "a list": lambda whole: "[]",
    "null": lambda whole: "null",
    "no key": lambda whole: "{}",
    "levels of a wrong type": lambda whole: json.dumps(json.loads(whole) | {"segment": 3, "track": [1]}),
    "all texts": lambda whole: json.dumps(dict.fromkeys(json.loads(whole), "x")),
    "all numbers": lambda whole: json.dumps(dict.fromkeys(json.loads(whole), 3)),
    "all lists": lambda whole: json.dumps({key: [] for key in json.loads(whole)}),
    "all objects": lambda whole: json.dumps({key: {} for key in json.loads(whole)}),
    "no text": lambda whole: "\udcff",
}


def test_a_finished_run_whose_files_are_damaged_is_a_clear_error(little_music: Path, tmp_path: Path) -> None:
    dataset, folder = datasets.load_dataset(little_music), tmp_path / "run"
    training.train(dataset, settings("svm"), folder)
    whole = (folder / "evaluation.json").read_text()
    for case, damage in DAMAGED_RESULTS.items():
        (folder / "evaluation.json").write_bytes(damage(whole).encode("utf8", "surrogateescape"))
        with pytest.raises(ConfigError, match="finished run cannot be read") as caught:
            training.load_finished(folder, dataset, settings("svm"))
        assert caught.value.code == "invalid_config", case
        assert str(folder) in caught.value.message
        assert len(caught.value.message.splitlines()) == 1
        assert "evaluation.json" in caught.value.hint
    (folder / "evaluation.json").unlink()
    assert training.load_finished(folder, dataset, settings("svm")) is None
    again = training.train(dataset, settings("svm"), folder)  # as the hint says
    assert json.loads((folder / "evaluation.json").read_text()) == json.loads(whole)
    assert json.loads(json.dumps(again.evaluation.to_json())) == json.loads(whole)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("optimizer.schedule=plateau", "plateau schedule needs"),
        ("split.evaluate_on=validation", "evaluated on"),
    ],
)
def test_an_empty_part_that_is_needed_is_refused_before_training(
    change: str, said: str, little_music: Path, tmp_path: Path
) -> None:
    chosen = settings("cnn", "split.validation_fraction=0.001", change)
    with pytest.raises(DataError, match=f"validation part is empty.*{said}"):
        training.train(datasets.load_dataset(little_music), chosen, tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_plateau_without_validation_is_refused() -> None:
    with pytest.raises(ConfigError, match="plateau"):
        settings("cnn", "optimizer.schedule=plateau", "split.validation_fraction=0")


def test_more_folds_than_artists_is_refused(little_music: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        training.train(
            datasets.load_dataset(little_music), settings("svm", "split.folds=9"), tmp_path / "run"
        )
    assert caught.value.code == "dataset_too_small"
    assert "folds" in caught.value.hint


def test_a_nan_loss_ends_the_run(little_music: Path, tmp_path: Path) -> None:
    chosen = settings("cnn", "optimizer.learning_rate=1e30", "optimizer.schedule=constant", "train.epochs=5")
    with pytest.raises(GenrescopeError) as caught:
        training.train(datasets.load_dataset(little_music), chosen, tmp_path / "run")
    assert caught.value.code == "training_failed"
    assert "learning_rate" in caught.value.hint


def test_joined_validation_is_trained_on(little_music: Path) -> None:
    dataset = datasets.load_dataset(little_music)
    apart = prepared(dataset, settings("cnn"))
    joined = prepared(dataset, settings("cnn", "split.train_on_validation=true"))
    assert len(joined.split.validation) == 0
    assert set(joined.split.train) == {*apart.split.train, *apart.split.validation}
    np.testing.assert_array_equal(joined.split.test, apart.split.test)


def test_the_exported_graph_is_the_network(little_music: Path, tmp_path: Path) -> None:
    """Trained weights, every segment: ONNX against torch within 1e-4."""
    import torch

    dataset, chosen = datasets.load_dataset(little_music), settings("parallel", "data.segment_seconds=1.5")
    run = training.train(dataset, chosen, tmp_path / "run")
    from genrescope.models import networks

    task = prepared(dataset, chosen)
    network = networks.build_network(
        "parallel", features=128, frames=task.examples.width, classes=2, dropout=0.3
    )
    kept = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    network.load_state_dict({name.removeprefix("network."): value for name, value in kept.items()})
    everything = np.arange(len(task.examples))
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(task.examples.take(everything))).softmax(1).numpy()
    np.testing.assert_allclose(
        predict_segments(Model.read(run.model), task.examples, everything), expected, atol=1e-4
    )


def test_an_export_that_differs_is_not_written(
    little_music: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(GenrescopeError) as caught:
        training.train(datasets.load_dataset(little_music), settings("svm"), tmp_path / "run")
    assert caught.value.code == "model_export_failed"
    assert not (tmp_path / "run" / "model.onnx").exists()


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_is_an_error(little_music: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WriteError):
        training.train(datasets.load_dataset(little_music), settings("svm"), tmp_path / "run")


def test_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "has_bfloat16", lambda: False)
    assert fitting.precision(config.load_config(None)) == "32-true"
    monkeypatch.setattr(fitting, "has_bfloat16", lambda: True)
    assert fitting.precision(config.load_config(None)) == "bf16-mixed"
    forced = config.load_config(None, ["train.precision=float32"])
    assert fitting.precision(forced) == "32-true"


@pytest.mark.parametrize("override", ["augment.crops_per_track=2", "data.hop_seconds=0.5"])
def test_segment_random_never_trains_on_the_test_segments(
    override: str, little_music: Path, tmp_path: Path
) -> None:
    chosen = settings("cnn", "split.protocol=segment-random", override)
    with pytest.raises(ConfigError, match="test part itself"):
        training.train(datasets.load_dataset(little_music), chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_keeps_its_split(little_music: Path, tmp_path: Path) -> None:
    """A file that became unreadable would change the parts of other files."""
    music = tmp_path / "music"
    shutil.copytree(little_music, music)
    arguments = [
        str(music),
        str(tmp_path / "run"),
        *LITTLE,
        "split.protocol=artist-grouped",
        "train.epochs=4",
    ]
    subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True)
    next((music / "hiss").rglob("*.wav")).write_bytes(b"no longer sound")
    with pytest.raises(DataError, match="another split"):
        training.train(
            datasets.load_dataset(music), config.load_config("cnn", arguments[2:]), tmp_path / "run"
        )


def test_without_torch_training_says_what_to_install(little_music: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from genrescope.cli import run\n"
        f"sys.argv = ['genrescope', 'train', {str(little_music)!r}, '--run-dir', {str(tmp_path / 'run')!r}]\n"
        "run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "genrescope[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_while_checkpointing_is_an_error(little_music: Path, tmp_path: Path) -> None:
    """A limit on the size of files simulates a full disk."""
    arguments = " ".join(f"--set {override}" for override in LITTLE)
    command = (
        f"ulimit -f 200; exec {sys.executable} -m genrescope train '{little_music}' --run-dir run {arguments}"
    )
    command += " --set split.protocol=artist-grouped"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "model.onnx").exists()
