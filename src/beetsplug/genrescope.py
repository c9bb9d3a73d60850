"""Genres from the sound itself, for beets: ``beet genrescope [QUERY]``, and on import.

See docs/beets.md. Set ``plugins: genrescope`` in beets' configuration.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import confuse
from beets import ui
from beets.dbcore import types
from beets.library import Item
from beets.plugins import BeetsPlugin

try:
    from beets.exceptions import UserError
except ModuleNotFoundError:  # as in older versions
    from beets.ui import UserError  # type: ignore[attr-defined]

from genrescope.errors import GenrescopeError
from genrescope.tagging import Vocabulary

if TYPE_CHECKING:
    import optparse

    from beets.importer import ImportSession, ImportTask
    from beets.library import Album, Library

    from genrescope.inference import Classifier

DEFAULTS: Final = {
    "auto": True,
    "overwrite": False,
    "model": "default",
    "vocabulary": None,
    "genre_threshold": None,
    "style_threshold": None,
    "max_genres": None,
    "uncertain": "nothing",
    "separator": ", ",
}

# Since 2.7 beets has several genres in a list; before, one text.
MANY: Final = "genres" in Item._fields
FIELD: Final = "genres" if MANY else "genre"


class GenrescopePlugin(BeetsPlugin):
    """Listens to tracks and fills in their genres."""

    item_types: Final = {
        "genrescope_genre": types.STRING,
        "genrescope_score": types.FLOAT,
        "genrescope_styles": types.STRING,
    }

    def __init__(self) -> None:
        super().__init__()
        self.config.add(DEFAULTS)
        self._lock = threading.Lock()
        if self.config["auto"].get(bool):
            self.import_stages = [self.imported]

    def commands(self) -> list[ui.Subcommand]:
        """Return the one command: ``beet genrescope``."""
        command = ui.Subcommand("genrescope", help="listen to tracks, and fill in their genres")
        add = command.parser.add_option
        add("-p", "--pretend", action="store_true", help="show the changes, and make none")
        add("-f", "--force", action="store_true", help="replace genres that tracks have already")
        add("-w", "--write", action="store_true", default=None, help="write tags (default: as on import)")
        add("-W", "--nowrite", action="store_false", dest="write", help="change the library only")
        command.func = self.command
        return [command]

    def command(self, lib: Library, options: optparse.Values, query: list[str]) -> None:
        """Listen to what ``query`` finds."""
        self._ready()
        force = options.force or self.config["overwrite"].get(bool)
        albums: dict[int, Album] = {}
        for item, words in self._heard(lib.items(query), force):
            if words:
                ui.print_(f"{item}: {', '.join(_genres(item)) or '(none)'} -> {', '.join(words)}")
            if options.pretend:
                continue
            self._set(item, words)
            if words and ui.should_write(options.write):
                item.try_write()
            item.store()
            if words and item.album_id and (album := item.get_album()):
                albums[item.album_id] = album
        for album in albums.values():
            self._put_album(album, force)

    def imported(self, session: ImportSession, task: ImportTask) -> None:
        """Listen to what is being imported; beets writes the tags, if it is set to."""
        try:
            self._ready()
        except UserError as failure:
            self._log.error("{}; importing without", failure)
            return
        force = self.config["overwrite"].get(bool)
        for item, words in self._heard(task.imported_items(), force):
            self._set(item, words)
            item.store()
        if task.is_album and task.album:
            self._put_album(task.album, force)

    def _ready(self) -> None:
        """Load model and vocabulary, once.

        Raises
        ------
        UserError
            One of them cannot be had.
        confuse.ConfigError
            A setting makes no sense; beets says so.
        """
        try:
            with self._lock:
                _ = self._classifier, self._vocabulary, self._choice
        except GenrescopeError as failure:
            raise UserError(f"genrescope: {failure.message}; {failure.hint}") from None

    @cached_property
    def _classifier(self) -> Classifier:
        from genrescope.inference import Classifier

        return Classifier.load(self.config["model"].as_str())

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        path = self.config["vocabulary"].get(confuse.Optional(confuse.Filename()))
        return Vocabulary.load(path, labels=self._labels) if path else Vocabulary()

    @property
    def _labels(self) -> tuple[str, ...]:
        return (*self._classifier.classes, *self._classifier.model.info.styles)

    @cached_property
    def _choice(self) -> dict[str, Any]:
        number, whole = confuse.Optional(confuse.Number()), confuse.Optional(int)
        return {
            "genre_threshold": self.config["genre_threshold"].get(number),
            "style_threshold": self.config["style_threshold"].get(number),
            "max_genres": self.config["max_genres"].get(whole),
            "uncertain": self.config["uncertain"].as_choice(["nothing", "styles", "all"]),
        }

    def _heard(self, items: Iterable[Item], force: bool) -> Iterator[tuple[Item, list[str]]]:
        """Yield the items that may get genres, with the answer in their fields, and their new genres."""
        for item in items:
            if _genres(item) and not force:
                self._log.debug("{}: has genres already", item)
                continue
            try:
                row = self._classifier.predict(os.fsdecode(item.path)).to_dict()
            except GenrescopeError as failure:
                self._log.warning("{}; {}", failure.message, failure.hint)
                continue
            item["genrescope_genre"], item["genrescope_score"] = row["genre"], row["score"]
            item["genrescope_styles"] = "; ".join(row["styles"])
            words = self._vocabulary.genres_for(row, **self._choice)
            self._log.info("{}: {} at {:.2f}", item, ", ".join(words) or "nothing", row["score"])
            yield item, words

    def _set(self, model: Item | Album, words: list[str]) -> None:
        if words:
            model[FIELD] = words if MANY else self.config["separator"].as_str().join(words)

    def _put_album(self, album: Album, force: bool) -> None:
        """Give an album the genres that half of its tracks have."""
        tracks = [_genres(item) for item in album.items()]
        counts = Counter(word for words in tracks for word in words)
        common = [word for word, count in counts.most_common() if 2 * count >= len(tracks)]
        if common and (force or not _genres(album)):
            self._set(album, common)
            # Its tracks keep their own.
            album.store(inherit=False)


def _genres(model: Item | Album) -> list[str]:
    """Return the genres of a track or an album, whatever the version of beets keeps them in."""
    found = model.get(FIELD)
    return list(found) if isinstance(found, (list, tuple)) else [found] if found else []
