"""musicnn: the published network's outputs for known input, and its weight file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genrescope import audio, features
from genrescope.errors import ModelError
from genrescope.models import load_backbone
from genrescope.models.backbones import musicnn

GENRES = ("jazz", "blues", "rock", "metal", "hiphop", "reggae", "country", "pop", "disco", "classical")


def test_outputs_are_those_of_the_original_graph(shared: Path) -> None:
    folder = shared / "weights/musicnn"
    golden = np.load(folder / "golden.npz")
    network = load_backbone("musicnn", weights=folder / "msd_musicnn.npz").network
    with torch.inference_mode():
        _, logits = network(torch.from_numpy(golden["log_mel"].transpose(0, 2, 1).copy()))
    np.testing.assert_allclose(logits.numpy(), golden["logits"], atol=2e-3)


def test_features_are_those_of_the_original_package(shared: Path, gtzan: Path) -> None:
    golden = np.load(shared / "weights/musicnn/golden.npz")["log_mel"]
    clips = sorted((gtzan / "audio").rglob("*.flac"))
    for clip in clips[:3]:
        genre = clip.name.partition(".")[0]
        samples = audio.load_audio(clip, sample_rate=16000).samples
        found = features.extract(samples[None], 16000, features.MUSICNN)[0]
        first = musicnn.patches(found)[0].T
        # The original was resampled by another library.
        assert np.abs(first - golden[GENRES.index(genre)]).mean() < 0.05


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(ModelError) as failure:
        load_backbone("musicnn", weights=path)
    assert failure.value.code == "model_corrupt"


def test_a_file_that_lacks_an_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, **{"dense.kernel": np.zeros((1506, 200), np.float32)})
    with pytest.raises(ModelError) as failure:
        load_backbone("musicnn", weights=path)
    assert failure.value.code == "model_corrupt"


def test_weights_are_not_downloaded() -> None:
    with pytest.raises(ModelError) as failure:
        load_backbone("musicnn")
    assert failure.value.code == "model_not_found"
