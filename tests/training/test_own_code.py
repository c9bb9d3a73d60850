"""Networks, data sets and features by dotted name, by the examples of docs/own-models.md."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from genrescope import features, training
from genrescope.datasets import load_dataset
from genrescope.errors import ConfigError, DataError, MissingDependencyError, ModelError
from genrescope.features import custom
from genrescope.inference import Classifier
from genrescope.models.model import Model
from helpers.small_data import LITTLE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-models.md"
QUICK = (*LITTLE, "split.protocol=artist-grouped", "train.threads=1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory with the files of the page, none of whose modules is imported yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(custom, "_registered", {})
    for language in ("python", "toml"):
        for block in re.findall(
            rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf8"), flags=re.DOTALL
        ):
            Path(block.split()[1]).write_text(block)
    for file in tmp_path.glob("*.py"):
        monkeypatch.delitem(sys.modules, file.stem, raising=False)
    return tmp_path


def fitted(config: str, music: Path, folder: Path, *overrides: str) -> training.TrainingRun:
    chosen = training.load_config(Path(config), [*QUICK, *overrides])
    return training.train(training.load_data(music, chosen), chosen, folder / "run", device="cpu")


def test_a_network_by_dotted_name_needs_no_code_afterwards(little_music: Path, folder: Path) -> None:
    run = fitted("net.toml", little_music, folder, "train.epochs=3", "augment.mixup_alpha=0")
    info = Model.read(run.model).info
    assert info.name == "TemporalCnn"
    assert len(info.provenance["own_code"]["mynets:TemporalCnn"]) == 64
    assert info.provenance["config"]["model"]["class"] == "mynets:TemporalCnn"
    assert run.evaluation.tracks is not None
    assert run.evaluation.tracks.accuracy.value == 1.0
    (folder / "mynets.py").unlink()
    assert Classifier.from_pretrained(run.model).predict(next(little_music.rglob("*.wav"))).genre


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_the_kind", "No module named"),
        ("raise OSError('no disk')", "no disk"),
        ("class Other: pass", "has no 'Net'"),
        ("def Net(features, frames, classes): return 3", "no torch.nn.Module"),
        ("import torch\nclass Net(torch.nn.Module):\n    def __init__(self): super().__init__()", "features"),
        (
            "import torch\nclass Net(torch.nn.Module):\n"
            "    def __init__(self, features, frames, classes): super().__init__()\n"
            "    def forward(self, batch): return batch",
            "returned the shape",
        ),
    ],
)
def test_networks_that_cannot_be_trained_are_refused_before_any_audio(
    code: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "faultynets.py").write_text(code)
    monkeypatch.delitem(sys.modules, "faultynets", raising=False)
    path = list(sys.path)
    with pytest.raises(ConfigError, match=said):
        training.check_config(training.load_config(None, ["model.class=faultynets:Net"]))
    assert sys.path == path


def test_a_data_set_by_dotted_name(little_music: Path, folder: Path) -> None:
    (folder / "music").mkdir()
    for file in little_music.rglob("*.wav"):
        genre = file.parts[-3]
        shutil.copy(file, folder / "music" / f"{genre} {file.parent.name} - {genre} - {file.stem}.wav")
    run = fitted("data.toml", folder / "music", folder)
    info = Model.read(run.model).info
    assert info.classes == ("drone", "hiss")
    assert info.features.statistics == ("mean", "std")
    assert features.feature_dimension(info.features) == 54
    assert len(info.provenance["training_artists"]) < 8
    (folder / "mydata.py").write_text("def read(path): return [3]")
    sys.modules.pop("mydata")
    with pytest.raises(DataError, match="no Track"):
        training.load_data(folder / "music", training.load_config(Path("data.toml")))


def test_labels_of_an_own_reader_are_read_as_cells(little_music: Path, folder: Path) -> None:
    (folder / "labels.py").write_text(
        "from genrescope.types import Track\n"
        "def read(path):\n"
        "    for place, file in enumerate(sorted(path.rglob('*.wav'))):\n"
        "        genre = 'drone;hiss' if place % 3 == 0 else file.parts[-3]\n"
        "        yield Track(id=str(place), path=file, label=genre, group=str(place))\n"
    )
    with pytest.raises(DataError, match="several genres, 'drone;hiss', in a single-label task"):
        load_dataset(little_music, reader="labels:read")
    several = load_dataset(little_music, reader="labels:read", task="multi-label")
    assert (several.task, several.classes) == ("multi-label", ("drone", "hiss"))
    assert several.annotations["0"].genres == {"drone": 1.0, "hiss": 1.0}
    with pytest.raises(DataError, match="is of the kind spectrogram"):
        load_dataset(little_music, reader="labels:read", task="multi-label", kind="spectrogram")


def test_a_feature_by_dotted_name_is_imported_for_a_model_file_only_where_allowed(
    little_music: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fitted("feature.toml", little_music, folder)
    spec = Model.read(run.model).info.features
    assert (spec.function, spec.function_rows) == ("myfeatures:band_energies", 16)
    assert features.feature_dimension(spec) == 36
    song = next(little_music.rglob("*.wav"))
    expected = Classifier.from_pretrained(run.model).predict(song)

    monkeypatch.setattr(custom, "_registered", {})
    sys.modules.pop("myfeatures")
    for allowed in ("", "myfeatures", "myfeatures:other", "myfeatures:band_energies2"):
        monkeypatch.setenv(custom.ALLOW_VARIABLE, allowed)
        with pytest.raises(ModelError, match="myfeatures:band_energies") as caught:
            Classifier.from_pretrained(run.model)
        assert caught.value.code == "model_incompatible"
        assert "myfeatures" not in sys.modules
    monkeypatch.setenv(custom.ALLOW_VARIABLE, "another:name, myfeatures:band_energies")
    assert Classifier.from_pretrained(run.model).predict(song) == expected

    monkeypatch.setattr(custom, "_registered", {})
    sys.modules.pop("myfeatures")
    (folder / "myfeatures.py").unlink()
    with pytest.raises(MissingDependencyError, match="No module named"):
        Classifier.from_pretrained(run.model)


def test_a_feature_alone_takes_the_place_of_the_spectrogram(little_music: Path, folder: Path) -> None:
    (folder / "feature.toml").write_text('[features]\nclass = "myfeatures:band_energies"\n')
    run = fitted("feature.toml", little_music, folder, "augment.crops_per_track=1", "network.layers=3")
    spec = Model.read(run.model).info.features
    assert (spec.kind, features.feature_dimension(spec)) == ("custom", 16)


def test_a_feature_of_another_shape_is_refused(folder: Path) -> None:
    (folder / "myfeatures.py").write_text("def band_energies(samples, rate, hop): return samples[None]")
    with pytest.raises(ConfigError, match="returned the shape"):
        training.check_config(training.load_config(Path("feature.toml")))
