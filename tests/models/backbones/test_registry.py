"""EfficientAT and the catalog: the authors' numbers, every width, weights that are never run as code."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from torch import Tensor, nn

from genrescope import features
from genrescope.errors import ConfigError, GenrescopeError, ModelError
from genrescope.models.backbones import registry as backbones
from genrescope.models.backbones.efficientat import WIDTHS, EfficientAt, divisible
from genrescope.types import FloatArray
from genrescope.utils import package_data, sha256_file
from helpers.weights import audioset_labels

KNOWN = backbones.BACKBONES | backbones.ARCHITECTURES
# In millions, as counted by others: mn01 in a public wrapper of it, the rest in the authors' README.
MILLIONS = {
    "mn01": "0.123783",
    "mn04": "0.983",
    "mn05": "1.43",
    "mn10": "4.88",
    "mn20": "17.91",
    "mn30": "39.09",
    "mn40": "68.43",
}
# Bytes of the published files, as a public survey lists them; mn40's are those of its longer trained variant.
FILE_BYTES = {
    "mn01": 612_421,
    "mn02": 1_432_101,
    "mn04": 4_066_513,
    "mn05": 5_878_097,
    "mn10": 19_708_753,
    "mn20": 71_938_961,
    "mn30": 156_742_353,
    "mn40": 274_206_417,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep small networks from waiting for cores that others use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def published(shared: Path) -> Path:
    """Return the folder of EfficientAT's weights and golden numbers."""
    return shared / "weights" / "efficientat"


@pytest.fixture(scope="module")
def mn04(published: Path) -> backbones.Backbone:
    return backbones.load_backbone("mn04", weights=published / "mn04_as_mAP_432.pt")


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def unweighted(name: str) -> nn.Module:
    """Build a network of the catalog without memory for its weights."""
    with torch.device("meta"):
        return KNOWN[name].build()


@pytest.fixture
def mn01_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(EfficientAt(WIDTHS["mn01"]).state_dict(), tmp_path / "mn01.pt")
    return tmp_path / "mn01.pt"


def opening(path: Path) -> FloatArray:
    """Decode 10 s as the golden numbers' authors did: to 32 kHz, then to 16 bits, clipped."""
    samples, rate = soundfile.read(path, dtype="float32", frames=220500)
    whole = np.round(soxr.resample(samples, rate, 32000, "HQ") * 32767).clip(-32768, 32767)
    return np.asarray(whole / 32767, np.float32)


def test_the_authors_embeddings_and_logits_are_reproduced(
    published: Path, gtzan: Path, mn04: backbones.Backbone
) -> None:
    golden = np.load(published / "golden.npz")
    waves = np.stack(
        [opening(gtzan / "audio" / track.split(".")[0] / f"{track}.flac") for track in golden["track"]]
    )
    log_mel = features.extract(waves, 32000, features.EFFICIENTAT)
    with torch.no_grad():
        embedding, logits = mn04(torch.from_numpy(log_mel))
    np.testing.assert_allclose(log_mel[:2], golden["logmel"], atol=1e-3)
    np.testing.assert_allclose(embedding, golden["embedding"], atol=1e-3)
    np.testing.assert_allclose(logits, golden["logits"], atol=1e-3)


def test_embed_is_the_first_output_of_embed_with_styles(mn04: backbones.Backbone) -> None:
    batch = noise(2, 128, 200)
    with torch.no_grad():
        torch.testing.assert_close(mn04.embed(batch), mn04(batch)[0])


def test_loaded_backbones_are_in_evaluation_mode_and_frozen(mn04: backbones.Backbone) -> None:
    assert not any(module.training for module in mn04.modules())
    assert not mn04.embed(noise(1, 128, 64)).equal(mn04.train().embed(noise(1, 128, 64)))
    mn04.eval()


def test_the_catalog_has_the_checksum_of_the_shared_file(published: Path, tmp_path: Path) -> None:
    facts = backbones.BACKBONES["mn04"].info
    (tmp_path / facts.file).symlink_to(published / facts.file)
    loaded = backbones.load_backbone("mn04", cache=tmp_path)
    assert loaded.info == facts
    assert facts.source.startswith("https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/")


@pytest.mark.parametrize("name", WIDTHS)
def test_every_width_is_as_large_as_published(name: str) -> None:
    network = unweighted(name)
    count = sum(weights.numel() for weights in network.parameters()) / 1e6
    if name in MILLIONS:
        digits = len(MILLIONS[name].partition(".")[2])
        assert abs(count - float(MILLIONS[name])) < 10.0**-digits  # the README rounds down and up
    state = network.state_dict().values()
    wrapping = FILE_BYTES[name] - sum(weights.numel() * weights.element_size() for weights in state)
    assert 280 < wrapping / len(state) < 380  # bytes around each array in a file


@pytest.mark.parametrize("name", WIDTHS)
def test_every_width_has_the_output_that_its_info_states(name: str) -> None:
    facts = KNOWN[name].info
    embedding, logits = unweighted(name)(torch.empty(2, 128, 100, device="meta"))
    assert embedding.shape == (2, facts.size)
    assert logits.shape == (2, facts.classes)
    assert facts.spec is not None
    assert facts.spec.kind == "log_mel"
    assert facts.sample_rate == 32000


def test_widths_round_to_multiples_of_eight_and_never_far_down() -> None:
    for channels in np.arange(1, 2000, 0.7):
        rounded = divisible(channels)
        assert rounded % 8 == 0
        assert 0.9 * channels <= rounded <= max(8, channels + 8)


def test_segments_give_the_same_alone_as_in_a_batch() -> None:
    torch.manual_seed(0)
    network, batch = EfficientAt(0.1).eval(), noise(3, 128, 150)
    with torch.no_grad():
        together, alone = network.embed(batch), torch.cat([network.embed(item[None]) for item in batch])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_saved_weights_are_loaded_unchanged(mn01_file: Path) -> None:
    before = torch.get_rng_state()
    loaded = backbones.load_backbone("mn01", weights=mn01_file)
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(0)
    original = EfficientAt(WIDTHS["mn01"]).eval()
    batch = noise(1, 128, 64)
    torch.testing.assert_close(loaded(batch), original(batch))
    assert all(weights.requires_grad for weights in loaded.parameters())


def test_half_precision_is_widened(mn01_file: Path, tmp_path: Path) -> None:
    state = {name: value.half() for name, value in backbones.read_weights(mn01_file).items()}
    torch.save(state, tmp_path / "half.pt")
    loaded = backbones.load_backbone("mn01", weights=tmp_path / "half.pt")
    assert {weights.dtype for weights in loaded.parameters()} == {torch.float32}


def test_weights_are_downloaded_into_the_cache(
    mn01_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(url: str, target: Path, *, sha256: str | None) -> Path:
        asked.append((url, target, sha256))
        return mn01_file

    monkeypatch.setattr("genrescope.utils.download_file", fetch)
    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path))
    info = backbones.ARCHITECTURES["mn01"].info
    with pytest.raises(ModelError, match="whole SHA-256") as caught:
        backbones.load_backbone("mn01")
    assert (caught.value.code, asked) == ("model_not_found", [])
    assert info.source in caught.value.hint
    known = backbones.ARCHITECTURES["mn01"]._replace(info=replace(info, sha256="0" * 64))
    monkeypatch.setitem(backbones.ARCHITECTURES, "mn01", known)
    backbones.load_backbone("mn01")
    assert asked == [(info.source, tmp_path / "weights" / "mn01_as_mAP_298.pt", "0" * 64)]


def test_every_entry_of_the_catalog_has_a_whole_checksum() -> None:
    for name, entry in backbones.BACKBONES.items():
        assert re.fullmatch("[0-9a-f]{64}", str(entry.info.sha256)), name
    assert backbones.BACKBONES["student"].info.sha256 == sha256_file(package_data("models", "student.pt"))


class FolderMaker:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("save", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_files_that_would_run_code_are_refused(save: object, tmp_path: Path) -> None:
    assert callable(save)
    save({"weights": FolderMaker(tmp_path / "made")}, tmp_path / "bad.pt")
    with pytest.raises(ModelError) as caught:
        backbones.load_backbone("mn01", weights=tmp_path / "bad.pt")
    assert caught.value.code == "model_corrupt"
    assert not (tmp_path / "made").exists()


def test_damaged_files_are_refused(mn01_file: Path, tmp_path: Path) -> None:
    content = mn01_file.read_bytes()
    for number, damaged in enumerate((b"", b"GIF89a", content[:100], content[:-1000])):
        file = tmp_path / f"{number}.pt"
        file.write_bytes(damaged)
        with pytest.raises(ModelError) as caught:
            backbones.load_backbone("mn01", weights=file)
        assert caught.value.code == "model_corrupt"


def test_weights_of_another_architecture_are_refused(mn01_file: Path, tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    for name, file in (("mn02", mn01_file), ("mn01", tmp_path / "list.pt")):
        with pytest.raises(ModelError) as caught:
            backbones.load_backbone(name, weights=file)
        assert caught.value.code == "model_incompatible"


@pytest.mark.parametrize(
    ("name", "weights", "code"),
    [
        ("mn99", None, "invalid_config"),
        ("mn01", Path("no such file"), "model_not_found"),
        ("mn01", Path(), "model_corrupt"),
        ("hub:somebody/something", Path("a file"), "invalid_argument"),
    ],
)
def test_weights_that_cannot_be_loaded_are_an_error(name: str, weights: Path | None, code: str) -> None:
    with pytest.raises(GenrescopeError) as caught:
        backbones.load_backbone(name, weights=weights)
    assert caught.value.code == code


def test_every_entry_names_its_source_and_license() -> None:
    for name, entry in backbones.BACKBONES.items():
        assert entry.info.name == name
        in_package = package_data("models", entry.info.source).is_file()
        assert in_package if name == backbones.STUDENT else entry.info.source.startswith("https://")
        assert entry.info.source.endswith(entry.info.file)
        assert entry.info.license.startswith(("MIT", "BSD"))


def test_labels_are_audiosets(published: Path) -> None:
    labels = audioset_labels(published / "audioset_classes.csv")
    assert len(set(labels)) == 527
    assert labels[:2] == ("Speech", "Male speech, man speaking")
    assert {"Hip hop music", "Techno", "Flamenco"} <= set(labels)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        backbones.load_backbone("efficientnet")
    assert "mn04" in caught.value.hint
    assert "inception-v3" in caught.value.hint


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    state = torch.load(package_data("models", "student.pt"), weights_only=True)
    state["network.features.0.1.running_var"][2] = value
    torch.save(state, tmp_path / "student.pt")
    with pytest.raises(ModelError, match=r"network\.features\.0\.1\.running_var") as caught:
        backbones.load_backbone("student", weights=tmp_path / "student.pt")
    assert caught.value.code == "model_corrupt"


def test_training_goes_on_from_the_student_of_the_package_with_finite_numbers() -> None:
    torch.manual_seed(0)
    network = backbones.load_backbone("student").network
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    batch = 20 * torch.randn(4, 128, 64) - 40
    for _ in range(3):
        embedding, logits = network(batch)
        loss = embedding.square().mean() + logits.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
    network.eval()
    assert all(value.isfinite().all() for value in network.state_dict().values())
    assert all(output.isfinite().all() for output in network(batch))
