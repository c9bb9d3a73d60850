"""Time a scan of whole tracks against decoding them, against Essentia and against librosa.

Run: python benchmarks/library.py SHARED/data [TRACKS] [OTHERS]

Builds TRACKS (24) tracks of 3 to 6 minutes, by turns MP3, FLAC, M4A and OGG, out of clips of one genre of
GTZAN or Emotify each (joined with fades, so a track is less uniform than a song), in a folder that is kept
for the next run. Every file is decoded, heard in full and heard in excerpts in turn, one thread, CPU time;
OTHERS (4) files also go through Essentia's MusicExtractor (where it is installed: pip install --pre essentia)
and through librosa (load, and the paper's eight features, one call each). Then the whole folder is scanned.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# numba 0.68.1, which librosa runs on, makes code for AMD EPYC processors that crashes.
os.environ.setdefault("NUMBA_CPU_NAME", "generic")

import contextlib
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile

from genrescope import Classifier, audio, datasets
from genrescope.library import Library, ScanOptions
from genrescope.library.scan_worker import content_hash
from genrescope.types import FloatArray

sys.path.insert(0, str(Path(__file__).parent))
from features import eight_of_librosa

RATE, FADE = 44100, 1.0
FORMATS = {
    "mp3": ("mp3", "libmp3lame", 192_000),
    "flac": ("flac", "flac", 0),
    "m4a": ("ipod", "aac", 192_000),
    "ogg": ("ogg", "vorbis", 160_000),
}


def build(data: Path, folder: Path, tracks: int) -> list[Path]:
    """Write the tracks that are not there yet; return all."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = defaultdict(list)
    for name in ("gtzan", "emotify"):
        for track in datasets.load_dataset(data / name, kind="audio").tracks:
            clips[name, track.label].append(track.path)
    paths = []
    for number in range(tracks):
        suffix = list(FORMATS)[number % len(FORMATS)]
        path = folder / f"{number:03}.{suffix}"
        paths.append(path)
        if not path.exists():
            generator = np.random.default_rng(number)
            kind = list(clips)[int(generator.integers(len(clips)))]
            encode(path, medley(clips[kind], generator), *FORMATS[suffix])
    return paths


def medley(clips: list[Path], generator: np.random.Generator) -> FloatArray:
    """Join clips to three to six minutes, shape (2, n); the sides differ a little, as in stereo."""
    wanted = int(generator.uniform(180, 360) * RATE)
    fade = np.linspace(0, 1, int(FADE * RATE), dtype=np.float32)
    joined = np.zeros(0, np.float32)
    for place in generator.permutation(len(clips)):
        samples = audio.load_audio(clips[place], sample_rate=RATE).samples.copy()
        samples[: len(fade)] *= fade
        samples[-len(fade) :] *= fade[::-1]
        if len(joined):
            samples[: len(fade)] += joined[-len(fade) :]
            joined = joined[: -len(fade)]
        joined = np.concatenate([joined, samples])
        if len(joined) >= wanted:
            break
    mono = joined[:wanted] * np.float32(0.9 / max(1.0, float(np.abs(joined).max())))
    return np.stack([mono, np.roll(mono, 11)])


def encode(path: Path, samples: FloatArray, container: str, codec: str, bits: int) -> None:
    part = path.with_suffix(".part")
    if codec == "vorbis":  # FFmpeg's own encoder of it is an experiment; libsndfile has the real one
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
        shaper = av.AudioResampler(stream.codec_context.format, "stereo", RATE, frame_size=size)
        for first in range(0, samples.shape[1], 65536):
            block = np.ascontiguousarray(samples[:, first : first + 65536])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
            for shaped in shaper.resample(frame):
                output.mux(stream.encode(shaped))
        for shaped in shaper.resample(None):
            output.mux(stream.encode(shaped))
        output.mux(stream.encode(None))
    part.replace(path)


def decode(path: Path) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        stream.thread_type = "NONE"
        for _ in container.decode(stream):
            pass


def seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what native libraries print away."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)


def through_essentia(path: Path) -> None:
    import essentia
    from essentia.standard import MusicExtractor

    essentia.log.infoActive = essentia.log.warningActive = False
    MusicExtractor()(str(path))


def through_librosa(path: Path) -> None:
    eight_of_librosa(librosa.load(path, sr=22050)[0])


def compare(paths: list[Path]) -> dict[str, dict[Path, float]]:
    """Return CPU seconds by way and file, and print how far the excerpts agree."""
    classifier = Classifier.from_pretrained()
    times: dict[str, dict[Path, float]] = defaultdict(dict)
    agreed, windows, pieces = 0, 0, 0
    for path in paths:
        answers = []
        times["decode"][path] = seconds(lambda: decode(path))  # noqa: B023
        for way in ("full", "excerpts"):

            def hear(way: str = way, path: Path = path, answers: list = answers) -> None:
                content_hash(path)
                answers.append(classifier.predict(path, excerpts=way == "excerpts", timeline=True))

            times[way][path] = seconds(hear)
        full, part = answers
        agreed += full.genre == part.genre
        windows, pieces = windows + len(part.timeline.starts), pieces + len(full.timeline.starts)
    share = f"{windows / pieces:.0%} of the segments heard"
    print(f"excerpts name the same genre on {agreed} of {len(paths)} tracks, {share}")
    return times


def others(paths: list[Path], times: dict[str, dict[Path, float]]) -> None:
    ways = {"librosa": through_librosa}
    with contextlib.suppress(ImportError):
        ways["Essentia"] = through_essentia
    for name, way in ways.items():
        for path in paths:
            with quiet():
                times[name][path] = seconds(lambda: way(path))  # noqa: B023


def table(paths: list[Path], times: dict[str, dict[Path, float]]) -> None:
    for suffix in [*FORMATS, ""]:
        chosen = [path for path in paths if path.suffix.endswith(suffix)]
        line = [f"{suffix or 'all':5}"]
        for way, taken in times.items():
            both = [path for path in chosen if path in taken]
            if both:
                own, alone = sum(taken[path] for path in both), sum(times["decode"][path] for path in both)
                line.append(f"{way} {own / len(both):6.3f} s ({own / alone:5.2f} x decode)")
        print("  ".join(line))
    for way in ("librosa", "Essentia"):
        if way in times:
            theirs = sum(times[way].values())
            ours = {mode: sum(times[mode][path] for path in times[way]) for mode in ("full", "excerpts")}
            ratios = ", ".join(f"{theirs / own:.1f} x {mode}" for mode, own in ours.items())
            print(f"{way} takes {ratios}")
    print(f"full takes {sum(times['full'].values()) / sum(times['excerpts'].values()):.2f} x excerpts")


def scan(folder: Path, files: int) -> None:
    for excerpts in (True, False):
        with tempfile.TemporaryDirectory() as place, Library(Path(place) / "library.db") as library:
            begun = time.perf_counter()
            outcomes = [one.status for one in library.scan([folder], ScanOptions(excerpts=excerpts))]
            first = time.perf_counter() - begun
            begun = time.perf_counter()
            again = [one.status for one in library.scan([folder], ScanOptions(excerpts=excerpts))]
            second = time.perf_counter() - begun
        assert outcomes == ["classified"] * files
        assert again == ["unchanged"] * files
        mode = "excerpts" if excerpts else "full"
        print(
            f"scan, {mode}: {files / first:.2f} files/s with {os.cpu_count()} workers; again: {second:.2f} s"
        )


TEN_HOURS = """
import re, sys
from genrescope import hearing
answer = hearing.prepare("default", excerpts=False)({"path": sys.argv[1], "known": []})
peak = re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]
print(answer["columns"]["seconds"], int(peak) // 1024)
"""


def ten_hours() -> None:
    """Print what a worker needs for a file of ten hours, heard in full; most of it is a hole on the disk."""
    rate, wanted = 16000, 36000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ten hours.wav"
        start = (8000 * np.random.default_rng(0).standard_normal(60 * rate)).astype(np.int16)
        soundfile.write(path, start, rate)
        header = bytearray(path.read_bytes()[:44])
        size = wanted * rate * 2
        header[4:8], header[40:44] = (36 + size).to_bytes(4, "little"), size.to_bytes(4, "little")
        with path.open("r+b") as file:
            file.write(header)
            file.truncate(44 + size)
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", TEN_HOURS, path], capture_output=True, text=True, check=True
        )
        taken = time.perf_counter() - begun
    heard, peak = done.stdout.split()
    print(f"a file of {float(heard) / 3600:.1f} hours, in full: {taken:.0f} s, peak memory {peak} MB")


def main() -> None:
    data = Path(sys.argv[1])
    tracks, few = (int(word) for word in [*sys.argv[2:], *("24", "4")[len(sys.argv) - 2 :]])
    folder = Path(tempfile.gettempdir()) / "genrescope-benchmark-library"
    paths = build(data, folder, tracks)
    for stranger in set(folder.iterdir()) - set(paths):
        stranger.unlink()
    times = compare(paths)
    # librosa opens no M4A without a program beside it.
    others([path for path in paths if path.suffix != ".m4a"][:few], times)
    table(paths, times)
    scan(folder, len(paths))
    ten_hours()


if __name__ == "__main__":
    main()
