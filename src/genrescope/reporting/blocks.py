"""The parts that a report is made of: paragraphs, tables, figures, and sections of them.

`genrescope.reporting.pages` renders them as HTML and `genrescope.reporting.markdown` as Markdown. The
templates tell them apart by their ``kind``, because Jinja2 has no test for a class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from genrescope.utils import safe_file_name


@dataclass(frozen=True)
class Paragraph:
    """Running text.

    Attributes
    ----------
    kind : str
        ``paragraph``.
    text : str
        Not Markdown and not HTML: it is escaped.
    warning : bool
        Whether it is set apart as a warning.
    """

    kind: ClassVar[str] = "paragraph"

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of text under headers.

    Attributes
    ----------
    kind : str
        ``table``.
    caption : str
        Printed above.
    headers : tuple of str
        One for each column.
    rows : tuple of tuple of str
        One cell for each column; the first names the row.
    marked : frozenset of int
        Indices of the rows that are set apart, such as those of leaky protocols.
    """

    kind: ClassVar[str] = "table"

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[int] = frozenset()

    @property
    def text_columns(self) -> tuple[bool, ...]:
        """Which columns hold text, to be aligned left; numbers are aligned right."""
        if not self.rows:
            return (False,) * len(self.headers)
        # Signs, digits and the "<" of "< 0.001" begin a number; what begins with a letter is read, not
        # compared.
        return tuple(any(cell[:1].isalpha() for cell in column) for column in zip(*self.rows, strict=True))


@dataclass(frozen=True)
class Figure:
    """A picture with its caption.

    Attributes
    ----------
    kind : str
        ``figure``.
    name : str
        Where the name of its own file comes from.
    image : str or bytes
        SVG text, or PNG bytes.
    caption : str
        Printed below.
    alt : str
        What the picture shows, for screen readers; without it the caption is read.
    """

    kind: ClassVar[str] = "figure"

    name: str
    image: str | bytes
    caption: str
    alt: str = ""

    @property
    def alt_text(self) -> str:
        """What a screen reader says."""
        return self.alt or self.caption

    @property
    def file_name(self) -> str:
        """A name for the picture's own file."""
        return f"{safe_file_name(slug(self.name))}.{'svg' if isinstance(self.image, str) else 'png'}"


@dataclass(frozen=True)
class Section:
    """Blocks under a title.

    Attributes
    ----------
    kind : str
        ``section``.
    title : str
        The heading.
    blocks : tuple of Block
        The content, sections included.
    folded : bool
        Whether a page shows only the title until it is opened.
    """

    kind: ClassVar[str] = "section"

    title: str
    blocks: tuple[Block, ...]
    folded: bool = False


Block = Paragraph | Table | Figure | Section


def iter_figures(blocks: Sequence[Block]) -> Iterator[Figure]:
    """Yield every figure of a report, in order.

    Parameters
    ----------
    blocks : sequence of Block
        Searched with the sections among them.

    Yields
    ------
    Figure
        Each figure.
    """
    for block in blocks:
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, Section):
            yield from iter_figures(block.blocks)


def slug(text: str) -> str:
    """Return a text as an id or a file name.

    Parameters
    ----------
    text : str
        Such as a title.

    Returns
    -------
    str
        Lower-case letters, digits and single hyphens; ``untitled`` where nothing else is left.
    """
    return re.sub(r"\W+", "-", text.lower()).strip("-") or "untitled"
