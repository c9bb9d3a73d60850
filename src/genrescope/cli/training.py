"""The commands that train and evaluate models, such as ``train``, ``evaluate`` and ``distill``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from genrescope.training import LabeledSource

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A folder with one sub-folder per genre, a CSV file with the columns path and label, or GTZAN,"
        " FMA, MTG-Jamendo, ISMIR04 or Ballroom.",
    ),
]


class FoldChoice(StrEnum):
    """Which folds of a cross-validation are run."""

    one = "one"
    all = "all"


class Device(StrEnum):
    """Where networks are trained."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Logger(StrEnum):
    """Where curves and results of a run are logged, besides the run's folder."""

    csv = "csv"
    tensorboard = "tensorboard"
    mlflow = "mlflow"
    wandb = "wandb"


class Metric(StrEnum):
    """By which settings are chosen."""

    accuracy = "accuracy"
    macro_f1 = "macro-f1"
    lrap = "lrap"


class DistilledNetwork(StrEnum):
    """What is distilled into."""

    student = "student"
    vgg16 = "vgg16"
    inception_v3 = "inception-v3"


class Teacher(StrEnum):
    """What a student is distilled from."""

    mn04 = "mn04"
    musicnn = "musicnn"


DeviceOption = Annotated[
    Device,
    typer.Option(
        help="Where to train; auto is the GPU, if there is one that torch can use with CUDA or ROCm."
    ),
]


class DataInput(StrEnum):
    """What is read from a data set that has several kinds of files."""

    auto = "auto"
    audio = "audio"
    spectrogram = "spectrogram"
    table = "table"


def train(
    data: Data,
    config: Annotated[
        str,
        typer.Option(
            "--config",
            "-c",
            help="A .toml file, or one of cnn, crnn, frozen, logistic-regression, lstm, paper-parallel,"
            " parallel, parallel-inception, parallel-pretrained, parallel-vgg16, student, svm.",
        ),
    ] = "student",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change one setting, such as train.epochs=3; repeatable.",
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="The run's folder. The same command resumes an interrupted run. Default: runs/NAME."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the training, and of the split too. Default: 0.")
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the split, if it is to be another one.")
    ] = None,
    device: DeviceOption = Device.auto,
    devices: Annotated[
        int,
        typer.Option(
            help="Processes that train a network together, each with batches of train.batch_size; of a GPU"
            " one each."
        ),
    ] = 1,
    logger: Annotated[
        list[Logger] | None,
        typer.Option(
            help="Log to tensorboard, mlflow or wandb too; repeatable. metrics.csv is always written."
        ),
    ] = None,
    memory_limit_mb: Annotated[
        int,
        typer.Option(
            help="Features that are kept in memory; those of more music are in a file of the cache."
        ),
    ] = 1024,
    workers: Annotated[
        int, typer.Option(help="Processes that compute features of audio; 0: threads of this one.")
    ] = 0,
    exclude: Annotated[
        Path | None,
        typer.Option(
            help="Findings of 'genrescope audit --output': do not train on the tracks that they suggest to"
            " drop. The test part stays as it is."
        ),
    ] = None,
    exclude_score: Annotated[
        float, typer.Option(min=0, max=1, help="--exclude follows findings with this score or more.")
    ] = 0.5,
) -> None:
    """Train a model on your own music, and evaluate it.

    Writes model.onnx, which 'classify --model' takes, into the run's folder.
    """
    from genrescope import training, utils
    from genrescope.cli import output

    seeds = {"train.seed": seed, "split.seed": split_seed}
    given = [f"{key}={value}" for key, value in seeds.items() if value is not None]
    chosen = training.load_config(config, [*(settings or ()), *given])
    dataset = training.load_data(data, chosen)
    if exclude is not None:
        from genrescope.audit import AuditReport

        dataset = dataset.without_training_on(AuditReport.load(exclude).dropped(exclude_score))
        typer.echo(f"note: {len(dataset.not_trained)} tracks are not trained on ({exclude})", err=True)
    for issue in dataset.issues:
        typer.echo(f"note: {issue.message}", err=True)
    run_name = f"{dataset.name}-{chosen.model_name}-{chosen.split.protocol}-{chosen.train.seed}"
    if chosen.split_seed != chosen.train.seed:
        run_name += f"-split-{chosen.split_seed}"
    if exclude is not None:
        run_name += "-excluded"
    with _log_on_stderr():
        result = training.train(
            dataset,
            chosen,
            run_dir or Path("runs") / run_name,
            cache=utils.cache_folder("features"),
            progress_bar=sys.stderr.isatty(),
            device=device.value,
            devices=devices,
            loggers=[one.value for one in logger or ()],
            memory_limit=memory_limit_mb << 20,
            workers=workers,
        )
    output.render_evaluation(result.evaluation)
    typer.echo(f"model: {result.model}")


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A name from 'genrescope models list', or a .onnx file.")
    ],
    data: Data,
    protocol: Annotated[
        str,
        typer.Option(
            help="Which tracks: all, or the test part of track-random, artist-grouped, fault-filtered or"
            " given."
        ),
    ] = "all",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write JSON, Markdown and HTML reports to this folder."),
    ] = None,
    input: Annotated[
        DataInput, typer.Option(help="What to read where DATA has several kinds of files.")
    ] = DataInput.auto,
    layout: Annotated[
        str, typer.Option(help="Layout of DATA where it is not recognized, as data.layout of 'train'.")
    ] = "auto",
    reader: Annotated[
        str,
        typer.Option(metavar="MODULE:NAME", help="A function of yours that reads DATA, as data.reader."),
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of the split and of the intervals.")] = 0,
    fold: Annotated[
        int, typer.Option(help="Which fold of artist-grouped is the test part, counted from 0.")
    ] = 0,
    folds: Annotated[int, typer.Option(help="Number of folds of artist-grouped.")] = 5,
) -> None:
    """Evaluate a model on labeled music.

    Prints accuracy and macro F1 with 95 % intervals, and precision, recall and F1 per genre.
    """
    from genrescope import datasets, models
    from genrescope.cli.output import render_evaluation
    from genrescope.evaluation import evaluate_model

    opened = models.load_model(model)
    dataset = datasets.load_dataset(
        data, kind=input.value, layout=layout, task=opened.info.task, reader=reader
    )
    evaluation = evaluate_model(opened, dataset, protocol=protocol, seed=seed, folds=folds, fold=fold)
    render_evaluation(evaluation)
    if output is not None:
        from genrescope import reporting

        provenance = {
            key: value for key, value in opened.info.provenance.items() if isinstance(value, str | int)
        }
        title = f"{opened.info.name} on {dataset.name}"
        report = reporting.EvaluationReport(title, (evaluation,), provenance=provenance)
        typer.echo(f"report: {reporting.write_report(report, output).html}")


def compare(
    configs: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG...",
            help="Configurations as for 'train --config', perhaps with settings of their own and a label:"
            " slow=cnn:optimizer.learning_rate=0.001,train.epochs=20.",
        ),
    ],
    data: Data,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="How to split: artist-grouped (the default), fault-filtered, track-random or segment-random;"
            " repeatable, such as to see a leaky protocol beside another."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Number of seeds; each is another split and another training.")
    ] = 3,
    split_seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of one split for all trainings, which then differ alone.")
    ] = None,
    folds: Annotated[
        FoldChoice,
        typer.Option(help="all: run and pool all folds of artist-grouped, so that every track is tested."),
    ] = FoldChoice.one,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.KEY=VALUE", help="Change one setting of all configurations; repeatable."
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of runs and reports; finished runs are kept."),
    ] = Path("reports/comparison"),
) -> None:
    """Compare models on the same tracks.

    Trains each configuration with several seeds, and says which differences are beyond chance: accuracy with
    95 % intervals, paired bootstrap over artists, McNemar's test. The same command resumes.
    """
    from genrescope import experiments, reporting
    from genrescope.cli.output import render_comparison

    with _log_on_stderr():
        report = experiments.compare_models(
            data,
            configs,
            output,
            protocols=tuple(dict.fromkeys(protocol or ["artist-grouped"])),
            seeds=seeds,
            all_folds=folds is FoldChoice.all,
            overrides=[*(settings or ()), *([] if split_seed is None else [f"split.seed={split_seed}"])],
            progress_bar=sys.stderr.isatty(),
        )
    for comparison in report.comparisons:
        render_comparison(comparison)
    typer.echo(f"report: {reporting.write_comparison(report, output).html}")


def tune(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="A configuration, as for 'train --config'.")
    ],
    data: Data,
    space: Annotated[
        Path, typer.Option(help="TOML: a list of choices or { low, high } for each setting to be searched.")
    ],
    storage: Annotated[
        Path, typer.Option(help="SQLite file of the search. The same command resumes an interrupted search.")
    ] = Path("study.sqlite"),
    trials: Annotated[int, typer.Option(help="Number of trials, those done before included.")] = 20,
    metric: Annotated[
        Metric | None,
        typer.Option(
            help="Of the validation part, to be as high as can be. Default: accuracy, of a multi-label task"
            " lrap."
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="End trials early that are below the median of the others.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting of CONFIG; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The best configuration. Default: STORAGE with the ending .toml."
        ),
    ] = None,
    device: DeviceOption = Device.auto,
) -> None:
    """Search for better settings of a configuration.

    Each trial is trained and measured on the validation part; the test part stays untouched. Prints the best
    settings, and writes them as TOML for 'train --config'.
    """
    from genrescope import experiments

    with _log_on_stderr():
        best = experiments.tune_config(
            data,
            config,
            space,
            storage,
            trials=trials,
            metric=None if metric is None else metric.value,
            prune=prune,
            seed=seed,
            overrides=settings or (),
            output=output,
            device=device.value,
            progress_bar=sys.stderr.isatty(),
        )
    typer.echo(best.file.read_text(encoding="utf8").rstrip())
    typer.echo(f"configuration: {best.file}")


def distill(
    music: Annotated[
        list[Path],
        typer.Argument(
            metavar="MUSIC...", help="Audio to train on: folders of audio, or data sets as for 'train'."
        ),
    ],
    run_dir: Annotated[
        Path, typer.Option(help="The run's folder. The same command resumes an interrupted run.")
    ],
    protocol: Annotated[
        str | None, typer.Option(help="Leave out the test part of this protocol of the first data set.")
    ] = None,
    teacher: Annotated[
        list[Teacher] | None,
        typer.Option(help="mn04, or mn04 and musicnn; repeatable. Both are needed for 'train-taxonomy'."),
    ] = None,
    network: Annotated[
        DistilledNetwork,
        typer.Option(
            help="What is trained: the small student, or an image network for the configurations"
            " parallel-vgg16 and parallel-inception."
        ),
    ] = DistilledNetwork.student,
    weights: Annotated[
        Path | None, typer.Option(help="The teacher's weights (mn04), if you have the file already.")
    ] = None,
    musicnn_weights: Annotated[Path | None, typer.Option(help="The weights of musicnn, a .npz file.")] = None,
    labeled: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="More music: the labeled music that 'train-taxonomy' will be given; repeatable.",
        ),
    ] = None,
    not_music: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of speech, noise and other sound, for 'train-taxonomy'; repeatable."),
    ] = None,
    shards: Annotated[int, typer.Option(help="Files of 256 training examples.")] = 160,
    epochs: Annotated[int, typer.Option(help="How often each example is used.")] = 2,
    batch_size: Annotated[int, typer.Option(help="Examples per step; 256 suits a GPU.")] = 32,
    workers: Annotated[int, typer.Option(help="Processes that prepare examples.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of all random choices.")] = 0,
    device: DeviceOption = Device.auto,
) -> None:
    """Distill pretrained networks into a small one.

    Any music will do: labels are not needed.
    """
    from genrescope import training

    settings = training.DistillConfig(
        weights,
        shards,
        epochs,
        workers,
        seed,
        teachers=tuple(one.value for one in teacher or (Teacher.mn04,)),
        musicnn_weights=musicnn_weights,
        batch_size=batch_size,
        device=device.value,
        network=network.value,
    )
    tracks = training.select_tracks(music[0], music[1:], protocol=protocol, seed=seed)
    further = training.further_tracks(_labeled_sources(labeled or ()), not_music or ())
    with _log_on_stderr():
        data = ", ".join(path.resolve().name for path in music)
        student = training.distill(
            tracks, settings, run_dir, data=data, progress_bar=sys.stderr.isatty(), further=further
        )
    typer.echo(f"student: {student}")


def train_taxonomy(
    student: Annotated[
        Path, typer.Option(help="Weights of a student of two teachers, from 'genrescope distill'.")
    ],
    labeled: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=PATH",
            help="Labeled music: a CSV file with the columns path and genre, and if known artist, source"
            " and trust; a folder with such a file, tracks.csv; or a data set as for 'train'. Each is a"
            " collection of its own, unless the column source names several. Repeatable.",
        ),
    ],
    shards: Annotated[
        Path, typer.Option(help="The shards that the student was trained on: DIR/shards of 'distill'.")
    ],
    run_dir: Annotated[Path, typer.Option(help="Folder of the model, the report, and what is kept.")],
    not_music: Annotated[
        list[Path] | None,
        typer.Option(help="Speech, noise and other sound besides that of the shards; repeatable."),
    ] = None,
    device: DeviceOption = Device.auto,
    name: Annotated[str, typer.Option(help="The model's name.")] = "genres",
    seed: Annotated[int, typer.Option(help="Seed of all random choices.")] = 0,
) -> None:
    """Train a model of the taxonomy's genres on several collections of labeled music.

    Prints how well it does on collections that it was not trained on, leaving out one at a time. Of GTZAN,
    only the training and validation parts of its fault-filtered split are used.
    """
    from genrescope import training
    from genrescope.cli.output import render_taxonomy_run

    config = training.TaxonomyConfig(
        student,
        _labeled_sources(labeled),
        shards,
        not_music=tuple(not_music or ()),
        device=device.value,
        seed=seed,
        name=name,
    )
    with _log_on_stderr():
        run = training.train_taxonomy(config, run_dir)
    render_taxonomy_run(run)
    typer.echo(f"model: {run.model}")


def reproduce(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="GTZAN with its spectrogram pictures and feature table.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of runs and reports; finished runs are kept."),
    ] = Path("reports/paper"),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A few tracks and two epochs, in minutes; its scores are not results."),
    ] = False,
) -> None:
    """Train the paper's models on GTZAN, and compare results.

    The paper: B. Liu, I. Oblasova, Z. Zhou, "Music Genre Classification".
    """
    from genrescope import experiments

    with _log_on_stderr():
        paths = experiments.reproduce_paper(data, output, quick=quick)
    typer.echo(f"report: {paths.html}")


def _labeled_sources(texts: Sequence[str]) -> tuple[LabeledSource, ...]:
    """Read values of the option ``--labeled``: names and paths."""
    from genrescope import training

    sources = []
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator or not name or not path:
            raise typer.BadParameter(f"{text!r} is not NAME=PATH", param_hint="--labeled")
        sources.append(training.LabeledSource(name, Path(path)))
    return tuple(sources)


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Print what the package logs at level INFO, the progress of long commands, on standard error."""
    logger, handler = logging.getLogger("genrescope"), logging.StreamHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
