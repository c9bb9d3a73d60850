"""Reports as Markdown, with their figures as files beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from genrescope.reporting.blocks import Block, Figure, Paragraph, Section, Table


def render_markdown(title: str, lead: str, sections: Sequence[Section], *, figures: str = "figures") -> str:
    """Return sections as Markdown.

    Parameters
    ----------
    title, lead : str
        The heading and the line below it.
    sections : sequence of Section
        The content.
    figures : str
        The folder, relative to the Markdown file, that holds a file named `Figure.file_name` for each figure.

    Returns
    -------
    str
        All text is escaped: no cell or title is taken as Markdown or as HTML.
    """
    parts = [f"# {_escape(title)}", _escape(lead)]
    for section in sections:
        parts.extend(_render_block(section, 2, figures))
    return "\n\n".join(part for part in parts if part) + "\n"


def _render_block(block: Block, depth: int, figures: str) -> Iterator[str]:
    """Yield one block as paragraphs of Markdown; a section's title gets ``depth`` number signs."""
    if isinstance(block, Paragraph):
        yield f"> **{_escape(block.text)}**" if block.warning else _escape(block.text)
    elif isinstance(block, Figure):
        yield f"![{_escape(block.alt_text)}]({figures}/{block.file_name})\n\n*{_escape(block.caption)}*"
    elif isinstance(block, Table):
        yield f"**{_escape(block.caption)}**"
        rule = "|" + " --- |" + " ---: |" * (len(block.headers) - 1)
        yield "\n".join([_table_row(block.headers), rule, *map(_table_row, block.rows)])
    else:
        yield f"{'#' * depth} {_escape(block.title)}"
        for part in block.blocks:
            yield from _render_block(part, depth + 1, figures)


def _table_row(cells: Sequence[str]) -> str:
    """Return one row of a Markdown table."""
    return "| " + " | ".join(map(_escape, cells)) + " |"


def _escape(text: str) -> str:
    """Return text on one line, with the characters that mean something in Markdown or HTML escaped."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*|\[\]])", r"\\\1", escape(line, quote=False))
