"""Render a dozen short pieces of music, in as many styles, from code alone.

    python examples/demo_music/render.py OUTPUT_FOLDER [--only disco] [--seconds 10]

Nothing in them is recorded, so anyone may keep and share them. The same command writes the same samples.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from genrescope.errors import GenrescopeError
from genrescope.utils import write_atomic
from signals import RATE, Samples
from styles import STYLES, Style

ENCODINGS = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
}


def render(style: Style, seconds: float | None = None) -> Samples:
    """Return the piece, or its first ``seconds``, as its file holds it, shape (n, channels), peak below 1."""
    stereo = style.compose().mix(seconds)
    mixed = stereo if style.channels == 2 else stereo.mean(axis=0, keepdims=True)
    return np.asarray(resample_poly(mixed, 1, RATE // style.sample_rate, axis=1).T)


def encode(style: Style, music: Samples) -> bytes:
    """Return the bytes of the file that holds ``music``, shape (n, channels)."""
    file = io.BytesIO()
    soundfile.write(file, music, style.sample_rate, **ENCODINGS[style.suffix])
    return file.getvalue()


def write(style: Style, folder: Path, seconds: float | None = None) -> Path:
    """Render a piece into ``folder`` and return its path; WriteError when it cannot be written."""
    path = folder / f"{style.name}.{style.suffix}"
    write_atomic(path, encode(style, render(style, seconds)))
    return path


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Render short pieces of music in many styles, from code alone."
    )
    parser.add_argument("folder", type=Path, help="where the files go; made if absent")
    parser.add_argument("--only", metavar="STYLE", default="", help="only styles whose name begins so")
    parser.add_argument("--seconds", type=float, help="only the first seconds of each piece")
    options = parser.parse_args(arguments)
    options.styles = [style for style in STYLES if style.name.startswith(options.only)]
    if not options.styles:
        parser.error(
            f"no style begins with {options.only!r}: choose from {', '.join(s.name for s in STYLES)}"
        )
    if options.seconds is not None and not 0.5 <= options.seconds < 3600.0:
        parser.error("--seconds must be at least 0.5")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Render what the command line asks for, and return the exit status."""
    options = parsed(arguments)
    try:
        for style in options.styles:
            print(write(style, options.folder, options.seconds))
    except GenrescopeError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return error.outcome.exit_status
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
