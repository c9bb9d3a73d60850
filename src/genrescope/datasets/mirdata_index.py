"""Data sets by the index of mirdata, a library of loaders: every one whose tracks have audio and a genre.

R. M. Bittner et al., "mirdata: Software for Reproducible Usage of Datasets", ISMIR 2019.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genrescope.datasets.ballroom import build_ballroom
from genrescope.datasets.base import (
    Dataset,
    build_dataset,
    keep_present,
    normalize_label,
    summarize_missing,
    unite_replicas,
)
from genrescope.errors import ConfigError, DataError, missing_extra
from genrescope.types import Track
from genrescope.utils import did_you_mean


def load_mirdata(path: Path, name: str) -> Dataset:
    """Read a data set by mirdata's index, which says which files there should be.

    Parameters
    ----------
    path : Path
        The folder that mirdata downloaded to (its ``data_home``).
    name : str
        Of mirdata's loader, such as ``ballroom`` or ``gtzan_genre``.

    Returns
    -------
    Dataset
        Labels are the tracks' ``genre``; groups their ``artist``, where the loader knows it. ``ballroom`` is
        as `genrescope.datasets.load_dataset` reads it without mirdata.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency``: mirdata is not installed.
    ConfigError
        ``invalid_argument``: mirdata has no such loader, or its tracks have no genre.
    DataError
        ``dataset_not_found``: the index was not downloaded; otherwise as `load_dataset`.
    """
    try:
        import mirdata
    except ImportError:
        raise missing_extra("mirdata", "mirdata") from None
    loaders = mirdata.list_datasets()
    if name not in loaders:
        hint = did_you_mean(name, loaders, otherwise="see mirdata.list_datasets()")
        raise ConfigError("invalid_argument", f"mirdata has no data set {name!r}", hint)
    loader = mirdata.initialize(name, data_home=str(path))
    try:
        found = [loader.track(track) for track in sorted(loader.track_ids)]
    except FileNotFoundError:
        raise DataError(
            "dataset_not_found",
            f"{path}: mirdata's index of {name} is not on this machine",
            f"run once: mirdata.initialize({name!r}).download(partial_download=['index'])",
        ) from None
    if name == "ballroom":
        return build_ballroom([Path(track.audio_path) for track in found], path)
    tracks = [_as_track(track, name) for track in found]
    kept, faults = keep_present(tracks)
    united, replicas = unite_replicas(kept)
    issues = [*summarize_missing(faults, len(tracks), path), *replicas]
    return build_dataset(name, united, issues, path)


def _as_track(track: Any, name: str) -> Track:
    # Loaders have no common type: what a track knows differs from one to the next.
    genre = getattr(track, "genre", None)
    if not isinstance(genre, str) or not genre or not getattr(track, "audio_path", None):
        message = f"tracks of mirdata's {name} have no single genre, or no audio ({track.track_id})"
        raise ConfigError("invalid_argument", message, "choose another data set")
    artist = getattr(track, "artist", None)
    group = artist if isinstance(artist, str) and artist else str(track.track_id)
    return Track(str(track.track_id), Path(track.audio_path), normalize_label(genre), group)
