"""Overlap of the tracks that a model is evaluated on with those that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genrescope.datasets import artist_digests, content_digests, track_digest
from genrescope.models import TRAINING_ARTISTS, TRAINING_CONTENT, TRAINING_TRACKS, ModelInfo
from genrescope.types import Track


@dataclass(frozen=True)
class TrainingOverlap:
    """How many tracks were in a model's training, as far as its file tells.

    Attributes
    ----------
    tested : int
        Number of tracks.
    by_id : int
        Tracks whose id is that of a training track.
    by_content : int
        Tracks whose file, or row of a table, is that of a training track.
    by_either : int
        Tracks of which one or both hold.
    by_artist : int
        Tracks whose artist is that of a training track; those of ``by_either`` among them.
    only_ids : bool
        Whether the model file lists training tracks by their ids only, as those of before 0.2.0 do: copies
        under other names, and other tracks of the same artists, go unnoticed.
    """

    tested: int
    by_id: int
    by_content: int
    by_either: int
    by_artist: int
    only_ids: bool

    @property
    def leaky(self) -> bool:
        """Whether any track, or any artist, was in the training."""
        return self.by_either > 0 or self.by_artist > 0

    def describe(self) -> str:
        """Return a sentence for the reader of a result, without a full stop."""
        known = (
            f"{self.by_either} of {self.tested} tracks were in the model's training"
            f" ({self.by_id} by id, {self.by_content} by content)"
            if self.by_either
            else "no track is known to have been in the model's training"
        )
        if self.by_artist:
            known += f"; {self.by_artist} of {self.tested} are of artists that were in it"
        if self.only_ids:
            known += "; the model file lists its training by ids only, so that copies go unnoticed"
        return known


def find_overlap(info: ModelInfo, tracks: Sequence[Track]) -> TrainingOverlap:
    """Count the tracks that were in a model's training, by id, by content and by artist.

    No overlap found is no proof that there is none: another encoding of a recording has another content, and
    artists are compared by name.

    Parameters
    ----------
    info : ModelInfo
        The description of the model.
    tracks : sequence of Track
        That it is evaluated on.

    Returns
    -------
    TrainingOverlap
    """
    ids, files, artists = (
        info.training_digests(kind) for kind in (TRAINING_TRACKS, TRAINING_CONTENT, TRAINING_ARTISTS)
    )
    same_id = {track.id for track in tracks if track_digest(track.id) in ids}
    same_content = _listed(content_digests(tracks), files) if files else set()
    same_artist = _listed(artist_digests(tracks), artists) if artists else set()
    return TrainingOverlap(
        tested=len(tracks),
        by_id=len(same_id),
        by_content=len(same_content),
        by_either=len(same_id | same_content),
        by_artist=len(same_artist),
        only_ids=bool(ids) and not files,
    )


def exposure_notes(info: ModelInfo, tracks: Sequence[Track]) -> list[str]:
    """Return what a reader should know of the audio that a network was exposed to without labels.

    Parameters
    ----------
    info : ModelInfo
        The description of the model.
    tracks : sequence of Track
        That it is evaluated on.

    Returns
    -------
    list of str
        Empty where the model file states no such audio, or no track of it and of no other data.
    """
    return list(_exposure_notes(info, tracks))


def _exposure_notes(info: ModelInfo, tracks: Sequence[Track]) -> Iterator[str]:
    exposures = info.unlabeled_exposure
    exposed = {digest for one in exposures for digest in one.content}
    count = len(_listed(content_digests(tracks), exposed)) if exposed else 0
    if count:
        yield f"{count} of {len(tracks)} tracks were in the model's training without labels"
    unlisted = ", ".join(dict.fromkeys(one.data for one in exposures if not one.content))
    if unlisted:
        yield (
            f"the model's network was exposed to {unlisted} without these labels; its tracks are not listed,"
            " so that they cannot be compared"
        )


def _listed(digests: dict[str, str], known: frozenset[str] | set[str]) -> set[str]:
    """Return the ids of the tracks whose digest is known."""
    return {track for track, digest in digests.items() if digest in known}
