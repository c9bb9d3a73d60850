"""The page that compares the genres in tags with what a model answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from genrescope.labels import display_name
from genrescope.reporting.blocks import Paragraph, Section, Table
from genrescope.reporting.formatting import MISSING, common_folder, format_percent
from genrescope.reporting.pages import render_sections
from genrescope.types import NOT_MUSIC

MAX_ROWS = 1000
MAX_WORDS = 100


class ComparisonRow(Protocol):
    """What the page needs to know of a file: `genrescope.library.TagComparison`."""

    @property
    def path(self) -> str:
        """Of the file."""

    @property
    def verdict(self) -> str:
        """``agree``, ``differ``, or why there is nothing to compare."""

    @property
    def tags(self) -> Sequence[str]:
        """The genres in its tags."""

    @property
    def genre(self) -> str | None:
        """The genre with the highest score."""

    @property
    def score(self) -> float | None:
        """Its score, 0 to 1."""

    @property
    def tag_score(self) -> float | None:
        """The highest score of a genre in the tags."""

    @property
    def is_uncertain(self) -> bool:
        """Whether the answer is unsure."""

    @property
    def surprise(self) -> float:
        """How much the answer surprises, beside the tags; 0: not at all."""


class AgreementRow(Protocol):
    """What the page needs to know of a genre: `genrescope.library.GenreAgreement`.

    Attributes
    ----------
    genre : str
        In the tags.
    files, agree : int
        Files with this genre in their tags; how many of them have an answer that is one of their tags.
    sure, sure_agree : int
        The same of the files with a sure answer.
    instead : Counter
        What was answered about the others.
    """

    genre: str
    files: int
    agree: int
    sure: int
    sure_agree: int
    instead: Counter[str]


def tag_comparison_page(
    comparisons: Sequence[ComparisonRow],
    agreement: Sequence[AgreementRow],
    unknown: Mapping[str, int],
    *,
    title: str,
) -> str:
    """Return a comparison of tags and answers as one self-contained HTML page.

    Parameters
    ----------
    comparisons : sequence of ComparisonRow
        The most surprising first.
    agreement : sequence of AgreementRow
        By genre in the tags.
    unknown : mapping of str to int
        Words in tags that mean no genre of the model, with the number of files, the most frequent first.
    title : str
        The page's heading.

    Returns
    -------
    str
        The page.
    """
    counts = Counter(one.verdict for one in comparisons)
    parts = [f"{number} {verdict}" for verdict, number in counts.most_common()]
    surprising = [one for one in comparisons if one.surprise > 0]
    folder = common_folder([one.path for one in surprising])
    sections = [
        Section("Agreement by genre", (_agreement_table(agreement),)),
        Section(
            "Most surprising",
            (
                Paragraph(
                    "Sure answers come before unsure ones; then those whose score is furthest above that of"
                    " the genre in the tags." + _first_of(surprising)
                ),
                *((Paragraph(f"Folder: {_readable(folder)}"),) if folder else ()),
                _surprise_table(surprising[:MAX_ROWS], folder),
            ),
        ),
    ]
    if unknown:
        sections.append(Section("Words that are no genre of the model", (_word_table(unknown),)))
    return render_sections(
        title,
        f"{len(comparisons)} files: {', '.join(parts)}.",
        sections,
        footer="Made by genrescope.",
        sortable=True,
    )


def _first_of(rows: Sequence[ComparisonRow]) -> str:
    return f" The first {MAX_ROWS} of {len(rows)}." if len(rows) > MAX_ROWS else ""


def _agreement_table(agreement: Sequence[AgreementRow]) -> Table:
    rows = tuple(
        (
            display_name(one.genre),
            str(one.files),
            format_percent(one.agree / one.files),
            str(one.sure),
            format_percent(one.sure_agree / one.sure) if one.sure else MISSING,
            ", ".join(f"{display_name(name)} {number}" for name, number in one.instead.most_common(3)),
        )
        for one in agreement
    )
    headers = ("Genre in the tags", "Files", "Agree", "Sure answers", "Agree of these", "Answered instead")
    return Table("By the genre that the tags name", headers, rows)


def _readable(path: str) -> str:
    """Return a path with the bytes that are no text written out."""
    return path.encode("utf8", "backslashreplace").decode("utf8")


def _surprise_table(rows: Sequence[ComparisonRow], folder: str) -> Table:
    cells = tuple(
        (
            _readable(one.path.removeprefix(folder)),
            ", ".join(one.tags),
            NOT_MUSIC if one.genre is None else display_name(one.genre),
            format_percent(one.surprise if one.score is None else one.score),
            MISSING if one.tag_score is None else format_percent(one.tag_score),
            "unsure" if one.is_uncertain else "sure",
        )
        for one in rows
    )
    headers = ("File", "Tags", "Answer", "Its score", "Score of the tags", "Sure")
    return Table("Files whose answer is not in their tags", headers, cells)


def _word_table(unknown: Mapping[str, int]) -> Table:
    rows = tuple((word, str(number)) for word, number in list(unknown.items())[:MAX_WORDS])
    return Table("Words in tags, by number of files", ("Word", "Files"), rows)
