"""From a student, shards and labeled music to a model file with genres of the taxonomy."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrescope import __version__, audio, models
from genrescope.datasets import artist_digest, content_digests, track_digest
from genrescope.errors import ModelError
from genrescope.features import SPECTROGRAM_LOG_MEL
from genrescope.labels import Taxonomy, load_taxonomy
from genrescope.models import (
    TRAINING_ARTISTS,
    TRAINING_CONTENT,
    TRAINING_TRACKS,
    UNLABELED_EXPOSURE,
    MusicHead,
    TaxonomyNetwork,
    TeacherOutputs,
    TwoTeacherStudent,
    read_exposures,
)
from genrescope.training.devices import select_device
from genrescope.training.taxonomy import calibration
from genrescope.training.taxonomy.cross_validation import (
    Figures,
    HeadTrainer,
    HeldOutScores,
    TableRow,
    score_held_out,
    summarize,
    tabulate,
)
from genrescope.training.taxonomy.data import (
    SEGMENT_SECONDS,
    Clip,
    LabeledClips,
    LabeledSource,
    TargetWindows,
    compute_segments,
    join_outputs,
    read_clips,
    read_windows,
    segment_features,
    take_rows,
)
from genrescope.training.taxonomy.heads import HeadSettings, fit_music_head
from genrescope.types import BoolArray, IntArray, Track
from genrescope.utils import replace_file, sha256_bytes, sha256_file, write_atomic

PROTOCOL = "leave-one-collection-out"
MODEL_FILE, REPORT_FILE = "model.onnx", "report.json"
# Tracks below this probability of music are not music. At 0.7, at most 1 % of labeled music is below it.
MUSIC_THRESHOLD = 0.7
# The threshold of a model whose answers reach nine of ten at no threshold: it gives none as sure.
_NO_THRESHOLD = 1.0
_MUSIC_FOLDS = 8
_CHECKED_SEGMENTS = 64
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaxonomyConfig:
    """What a model is trained from, and how.

    Attributes
    ----------
    student : Path
        Weights of a student of two teachers, from ``genrescope distill``.
    labeled : tuple of LabeledSource
        Labeled music of at least two collections.
    shards : Path
        Folder of shards with both teachers' outputs; they should include windows of the labeled music.
    not_music : tuple of Path
        Folders of sound that is not music, besides what is marked so in the shards.
    device : {"auto", "cpu", "cuda"}
        Where the student is run and the distilled head trained.
    seed : int
        Of all random choices.
    name : str
        Of the model.
    license : str
        Of the model's weights.
    heads : HeadSettings
        How the heads are fitted.
    """

    student: Path
    labeled: tuple[LabeledSource, ...]
    shards: Path
    not_music: tuple[Path, ...] = ()
    device: str = "auto"
    seed: int = 0
    name: str = "genres"
    license: str = ""
    heads: HeadSettings = field(default_factory=HeadSettings)


@dataclass(frozen=True)
class MusicFigures:
    """Music against other sound, each track scored by a head that was fitted without its source.

    Attributes
    ----------
    music_tracks, other_tracks : int
        How many.
    music_refused : float
        Share of the music below the threshold.
    other_accepted : float
        Share of the other sound at or above it.
    """

    music_tracks: int
    other_tracks: int
    music_refused: float
    other_accepted: float


@dataclass(frozen=True)
class TaxonomyRun:
    """The result of `train_taxonomy`.

    Attributes
    ----------
    model : Path
        The model file.
    report : Path
        All figures, as JSON.
    figures : dict of str to Figures
        Of all clips, under "all", and of each labeled data set by its name.
    genres, collections : tuple of TableRow
    music : MusicFigures or None
        None where the data hold no sound that is not music.
    temperature, set_level : float
    threshold : float or None
        None: no threshold reaches nine right answers of ten.
    """

    model: Path
    report: Path
    figures: dict[str, Figures]
    genres: tuple[TableRow, ...]
    collections: tuple[TableRow, ...]
    music: MusicFigures | None
    temperature: float
    threshold: float | None
    set_level: float


def train_taxonomy(config: TaxonomyConfig, folder: Path) -> TaxonomyRun:
    """Train the heads of the default model, evaluate them on collections left out, and write the model file.

    Progress is logged at level INFO below the logger ``genrescope.training``.

    Parameters
    ----------
    config : TaxonomyConfig
    folder : Path
        For ``model.onnx``, ``report.json``, and the outputs of the student, which the next call with the
        same student and data reads again.

    Returns
    -------
    TaxonomyRun

    Raises
    ------
    ConfigError
        ``invalid_argument``: no such device.
    DataError
        ``dataset_not_found``, ``dataset_invalid``, ``dataset_empty``: of the labeled music or the shards.
    ModelError
        ``model_not_found``, ``model_corrupt``, ``model_incompatible``: the student's weights;
        ``model_export_failed``.
    WriteError
        ``write_failed``.
    """
    device, taxonomy = select_device(config.device), load_taxonomy()
    clips = read_clips(config.labeled, taxonomy)
    student = load_student(config.student).to(device)
    outputs = _OutputCache(folder / "outputs", sha256_file(config.student), student, device)
    windows = outputs.windows(config.shards)
    labeled, used = outputs.labeled(clips, [genre.name for genre in taxonomy.scored_genres])
    trainer = HeadTrainer(labeled, windows, taxonomy.scored_genres, config.heads, config.seed, device)
    held_out = score_held_out(trainer)
    heads = trainer.fit(np.arange(len(labeled)))
    other = outputs.segments(audio.find_audio(config.not_music) if config.not_music else [])
    music_head, music = _fit_music(windows, other, config)
    weights = calibration.collection_weights(labeled.collection.tolist(), labeled.is_trusted)
    temperature = calibration.fit_collection_temperature(held_out.segments, labeled.genre, weights)
    run = TaxonomyRun(
        model=folder / MODEL_FILE,
        report=folder / REPORT_FILE,
        figures=_all_figures(held_out, labeled),
        genres=tuple(tabulate(held_out, labeled, [labeled.genres[place] for place in labeled.genre])),
        collections=tuple(tabulate(held_out, labeled, labeled.collection.tolist())),
        music=music,
        temperature=temperature,
        # On the scores that were calibrated without the clip's collection, as a new track's are.
        threshold=calibration.select_weighted_threshold(held_out.scores, labeled.genre, weights),
        set_level=calibration.conformal_level(held_out.scores, labeled.genre, weights),
    )
    network = TaxonomyNetwork(
        student.to("cpu"), *heads, music_head, models.style_weights(taxonomy.styles), temperature
    )
    info = _describe(config, run, used, taxonomy)
    exported = models.export_module(network, info, segment_features(used[0].path)[:_CHECKED_SEGMENTS])
    write_atomic(run.model, exported.graph)
    write_atomic(run.report, json.dumps(_to_json(run), indent=1))
    return run


def load_student(path: Path) -> TwoTeacherStudent:
    """Read a student of two teachers.

    Parameters
    ----------
    path : Path
        Of the weights.

    Raises
    ------
    ModelError
        ``model_not_found``, ``model_corrupt``; ``model_incompatible``: weights of another network.
    """
    student = TwoTeacherStudent()
    try:
        student.load_state_dict(models.read_weights(path))
    except RuntimeError as reason:
        raise ModelError(
            "model_incompatible",
            f"{path}: not a student of two teachers: {str(reason).splitlines()[0]}",
            "make one: genrescope distill --teacher mn04 --teacher musicnn",
        ) from None
    # On a CPU, convolutions are faster with the channels last in memory.
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return student.eval()


class _OutputCache:
    """The student's outputs, kept in files that are named by what they were computed from."""

    def __init__(self, folder: Path, student: str, network: TwoTeacherStudent, device: torch.device) -> None:
        self.folder, self.student, self.network, self.device = folder, student, network, device

    def windows(self, shards: Path) -> TargetWindows:
        """Return the windows of a folder of shards."""
        files = sorted(shards.glob("*.npz"))
        identity = [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
        path = self._path("windows", identity)
        names = ("track", "source", "kind", "mixed_source", "is_distorted")
        if path.exists():
            with np.load(path, allow_pickle=False) as stored:
                student, teachers = (_from_arrays(stored, prefix) for prefix in ("student", "teachers"))
                return TargetWindows(student, teachers, **{name: stored[name] for name in names})
        windows = read_windows(shards, self.network, self.device)
        arrays = _to_arrays(windows.student, "student") | _to_arrays(windows.teachers, "teachers")
        self._write(path, arrays | {name: getattr(windows, name) for name in names})
        return windows

    def labeled(self, clips: Sequence[Clip], genres: Sequence[str]) -> tuple[LabeledClips, list[Clip]]:
        """Return the clips with their outputs, and which of them can be decoded."""
        outputs, owner = self.segments([clip.path for clip in clips])
        kept, places = np.unique(owner, return_inverse=True)
        used = [clips[place] for place in kept]
        return LabeledClips.build(used, genres, outputs, places), used

    def segments(self, paths: Sequence[Path]) -> tuple[TeacherOutputs, IntArray]:
        """Return the outputs for segments of files, and the index of each segment's file."""
        if not paths:
            with torch.inference_mode():
                empty = self.network(torch.zeros(1, 128, 242, device=self.device))
            return TeacherOutputs(*(part[:0].cpu() for part in empty)), np.zeros(0, np.int64)
        path = self._path("segments", [sha256_file(file) for file in paths])
        if path.exists():
            with np.load(path, allow_pickle=False) as stored:
                return _from_arrays(stored, "student"), stored["owner"]
        outputs, owner = compute_segments(paths, self.network, self.device)
        self._write(path, _to_arrays(outputs, "student") | {"owner": owner})
        return outputs, owner

    def _path(self, kind: str, identity: Sequence[str]) -> Path:
        digest = sha256_bytes("\n".join([self.student, *identity]).encode())
        return self.folder / f"{kind}-{digest[:16]}.npz"

    def _write(self, path: Path, arrays: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **arrays)
        replace_file(partial, path)


def _to_arrays(outputs: TeacherOutputs, prefix: str) -> dict[str, Any]:
    return {f"{prefix}_{name}": part.numpy() for name, part in outputs._asdict().items()}


def _from_arrays(stored: Any, prefix: str) -> TeacherOutputs:
    return TeacherOutputs(*(torch.from_numpy(stored[f"{prefix}_{name}"]) for name in TeacherOutputs._fields))


def _fit_music(
    windows: TargetWindows, other: tuple[TeacherOutputs, IntArray], config: TaxonomyConfig
) -> tuple[MusicHead, MusicFigures | None]:
    """Fit the music head on unmixed windows and on further sound, and measure it source by source."""
    rows = np.flatnonzero(windows.mixed_source == "")
    outputs = join_outputs([take_rows(windows.student, rows), other[0]])
    is_music = np.r_[windows.kind[rows] != "not_music", np.zeros(len(other[1]), bool)]
    sources = [*windows.source[rows].tolist(), *(f"not music {file}" for file in other[1])]
    tracks = [*windows.track[rows].tolist(), *(f"not music {file}" for file in other[1])]
    if is_music.all() or not is_music.any():
        logger.info("no sound that is not music: the model calls everything music")
        return _constant_music_head(), None
    head = fit_music_head(outputs, is_music, config.heads)
    return head, _music_figures(outputs, is_music, list(zip(sources, tracks, strict=True)), config)


def _constant_music_head() -> MusicHead:
    head = MusicHead()
    with torch.no_grad():
        head.regression.weight.zero_()
        head.regression.bias.fill_(10.0)
    return head


def _music_figures(
    outputs: TeacherOutputs, is_music: BoolArray, names: Sequence[tuple[str, str]], config: TaxonomyConfig
) -> MusicFigures:
    """Score every track by a head that was fitted without its source and kind, in eight folds."""
    _, group = np.unique(
        [f"{source}\t{kind}" for (source, _), kind in zip(names, is_music, strict=True)], return_inverse=True
    )
    fold = np.random.default_rng(config.seed).permutation(group.max() + 1)[group] % _MUSIC_FOLDS
    probability = np.zeros(len(is_music))
    for number in np.unique(fold):
        train = fold != number
        if is_music[train].all() or not is_music[train].any():
            continue
        head = fit_music_head(take_rows(outputs, train), is_music[train], config.heads)
        with torch.inference_mode():
            logits = head(take_rows(outputs, ~train))
        probability[~train] = logits.sigmoid().numpy()[:, 0]
    _, track = np.unique(["\t".join(name) for name in names], return_inverse=True)
    counts = np.bincount(track)
    refused = np.bincount(track, probability) / counts < MUSIC_THRESHOLD
    music = np.bincount(track, is_music) / counts > 0.5
    return MusicFigures(
        int(music.sum()), int((~music).sum()), float(refused[music].mean()), float((~refused)[~music].mean())
    )


def _all_figures(held_out: HeldOutScores, clips: LabeledClips) -> dict[str, Figures]:
    figures = {"all": summarize(held_out, clips)}
    for source in np.unique(clips.source):
        chosen = clips.source == source
        if (chosen & clips.is_trusted).any():
            figures[str(source)] = summarize(held_out, clips, chosen)
    return figures


def _describe(
    config: TaxonomyConfig, run: TaxonomyRun, clips: Sequence[Clip], taxonomy: Taxonomy
) -> models.ModelInfo:
    figures = run.figures["all"]
    tracks = [Track(clip.track, clip.path, clip.genre, clip.track) for clip in clips]
    exposures = read_exposures(config.student) or ()
    measured = {
        "track_accuracy": figures.top_1,
        "track_top_3": figures.top_3,
        "track_accuracy_of_the_surest_45_percent": figures.surest,
        "track_accuracy_above_threshold": figures.right,
        "coverage": figures.answered,
    }
    entries = {
        name: {**{key: round(number, 4) for key, number in asdict(interval).items()}, "n": figures.clips}
        for name, interval in measured.items()
        # Where nothing is above the threshold, there is no accuracy above it.
        if math.isfinite(interval.value)
    }
    return models.ModelInfo(
        name=config.name,
        classes=tuple(genre.name for genre in taxonomy.scored_genres),
        features=SPECTROGRAM_LOG_MEL,
        segment_seconds=SEGMENT_SECONDS,
        hop_seconds=SEGMENT_SECONDS,
        styles=tuple(style.name for style in taxonomy.styles),
        threshold=round(run.threshold, 4) if run.threshold is not None else _NO_THRESHOLD,
        music_threshold=MUSIC_THRESHOLD,
        set_level=round(run.set_level, 4),
        embedding_size=TwoTeacherStudent().student.size,
        taxonomy=taxonomy.version,
        license=config.license,
        scores={
            "protocol": PROTOCOL,
            "leaky": False,
            "data": f"{figures.collections} collections of {', '.join(one.name for one in config.labeled)}",
            **entries,
            "calibration_error": round(figures.calibration_error, 4),
        },
        provenance={
            "data": ", ".join(source.name for source in config.labeled),
            "protocol": PROTOCOL,
            "seed": config.seed,
            "genrescope": __version__,
            "student": sha256_file(config.student),
            "temperature": round(run.temperature, 4),
            TRAINING_TRACKS: [track_digest(clip.track) for clip in clips],
            TRAINING_CONTENT: sorted(set(content_digests(tracks).values())),
            TRAINING_ARTISTS: sorted(
                filter(None, {artist_digest(clip.artist) for clip in clips if clip.artist})
            ),
            UNLABELED_EXPOSURE: [one.to_json() for one in exposures],
        },
    )


def _to_json(run: TaxonomyRun) -> dict[str, Any]:
    content: dict[str, Any] = {
        "protocol": PROTOCOL,
        "temperature": run.temperature,
        "threshold": run.threshold,
        "set_level": run.set_level,
        "figures": {name: asdict(figures) for name, figures in run.figures.items()},
        "genres": [row._asdict() for row in run.genres],
        "collections": [row._asdict() for row in run.collections],
        "music": None if run.music is None else asdict(run.music),
    }
    finite: dict[str, Any] = _without_nan(content)
    return finite


def _without_nan(value: Any) -> Any:
    """Return a value with null in place of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
