"""Rows of an actor: those of ``classify --format jsonl``, whatever happens to its worker processes."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pyarrow
import pytest

from genrescope import Classifier
from genrescope.cli import output
from genrescope.distributed import ActorOptions, GenreActor
from genrescope.errors import ConfigError, ModelError, WorkerError
from genrescope.library import LibraryEntry, table_to_entries
from helpers import sounds
from helpers.cluster_handlers import create_broken, create_stub, entry_of


def classify(options: ActorOptions, paths: list[str | bytes]) -> list[LibraryEntry]:
    """Return the entries of an actor, by way of its table."""
    actor = GenreActor(options)
    kind = pyarrow.binary() if isinstance(paths[0], bytes) else pyarrow.string()
    try:
        rows = actor(pyarrow.table({"path": pyarrow.array(paths, kind)}))
    finally:
        actor.close()
    return table_to_entries(rows)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return sound files, a long one among them, and what cannot be classified."""
    folder = tmp_path_factory.mktemp("music")
    sounds.write(folder / "noise.flac", sounds.noise(4, 22050), 22050, kind="FLAC", coding="PCM_16")
    sounds.write(folder / "long.ogg", sounds.noise(90, 22050, seed=3), 22050, kind="OGG", coding="VORBIS")
    sounds.write(folder / "silent.wav", sounds.noise(2, 8000) * 0, 8000, kind="WAV", coding="PCM_16")
    (folder / "text.mp3").write_text("no music")
    (folder / "empty.mp3").touch()
    odd = os.fsencode(folder) + b"/caf\xe9.wav"
    os.link(folder / "silent.wav", odd)
    names = ["noise.flac", "long.ogg", "silent.wav", "text.mp3", "empty.mp3", "not there.mp3", ""]
    return [*(str(folder / name) for name in names), os.fsdecode(odd)]


@pytest.mark.parametrize("options", [{"excerpts": True}, {"strict": True, "threshold": 0.9}])
def test_rows_are_those_of_classify(music: list[str], options: dict[str, object]) -> None:
    threshold = options.get("threshold")
    classifier = Classifier.from_pretrained(threshold=threshold)
    flags = {name: value for name, value in options.items() if name != "threshold"}
    expected, found = io.StringIO(), io.StringIO()
    output.render_jsonl(classifier.predict_many(music, **flags), expected)
    entries = classify(ActorOptions(**options), [os.fsencode(path) for path in music])
    output.render_jsonl(entries, found)
    assert found.getvalue() == expected.getvalue()
    assert entries[0].hash
    assert entries[0].mtime_ns == Path(music[0]).stat().st_mtime_ns


def test_a_file_that_ends_its_process_twice_is_a_row_with_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = ActorOptions(
        target=create_stub, storage_options={"log": str(log), "flags": str(tmp_path)}, processes=2
    )
    paths = ["/a", "/crash-always", "/b", "/crash-once", "/fail", "/c"]
    entries = classify(options, paths)
    assert [entry.path for entry in entries] == paths
    assert [entry.error for entry in entries] == [None, "worker_crashed", None, None, "audio_silent", None]
    assert entries[3] == entry_of("/crash-once")
    assert log.read_text().split().count("/crash-always") == 2


def test_a_file_that_takes_too_long_is_a_row_with_an_error() -> None:
    options = ActorOptions(target=create_stub, timeout=0.5)
    assert [entry.error for entry in classify(options, ["/hang"])] == ["timeout"]


def test_another_model_file_is_refused() -> None:
    with pytest.raises(ModelError) as failure:
        GenreActor(ActorOptions(model_sha256="0" * 64))
    assert failure.value.code == "model_incompatible"


def test_a_machine_on_which_no_worker_starts_is_no_failure_of_the_files() -> None:
    with pytest.raises(WorkerError, match="libmissing"):
        GenreActor(ActorOptions(target=create_broken))


def test_a_batch_needs_paths() -> None:
    actor = GenreActor(ActorOptions(target=create_stub))
    try:
        with pytest.raises(ConfigError):
            actor(pyarrow.table({"file": ["/a"]}))
        assert actor(pyarrow.table({"path": pyarrow.array([], pyarrow.string())})).num_rows == 0
    finally:
        actor.close()
