"""Take the pictures of docs/page.md: every state of the server's page, light and dark, each at three widths.

Run: PYTHONPATH=tests python scripts/draw_page.py [--only STATE] [--folder FOLDER]

Needs what the tests in a browser need: Chromium with its driver, and selenium. The music is that of
examples/demo_music; the unsure answer is to two of its pieces, one after the other. Pictures are WebP, which
Chromium writes itself.
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from pathlib import Path

import av
import numpy as np

from helpers.browser import Page, chromium, open_state
from helpers.server import serving

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images" / "page"
MUSIC = ROOT / "examples" / "demo_music" / "music"
# Width and height of the window in pixels: a phone, a tablet, a laptop.
WINDOWS = ((390, 844), (768, 1024), (1440, 900))
SCHEMES = ("light", "dark")
STATES = ("empty", "working", "answer", "unsure", "not-music", "error", "several")
MEDLEY = ("0 A.D. - Harvest Festival.opus", "Muldjord - Chaos God.mp3")
MEDLEY_SECONDS, RATE = 20, 44_100
SCALE, GAP, QUALITY = 0.6, 24, 60
# The windows beside each other, on a ground that neither scheme has.
SHEET = """
const [pictures, gap, done] = arguments;
document.body.style = `margin: 0; padding: ${gap}px; background: #8d97a3; display: flex; gap: ${gap}px;
  align-items: start; width: max-content`;
const images = pictures.map(([width, data]) => {
  const image = Object.assign(new Image(width), { src: `data:image/png;base64,${data}` });
  image.style.borderRadius = "8px";
  return image;
});
document.body.replaceChildren(...images);
Promise.all(images.map((image) => image.decode())).then(() => {
  done([document.body.offsetWidth, document.body.offsetHeight]);
});
"""


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=STATES, help="take the pictures of this state alone")
    parser.add_argument("--folder", type=Path, default=IMAGES, help="where to put them")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving("--rate-limit", "0") as (address, _),
        chromium(Path(folder) / "profile") as driver,
    ):
        files = make_files(Path(folder))
        for state in [arguments.only] if arguments.only else STATES:
            page = Page(driver, address)
            open_state(page, state, files)
            pictures = {
                scheme: [(width, photograph(page, width, height, scheme)) for width, height in WINDOWS]
                for scheme in SCHEMES
            }
            for scheme, windows in pictures.items():
                content = sheet(page, windows)
                (arguments.folder / f"{state}-{scheme}.webp").write_bytes(content)
                print(f"{state}-{scheme}.webp", len(content) // 1000, "kB")
            page.reset_window()


def make_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files to be chosen for each state."""
    words = folder / "notes.mp3"
    words.write_text("This is a text.\n")
    medley = folder / "medley.wav"
    write_medley(medley)
    return {
        "unsure": [medley],
        "not-music": [MUSIC / "Waves on a beach, generated.ogg"],
        "error": [words],
        "several": [*sorted(MUSIC.iterdir()), medley, words],
    }


def write_medley(path: Path) -> None:
    """Write the beginnings of two pieces, one after the other."""
    with av.open(path, "w") as file:
        stream = file.add_stream("pcm_s16le", rate=RATE, layout="mono")
        file.metadata.update(title="Two pieces, one after the other", artist="0 A.D., Muldjord")
        for name in MEDLEY:
            resampler = av.AudioResampler("s16", "mono", RATE)
            blocks = []
            with av.open(MUSIC / name) as piece:
                for decoded in piece.decode(audio=0):
                    blocks += [one.to_ndarray() for one in resampler.resample(decoded)]
            samples = np.concatenate(blocks, axis=1)[:, : MEDLEY_SECONDS * RATE]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "s16", "mono")
            frame.sample_rate = RATE
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def photograph(page: Page, width: int, height: int, scheme: str) -> str:
    """Return the whole page in a window of this size, as PNG in base64."""
    page.window(width, height, scheme, reduced_motion=True)
    # Two frames: after the second the change of the first is drawn.
    page.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    options = {"format": "png", "captureBeyondViewport": True}
    picture: str = page.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
    return picture


def sheet(page: Page, windows: list[tuple[int, str]]) -> bytes:
    """Return pictures beside each other, as WebP."""
    page.reset_window()
    page.driver.get("about:blank")
    scaled = [(round(SCALE * width), picture) for width, picture in windows]
    width, height = page.driver.execute_async_script(SHEET, scaled, GAP)
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    options = {"format": "webp", "quality": QUALITY, "captureBeyondViewport": True, "clip": clip}
    return base64.b64decode(page.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"])


if __name__ == "__main__":
    main()
