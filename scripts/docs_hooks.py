"""Hooks of the documentation site: pages and files outside of docs become part of it.

Links in docs are those that work on a code host, such as ``../EXPERIMENTS.md``; here they are changed to
where the file is on the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# From files of the repository to their place on the site.
PAGES = {
    "EXPERIMENTS.md": "project/experiments.md",
    "CHANGELOG.md": "project/changes.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "deploy/README.md": "project/deployment.md",
    "README.md": "index.md",
}
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository, and the files that pages link to.

    Parameters
    ----------
    files : Files
        Those of docs.
    config : MkDocsConfig
        Of the site.
    """
    for source, place in PAGES.items():
        if place != "index.md":
            text = (ROOT / source).read_text(encoding="utf8")
            files.append(File.generated(config, place, content=_relocated(text, source, place)))
    linked: set[str] = set()
    for file in list(files.documentation_pages()):
        if file.src_uri not in PAGES.values():
            linked |= _outside(file.content_string, file.src_uri)
    for source in PAGES:
        linked |= _outside((ROOT / source).read_text(encoding="utf8"), f"../{source}")
    for source in sorted(linked - set(PAGES)):
        files.append(File.generated(config, f"files/{source}", abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change the links of a page of docs that lead out of it.

    Parameters
    ----------
    markdown : str
        Of the page.
    page : Page
        The page.
    config : MkDocsConfig
        Of the site.
    files : Files
        All files of the site.
    """
    place = page.file.src_uri
    return markdown if place.startswith("project/") else _relocated(markdown, f"docs/{place}", place)


def _relocated(text: str, source: str, place: str) -> str:
    """Return a page with its links as they are on the site.

    Parameters
    ----------
    text : str
    source : str
        Where the page is in the repository.
    place : str
        Where it is on the site.
    """

    def change(found: re.Match[str]) -> str:
        target = _target(found[2], source)
        if target is None:
            return found[0]
        if target in PAGES:
            target = PAGES[target]
        elif target.startswith("docs/"):
            target = target.removeprefix("docs/")
        else:
            target = f"files/{target}"
        return found[1] + posixpath.relpath(target, posixpath.dirname(place) or ".") + found[3]

    parts = _FENCED.split(text)
    return "".join(part if part.startswith("```") else _LINK.sub(change, part) for part in parts)


def _target(link: str, source: str) -> str | None:
    """Return which file of the repository a link leads to; None for addresses, and where there is none."""
    if re.match(r"[a-z]+:", link):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return target if (ROOT / target).is_file() else None


def _outside(text: str, place: str) -> set[str]:
    """Return the files outside of docs that a page links to."""
    source = posixpath.normpath(posixpath.join("docs", place))
    text = "".join(part for part in _FENCED.split(text) if not part.startswith("```"))
    targets = (_target(found[2], source) for found in _LINK.finditer(text))
    return {target for target in targets if target is not None and not target.startswith("docs/")}
