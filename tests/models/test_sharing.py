"""Models in folders and on the hub: a local folder and a client that only records; no network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from genrescope import Classifier
from genrescope.errors import ConfigError, DownloadError, MissingDependencyError, ModelError, UploadError
from genrescope.models import model_card, with_metadata
from genrescope.models.model import Model
from genrescope.models.sharing import HubRepo
from helpers.small_data import RATE, drone


class RecordingApi:
    """Keeps what is uploaded, as the hub would, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[dict[str, object]] = []

    def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool) -> object:
        self.calls.append({"repo": repo_id, "private": private, "exist_ok": exist_ok})
        return None

    def upload_folder(self, *, repo_id: str, folder_path: str | Path, commit_message: str) -> object:
        for file in Path(folder_path).iterdir():
            (self.folder / file.name).write_bytes(file.read_bytes())
        self.calls.append({"repo": repo_id, "message": commit_message})
        return None


@pytest.fixture
def song(tmp_path: Path) -> Path:
    file = tmp_path / "song.wav"
    soundfile.write(file, drone(3.0, 5), RATE)
    return file


def test_a_saved_folder_opens_as_the_same_model(little_model: Path, song: Path, tmp_path: Path) -> None:
    classifier = Classifier.from_pretrained(little_model)
    folder = classifier.save_pretrained(tmp_path / "new" / "folder")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.onnx"]
    again = Classifier.from_pretrained(folder)
    assert again.model.sha256 == classifier.model.sha256
    assert again.predict(song) == classifier.predict(song)


def test_the_folder_of_a_run_opens_its_model(little_model: Path) -> None:
    assert Classifier.from_pretrained(little_model.parent).model.name == Model.read(little_model).name


def test_a_folder_with_one_model_of_any_name(little_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file") as caught:
        Classifier.from_pretrained(tmp_path)
    assert caught.value.code == "model_not_found"
    (tmp_path / "a.onnx").write_bytes(little_model.read_bytes())
    Classifier.from_pretrained(tmp_path)
    (tmp_path / "b.onnx").write_bytes(little_model.read_bytes())
    with pytest.raises(ModelError, match="2 model files"):
        Classifier.from_pretrained(tmp_path)


def test_a_pushed_model_is_the_same(little_model: Path, tmp_path: Path) -> None:
    api = RecordingApi(tmp_path)
    classifier = Classifier.from_pretrained(little_model)
    address = classifier.push_to_hub("me/my-genres", private=True, message="First", api=api)
    assert address == "https://huggingface.co/me/my-genres"
    assert api.calls == [
        {"repo": "me/my-genres", "private": True, "exist_ok": True},
        {"repo": "me/my-genres", "message": "First"},
    ]
    assert Classifier.from_pretrained(tmp_path).model.sha256 == classifier.model.sha256
    assert 'Classifier.from_pretrained("hub:me/my-genres")' in (tmp_path / "README.md").read_text()


def test_a_failed_upload_is_a_typed_error(little_model: Path, tmp_path: Path) -> None:
    class Refusing(RecordingApi):
        def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool) -> object:
            raise OSError("401 Client Error\nlong text")

    with pytest.raises(UploadError, match=r"401 Client Error$") as caught:
        Classifier.from_pretrained(little_model).push_to_hub("me/x", api=Refusing(tmp_path))
    assert caught.value.code == "upload_failed"


def test_a_file_that_has_changed_is_not_shared(little_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    file.write_bytes(little_model.read_bytes())
    classifier = Classifier.from_pretrained(file)
    file.write_bytes(b"another")
    with pytest.raises(ModelError) as caught:
        classifier.save_pretrained(tmp_path / "folder")
    assert caught.value.code == "model_corrupt"
    assert not (tmp_path / "folder").exists()


def test_a_repository_is_downloaded_by_its_name(little_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def download(repo: str, file: str, *, revision: str | None) -> str:
        asked.append((repo, file, revision))
        return str(little_model)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    opened = [Classifier.from_pretrained(name) for name in ("hub:me/x", "hub:me/x@v1.0")]
    assert opened[0].model.sha256 == opened[1].model.sha256 == Model.read(little_model).sha256
    assert asked == [("me/x", "model.onnx", None), ("me/x", "model.onnx", "v1.0")]


def test_without_a_network_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError) as caught:
        Classifier.from_pretrained("hub:nobody/nothing")
    assert caught.value.code == "download_failed"


def test_a_repository_that_does_not_exist_is_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import errors

    def absent(*_: object, **__: object) -> str:
        raise errors.EntryNotFoundError("404 Client Error")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", absent)
    with pytest.raises(ModelError) as caught:
        Classifier.from_pretrained("hub:nobody/nothing")
    assert caught.value.code == "model_not_found"


def test_without_the_library_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match="huggingface_hub") as caught:
        Classifier.from_pretrained("hub:me/x")
    assert "genrescope[hub]" in caught.value.hint


@pytest.mark.parametrize(
    "name",
    ["hub:", "hub:me", "hub:me/x/y", "hub:../x", "hub:me/..", "hub:me/x@", "hub:me/x@../y", "hub:a b"],
)
def test_names_that_are_no_repository(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Classifier.from_pretrained(name)
    assert caught.value.code == "invalid_argument"


def test_a_commit_goes_to_the_main_branch(little_model: Path, tmp_path: Path) -> None:
    assert HubRepo.parse("me/x@v1") == ("me/x", "v1")
    with pytest.raises(ConfigError, match="main branch"):
        Classifier.from_pretrained(little_model).push_to_hub("me/x@v1", api=RecordingApi(tmp_path))


# The model card


def test_the_card_of_the_default_model_says_what_the_file_says() -> None:
    model = Classifier.from_pretrained().model
    card = model_card(model)
    info = model.info
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    metadata = {line.split(": ", 1)[0]: json.loads(line.split(": ", 1)[1]) for line in front.splitlines()}
    assert metadata["library_name"] == "genrescope"
    assert metadata["pipeline_tag"] == "audio-classification"
    for name in (*info.classes, *info.styles):
        assert name.replace("&", "&amp;") in body
    assert "| track accuracy | 0.643 | 0.560 to 0.690 | 603 |" in body
    assert "leave-one-collection-out" in body
    assert model.sha256 in body
    assert "| training_content | 644, by digest |" in body
    assert "| music of 42 Debian packages, and free music without labels | 1020 | 41.05 |" in body
    assert "384 numbers" in body
    assert "0.8 (classical 0.6): below it, uncertain" in body
    assert info.license in body
    assert "leaky" not in body


def test_a_leaky_score_is_marked_and_texts_are_escaped(little_model: Path, tmp_path: Path) -> None:
    graph = little_model.read_bytes()
    info = Model.read(little_model).info
    nasty = "a|b\n---\n<script>alert(1)</script> [x](y) `z`"
    described = replace(
        info,
        license=nasty,
        scores={"protocol": nasty, "data": "d", "leaky": True, "x": {"value": 0.5, "low": 0.4, "high": 0.6}},
    )
    (tmp_path / "a.onnx").write_bytes(with_metadata(graph, described))
    card = model_card(Model.read(tmp_path / "a.onnx"))
    assert "**leaky**" in card
    assert "<script>" not in card
    assert "a\\|b --- &lt;script&gt;" in card
    assert card.splitlines().count("---") == 2
    assert 'license: "other"' in card
    assert "| x | 0.500 | 0.400 to 0.600 |  |" in card


def test_a_card_of_a_file_that_states_little(little_model: Path, tmp_path: Path) -> None:
    info = replace(Model.read(little_model).info, scores={}, provenance={}, license="MIT", threshold=None)
    (tmp_path / "a.onnx").write_bytes(with_metadata(little_model.read_bytes(), info))
    card = model_card(Model.read(tmp_path / "a.onnx"))
    assert 'license: "mit"' in card
    assert "The model file states none." in card
    assert "none: no answer is marked as uncertain" in card
    assert "| training_tracks | not listed |" in card
