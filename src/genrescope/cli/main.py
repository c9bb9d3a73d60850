"""The command line: parse, one call, print."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from genrescope import __version__
from genrescope.cli import library
from genrescope.errors import GenrescopeError

app = typer.Typer(
    help="Tell, or teach a machine, the genre of music.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help and one-line errors, and no half second to draw them
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.add_typer(library.app, name="library")


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Print the progress that the package logs at the level INFO."""
    logger, handler = logging.getLogger("genrescope"), logging.StreamHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class Format(StrEnum):
    """How result rows are printed."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


Data = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="GTZAN, a folder with one sub-folder per genre, or a CSV manifest."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; repeatable."),
]
ModelName = Annotated[
    str, typer.Option("--model", "-m", help="A name from 'genrescope models', or a .onnx file.")
]
DEFAULT_MODEL = "default"


@app.command()
def classify(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATHS...", help="Audio files, or folders to search.")
    ],
    model: ModelName = DEFAULT_MODEL,
    format: Annotated[
        Format | None, typer.Option("--format", "-f", help="Default: table on a terminal, jsonl otherwise.")
    ] = None,
    timeline: Annotated[bool, typer.Option("--timeline", help="Add the course over the track.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page with all answers to this .html file.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse truncated files instead of flagging them.")
    ] = False,
    excerpts: Annotated[
        bool,
        typer.Option("--excerpts", help="Hear some places of long tracks, not all: several times faster."),
    ] = False,
    min_score: Annotated[
        float | None,
        typer.Option(help="Below this score an answer is unsure. Default: the model's own choice."),
    ] = None,
) -> None:
    """Name the genres of audio files, and their styles, of which there may be several.

    Exit status: 0 all done, 1 some files failed (the others are there), 2 bad use.
    """
    from rich.console import Console

    from genrescope import utils
    from genrescope.audio import find_audio
    from genrescope.cli import output
    from genrescope.inference import Classifier, predict_many

    if report is not None:
        utils.check_output(report, ".html", ".htm")
    files = find_audio(paths)
    classifier = Classifier.load(model, threshold=min_score)
    chosen = format or (Format.table if sys.stdout.isatty() else Format.jsonl)
    options = {"timeline": timeline or report is not None, "strict": strict, "excerpts": excerpts}
    rows = predict_many(classifier, files, **options)
    if chosen is Format.table:
        rows = output.with_progress(rows, len(files), Console(stderr=True))
    kept = output.ResultCollector(rows, timelines=timeline, keep=report is not None)
    if chosen is Format.table:
        output.render_table(kept, Console())
    elif chosen is Format.csv:
        output.render_csv(kept, classifier.classes, sys.stdout)
    else:
        output.render_jsonl(kept, sys.stdout)
    if report is not None:
        from genrescope import reporting

        utils.write_atomic(
            report, reporting.classification_page(kept.all, title="Genres", model=classifier.model.name)
        )
        typer.echo(f"report: {report}", err=True)
    if kept.failed:
        raise typer.Exit(1)


@app.command()
def train(
    data: Data,
    config: Annotated[
        str, typer.Option("--config", "-c", help="A shipped configuration's name, or a .toml file.")
    ] = "student",
    settings: Settings = None,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder. Repeat a killed command to carry on.")
    ] = None,
) -> None:
    """Train a model on your own music, and measure it."""
    from genrescope import datasets, training, utils
    from genrescope.cli import output

    chosen = training.load_config(config, settings or ())
    dataset = datasets.load_dataset(data, kind=chosen.data.input)
    for finding in dataset.issues:
        typer.echo(f"note: {finding.message}", err=True)
    folder = (
        run
        or Path("runs") / f"{dataset.name}-{chosen.model.name}-{chosen.split.protocol}-{chosen.train.seed}"
    )
    with _log_to_stderr():
        result = training.train(
            dataset,
            chosen,
            folder,
            cache=utils.cache_folder("features"),
            progress_bar=sys.stderr.isatty(),
        )
    output.render_evaluation(result.evaluation)
    typer.echo(f"model: {result.model}")


@app.command()
def distil(
    music: Annotated[
        list[Path], typer.Argument(metavar="MUSIC...", help="Audio to hear: data sets as for 'train'.")
    ],
    run: Annotated[Path, typer.Option(help="The run's folder. Repeat a killed command to carry on.")],
    protocol: Annotated[
        str | None, typer.Option(help="Leave out the test part of this protocol of the first data set.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="The teacher's weights (mn04), if you have the file already.")
    ] = None,
    files: Annotated[int, typer.Option(help="Files of 256 lessons.")] = 160,
    epochs: Annotated[int, typer.Option(help="How often each lesson is taken.")] = 2,
    workers: Annotated[int, typer.Option(help="Processes that prepare lessons.")] = 2,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
) -> None:
    """Make a small student of a pre-trained network, from any music: labels are not needed."""
    from genrescope import training

    settings = training.DistillConfig(weights, files, epochs, workers, seed)
    tracks = training.select_tracks(music[0], music[1:], protocol=protocol, seed=seed)
    student = training.distill(tracks, settings, run, say=lambda line: typer.echo(line, err=True))
    typer.echo(f"student: {student}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A name from 'genrescope models', or a .onnx file.")],
    data: Data,
    protocol: Annotated[
        str, typer.Option(help="Which tracks: the test part of this protocol, or 'all'.")
    ] = "all",
    output: Annotated[
        Path | None, typer.Option(help="Write JSON, Markdown and HTML reports to this folder.")
    ] = None,
    kind: Annotated[str, typer.Option(help="What to read: audio, spectrogram, or auto.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
) -> None:
    """Measure a model on labeled music."""
    from genrescope import datasets, models
    from genrescope.cli.output import render_evaluation
    from genrescope.evaluation import evaluate_model

    opened = models.load_model(model)
    dataset = datasets.load_dataset(data, kind=kind)
    evaluation = evaluate_model(opened, dataset, protocol=protocol, seed=seed)
    render_evaluation(evaluation)
    if output is not None:
        from genrescope import reporting

        origin = {key: value for key, value in opened.info.provenance.items() if isinstance(value, str | int)}
        made = reporting.EvaluationReport(
            f"{opened.info.name} on {dataset.name}", (evaluation,), provenance=origin
        )
        typer.echo(f"report: {reporting.write_report(made, output).html}")


@app.command()
def reproduce(
    data: Annotated[Path, typer.Argument(help="GTZAN with its spectrogram pictures and feature table.")],
    output: Annotated[Path, typer.Option(help="Folder of runs and reports; finished runs are kept.")] = Path(
        "reports/paper"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="A small run of all of it, in minutes; its numbers mean little.")
    ] = False,
) -> None:
    """Train all models of the paper, and set its numbers beside ours."""
    from genrescope import experiments

    with _log_to_stderr():
        paths = experiments.reproduce_paper(data, output, quick=quick)
    typer.echo(f"report: {paths.html}")


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show everything one model says of itself.")] = None,
) -> None:
    """List the models that come with the package, or describe one."""
    import json

    from genrescope import models

    if name is not None:
        typer.echo(json.dumps(models.load_model(name).info.to_json(), indent=2, ensure_ascii=False))
        return
    for shipped in models.list_models().values():
        here = shipped.path.exists()
        size = f"{shipped.path.stat().st_size / 1e6:5.1f} MB" if here else " to fetch"
        typer.echo(f"{shipped.name:12} {size}  {shipped.summary}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A model that 'genrescope models' lists as to be fetched.")],
    weights: Annotated[
        Path | None, typer.Option(help="The backbone's weights, if you have the file already.")
    ] = None,
) -> None:
    """Fetch the backbone of a model, once; from then on 'classify --model NAME' finds it."""
    from genrescope import models

    typer.echo(f"model: {models.assemble(name, weights=weights)}")


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at; the default is open to this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Model to serve; repeatable, the first is the default."),
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="GENRESCOPE_TOKEN", help="A secret that requests must show.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Believe X-Forwarded-For from a proxy on this machine.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Files at a time. Default: one per core.")
    ] = None,
    queue: Annotated[int, typer.Option(min=0, help="Further requests that may upload or wait.")] = 16,
    max_megabytes: Annotated[float, typer.Option(help="Size of one upload, in MiB.")] = 64,
    max_seconds: Annotated[float, typer.Option(help="Length of the sound in one upload.")] = 1800,
    upload_seconds: Annotated[float, typer.Option(help="How long one upload may take.")] = 60,
    job_seconds: Annotated[float, typer.Option(help="How long the work on one file may take.")] = 60,
    job_megabytes: Annotated[int, typer.Option(help="Memory that one file may need, in MiB.")] = 512,
    rate: Annotated[float, typer.Option(help="Requests a minute of one client; 0: any number.")] = 60,
    burst: Annotated[int, typer.Option(help="How many of them may come at once.")] = 30,
) -> None:
    """Serve a page to drop music on, and an API to build on."""
    import os

    from genrescope import web

    settings = web.Settings(
        models=tuple(model or (DEFAULT_MODEL,)),
        token=token,
        max_megabytes=max_megabytes,
        max_seconds=max_seconds,
        upload_seconds=upload_seconds,
        job_seconds=job_seconds,
        job_megabytes=job_megabytes,
        workers=workers or os.cpu_count() or 1,
        queue_length=queue,
        requests_per_minute=rate,
        burst=burst,
    )
    web.serve(
        settings, host=host, port=port, behind_proxy=behind_proxy, say=lambda line: typer.echo(line, err=True)
    )


@app.command()
def features(
    file: Annotated[Path, typer.Argument(help="An audio file.")],
    output: Annotated[
        Path | None, typer.Option(help="An .svg file; default: beside the audio file's name, here.")
    ] = None,
) -> None:
    """Plot the features of a file over time."""
    from genrescope import reporting, utils

    target = output or Path(f"{file.stem}.features.svg")
    utils.check_output(target, ".svg")
    utils.write_atomic(target, reporting.plot_features(file))
    typer.echo(f"plot: {target}")


@app.callback(invoke_without_command=True)
def version(
    shown: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Tell, or teach a machine, the genre of music."""
    if shown:
        typer.echo(f"genrescope {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line: a failure is one clear line, a hint and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        # Rows are UTF-8 wherever they go; a file name that is not shows its bytes, which JSON can read.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf8", errors="backslashreplace")
    try:
        app()
    except GenrescopeError as failure:
        print(f"genrescope: {failure.message}\n  {failure.hint}", file=sys.stderr)
        sys.exit(failure.outcome.exit_status)
    except OSError as failure:
        if isinstance(failure, BrokenPipeError):
            # Whoever read our output has left; the interpreter would complain of it on its way out.
            sys.stderr.close()
            sys.exit(1)
        print(
            f"genrescope: {failure}\n  free some space, or check the path and its permissions",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("genrescope: interrupted", file=sys.stderr)
        sys.exit(130)
