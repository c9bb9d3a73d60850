"""Training of the default model from labeled music, end to end and step by step."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console

from genrescope import models, training
from genrescope.cli.output import render_taxonomy_run
from genrescope.datasets import load_index
from genrescope.errors import ConfigError, DataError, ModelError
from genrescope.features import SPECTROGRAM_LOG_MEL, extract
from genrescope.labels import load_taxonomy
from genrescope.models import TwoTeacherStudent, load_model
from genrescope.training import LabeledSource, TaxonomyConfig, train_taxonomy
from genrescope.training.devices import select_device
from genrescope.training.distillation.targets import TeacherTargets
from genrescope.training.taxonomy.data import normalize_artist, read_clips, scored_genre
from genrescope.training.taxonomy.heads import HeadSettings
from helpers.small_data import RATE, drone, hiss

TAXONOMY = load_taxonomy()


def write_list(folder: Path, rows: list[dict[str, str]]) -> Path:
    """Write a list of clips, and a second of sound for each, different for all."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        file = folder / (row.get("path") or row["audio"])
        file.parent.mkdir(parents=True, exist_ok=True)
        play = drone if row["genre"] == "classical" else hiss
        if not file.exists():
            soundfile.write(file, play(1.0, 1000 * len(str(folder)) + number), RATE)
    path = folder / "tracks.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the weights of a student that was not trained."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("student") / "student.pt"
    torch.save(TwoTeacherStudent().state_dict(), path)
    return path


def write_shard(folder: Path, tracks: list[tuple[str, str, str]]) -> None:
    """Write a shard of windows of tracks, each an id, a source and a kind."""
    folder.mkdir()
    count, generator = len(tracks), np.random.default_rng(0)
    names, sources, kinds = (np.array(column) for column in zip(*tracks, strict=True))
    sounds = np.stack([drone(2.0, number) for number in range(count)])
    log_mel = extract(sounds, RATE, SPECTROGRAM_LOG_MEL)
    spectrograms = np.clip((log_mel - log_mel.max() + 80) / 80 * 255, 0, 255).astype(np.uint8)

    def outputs(size: int) -> np.ndarray:  # type: ignore[type-arg]
        return generator.normal(size=(count, size)).astype(np.float16)

    shard = TeacherTargets(
        spectrograms,
        outputs(384),
        outputs(527),
        outputs(200),
        outputs(50),
        track=names,
        source=sources,
        kind=kinds,
        mixed_source=np.array([""] * count),
        strength=np.zeros(count, np.float16),
    )
    np.savez(folder / "shard-00000.npz", **shard._asdict())


def test_from_sound_to_a_model_file(student: Path, tmp_path: Path) -> None:
    rows = [
        {
            "path": f"{genre}/{source}-{number}.wav",
            "genre": genre,
            "artist": f"{source} {number}",
            "source": source,
        }
        for source in ("one", "two")
        for genre in ("classical", "rock")
        for number in range(3)
    ]
    write_list(tmp_path / "mixed", rows)
    closed = [{"audio": f"{genre}.wav", "genre": genre} for genre in ("classical", "Hip Hop")]
    write_list(tmp_path / "closed", closed)
    windows = [(row["path"], row["source"], "labeled") for row in rows]
    windows += [(f"{genre['audio']}", "closed", "labeled") for genre in closed]
    windows += [(f"free {number}", "radio", "music") for number in range(4)]
    windows += [(f"noise {number}", f"noise {number % 2}", "not_music") for number in range(6)]
    write_shard(tmp_path / "shards", windows)
    config = TaxonomyConfig(
        student,
        (LabeledSource("mixed", tmp_path / "mixed"), LabeledSource("closed", tmp_path / "closed")),
        tmp_path / "shards",
        heads=HeadSettings(epochs=1, batch_size=8, hidden=4),
    )
    run = train_taxonomy(config, tmp_path / "run")
    assert set(run.figures) == {"all", "mixed", "closed"}
    assert run.figures["all"].clips == 14
    assert [row.name for row in run.collections] == ["closed", "one", "two"]
    assert run.music is not None
    assert run.music.other_tracks == 6
    report = json.loads(run.report.read_text())
    assert report["figures"]["all"]["top_1"]["value"] == pytest.approx(run.figures["all"].top_1.value)
    printed = Console(file=StringIO(), width=200)
    render_taxonomy_run(run, printed)
    assert isinstance(printed.file, StringIO)
    assert "all: 14 clips of 3 collections" in printed.file.getvalue()
    assert "6 other sounds" in printed.file.getvalue()
    model = load_model(str(run.model))
    assert model.info.classes == tuple(genre.name for genre in TAXONOMY.scored_genres)
    assert model.info.taxonomy == TAXONOMY.version
    assert len(model.info.provenance[models.TRAINING_TRACKS]) == 14
    output = model.predict(extract(np.stack([drone(10.0, 1)]), RATE, SPECTROGRAM_LOG_MEL))
    np.testing.assert_allclose(output.scores.sum(1), 1, atol=1e-4)
    assert output.styles.shape == (1, len(TAXONOMY.styles))
    assert output.embedding.shape == (1, 384)
    # The same again, from the outputs that were kept: the same model to the bit.
    written = run.model.read_bytes()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "outputs").iterdir()}
    assert len(kept) == 2
    train_taxonomy(config, tmp_path / "run")
    assert run.model.read_bytes() == written
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_collections_and_the_genres_that_they_distinguish(tmp_path: Path) -> None:
    rows = [
        {"path": "a.wav", "genre": "disco", "artist": "The Who!", "source": "one", "trust": "low"},
        {"path": "b.wav", "genre": "Hip-Hop", "artist": "", "source": "two", "trust": "high"},
    ]
    write_list(tmp_path / "mixed", rows)
    write_list(tmp_path / "closed", [{"path": f"{n}.wav", "genre": n} for n in ("classical", "punk")])
    sources = (LabeledSource("mixed", tmp_path / "mixed"), LabeledSource("closed", tmp_path / "closed"))
    first, second, *others = read_clips(sources, TAXONOMY)
    assert (first.genre, first.artist, first.collection, first.is_trusted) == (
        "disco_funk",
        "who",
        "one",
        False,
    )
    assert (second.genre, second.artist, second.collection, second.is_trusted) == ("hiphop", "", "two", True)
    assert len(first.genres) == len(TAXONOMY.scored_genres)
    assert {clip.genre for clip in others} == {"classical", "rock"} == set(others[0].genres)
    stated = replace(sources[1], genres=("rock", "classical", "jazz"))
    assert read_clips([stated], TAXONOMY)[0].genres == {"rock", "classical", "jazz"}
    with pytest.raises(DataError, match="not among the genres"):
        read_clips([replace(sources[1], genres=("rock",))], TAXONOMY)


def test_folders_are_data_sets_and_copies_count_once(little_music: Path, tmp_path: Path) -> None:
    rows = [{"path": f"{number}.wav", "genre": "rock"} for number in range(3)]
    path = write_list(tmp_path / "one", rows)
    (tmp_path / "one" / "2.wav").write_bytes((tmp_path / "one" / "0.wav").read_bytes())
    assert [clip.track for clip in read_clips([LabeledSource("one", path)], TAXONOMY)] == ["0.wav", "1.wav"]
    with pytest.raises(DataError, match="'drone' is no genre"):
        read_clips([LabeledSource("little", little_music)], TAXONOMY)


def test_the_test_part_of_gtzan_is_never_read(tmp_path: Path) -> None:
    parts = load_index().fault_filtered
    names = [f"rock.{number:05}" for number in range(100)]
    write_list(tmp_path / "gtzan", [{"path": f"{name}.wav", "genre": "rock"} for name in names])
    clips = read_clips([LabeledSource("any name", tmp_path / "gtzan")], TAXONOMY)
    read = {clip.path.stem for clip in clips}
    assert read == {name for name in names if parts.get(name) in ("train", "validation")}
    assert 0 < len(read) < 100


def test_labels_that_mean_one_genre() -> None:
    meant = {"Disco": "disco_funk", "hip hop": "hiphop", "punk": "rock", "soundtrack": "classical"}
    assert {label: scored_genre(label, TAXONOMY) for label in meant} == meant
    with pytest.raises(DataError, match="'noise' is no genre") as caught:
        scored_genre("noise", TAXONOMY)
    assert caught.value.code == "dataset_invalid"
    assert normalize_artist("The Beatles") == normalize_artist("beatles") == "beatles"


def test_shards_of_one_teacher_are_refused(student: Path, tmp_path: Path) -> None:
    write_list(tmp_path / "one", [{"path": "a.wav", "genre": "rock"}])
    (tmp_path / "shards").mkdir()
    half = np.zeros((2, 384), np.float16)
    shard = TeacherTargets(np.zeros((2, 128, 49), np.uint8), half, half)
    np.savez(tmp_path / "shards" / "shard-00000.npz", **shard._asdict())
    config = TaxonomyConfig(student, (LabeledSource("one", tmp_path / "one"),), tmp_path / "shards")
    with pytest.raises(DataError, match="no outputs of musicnn"):
        train_taxonomy(config, tmp_path / "run")
    with pytest.raises(DataError, match="no shards there"):
        train_taxonomy(replace(config, shards=tmp_path / "one"), tmp_path / "run")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    write_list(tmp_path / "one", [{"path": "a.wav", "genre": "rock"}])
    config = TaxonomyConfig(
        tmp_path / "other.pt", (LabeledSource("one", tmp_path / "one"),), tmp_path / "shards"
    )
    with pytest.raises(ModelError) as caught:
        training.train_taxonomy(config, tmp_path / "run")
    assert caught.value.code == "model_incompatible"


def test_the_device_is_a_gpu_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert select_device("auto") == select_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="finds no GPU"):
        select_device("cuda")
    with pytest.raises(ConfigError, match="unknown device"):
        select_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert select_device("auto") == select_device("cuda") == torch.device("cuda")
    assert select_device("cpu") == torch.device("cpu")
