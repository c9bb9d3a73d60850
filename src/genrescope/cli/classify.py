"""The commands about audio files: ``classify`` and ``plot-features``."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from genrescope.cli.options import DEFAULT_MODEL, Excerpts, InferenceDevice, Model, Strict, Threshold
from genrescope.cli.progress_options import ProgressForm, ProgressOption, Quiet


class Format(StrEnum):
    """How result rows are printed."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


def classify(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH",
            help="Audio files; folders to search; .m3u playlists; .cue sheets; -: audio on standard input.",
        ),
    ] = None,
    files_from: Annotated[
        Path | None,
        typer.Option(
            "--files-from", help="Also the files and folders listed here, one a line; -: standard input."
        ),
    ] = None,
    model: Model = DEFAULT_MODEL,
    format: Annotated[
        Format | None, typer.Option("--format", "-f", help="Default: table on a terminal, jsonl otherwise.")
    ] = None,
    timeline: Annotated[
        bool,
        typer.Option(
            "--timeline", help="Add the scores of the segments; in a table, which genre leads when."
        ),
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Also write an HTML page with all results and charts to this file.")
    ] = None,
    strict: Strict = False,
    excerpts: Excerpts = False,
    threshold: Threshold = None,
    device: Annotated[
        InferenceDevice,
        typer.Option(
            help="What computes the network: cpu, an NVIDIA GPU (cuda), or that where it works (auto)."
        ),
    ] = InferenceDevice.cpu,
    quiet: Quiet = False,
    progress: ProgressOption = ProgressForm.auto,
) -> None:
    """Name the genre and the styles of audio files.

    Exit status: 0 all done, 1 some files failed (the others are classified), 2 invalid arguments.
    """
    from rich.console import Console

    from genrescope import utils
    from genrescope.cli import inputs, output
    from genrescope.inference import Classifier

    if report is not None:
        utils.check_output(report, ".html", ".htm")
    files = inputs.find_inputs(inputs.listed_paths(paths, files_from))
    classifier = Classifier.from_pretrained(model, threshold=threshold, device=device.value)
    format = format or (Format.table if sys.stdout.isatty() else Format.jsonl)
    predictions = inputs.predict_inputs(
        classifier, files, timeline=timeline or report is not None, strict=strict, excerpts=excerpts
    )
    if progress is ProgressForm.json:
        predictions = output.with_json_progress(predictions, len(files))
    elif format is Format.table and progress is ProgressForm.auto and not quiet:
        predictions = output.with_progress(predictions, len(files), Console(stderr=True))
    results = output.ResultCollector(predictions, timelines=timeline, keep=report is not None)
    if format is Format.table:
        output.render_table(results, Console())
    elif format is Format.csv:
        output.render_csv(results, classifier.classes, sys.stdout)
    else:
        output.render_jsonl(results, sys.stdout)
    if report is not None:
        from genrescope import reporting

        page = reporting.classification_page(results.all, title="Genres", model=classifier.model.name)
        utils.write_atomic(report, page)
        if not quiet:
            typer.echo(f"report: {report}", err=True)
    if results.failed:
        raise typer.Exit(1)


def plot_features(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An audio file.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="An .svg file. Default: NAME.features.svg, in this folder."),
    ] = None,
) -> None:
    """Plot the features of a file over time.

    Waveform, mel spectrogram and spectral features of its first ten minutes.
    """
    from genrescope import reporting, utils

    target = output or Path(f"{file.stem}.features.svg")
    utils.check_output(target, ".svg")
    utils.write_atomic(target, reporting.plot_features(file))
    typer.echo(f"plot: {target}")
