"""HTML pages from the Jinja2 templates in ``templates/``.

Every page is one self-contained file: style sheet, figures and scripts are part of it; nothing is fetched.
Autoescaping is on for all templates, so that a hostile file name stays text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from genrescope.reporting.blocks import Section, slug
from genrescope.reporting.theme import TEMPLATES, chart_script, css_variables, style_sheet


def render_sections(
    title: str, lead: str, sections: Sequence[Section], *, footer: str = "", sortable: bool = False
) -> str:
    """Return sections as one HTML page, with links to them at the top.

    Parameters
    ----------
    title, lead : str
        The heading and the line below it.
    sections : sequence of Section
        The content.
    footer : str
        The last line.
    sortable : bool
        Whether the reader can sort the tables, and search the long ones, by ``templates/tables.js``. Styles
        within the page are allowed then, because figures have them; fetching anything is not.

    Returns
    -------
    str
        The page, with a single ``<style>`` element; without a script where it is not ``sortable``.
    """
    page = {"title": title, "lead": lead, "footer": footer, "sections": sections}
    page["contents"] = [(section.title, slug(section.title)) for section in sections]
    template = _environment().get_template("sections.html")
    if not sortable:
        return template.render(page, style=Markup(style_sheet()))
    script = f"{chart_script()}\n{_read('tables.js')}\nstartTables(document);\n"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src '{_digest(script)}'"
    style = style_sheet() + _read("tables.css")
    return template.render(page, style=Markup(style), script=Markup(script), policy=policy)


def render_files(template: str, data: Mapping[str, object], **context: object) -> str:
    """Return a page with charts and a table of files, which ``templates/files.js`` draws and filters.

    A Content-Security-Policy with the hashes of the page's own style sheet and script forbids the browser to
    run or to fetch anything else.

    Parameters
    ----------
    template : str
        A file in ``templates/`` that extends ``base.html``.
    data : mapping of str to object
        The page's JSON block: by the id of an element, what is drawn into it.
    **context
        What else the template names.

    Returns
    -------
    str
        The page.
    """
    script = "\n".join((chart_script(), _read("tables.js"), _read("files.js")))
    style = _chart_style() + _read("tables.css") + _read("files.css")
    return _render_with_script(template, style, script, data, context)


def render_script(template: str, script: str, style: str, data: object, **context: object) -> str:
    """Return a page with a script of its own, which may show pictures of the page and play local files.

    Parameters
    ----------
    template : str
        A file in ``templates/`` that extends ``base.html``.
    script, style : str
        Files in ``templates/``: the script, which may call the functions of ``charts.js``, and rules of style
        in addition to those of pages with charts.
    data : object
        What the script reads from the page's JSON block, JSON-ready.
    **context
        What else the template names.

    Returns
    -------
    str
        The page.
    """
    # Beside "file:", because a page that was opened from a disk has no origin that 'self' could mean.
    sources = "; img-src 'self' data:; media-src 'self' file:"
    code = f"{chart_script()}\n{_read(script)}"
    return _render_with_script(template, _chart_style() + _read(style), code, data, context, sources)


def _read(template: str) -> str:
    return (TEMPLATES / template).read_text(encoding="utf8")


def _chart_style() -> str:
    return style_sheet() + _read("charts.css")


def _render_with_script(
    template: str, style: str, script: str, data: object, context: dict[str, object], sources: str = ""
) -> str:
    # The hashes are of the text that stands in the page to the byte, so both are put together here and
    # marked as safe; everything else that a template prints is escaped.
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'{sources}"
    return (
        _environment()
        .get_template(template)
        .render(context, style=Markup(style), script=Markup(script), policy=policy, data=data)
    )


def inline_svg(svg: str, alt: str) -> Markup:
    """Return an SVG file as an element of a page, in the page's colors.

    Parameters
    ----------
    svg : str
        The file's text, as matplotlib writes it.
    alt : str
        What a screen reader says.

    Returns
    -------
    Markup
        An ``<svg>`` element without ids of groups, metadata and namespaces.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    # Ids of several figures in one page would be the same, and a reference would find the first.
    element = re.sub(r'<g id="[^"]*"', "<g", element)
    # matplotlib writes fixed colors; as variables of the style sheet they follow the dark mode of the page.
    for color, variable in css_variables().items():
        element = element.replace(color, variable)
    head, rest = element.split(">", 1)
    head = re.sub(r'\s(xmlns(:\w+)?|version|width|height|role|style)="[^"]*"', "", head)
    return Markup(f'{head}{_svg_size(head)} role="img" aria-label="{escape(alt)}">{rest}')


def _svg_size(head: str) -> str:
    """Return the width of an SVG: at most its own (a point is 4/3 of a pixel), and legible on a phone."""
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+)', head)
    if box is None:
        return ""
    points = float(box[1])
    return f' style="width:{4 / 3 * points:.0f}px;max-width:100%;min-width:{0.9 * points:.0f}px"'


@cache
def _environment() -> Environment:
    """Return the environment of all templates."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The order of scores is that of the bars.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    environment.filters |= {"base64": _base64, "inline_svg": inline_svg, "slug": slug}
    return environment


def _base64(data: bytes) -> str:
    """Return bytes as a data URL has them."""
    return base64.b64encode(data).decode("ascii")


def _digest(text: str) -> str:
    """Return the hash of an inline style or script, as a Content-Security-Policy names it."""
    return f"sha256-{_base64(hashlib.sha256(text.encode()).digest())}"
