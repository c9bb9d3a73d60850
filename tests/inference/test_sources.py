"""All that audio can come from: paths, bytes, file objects, arrays; the same audio, the same scores."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import Classifier, load_audio
from genrescope.errors import AudioError, ConfigError, GenrescopeError, ModelError
from genrescope.types import Audio, FailedFile, Prediction
from helpers.small_data import RATE, drone
from helpers.sounds import LOSSLESS, LOSSY, noise, tone

FORMATS = LOSSLESS | LOSSY


@pytest.fixture(scope="module")
def classifier(little_model: Path) -> Classifier:
    return Classifier.from_pretrained(little_model)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(file, drone(12.0, 5), RATE, subtype="FLOAT")
    return file


def row(prediction: Prediction) -> dict[str, object]:
    """Return all of a result but the name of its source."""
    return prediction.to_dict() | {"path": ""}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("excerpts", [False, True])
def test_a_path_bytes_and_file_objects_give_the_same_row(
    classifier: Classifier, tmp_path: Path, name: str, excerpts: bool
) -> None:
    path = tmp_path / f"song.{name.split('-')[0]}"
    FORMATS[name](path, tone(3.0, 48000, channels=2) + noise(3.0, 48000, channels=2), 48000)
    expected = classifier.predict(path, timeline=True, excerpts=excerpts)
    content = path.read_bytes()
    with path.open("rb") as opened, tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(content)
        for source in (
            content,
            bytearray(content),
            memoryview(content),
            opened,
            spooled,
            io.BytesIO(content),
        ):
            found = classifier.predict(source, timeline=True, excerpts=excerpts)
            assert row(found) == row(expected)
            assert found.timeline is not None
            assert expected.timeline is not None
            np.testing.assert_array_equal(found.timeline.scores, expected.timeline.scores)


def test_a_file_object_stays_open_at_its_position(classifier: Classifier, song: Path) -> None:
    with song.open("rb") as file:
        file.seek(100)
        prediction = classifier.predict(file)
        assert not file.closed
        assert file.tell() == 100
        assert prediction == classifier.predict(song)  # with the path of the file as its name
        with pytest.raises(AudioError):
            classifier.predict(io.BytesIO(b"no audio at all, but some text"))


def test_a_member_of_an_archive_is_read_from_the_archive(
    classifier: Classifier, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name may be that of a file on the disk, which is another one."""
    monkeypatch.chdir(tmp_path)
    Path("song.wav").write_bytes(b"another file")
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.write(song, "song.wav")
    with zipfile.ZipFile("a.zip") as archive, archive.open("song.wav") as member:
        assert row(classifier.predict(member)) == row(classifier.predict(song))


class Pipe(io.RawIOBase):
    """A stream that can only be read forward."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def read(self, count: int = -1) -> bytes:
        return self._rest.read(count)


def test_a_stream_that_cannot_seek_is_read_whole(classifier: Classifier, song: Path) -> None:
    assert row(classifier.predict(Pipe(song.read_bytes()))) == row(classifier.predict(song))


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_samples_give_the_scores_of_a_file_that_holds_them(
    classifier: Classifier, tmp_path: Path, channels: int
) -> None:
    samples = tone(5.0, 44100, channels=channels) + noise(5.0, 44100, channels=channels)
    soundfile.write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT")
    expected = classifier.predict(tmp_path / "a.wav", timeline=True)
    found = classifier.predict(samples, sample_rate=44100, timeline=True)
    assert row(found) == row(expected)
    assert found.path == "<samples>"
    assert found.audio is not None
    assert (found.audio.format, found.audio.codec, found.audio.channels) == ("samples", "float32", channels)
    np.testing.assert_array_equal(classifier.predict(samples, sample_rate=44100).scores, found.scores)
    if channels == 1:
        assert row(classifier.predict(samples[:, 0], sample_rate=44100, timeline=True)) == row(expected)


@pytest.mark.parametrize(("kind", "coding"), [("int16", "PCM_16"), ("int32", "PCM_32")])
def test_integers_are_scaled_as_in_a_file(
    classifier: Classifier, tmp_path: Path, kind: str, coding: str
) -> None:
    samples = (drone(3.0, 1) * (np.iinfo(kind).max // 2)).astype(kind)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype=coding)
    found = classifier.predict(samples, sample_rate=RATE)
    assert row(found) == row(classifier.predict(tmp_path / "a.wav"))
    bytes_8 = (drone(3.0, 1) * 60 + 128).astype(np.uint8)
    soundfile.write(tmp_path / "b.wav", (bytes_8.astype(np.float32) - 128) / 128, RATE, subtype="FLOAT")
    assert row(classifier.predict(bytes_8, sample_rate=RATE)) == row(classifier.predict(tmp_path / "b.wav"))


def test_decoded_audio_keeps_its_name_and_flags(classifier: Classifier, song: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(song.read_bytes()[: song.stat().st_size // 2])
    rate = classifier.model.info.features.sample_rate
    for path in (song, cut):
        loaded = load_audio(path, sample_rate=rate)
        assert classifier.predict(loaded) == classifier.predict(path)
    with pytest.raises(AudioError) as caught:
        classifier.predict(loaded, strict=True)
    assert caught.value.code == "audio_truncated"
    flagged = Audio(drone(3.0, 1), RATE, flags=("channels_cancel",))
    assert classifier.predict(flagged).flags == ("channels_cancel",)


def test_samples_are_not_changed(classifier: Classifier) -> None:
    samples = drone(3.0, 1)
    samples[1000] = 1e30
    before = samples.copy()
    assert classifier.predict(samples, sample_rate=RATE).flags == ("spikes_removed",)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize(
    ("samples", "code"),
    [
        (np.zeros(RATE * 3, np.float32), "audio_silent"),
        (np.full(RATE * 3, np.nan), "audio_not_finite"),
        (np.full(RATE * 3, 1e300), "audio_not_finite"),
        (np.full(RATE * 3, 1e20), "audio_out_of_range"),
        (np.ones(RATE // 2, np.float32), "audio_too_short"),
        (np.zeros(0, np.float32), "audio_no_samples"),
    ],
)
def test_samples_are_checked_as_a_file_is(classifier: Classifier, samples: np.ndarray, code: str) -> None:
    with pytest.raises(AudioError) as caught:
        classifier.predict(samples, sample_rate=RATE)
    assert caught.value.code == code
    assert caught.value.message.startswith("<samples>: ")


@pytest.mark.parametrize(
    ("source", "rate"),
    [
        (np.zeros(RATE), None),
        (np.zeros(RATE), 0),
        (np.zeros(RATE), -44100),
        (np.zeros(RATE), 22050.5),
        (np.zeros(RATE), float("nan")),
        (np.zeros((2, RATE)), RATE),
        (np.zeros((RATE, 0)), RATE),
        (np.zeros((1, 2, 3)), RATE),
        (np.zeros(RATE, np.int64), RATE),
        (np.zeros(RATE, complex), RATE),
        (np.zeros(RATE, bool), RATE),
        (np.array(["song.wav"]), RATE),
        (Audio(drone(3.0, 1), RATE), RATE),
        (b"RIFF", RATE),
        ("song.wav", RATE),
        (io.StringIO("text"), None),
        (None, None),
        (3, None),
        ([0.0, 0.1], RATE),
        ([0.0, 0.1], None),
    ],
)
def test_what_is_no_audio_is_a_typed_error(classifier: Classifier, source: object, rate: object) -> None:
    with pytest.raises(ConfigError) as caught:
        classifier.predict(source, sample_rate=rate)  # type: ignore[arg-type]
    assert caught.value.code == "invalid_argument"


def closed_file() -> io.BytesIO:
    file = io.BytesIO(b"RIFF")
    file.close()
    return file


class Broken(io.BytesIO):
    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (b"", "audio_empty"),
        (io.BytesIO(), "audio_empty"),
        (Pipe(b""), "audio_empty"),
        (closed_file(), "audio_unreadable"),
        (Broken(b"RIFF"), "audio_read_failed"),
    ],
)
def test_files_that_cannot_be_read_are_typed_errors(
    classifier: Classifier, source: bytes | io.BytesIO, code: str
) -> None:
    with pytest.raises(AudioError) as caught:
        classifier.predict(source)
    assert caught.value.code == code


def test_a_file_opened_for_writing_is_a_typed_error(classifier: Classifier, tmp_path: Path) -> None:
    with (tmp_path / "a.wav").open("wb") as file, pytest.raises(AudioError) as caught:
        classifier.predict(file)
    assert caught.value.code == "audio_unreadable"


def test_many_sources_of_all_kinds(classifier: Classifier, song: Path) -> None:
    found = list(classifier.predict_many([song, song.read_bytes(), load_audio(song), io.BytesIO(), b""]))
    assert [isinstance(one, FailedFile) for one in found] == [False, False, False, True, True]
    assert [one.path for one in found] == [str(song), "<bytes>", str(song), "<file>", "<bytes>"]


# Embeddings


@pytest.fixture(scope="module")
def embedder() -> Classifier:
    return Classifier.from_pretrained()


def test_the_embedding_is_that_of_the_prediction(embedder: Classifier, song: Path) -> None:
    embedding = embedder.embed(song)
    assert embedding.shape == (384,)
    assert embedding.dtype == np.float32
    np.testing.assert_array_equal(embedding, embedder.predict(song, embedding=True).embedding)
    np.testing.assert_array_equal(embedding, embedder.embed(song.read_bytes()))
    samples, rate = soundfile.read(song, dtype="float32")
    np.testing.assert_array_equal(embedding, embedder.embed(samples, sample_rate=rate))


def test_the_embeddings_of_segments(embedder: Classifier, song: Path) -> None:
    rows = embedder.embed(song, per_segment=True)
    assert rows.shape == (2, 384)  # 10 s and the last 10 s of 12
    assert not np.array_equal(rows[0], rows[1])


def test_the_embeddings_of_many_files(embedder: Classifier, song: Path) -> None:
    rows = embedder.embed_many([song, song.read_bytes()])
    np.testing.assert_array_equal(rows, np.stack([embedder.embed(song)] * 2))
    assert embedder.embed_many([]).shape == (0, 384)
    with pytest.raises(GenrescopeError):
        embedder.embed_many([song, b""])


def test_a_model_without_embeddings_says_so(classifier: Classifier, song: Path) -> None:
    for embed in (classifier.embed, classifier.embed_many):
        with pytest.raises(ModelError) as caught:
            embed([song] if embed == classifier.embed_many else song)  # type: ignore[operator]
        assert caught.value.code == "model_incompatible"
