"""Time the scan of whole tracks against decoding them, and against Essentia and librosa.

Run: python benchmarks/library.py DATASET... [--tracks N] [--others N] [--folder FOLDER] [--hours H]

DATASET is a folder of labeled audio. Writes tracks of 3 to 6 minutes, in turn MP3, FLAC, M4A and OGG, each
joined of clips of one genre and data set with crossfades (so that a track varies more than a song does), into
a folder that is kept for the next run. Every file is decoded, classified in full and classified by excerpts,
with one thread; CPU time is measured. Some files are also analyzed by Essentia's MusicExtractor (where it is
installed: pip install --pre essentia) and by librosa (load, and one call for each of the paper's eight
features). Then the whole folder is scanned, and a very long file is classified.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# numba 0.68.1, which librosa uses, generates code that crashes on AMD EPYC processors.
os.environ.setdefault("NUMBA_CPU_NAME", "generic")

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile

from genrescope import Classifier, audio, datasets
from genrescope.library import Library, ScanOptions
from genrescope.types import FloatArray, Prediction
from genrescope.utils import sha256_file

sys.path.insert(0, str(Path(__file__).parent))
from features import librosa_features

RATE, FADE = 44100, 1.0
FORMATS = {
    "mp3": ("mp3", "libmp3lame", 192_000),
    "flac": ("flac", "flac", 0),
    "m4a": ("ipod", "aac", 192_000),
    "ogg": ("ogg", "vorbis", 160_000),
}


def build_tracks(data_sets: list[Path], folder: Path, tracks: int) -> list[Path]:
    """Write the tracks that do not exist yet; return the paths of all."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = defaultdict(list)
    for data_set in data_sets:
        for track in datasets.load_dataset(data_set, kind="audio").tracks:
            clips[data_set, track.label].append(track.path)
    paths = []
    for number in range(tracks):
        suffix = list(FORMATS)[number % len(FORMATS)]
        path = folder / f"{number:03}.{suffix}"
        paths.append(path)
        if not path.exists():
            generator = np.random.default_rng(number)
            genre = list(clips)[int(generator.integers(len(clips)))]
            encode(path, medley(clips[genre], generator), *FORMATS[suffix])
    return paths


def medley(clips: list[Path], generator: np.random.Generator) -> FloatArray:
    """Join clips to at most three to six minutes of stereo, shape (2, n); one channel is delayed a little."""
    length = int(generator.uniform(180, 360) * RATE)
    fade = np.linspace(0, 1, int(FADE * RATE), dtype=np.float32)
    joined = np.zeros(0, np.float32)
    for index in generator.permutation(len(clips)):
        samples = audio.load_audio(clips[index], sample_rate=RATE).samples.copy()
        samples[: len(fade)] *= fade
        samples[-len(fade) :] *= fade[::-1]
        if len(joined):
            samples[: len(fade)] += joined[-len(fade) :]
            joined = joined[: -len(fade)]
        joined = np.concatenate([joined, samples])
        if len(joined) >= length:
            break
    mono = joined[:length] * np.float32(0.9 / max(1.0, float(np.abs(joined).max())))
    return np.stack([mono, np.roll(mono, 11)])


def encode(path: Path, samples: FloatArray, container: str, codec: str, bits: int) -> None:
    part = path.with_suffix(".part")
    if codec == "vorbis":  # FFmpeg's own Vorbis encoder is experimental; libsndfile uses libvorbis
        with soundfile.SoundFile(part, "w", RATE, 2, format="OGG", subtype="VORBIS") as file:
            for first in range(0, samples.shape[1], RATE):
                file.write(samples[:, first : first + RATE].T)
        part.replace(path)
        return
    with av.open(str(part), "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE, layout="stereo")
        if bits:
            stream.bit_rate = bits
        size = stream.codec_context.frame_size or 4096
        resampler = av.AudioResampler(stream.codec_context.format, "stereo", RATE, frame_size=size)
        for first in range(0, samples.shape[1], 65536):
            block = np.ascontiguousarray(samples[:, first : first + 65536])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
            for converted in resampler.resample(frame):
                output.mux(stream.encode(converted))
        for converted in resampler.resample(None):
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    part.replace(path)


def decode(path: Path) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        stream.thread_type = "NONE"
        for _ in container.decode(stream):
            pass


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discard what native libraries print to standard error."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)


def run_essentia(path: Path) -> None:
    import essentia
    from essentia.standard import MusicExtractor

    essentia.log.infoActive = essentia.log.warningActive = False
    MusicExtractor()(str(path))


def run_librosa(path: Path) -> None:
    librosa_features(librosa.load(path, sr=22050)[0])


def compare_excerpts(paths: list[Path]) -> dict[str, dict[Path, float]]:
    """Return CPU seconds by method and file; print how often excerpts give the genre of the full track."""
    classifier = Classifier.from_pretrained()
    times: dict[str, dict[Path, float]] = {"decode": {}, "full": {}, "excerpts": {}}
    agreed, scored, segments = 0, 0, 0
    for path in paths:
        predictions: list[Prediction] = []

        def classify(excerpts: bool, path: Path = path, results: list[Prediction] = predictions) -> None:
            sha256_file(path)  # as a scan does
            results.append(classifier.predict(path, excerpts=excerpts, timeline=True))

        times["decode"][path] = cpu_seconds(partial(decode, path))
        times["full"][path] = cpu_seconds(partial(classify, excerpts=False))
        times["excerpts"][path] = cpu_seconds(partial(classify, excerpts=True))
        full, part = predictions
        agreed += full.genre == part.genre
        assert full.timeline is not None
        assert part.timeline is not None
        scored, segments = scored + len(part.timeline.starts), segments + len(full.timeline.starts)
    share = f"{scored / segments:.0%} of the segments scored"
    print(f"excerpts give the same genre for {agreed} of {len(paths)} tracks, {share}")
    return times


def time_others(paths: list[Path], times: dict[str, dict[Path, float]]) -> None:
    methods = {"librosa": run_librosa}
    with contextlib.suppress(ImportError):
        import essentia  # noqa: F401

        methods["Essentia"] = run_essentia
    for name, method in methods.items():
        times[name] = {}
        for path in paths:
            with silenced():
                times[name][path] = cpu_seconds(partial(method, path))


def print_table(paths: list[Path], times: dict[str, dict[Path, float]]) -> None:
    for suffix in [*FORMATS, ""]:
        selected = [path for path in paths if path.suffix.endswith(suffix)]
        line = [f"{suffix or 'all':5}"]
        for method, taken in times.items():
            measured = [path for path in selected if path in taken]
            if measured:
                own = sum(taken[path] for path in measured)
                decoding = sum(times["decode"][path] for path in measured)
                line.append(f"{method} {own / len(measured):6.3f} s ({own / decoding:5.2f} x decode)")
        print("  ".join(line))
    for method in ("librosa", "Essentia"):
        if times.get(method):
            other = sum(times[method].values())
            own = {mode: sum(times[mode][path] for path in times[method]) for mode in ("full", "excerpts")}
            ratios = ", ".join(f"{other / value:.1f} x {mode}" for mode, value in own.items())
            print(f"{method} takes {ratios}")
    print(f"full takes {sum(times['full'].values()) / sum(times['excerpts'].values()):.2f} x excerpts")


def scan(folder: Path, files: int) -> None:
    for excerpts in (True, False):
        with (
            tempfile.TemporaryDirectory() as temporary,
            Library(Path(temporary) / "library.db") as library,
        ):
            start = time.perf_counter()
            first = [result.status for result in library.scan([folder], ScanOptions(excerpts=excerpts))]
            first_seconds = time.perf_counter() - start
            start = time.perf_counter()
            second = [result.status for result in library.scan([folder], ScanOptions(excerpts=excerpts))]
            second_seconds = time.perf_counter() - start
        assert first == ["classified"] * files
        assert second == ["unchanged"] * files
        mode, workers = "excerpts" if excerpts else "full", os.cpu_count()
        print(
            f"scan, {mode}: {files / first_seconds:.2f} files/s with {workers} workers;"
            f" again: {second_seconds:.2f} s"
        )


# Runs in a process of its own, so that its peak memory is that of one classification.
LONG_FILE = """
import re, sys
from genrescope import Classifier
seconds = Classifier.from_pretrained().predict(sys.argv[1]).seconds
peak = re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]
print(seconds, int(peak) // 1024)
"""


def classify_long_file(hours: float) -> None:
    """Print the time and memory that a long file takes, in full; it is sparse: most of it is silence."""
    rate, seconds = 16000, round(3600 * hours)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        noise = (8000 * np.random.default_rng(0).standard_normal(60 * rate)).astype(np.int16)
        soundfile.write(path, noise, rate)
        header = bytearray(path.read_bytes()[:44])
        size = seconds * rate * 2
        header[4:8], header[40:44] = (36 + size).to_bytes(4, "little"), size.to_bytes(4, "little")
        with path.open("r+b") as file:
            file.write(header)
            file.truncate(44 + size)
        start = time.perf_counter()
        process = subprocess.run(
            [sys.executable, "-c", LONG_FILE, path], capture_output=True, text=True, check=True
        )
        taken = time.perf_counter() - start
    classified, peak = process.stdout.split()
    print(f"a file of {float(classified) / 3600:.1f} hours, in full: {taken:.0f} s, peak memory {peak} MB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", nargs="+", type=Path, help="folder of labeled audio")
    parser.add_argument("--tracks", type=int, default=24, help="tracks to write and measure")
    parser.add_argument("--others", type=int, default=4, help="tracks for Essentia and librosa")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "genrescope-benchmark-library",
        help="where the tracks are written; only they may be in it",
    )
    parser.add_argument("--hours", type=float, default=10, help="length of the long file; 0: none")
    options = parser.parse_args()
    folder: Path = options.folder
    paths = build_tracks(options.dataset, folder, options.tracks)
    for path in set(folder.glob("[0-9][0-9][0-9].*")) - set(paths):
        path.unlink()  # of a run with more tracks
    times = compare_excerpts(paths)
    # librosa opens M4A only where an FFmpeg program is installed.
    time_others([path for path in paths if path.suffix != ".m4a"][: options.others], times)
    print_table(paths, times)
    scan(folder, len(paths))
    if options.hours:
        classify_long_file(options.hours)


if __name__ == "__main__":
    main()
