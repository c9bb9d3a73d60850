"""The parts that a report is made of: paragraphs, tables, figures, and sections of them.

`genrescope.reporting.pages` renders them as HTML and `genrescope.reporting.markdown` as Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Paragraph:
    """Running text.

    Attributes
    ----------
    text : str
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
    caption : str
    headers : tuple of str
    rows : tuple of tuple of str
        The first cell names the row.
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
        return tuple(any(cell[:1].isalpha() for cell in column) for column in zip(*self.rows, strict=True))


@dataclass(frozen=True)
class Figure:
    """A picture with its caption.

    Attributes
    ----------
    name : str
        Where the name of its own file comes from.
    image : str or bytes
        SVG text, or PNG bytes.
    caption : str
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
        return f"{slug(self.name)}.{'svg' if isinstance(self.image, str) else 'png'}"


@dataclass(frozen=True)
class Section:
    """Blocks under a title.

    Attributes
    ----------
    title : str
    blocks : tuple of Block
    folded : bool
        Whether a page shows only the title until it is opened.
    """

    kind: ClassVar[str] = "section"

    title: str
    blocks: tuple[Block, ...]
    folded: bool = False


Block = Paragraph | Table | Figure | Section


def iter_figures(blocks: Sequence[Block]) -> Iterator[Figure]:
    """Yield every figure in ``blocks`` and in the sections among them, in order."""
    for block in blocks:
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, Section):
            yield from iter_figures(block.blocks)


def slug(text: str) -> str:
    """Return ``text`` as an id or a file name: small letters, digits and single hyphens."""
    return re.sub(r"\W+", "-", text.lower()).strip("-") or "untitled"
