"""Make the example of the page, ``src/genrescope/web/example/example.mp3``, from a piece of the demo music.

Run: python scripts/make_example.py

The whole excerpt of 24 s, as MP3, which every browser plays: mono at 24 kHz and 32 kbit/s, which keeps it
under 100 kB. Its tags name the author and the license, and hold a cover that is drawn here.
"""

from __future__ import annotations

import io
from pathlib import Path

import av
from mutagen.id3 import APIC, ID3, TALB, TCOP, TIT2, TPE1, WCOP
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "examples" / "demo_music" / "music" / "Nikola Whallon - Ambient.opus"
TARGET = ROOT / "src" / "genrescope" / "web" / "example" / "example.mp3"
RATE, BITS_PER_SECOND = 24_000, 32_000
COVER_SIZE = 300
# From the top to the horizon, and from there to the bottom: an evening at sea.
SKY, SEA = ("#332288", "#88ccee"), ("#225577", "#111433")
SUN = "#ddcc77"


def main() -> None:
    """Write the file."""
    TARGET.write_bytes(encode(SOURCE))
    tags = ID3()
    tags.add(TIT2(encoding=3, text="Ambient (excerpt)"))
    tags.add(TPE1(encoding=3, text="Nikola Whallon"))
    tags.add(TALB(encoding=3, text="Naev"))
    tags.add(TCOP(encoding=3, text="CC BY 3.0"))
    tags.add(WCOP(url="https://creativecommons.org/licenses/by/3.0/"))
    tags.add(APIC(encoding=3, mime="image/png", type=3, desc="", data=cover()))
    tags.save(TARGET, padding=lambda _: 0)
    print(TARGET.relative_to(ROOT), TARGET.stat().st_size, "bytes")


def encode(source: Path) -> bytes:
    """Return the audio of a file as MP3."""
    content = io.BytesIO()
    with av.open(source) as piece, av.open(content, "w", format="mp3") as encoded:
        stream = encoded.add_stream("libmp3lame", rate=RATE, layout="mono")
        stream.bit_rate = BITS_PER_SECOND
        for frame in piece.decode(audio=0):
            encoded.mux(stream.encode(frame))
        encoded.mux(stream.encode(None))
    return content.getvalue()


def cover() -> bytes:
    """Return a picture as PNG, with few colors."""
    picture = Image.new("RGB", (COVER_SIZE, COVER_SIZE))
    draw = ImageDraw.Draw(picture)
    horizon = COVER_SIZE * 3 // 5
    bands(draw, 0, horizon, SKY)
    draw.ellipse((100, horizon - 70, 200, horizon + 30), fill=SUN)
    bands(draw, horizon, COVER_SIZE, SEA)
    for place in range(5):  # the reflection of the sun
        top, half = horizon + 12 + 20 * place, 44 - 7 * place
        draw.rectangle((150 - half, top, 150 + half, top + 5), fill=SUN)
    content = io.BytesIO()
    picture.quantize(32, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()


def bands(draw: ImageDraw.ImageDraw, top: int, bottom: int, colors: tuple[str, str]) -> None:
    """Fill the height from ``top`` to ``bottom`` with twelve bands between two colors."""
    begin, end = (tuple(bytes.fromhex(color[1:])) for color in colors)
    edges = [top + (bottom - top) * band // 12 for band in range(13)]
    for band in range(12):
        mixed = tuple(round(one + (other - one) * band / 11) for one, other in zip(begin, end, strict=True))
        draw.rectangle((0, edges[band], COVER_SIZE, edges[band + 1]), fill=mixed)


if __name__ == "__main__":
    main()
