"""Recall of the search for near-duplicates on copies made of clips, and false pairs, beside Chromaprint.

Run: python benchmarks/near_duplicates.py copies FOLDER ... [--clips 300] [--chromaprint]
     python benchmarks/near_duplicates.py pairs FOLDER ... [--least-score 10]
     python benchmarks/near_duplicates.py scans FOLDER ... [--clips 300] [--joined 4]

``copies``: each clip is copied in every way of `copies_of`, and searched among all clips and all copies of
that kind, with the share of hashes that an index of 100,000 clips keeps. ``--chromaprint``: how many have
fewer than 18 % different bits by `fpcalc` (libchromaprint-tools), at the best of the three offsets with most
equal words.

``scans``: tracks are joined of some clips and copied; how many copies are found by the
fingerprints that scans keep, in full and of excerpts, and by those of whole files.

``pairs``: all pairs with at least this score that are not in one folder, to be looked at.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import random
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

from genrescope import Classifier, audio, load_audio
from genrescope.audit import MIN_SCORE, Duplicate, find_near_duplicates
from genrescope.audit.duplicates import FingerprintIndex
from genrescope.augmentation import effects
from genrescope.features import Fingerprint, fingerprint_audio
from genrescope.types import Audio, FloatArray

RATE, SECONDS, PIECE_SECONDS = 22050, 30.0, 10
# Fingerprints of whole files, and those that scans keep: whether of excerpts.
WHOLE, WAYS = "whole files", {"full": False, "excerpts": True}
HASH_SHARE = 0.19
# Of Chromaprint: bits by which words are looked up, offsets tried, words that overlap, different bits.
LOOKUP_BITS, OFFSETS, LEAST_WORDS, MOST_ERRORS = 14, 3, 20, 0.18


def copies_of(samples: FloatArray, generator: np.random.Generator) -> dict[str, FloatArray]:
    """Return the clip and its copies by name."""
    start = int(generator.uniform(0, len(samples) - PIECE_SECONDS * RATE))
    piece = slice(start, start + PIECE_SECONDS * RATE)
    mp3 = effects.codec_roundtrip(samples, RATE, "mp3", 64)
    noisy = effects.add_noise(samples, RATE, generator, snr_db=10.0, color="white")
    fast = effects.resample_speed(samples, 1.03)
    return {
        "original": samples,
        "MP3": mp3,
        "5 s later": samples[5 * RATE :],
        "noise": noisy,
        "cut": samples[piece],
        "4 kHz": effects.band_limit(samples, RATE, high_hertz=4000.0),
        "3 % faster": fast,
        "3 % slower": effects.resample_speed(samples, 1 / 1.03),
        "3 % faster, MP3": effects.codec_roundtrip(fast, RATE, "mp3", 64),
        "MP3, cut": mp3[piece],
        "4 kHz, cut": effects.band_limit(samples[piece], RATE, high_hertz=4000.0),
        "noise, cut": noisy[piece],
    }


def chromaprint(samples: FloatArray, path: str) -> np.ndarray:
    """Return the words of Chromaprint's raw fingerprint."""
    soundfile.write(path, np.clip(samples, -1, 1), RATE, subtype="PCM_16")
    answer = subprocess.run(
        ["fpcalc", "-raw", "-length", "60", path], capture_output=True, text=True, check=False
    )
    words = [line[12:] for line in answer.stdout.splitlines() if line.startswith("FINGERPRINT=")]
    return np.array(words[0].split(","), np.int64).astype(np.uint32) if words else np.zeros(0, np.uint32)


def error_rate(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of different bits at the best of the offsets at which most words agree."""
    shift = np.uint32(32 - LOOKUP_BITS)
    rows, columns = np.nonzero((first >> shift)[:, np.newaxis] == (second >> shift))
    best = 1.0
    for offset, _ in Counter((columns - rows).tolist()).most_common(OFFSETS):
        start, stop = max(0, -offset), min(len(first), len(second) - offset)
        if stop - start >= LEAST_WORDS:
            different = first[start:stop] ^ second[start + offset : stop + offset]
            best = min(best, float(np.unpackbits(different.view(np.uint8)).mean()))
    return best


def copies(paths: list[Path], with_chromaprint: bool) -> None:
    prints: dict[str, list[Fingerprint]] = {}
    found_by_chromaprint: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(paths):
            samples = load_audio(path, sample_rate=RATE, duration=SECONDS).samples
            made = copies_of(samples, np.random.default_rng(number))
            reference = chromaprint(samples, f"{folder}/a.wav") if with_chromaprint else None
            for name, copy in made.items():
                one = Fingerprint.unpack(fingerprint_audio(Audio(copy, RATE)).pack())
                prints.setdefault(name, []).append(one)
                if reference is not None:
                    rate = error_rate(reference, chromaprint(copy, f"{folder}/b.wav"))
                    found_by_chromaprint[name] += rate < MOST_ERRORS
    originals = prints.pop("original")
    print(f"found of {len(originals)}" + (", and by Chromaprint" if with_chromaprint else ""))
    for name, others in prints.items():
        index = FingerprintIndex([*originals, *others], HASH_SHARE)
        pairs = {(one.first, one.second) for batch in index.batches() for one in index.search(batch)}
        count = sum((number, number + len(originals)) in pairs for number in range(len(originals)))
        print(f"{name:>16} {count:>5}" + (f" {found_by_chromaprint[name]:>5}" if with_chromaprint else ""))


def track_copies(samples: FloatArray, generator: np.random.Generator) -> dict[str, FloatArray]:
    """Return a track and its copies by name."""
    half = len(samples) // 2
    return {
        "original": samples,
        "noise": effects.add_noise(samples, RATE, generator, snr_db=10.0, color="white"),
        "4 kHz": effects.band_limit(samples, RATE, high_hertz=4000.0),
        "0.05 s later": samples[RATE // 20 :],
        "5 s later": samples[5 * RATE :],
        "12 s shorter": samples[: -12 * RATE],
        "first half": samples[:half],
        "second half": samples[half:],
        "3 % faster": effects.resample_speed(samples, 1.03),
    }


def scans(paths: list[Path], joined: int) -> None:
    """Print how many copies of tracks are found by what scans keep of them."""
    classifier = Classifier.from_pretrained()
    prints: dict[tuple[str, str], list[Fingerprint]] = {}
    sizes: dict[str, list[int]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(0, len(paths) - joined + 1, joined):
            clips = [load_audio(path, sample_rate=RATE) for path in paths[number : number + joined]]
            samples = np.concatenate([clip.samples[: round(SECONDS * RATE)] for clip in clips])
            made = track_copies(samples, np.random.default_rng(number))
            for name, copy in [*made.items(), ("MP3", samples)]:
                file = f"{folder}/a.{'mp3' if name == 'MP3' else 'flac'}"
                options = {"bitrate_mode": "CONSTANT", "compression_level": 0.8} if name == "MP3" else {}
                soundfile.write(file, np.clip(copy, -1, 1), RATE, **options)
                packed = {WHOLE: fingerprint_audio(file).pack()}
                for way, excerpts in WAYS.items():
                    answer = classifier.predict(file, excerpts=excerpts, fingerprint=True)
                    packed[way] = answer.fingerprint or b""
                    sizes[way].append(len(packed[way]))
                for way, content in packed.items():
                    prints.setdefault((way, name), []).append(Fingerprint.unpack(content))
    names = [name for way, name in prints if way == WHOLE and name != "original"]
    tracks = len(prints[WHOLE, "original"])
    print(f"found of {tracks}  " + " ".join(f"{name:>12}" for name in names))
    for way in (WHOLE, *WAYS):
        counts = []
        for name in names:
            pairs = find_near_duplicates([*prints[way, "original"], *prints[way, name]])
            found = sum(one.second == one.first + tracks for one in pairs)
            counts.append(f"{found} (+{len(pairs) - found})" if len(pairs) > found else f"{found}")
        print(f"{way:>12} " + " ".join(f"{one:>12}" for one in counts))
    for way, bytes_of in sizes.items():
        print(f"{way}: {np.mean(bytes_of):.0f} bytes a track")


def pairs(paths: list[Path], least_score: float) -> None:
    prints = [fingerprint_audio(load_audio(path, sample_rate=RATE, duration=40.0)) for path in paths]
    found = [one for one in find_near_duplicates(prints, min_score=least_score) if _apart(one, paths)]
    total = len(paths) * (len(paths) - 1) // 2
    print(f"{total} pairs; in different folders {len(found)} with a score of {least_score:g}, of which")
    print(f"{sum(one.score >= MIN_SCORE for one in found)} of {MIN_SCORE:g}, from which on they are reported")
    for one in found:
        print(
            f"{one.score:6.1f} {one.agreement:5.2f} {one.speed:7.4f}  {paths[one.first]}  {paths[one.second]}"
        )


def _apart(pair: Duplicate, paths: list[Path]) -> bool:
    return paths[pair.first].parent != paths[pair.second].parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["copies", "pairs", "scans"])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--joined", type=int, default=4)
    parser.add_argument("--chromaprint", action="store_true")
    parser.add_argument("--least-score", type=float, default=10.0)
    options = parser.parse_args()
    paths = sorted(audio.audio_files(options.folders))
    if options.command == "pairs":
        pairs(paths, options.least_score)
        return
    random.Random(0).shuffle(paths)
    long_enough = [path for path in paths if (audio.info(path).seconds or 0) > PIECE_SECONDS + 1]
    chosen = long_enough[: options.clips]
    if options.command == "scans":
        scans(chosen, options.joined)
    else:
        copies(chosen, options.chromaprint)


if __name__ == "__main__":
    main()
