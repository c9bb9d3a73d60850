"""The genres in the tags of files beside the answers: where they agree, and what surprises most."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TextIO

from genrescope import tagging
from genrescope.errors import GenrescopeError
from genrescope.labels import tag_labels
from genrescope.library.records import LibraryEntry
from genrescope.utils import spreadsheet_cell

ComparisonVerdict = Literal["agree", "differ", "not music", "untagged", "unknown", "failed"]

COLUMNS = (
    "path", "verdict", "unsure", "tags", "tag_genres", "genre", "score", "tag_score", "surprise", "message",
)  # fmt: skip


@dataclass(frozen=True)
class TagComparison:
    """A file's genres in its tags, beside the model's answer.

    Attributes
    ----------
    path : str
        Of the file.
    verdict : str
        ``agree``: the genre that was answered is one of the tags; ``differ``; ``not music``: answered about a
        file whose tags name a genre; ``untagged``; ``unknown``: no genre of the model is named so;
        ``failed``: the file could not be classified, or its tags not be read.
    tags : tuple of str
        The genres as they stand in the file.
    tag_genres : tuple of str
        The genres of the model that they mean; a style means the genre above it.
    genre : str or None
        The genre with the highest score.
    score, tag_score : float or None
        Its score, and the highest score of ``tag_genres``.
    is_uncertain : bool
        Whether the answer is unsure.
    surprise : float
        By how much the score of the answer exceeds ``tag_score``; of what is not music, how sure that is; 0
        where there is nothing to compare.
    message : str
        Why there is nothing to compare, where something failed.
    """

    path: str
    verdict: ComparisonVerdict
    tags: tuple[str, ...] = ()
    tag_genres: tuple[str, ...] = ()
    genre: str | None = None
    score: float | None = None
    tag_score: float | None = None
    is_uncertain: bool = False
    surprise: float = 0.0
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as a JSON-ready row."""
        return {
            "path": self.path,
            "verdict": self.verdict,
            "unsure": self.is_uncertain,
            "tags": list(self.tags),
            "tag_genres": list(self.tag_genres),
            "genre": self.genre,
            "score": self.score,
            "tag_score": self.tag_score,
            "surprise": round(self.surprise, 6),
            "message": self.message,
        }


@dataclass
class GenreAgreement:
    """How far the answers agree with the tags of one genre.

    Attributes
    ----------
    genre : str
        In the tags.
    files, agree : int
        Files with this genre in their tags; how many of them have an answer that is one of their tags.
    sure, sure_agree : int
        The same of the files with a sure answer.
    instead : Counter
        What was answered about the others, by number of files.
    """

    genre: str
    files: int = 0
    agree: int = 0
    sure: int = 0
    sure_agree: int = 0
    instead: Counter[str] = field(default_factory=Counter)


def compare_tags(entries: Iterable[LibraryEntry]) -> Iterator[TagComparison]:
    """Read the genres in the tags of files, and compare them with the answers.

    Parameters
    ----------
    entries : iterable of LibraryEntry

    Yields
    ------
    TagComparison
        One for each entry, in their order.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency`` without mutagen; other failures are among the results.
    """
    tagging.require_mutagen()
    for entry in entries:
        if entry.error is not None:
            yield TagComparison(entry.path, "failed", message=entry.message or entry.error)
            continue
        try:
            tags = tagging.read_genres(entry.path)
        except GenrescopeError as failure:
            yield TagComparison(entry.path, "failed", message=failure.message)
        else:
            yield _compared(entry, tags)


def _compared(entry: LibraryEntry, tags: tuple[str, ...]) -> TagComparison:
    classes = tuple(entry.scores)
    genres = tuple(
        dict.fromkeys(label for tag in tags for label in tag_labels(tag, classes) if label in entry.scores)
    )
    score, verdict, surprise = entry.score or 0.0, _verdict(entry, tags, genres), 0.0
    tag_score = max((entry.scores[genre] for genre in genres), default=None)
    if verdict == "differ":
        surprise = score - (tag_score or 0.0)
    elif verdict == "not music":
        surprise = 1.0 - (entry.music or 0.0)
    return TagComparison(
        entry.path,
        verdict,
        tags,
        genres,
        entry.genre if entry.is_music else None,
        entry.score if entry.is_music else None,
        tag_score,
        entry.is_uncertain and entry.is_music,
        surprise,
    )


def _verdict(entry: LibraryEntry, tags: Sequence[str], genres: Sequence[str]) -> ComparisonVerdict:
    if not tags:
        return "untagged"
    if not entry.is_music:
        return "not music"
    if not genres:
        return "unknown"
    return "agree" if entry.genre in genres else "differ"


def most_surprising(comparisons: Iterable[TagComparison]) -> list[TagComparison]:
    """Return comparisons, sure answers that differ from the tags first, each kind by falling surprise.

    Parameters
    ----------
    comparisons : iterable of TagComparison
    """
    return sorted(comparisons, key=lambda one: (not one.surprise, one.is_uncertain, -one.surprise, one.path))


def agreement_by_genre(comparisons: Iterable[TagComparison]) -> list[GenreAgreement]:
    """Count how far the answers agree with the tags, for each genre in the tags, the most frequent first.

    Parameters
    ----------
    comparisons : iterable of TagComparison
        Those without a genre to compare with are left out.
    """
    found: dict[str, GenreAgreement] = {}
    for one in comparisons:
        if one.verdict not in ("agree", "differ") or one.genre is None:
            continue
        for genre in one.tag_genres:
            counts = found.setdefault(genre, GenreAgreement(genre))
            agrees = one.verdict == "agree"
            counts.files += 1
            counts.agree += agrees
            counts.sure += not one.is_uncertain
            counts.sure_agree += agrees and not one.is_uncertain
            if not agrees:
                counts.instead[one.genre] += 1
    return sorted(found.values(), key=lambda counts: (-counts.files, counts.genre))


def unknown_words(comparisons: Iterable[TagComparison]) -> Counter[str]:
    """Count the genres in tags that mean no genre of the model.

    Parameters
    ----------
    comparisons : iterable of TagComparison
    """
    return Counter(tag for one in comparisons if one.verdict == "unknown" for tag in one.tags)


def write_comparisons_csv(comparisons: Iterable[TagComparison], stream: TextIO) -> None:
    """Write a header and one line per file; several tags stand in one cell, with semicolons.

    Parameters
    ----------
    comparisons : iterable of TagComparison
    stream : text file
        Open for writing.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in comparisons:
        row = one.to_dict()
        row |= {
            "tags": "; ".join(one.tags),
            "tag_genres": "; ".join(one.tag_genres),
            "unsure": int(row["unsure"]),
        }
        writer.writerow([spreadsheet_cell("" if row[name] is None else row[name]) for name in COLUMNS])
