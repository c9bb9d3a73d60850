"""Documents out of blocks: the same sections, tables and figures as one HTML page or as Markdown.

All text is escaped. A page needs nothing from elsewhere: style and pictures stand inside it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest

from genrescope.reporting.theme import style_sheet, variables


@dataclass(frozen=True)
class Paragraph:
    """Running text; ``warning`` sets it apart."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of text under headers; the first column names the row. ``marked`` rows are set apart."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Figure:
    """A picture: SVG text, or PNG bytes.

    ``alt`` says what it shows to those who do not see it; without it the caption must do.
    """

    name: str
    image: str | bytes
    caption: str
    alt: str = ""

    @property
    def spoken(self) -> str:
        """What a screen reader says."""
        return self.alt or self.caption

    @property
    def file_name(self) -> str:
        """A name for the picture's own file."""
        return f"{slug(self.name)}.{'svg' if isinstance(self.image, str) else 'png'}"


@dataclass(frozen=True)
class Section:
    """A titled run of blocks; a ``folded`` one opens at a click."""

    title: str
    blocks: tuple[Block, ...]
    folded: bool = False


Block = Paragraph | Table | Figure | Section


def html_page(title: str, lead: str, body: str, *, footer: str = "", extra_style: str = "") -> str:
    """Return a whole HTML page around a ready ``body``."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{style_sheet()}{extra_style}</style>
</head>
<body>
<main>
<header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p></header>
{body}
<footer>{escape(footer)}</footer>
</main>
</body>
</html>
"""


def html(title: str, lead: str, sections: Sequence[Section], *, footer: str = "") -> str:
    """Return sections as one self-contained HTML page, with links to them on top."""
    links = "".join(f'<li><a href="#{slug(part.title)}">{escape(part.title)}</a></li>' for part in sections)
    body = "\n".join(_html(part, 2) for part in sections)
    return html_page(title, lead, f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n{body}', footer=footer)


def markdown(title: str, lead: str, sections: Sequence[Section], *, figures: str = "figures") -> str:
    """Return sections as Markdown; pictures are linked from the folder ``figures`` beside it."""
    parts = [f"# {_plain(title)}", _plain(lead)]
    for part in sections:
        parts.extend(_markdown(part, 2, figures))
    return "\n\n".join(part for part in parts if part) + "\n"


def pictures(sections: Sequence[Block]) -> Iterator[Figure]:
    """Yield every figure in the sections, in order."""
    for block in sections:
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, Section):
            yield from pictures(block.blocks)


def slug(text: str) -> str:
    """Return text as an id or file name: small letters, digits and single hyphens."""
    return re.sub(r"\W+", "-", text.lower()).strip("-") or "untitled"


def _html(block: Block, depth: int) -> str:
    """Return one block as HTML; a section's title has the given depth."""
    if isinstance(block, Paragraph):
        return f"<p{' class=warning' if block.warning else ''}>{escape(block.text)}</p>"
    if isinstance(block, Table):
        return _html_table(block)
    if isinstance(block, Figure):
        return _html_figure(block)
    inside = "\n".join(_html(part, depth + 1) for part in block.blocks)
    if block.folded:
        return f"<details><summary>{escape(block.title)}</summary>\n{inside}\n</details>"
    heading = f"<h{depth}>{escape(block.title)}</h{depth}>"
    return f'<section id="{escape(slug(block.title))}">{heading}\n{inside}\n</section>'


def _html_table(table: Table) -> str:
    """Return a table with its headers marked as such for screen readers."""
    words = [any(cell[:1].isalpha() for cell in column) for column in zip(*table.rows, strict=True)]
    head = "".join(
        f'<th scope="col"{" class=words" if left else ""}>{escape(header)}</th>'
        for header, left in zip_longest(table.headers, words)
    )
    rows = "\n".join(_html_row(row, words, place in table.marked) for place, row in enumerate(table.rows))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.caption)}"><table>'
        f"<caption>{escape(table.caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _html_row(row: tuple[str, ...], words: Sequence[bool], marked: bool) -> str:
    """Return one row; columns of words stand left, numbers right, and long cells may break."""
    cells = "".join(
        f'<td class="{"words" if left else "number"}{" long" if len(cell) > 34 else ""}">{escape(cell)}</td>'
        for cell, left in zip(row[1:], words[1:], strict=True)
    )
    return f'<tr{" class=marked" if marked else ""}><th scope="row">{escape(row[0])}</th>{cells}</tr>'


def _html_figure(figure: Figure) -> str:
    """Return a picture with its caption, inside the page itself."""
    if isinstance(figure.image, str):
        picture = inline_svg(figure.image, figure.spoken)
    else:
        data = base64.b64encode(figure.image).decode("ascii")
        picture = f'<img src="data:image/png;base64,{data}" alt="{escape(figure.spoken)}">'
    caption = f"<figcaption>{escape(figure.caption)}</figcaption>"
    return f'<figure><div class="scroll">{picture}</div>{caption}</figure>'


def inline_svg(svg: str, alt: str) -> str:
    """Return an SVG file as an element of a page: named for screen readers, in the page's colors."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'<g id="[^"]*"', "<g", element)
    for color, variable in variables().items():
        element = element.replace(color, variable)
    head, rest = element.split(">", 1)
    head = re.sub(r'\s(xmlns(:\w+)?|version|width|height|role|style)="[^"]*"', "", head)
    return f'{head}{_size(head)} role="img" aria-label="{escape(alt)}">{rest}'


def _size(head: str) -> str:
    """Return the width for an SVG: its own at best (a point is 4/3 of a pixel), and legible on a phone."""
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+)', head)
    if box is None:
        return ""
    points = float(box[1])
    return f' style="width:{4 / 3 * points:.0f}px;max-width:100%;min-width:{points:.0f}px"'


def _markdown(block: Block, depth: int, figures: str) -> Iterator[str]:
    """Yield one block as paragraphs of Markdown."""
    if isinstance(block, Paragraph):
        yield f"> **{_plain(block.text)}**" if block.warning else _plain(block.text)
    elif isinstance(block, Figure):
        yield f"![{_plain(block.spoken)}]({figures}/{block.file_name})\n\n*{_plain(block.caption)}*"
    elif isinstance(block, Table):
        yield f"**{_plain(block.caption)}**"
        rule = "|" + " --- |" + " ---: |" * (len(block.headers) - 1)
        yield "\n".join([_line(block.headers), rule, *map(_line, block.rows)])
    else:
        yield f"{'#' * depth} {_plain(block.title)}"
        for part in block.blocks:
            yield from _markdown(part, depth + 1, figures)


def _line(cells: Sequence[str]) -> str:
    """Return one row of a Markdown table."""
    return "| " + " | ".join(map(_plain, cells)) + " |"


def _plain(text: str) -> str:
    """Return text on one line, with what Markdown or HTML would take as theirs escaped."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*|\[\]])", r"\\\1", escape(flat, quote=False))


def format_clock(seconds: float) -> str:
    """Write a length as minutes and seconds, or hours too."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
