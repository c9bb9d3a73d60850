"""Genres in tags beside genres of the sound: what a tag's words mean in the taxonomy, and disagreements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from genrescope import tagging
from genrescope.audit.findings import Finding, finding_of
from genrescope.errors import GenrescopeError
from genrescope.labels import display_name, label_nodes, tag_labels
from genrescope.workers import Job, WorkerSpec, run_jobs

MAX_TAG_SCORE: Final = 0.1
"""A track whose tag has this score or more in the model's answer does not disagree with it."""

# They say where music is from or what it is for, and not how it sounds.
_NOT_BY_SOUND = frozenset({"soundtrack", "world"})
# Genres that people tell apart by taste, or name together: one in place of the other is no fault.
_RELATED = tuple(
    frozenset(pair)
    for pair in (
        ("rock", "metal"), ("rock", "pop"), ("rock", "blues"), ("pop", "electronic"), ("pop", "rnb_soul"),
        ("pop", "disco_funk"), ("rnb_soul", "disco_funk"), ("rnb_soul", "hiphop"), ("rnb_soul", "gospel"),
        ("rnb_soul", "blues"), ("electronic", "disco_funk"), ("folk", "country"), ("folk", "pop"),
    )
)  # fmt: skip
_LONGEST_SHOWN = 200
_TIMEOUT_SECONDS = 60.0
_MEMORY_LIMIT_MB = 500


def tag_disagreement(
    tags: Sequence[str],
    genre: str,
    score: float,
    scores: Mapping[str, float],
    possible: Iterable[str] = (),
) -> Finding | None:
    """Return the finding that the genres of tags are not that of the sound; None where they may be.

    Parameters
    ----------
    tags : sequence of str
        Genres in the tags of a file. One that has a meaning and agrees is enough.
    genre : str
        The model's sure answer.
    score : float
        Its score.
    scores : mapping of str to float
        Of all genres.
    possible : iterable of str
        Other labels that the track may have: styles, and the genres of its prediction set.
    """
    meant = frozenset().union(*map(tag_labels, tags))
    if not meant or meant & _NOT_BY_SOUND:
        return None
    sound = frozenset().union(label_nodes(genre), *map(label_nodes, possible))
    tagged = max(
        (value for name, value in scores.items() if meant.intersection(label_nodes(name))), default=0.0
    )
    related = any(pair & meant and pair.intersection(label_nodes(genre)) for pair in _RELATED)
    if meant & sound or related or tagged >= MAX_TAG_SCORE:
        return None
    shown = ", ".join(tags[:5])
    return finding_of(
        "tag_disagrees",
        0.7 * (score - tagged),
        f"the tag says {shown[:_LONGEST_SHOWN]!r}, the sound is {display_name(genre)} ({score:.0%});"
        f" the genre of the tag has {tagged:.0%}",
        tag=shown[:_LONGEST_SHOWN],
        genre=genre,
        genre_score=score,
        tag_score=tagged,
    )


def create_handler() -> Callable[[Job], Job]:
    """Return the function that does the jobs of a worker process: ``{"path"}`` to ``{"genres"}``."""
    tagging.import_readers()

    def read(job: Job) -> Job:
        path = Path(str(job["path"]))
        # A pipe or a device is not opened: reading it could block for ever.
        return {"genres": list(tagging.read_genres(path)) if path.is_file() else []}

    return read


def read_tags(paths: Sequence[str], workers: int) -> Iterator[tuple[str, tuple[str, ...] | GenrescopeError]]:
    """Yield the genres in the tags of files as they are read, or why they could not be.

    Parameters
    ----------
    paths : sequence of str
    workers : int
        Processes.
    """
    spec = WorkerSpec(create_handler, timeout=_TIMEOUT_SECONDS, memory_limit_mb=_MEMORY_LIMIT_MB)
    jobs = ((path, {"path": path}) for path in paths)
    for path, answer in run_jobs(spec, jobs, workers):
        yield path, answer if isinstance(answer, GenrescopeError) else tuple(answer["genres"])
