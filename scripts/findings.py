"""Run the comparisons of scripts/findings.toml, and write docs/findings.md from their reports.

Run: python scripts/findings.py run NAME... --data GTZAN [--folder runs/findings] [--weights FOLDER]
     python scripts/findings.py write [--folder runs/findings]

``run`` is `genrescope compare` with the settings of the file: finished runs are not repeated, and what was
interrupted is resumed. ``{weights}`` in a setting is the folder of ``--weights``. ``write`` takes the
comparisons that are finished in the folder, and leaves the others' sections of the page as they are.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genrescope import datasets, evaluation, models
from genrescope.experiments import compare_models
from genrescope.reporting import write_comparison
from genrescope.reporting.figures import Curve, intervals_figure, lines_figure, repeated_curves_figure
from genrescope.types import Track
from genrescope.utils import write_atomic

ROOT = Path(__file__).resolve().parents[1]
PAGE, IMAGES = ROOT / "docs" / "findings.md", ROOT / "docs" / "images"
SETTINGS = Path(__file__).with_suffix(".toml")
# A run that ends no better than this is counted as failed: twice the accuracy of naming one of ten genres.
FAILED = 0.2
MOST_CURVES = 8
MOST_PAIRS = 6
# Where a comparison has this file, it says how many tracks are right after the first seconds of each.
LISTENING = "listening.json"
LISTENED_SECONDS = (1, 2, 3, 4.5, 5, 9, 10, 15, 20, 29.5)
INTRODUCTION = f"""# Findings

What the paper leaves open, measured on GTZAN. Each table has the artist-clean protocol beside a leaky one, in
which artists are in both training and test part; three seeds, each of which is a split and a training.
Brackets hold 95 % intervals over artists. "Epochs to 90 %" is how many epochs it takes to nine tenths of a
run's best validation accuracy; a run fails where that is at most {FAILED:.0%}. This page is written by
`python scripts/findings.py write`; the settings are in `scripts/findings.toml`.
"""


def read_settings() -> dict[str, dict[str, Any]]:
    """Return the comparisons by name, their configurations complete."""
    found = tomllib.loads(SETTINGS.read_text(encoding="utf8"))
    for one in found.values():
        if "template" in one:
            one["configurations"] = {
                f"{scheme}, {rate}": one["template"].format(scheme=scheme, rate=rate)
                for scheme in one["schemes"]
                for rate in one["rates"]
            }
    return found


def overrides(settings: Mapping[str, Any]) -> list[str]:
    """Return the settings that all configurations of a comparison share."""
    return [f'data.input="{settings["input"]}"', *settings["settings"]]


def run(settings: Mapping[str, Any], data: Path, folder: Path, seeds: int, weights: Path) -> None:
    """Run a comparison, or carry on with it."""
    configs = [
        f"{name}={config.replace('{weights}', str(weights))}"
        for name, config in settings["configurations"].items()
    ]
    report = compare_models(
        data, configs, folder, protocols=settings["protocols"], seeds=seeds, overrides=overrides(settings)
    )
    print(write_comparison(report, folder).html)
    if settings.get("listening"):
        found = listening(json.loads((folder / "report.json").read_text(encoding="utf8")), data, folder)
        write_atomic(folder / LISTENING, json.dumps(found, indent=1))


def listening(report: Mapping[str, Any], data: Path, folder: Path) -> dict[str, Any]:
    """Return by protocol and configuration the share of tracks that are right by their first seconds."""
    tracks = datasets.load_dataset(data, kind="spectrogram").tracks
    found: dict[str, Any] = {}
    for title, by_name in report["runs"].items():
        found[title] = {}
        for name, runs in by_name.items():
            right: dict[float, list[bool]] = {}
            for one in runs:
                for seconds, values in listening_of_run(folder / "runs" / one, tracks).items():
                    right.setdefault(seconds, []).extend(values)
            found[title][name] = [[seconds, float(np.mean(right[seconds]))] for seconds in sorted(right)]
            logging.info("%s, %s: %s", title, name, found[title][name])
    return found


def listening_of_run(folder: Path, tracks: tuple[Track, ...]) -> dict[float, list[bool]]:
    """Return by seconds whether each test track of a run is right by so much of its beginning."""
    tested = {row["id"] for row in json.loads((folder / "predictions.json").read_text())["rows"]}
    model = models.load_model(folder / "model.onnx")
    length = model.info.segment_seconds
    examples = datasets.build_segments(
        [track for track in tracks if track.id in tested], model.info.features, seconds=length
    )
    scores = evaluation.predict_segments(model, examples, np.arange(len(examples)))
    targets = [model.info.classes.index(track.label) for track in examples.tracks]
    of_track = [scores[examples.track == place] for place in range(len(targets))]
    # A track that is a few frames short of 29.5 s has no segment beyond its end.
    return {
        seconds: [
            bool(own[: max(1, int(seconds / length + 0.01))].mean(axis=0).argmax() == target)
            for own, target in zip(of_track, targets, strict=True)
        ]
        for seconds in LISTENED_SECONDS
        if seconds >= length
    }


def percent(interval: Mapping[str, float]) -> str:
    """Return an accuracy with its bounds."""
    value, low, high = (100 * interval[key] for key in ("value", "low", "high"))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def segment_accuracy(folder: Path, runs: list[str]) -> str:
    """Return the mean accuracy of segments over runs; empty where a track is one segment."""
    found = [json.loads((folder / "runs" / run / "evaluation.json").read_text())["segments"] for run in runs]
    if not all(found):
        return ""
    return f"{100 * np.mean([one['accuracy']['value'] for one in found]):.1f} %"


def speed(curves: list[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the mean number of epochs to nine tenths of the best validation accuracy, and failed runs."""
    epochs, failed = [], 0
    for curve in curves:
        accuracy = np.array(curve["validation_accuracy"], dtype=float)
        if not len(accuracy) or not np.isfinite(accuracy).any() or np.nanmax(accuracy) <= FAILED:
            failed += 1
            continue
        epochs.append(int(np.argmax(accuracy >= 0.9 * np.nanmax(accuracy))) + 1)
    return (f"{np.mean(epochs):.1f}" if epochs else "", f"{failed} of {len(curves)}")


def table(report: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield the lines of the table: a row for each configuration, columns for each protocol."""
    comparisons = report["comparisons"]
    head = ["configuration"]
    for one in comparisons:
        mark = f"{one['protocol']}{' (leaky)' if one['leaky'] else ''}"
        head += [f"{mark}: tracks", "genre-averaged", "segments", "by seed", "epochs to 90 %", "failed runs"]
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for place, model in enumerate(comparisons[0]["models"]):
        name = model["name"]
        cells = [name]
        for one in comparisons:
            own = one["models"][place]
            title = one["title"]
            cells += [
                percent(own["accuracy"]),
                percent(own["balanced_accuracy"]),
                segment_accuracy(folder, report["runs"][title][name]),
                " ".join(f"{100 * value:.1f}" for value in own["by_seed"]),
                *speed(report["curves"][title][name]),
            ]
        yield f"| {' | '.join(cells)} |"


def figures(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    """Write the pictures of a comparison; yield their lines."""
    for one in report["comparisons"]:
        title = one["title"]
        slug = re.sub(r"\W+", "-", f"{name} {title}".lower()).strip("-")
        values = {
            model["name"]: tuple(model["accuracy"][key] for key in ("value", "low", "high"))
            for model in one["models"]
        }
        yield save(f"finding-{slug}", intervals_figure(values, f"Accuracy of tracks, {title}"))
        curves = {
            model: [
                Curve(
                    **{key: tuple(value) if isinstance(value, list) else value for key, value in run.items()}
                )
                for run in runs
            ]
            for model, runs in report["curves"][title].items()
        }
        if len(curves) <= MOST_CURVES:
            yield save(f"finding-{slug}-curves", repeated_curves_figure(curves, f"Training, {title}"))


def listening_table(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the tables, and write the pictures, of accuracy by the seconds that are used."""
    for title, by_name in found.items():
        yield f"Tracks right when only their first seconds are used, {title}:"
        yield ""
        yield f"| segments | {' | '.join(f'{seconds:g} s' for seconds in LISTENED_SECONDS)} |"
        yield f"|{'---|' * (len(LISTENED_SECONDS) + 1)}"
        for model, points in by_name.items():
            values = {seconds: f"{100 * value:.1f} %" for seconds, value in points}
            yield f"| {model} | {' | '.join(values.get(seconds, '') for seconds in LISTENED_SECONDS)} |"
        yield ""
        slug = re.sub(r"\W+", "-", f"{name} listening {title}".lower()).strip("-")
        figure = lines_figure(
            {model: [(x, y) for x, y in points] for model, points in by_name.items()},
            f"Tracks right by the seconds used, {title}",
            x="seconds of the beginning that are used",
            y="tracks right",
        )
        yield save(f"finding-{slug}", figure)
        yield ""


def save(name: str, svg: str) -> str:
    """Write a picture on white, since pages of code hosts may be dark; return its line."""
    white = re.sub(r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', svg, count=1)
    write_atomic(IMAGES / f"{name}.svg", white)
    return f"![{name.replace('-', ' ')}](images/{name}.svg)"


def command(settings: Mapping[str, Any]) -> str:
    """Return the command that runs a comparison."""
    parts = [shlex.quote(f"{name}={config}") for name, config in settings["configurations"].items()]
    parts += ["GTZAN", *(f"--protocol {name}" for name in settings["protocols"])]
    parts += [f"--set {shlex.quote(one)}" for one in overrides(settings)]
    return "genrescope compare " + " \\\n    ".join(parts)


def section(name: str, settings: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield the lines of a comparison's section."""
    report = json.loads((folder / "report.json").read_text(encoding="utf8"))
    yield from (f"## {settings['title']}", "", settings["question"].strip(), "")
    if settings["conclusion"]:
        yield from (f"**{settings['conclusion'].strip()}**", "")
    yield from table(report, folder)
    yield ""
    for one in report["comparisons"]:
        tested = (
            f"{one['distinct']} tracks of {one['groups']} groups, seeds {', '.join(map(str, one['seeds']))}"
        )
        yield f"{one['title']}: {tested}. What differs beyond chance:"
        yield ""
        pairs, rest = one["critical_view"][: len(one["pairs"])], one["critical_view"][len(one["pairs"]) :]
        yield from (f"* {line}" for line in pairs[:MOST_PAIRS])
        if len(pairs) > MOST_PAIRS:
            yield f"* ... and {len(pairs) - MOST_PAIRS} more pairs, in the report of the command below."
        yield from (f"* {line}" for line in rest)
        yield ""
    yield from figures(name, report)
    if (folder / LISTENING).exists():
        yield ""
        yield from listening_table(name, json.loads((folder / LISTENING).read_text(encoding="utf8")))
    yield from ("", "```", command(settings), "```", "")


def write(folder: Path) -> None:
    """Write the page, with the sections that stand in it of comparisons that are not in the folder."""
    written = sections_by_title(PAGE.read_text(encoding="utf8"))
    parts = [INTRODUCTION]
    for name, settings in read_settings().items():
        if (folder / name / "report.json").exists():
            parts.append("\n".join(section(name, settings, folder / name)))
        elif settings["title"] in written:
            parts.append(written[settings["title"]])
    write_atomic(PAGE, "\n".join(part.rstrip() + "\n" for part in parts))


def sections_by_title(page: str) -> dict[str, str]:
    """Return the sections of a page by their titles."""
    _, *parts = re.split(r"^## (?=.)", page, flags=re.MULTILINE)
    return {part.partition("\n")[0]: f"## {part}" for part in parts}


def main() -> None:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["run", "write"])
    parser.add_argument("names", nargs="*", help="comparisons of scripts/findings.toml; none: all")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("runs/findings"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--weights", type=Path, default=Path("weights"), help="folder that {weights} stands for"
    )
    options = parser.parse_args()
    if options.action == "write":
        write(options.folder)
        return
    if options.data is None:
        parser.error("run needs --data, a copy of GTZAN")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = read_settings()
    for name in options.names or settings:
        run(settings[name], options.data, options.folder / name, options.seeds, options.weights)


if __name__ == "__main__":
    main()
