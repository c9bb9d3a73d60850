"""Draw the figures of docs/reproduction.md from GTZAN, and from the runs of `genrescope reproduce`.

Run: python scripts/draw_reproduction.py GTZAN [--runs reports/paper/runs]

The paper's Figures 2 and 3 (features), 7 (architecture) and 10 (scores per genre, from the page's tables),
and the confusion matrices of the baselines, take about a minute. Figures 8 and 9 (curves) and 11 (confusion
matrix of the parallel network) are drawn where ``--runs`` has the finished run; otherwise the command that
makes it is printed.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import fft

from genrescope import datasets, models, reporting, training
from genrescope.experiments.paper import PAPER_FIGURE_10
from genrescope.features import SPECTROGRAM_LOG_MEL
from genrescope.reporting import Curve
from genrescope.reporting.figures import comparison_figure, confusion_figure, curves_figure, layers_figure
from genrescope.types import FloatArray

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PAGE = IMAGES.parent / "reproduction.md"
BASELINES = ("logistic-regression", "svm")
PROTOCOLS = {"track-random": "track-random (leaky)", "fault-filtered": "fault-filtered"}
# The run of the parallel network with the paper's settings, under the paper's protocol.
NETWORK = "parallel-paper-segment-random-0"
SECTION = "Per genre: parallel-paper, segment-random (leaky), by segment"
# A segment of 4.5 s at 22,050 Hz, with a hop of 512.
BANDS, FRAMES, CLASSES = 128, 194, 10
SHOWN_SECONDS = 10.0
# From so many characters on, embedded pictures are written with 64 colors.
LARGE = 500_000


def save(name: str, svg: str) -> None:
    """Write a figure on white, since pages of code hosts may be dark."""
    white = re.sub(r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', svg, count=1)
    if len(white) > LARGE:  # the grid of spectrograms
        white = re.sub(r"(?<=data:image/png;base64,)[^\"]+", _with_few_colors, white)
    (IMAGES / f"{name}.svg").write_text(white, encoding="utf8")
    print(f"{name}.svg", len(white) // 1000, "kB")


def _with_few_colors(found: re.Match[str]) -> str:
    """Return an embedded picture with 64 colors instead of all."""
    content = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(found[0]))) as picture:
        picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode("ascii")


def draw_features(gtzan: Path) -> None:
    """Draw a mel spectrogram of each genre, and the MFCC of one clip."""
    dataset = datasets.load_gtzan(gtzan, "spectrogram")
    hop_seconds = SPECTROGRAM_LOG_MEL.hop_length / SPECTROGRAM_LOG_MEL.sample_rate
    firsts = {track.label: track for track in reversed(dataset.tracks)}
    # Ten seconds, as pictures of all thirty would be larger.
    shown = round(SHOWN_SECONDS / hop_seconds)
    pictures = [
        (genre, datasets.load_spectrogram(firsts[genre].path)[:, :shown], hop_seconds)
        for genre in dataset.classes
    ]
    save(
        "figure-2-mel-spectrograms",
        reporting.mel_figure(pictures, "Mel spectrograms, the first ten seconds of a clip per genre"),
    )
    genre = dataset.classes[0]
    log_mel = datasets.load_spectrogram(firsts[genre].path)
    mfcc: FloatArray = fft.dct(log_mel, type=2, norm="ortho", axis=0)[:20].astype(np.float32)
    save("figure-3-mfcc", reporting.mfcc_figure(mfcc, hop_seconds, f"MFCC of {firsts[genre].id}"))


def draw_architecture() -> None:
    """Draw the parallel network, with the shapes that a segment has behind each layer."""
    network = models.build_network("parallel", features=BANDS, frames=FRAMES, classes=CLASSES, dropout=0.0)
    branches = training_shapes(network)
    title = "Parallel CNN and GRU: output shapes for a segment of 128 bands and 194 frames"
    save("figure-7-architecture", layers_figure(branches, title))


def training_shapes(network: models.Network) -> tuple[list[str], list[str], list[str]]:
    """Return the layers of the CNN, of the GRU and of what follows, each with the shape behind it."""
    import torch
    from torch import nn

    columns: dict[str, list[str]] = {"convolutions": [], "recurrence": [], "output": []}

    def record(name: str, layer: nn.Module, output: object) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        assert isinstance(tensor, torch.Tensor)
        shape = " × ".join(map(str, tensor.shape[1:]))
        column = {"pool": "recurrence"}.get(name.split(".")[0], name.split(".")[0])
        if column in columns and not isinstance(layer, nn.Identity | nn.ReLU | nn.Sequential):
            columns[column].append(f"{_layer_name(layer)}\n{shape}")

    hooks = [
        layer.register_forward_hook(lambda layer, _, output, name=name: record(name, layer, output))
        for name, layer in network.named_modules()
    ]
    with torch.no_grad():
        network.eval()(torch.zeros(1, BANDS, FRAMES))
    for hook in hooks:
        hook.remove()
    width = network.output.in_features
    cnn, gru = columns["convolutions"], columns["recurrence"]
    gru.append("last states of both directions\n128")
    return cnn, gru, [f"concatenation\n{width}", *columns["output"], "softmax\n10"]


def _layer_name(layer: object) -> str:
    from torch import nn

    if isinstance(layer, nn.Conv2d):
        height, width = layer.kernel_size
        return f"convolution {height} × {width}, {layer.out_channels} filters, ReLU"
    if isinstance(layer, nn.MaxPool2d):
        size = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size,) * 2
        return f"max pool {size[0]} × {size[1]}"
    if isinstance(layer, nn.GRU):
        return f"GRU, {layer.hidden_size} units, bidirectional"
    return {"Flatten": "flatten", "Linear": "dense"}.get(type(layer).__name__, type(layer).__name__)


def draw_baselines(gtzan: Path) -> None:
    """Train the baselines, and draw their confusion matrices under both protocols."""
    dataset = datasets.load_gtzan(gtzan, "table")
    for name in BASELINES:
        for protocol, title in PROTOCOLS.items():
            config = training.load_config(name, (f"split.protocol={protocol}", "data.input=table"))
            with tempfile.TemporaryDirectory() as folder:
                result = training.train(dataset, config, Path(folder) / "run").evaluation
            level = result.levels[0]
            print(name, protocol, f"accuracy {level.accuracy.value:.1%}")
            picture = confusion_figure(level.confusion, result.classes, f"{name}, {title}, {level.n} tracks")
            save(f"confusion-{name}-{protocol}", picture)


def draw_scores() -> None:
    """Draw Figure 10: F1 of the parallel network per genre, in the paper and in the page."""
    text = PAGE.read_text(encoding="utf8")
    section = text.split(SECTION)[1]
    rows = re.findall(r"^\| (\w+) \| [\d.]+ \| [\d.]+ \| ([\d.]+) \| \d+ \|$", section, re.MULTILINE)
    measured = {genre: float(f1) for genre, f1 in rows[:CLASSES]}
    classes = tuple(PAPER_FIGURE_10)
    assert tuple(measured) == classes
    bars = {
        "the paper's Figure 10": [PAPER_FIGURE_10[genre].f1 for genre in classes],
        "here, the paper's settings": [measured[genre] for genre in classes],
    }
    title = "F1 per genre of the parallel network, 1200 segments, segment-random (leaky)"
    save("figure-10-f1", comparison_figure(bars, classes, title))


def draw_network(runs: Path) -> bool:
    """Draw the curves and the confusion matrix of the parallel network, if its run is finished."""
    folder = runs / NETWORK
    if not (folder / "evaluation.json").exists():
        return False
    curve = Curve.from_rows(json.loads((folder / "curves.json").read_text(encoding="utf8")))
    title = "Parallel network, the paper's settings, segment-random (leaky)"
    save("figures-8-9-curves", curves_figure(curve, title))
    result = json.loads((folder / "evaluation.json").read_text(encoding="utf8"))
    level = result["segments"]
    save("figure-11-confusion", confusion_figure(level["confusion"], result["classes"], title))
    return True


def main() -> None:
    """Draw what there is data for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gtzan", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("reports/paper/runs"))
    arguments = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    draw_features(arguments.gtzan)
    draw_architecture()
    draw_baselines(arguments.gtzan)
    draw_scores()
    if not draw_network(arguments.runs):
        print(
            f"missing: figures 8, 9 and 11, for which {arguments.runs / NETWORK} is needed; it is made by:"
            f" genrescope train {arguments.gtzan} --config paper-parallel --set data.input=spectrogram"
            f" --run-dir {arguments.runs / NETWORK}"
        )


if __name__ == "__main__":
    main()
