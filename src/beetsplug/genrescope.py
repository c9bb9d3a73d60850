"""Genres from audio, for beets: ``beet genrescope [QUERY]``, and on import.

See docs/beets.md. Set ``plugins: genrescope`` in beets' configuration.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
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
from genrescope.tagging import SHIPPED, Vocabulary, preview, write_genres
from genrescope.types import NOT_MUSIC

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

OLD_KEYS: Final = {
    "min_score": "genre_threshold",
    "styles": "style_threshold",
    "most": "max_genres",
    "unsure": "uncertain",
}

# Since 2.7 beets has several genres in a list; before, one text.
MANY: Final = "genres" in Item._fields
FIELD: Final = "genres" if MANY else "genre"


class GenrescopePlugin(BeetsPlugin):
    """Classifies tracks and fills in their genres."""

    item_types: Final = {
        "genrescope_genre": types.STRING,
        "genrescope_score": types.FLOAT,
        "genrescope_styles": types.STRING,
    }

    def __init__(self) -> None:
        super().__init__()
        self._read_old_keys()
        self.config.add(DEFAULTS)
        self._lock = threading.Lock()
        if self.config["auto"].get(bool):
            self.import_stages = [self.imported]

    def _read_old_keys(self) -> None:
        """Take over settings that stand under the keys of version 0.1, with a notice."""
        for old, new in OLD_KEYS.items():
            if not self.config[old].exists():
                continue
            self._log.warning("the setting {} is now {}; the old name ends with the next release", old, new)
            if not self.config[new].exists():
                self.config[new].set(self.config[old].get())

    def commands(self) -> list[ui.Subcommand]:
        """Return the one command: ``beet genrescope``."""
        command = ui.Subcommand("genrescope", help="classify tracks, and fill in their genres")
        add = command.parser.add_option
        add("-p", "--pretend", action="store_true", help="show the changes, and make none")
        add("-f", "--force", action="store_true", help="replace genres that tracks have already")
        add("-w", "--write", action="store_true", default=None, help="write tags (default: as on import)")
        add("-W", "--nowrite", action="store_false", dest="write", help="change the library only")
        command.func = self.command
        return [command]

    def command(self, lib: Library, options: optparse.Values, query: list[str]) -> None:
        """Classify the tracks that ``query`` finds.

        Parameters
        ----------
        lib : Library
            Of beets.
        options : optparse.Values
            ``pretend``, ``force``, ``write``.
        query : list of str
            In the language of beets.
        """
        self._ready()
        force = options.force or self.config["overwrite"].get(bool)
        albums: dict[int, Album] = {}
        for item, genres in self._classified(lib.items(query), force):
            if genres:
                ui.print_(f"{item}: {', '.join(_genres(item)) or '(none)'} -> {', '.join(genres)}")
            if options.pretend:
                continue
            self._set(item, genres)
            if genres and ui.should_write(options.write):
                self._write(item, genres)
            item.store()
            if genres and item.album_id and (album := item.get_album()):
                albums[item.album_id] = album
        for album in albums.values():
            self._put_album(album, force)

    def imported(self, session: ImportSession, task: ImportTask) -> None:
        """Classify what is being imported; beets writes the tags, if it is set to.

        Parameters
        ----------
        session : ImportSession
            Not used.
        task : ImportTask
            Holds the tracks.
        """
        try:
            self._ready()
        except UserError as failure:
            self._log.error("{}; importing without", failure)
            return
        force = self.config["overwrite"].get(bool)
        for item, genres in self._classified(task.imported_items(), force):
            self._set(item, genres)
            item.store()
        if task.is_album and task.album:
            self._put_album(task.album, force)

    def _ready(self) -> None:
        """Load model and vocabulary, once.

        Raises
        ------
        UserError
            One of them cannot be loaded.
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

        return Classifier.from_pretrained(self.config["model"].as_str())

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        setting = self.config["vocabulary"]
        name = setting.get(confuse.Optional(confuse.String()))
        if name is None:
            return Vocabulary()
        return Vocabulary.load(
            name if name in SHIPPED else setting.get(confuse.Filename()), labels=self._labels
        )

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

    def _classified(self, items: Iterable[Item], force: bool) -> Iterator[tuple[Item, list[str]]]:
        """Yield the items that may get genres, with the answer in their fields, and their new genres."""
        for item in items:
            if _genres(item) and not force:
                self._log.debug("{}: has genres already", item)
                continue
            try:
                prediction = self._classifier.predict(os.fsdecode(item.path))
            except GenrescopeError as failure:
                self._log.warning("{}; {}", failure.message, failure.hint)
                continue
            item["genrescope_genre"] = prediction.genre if prediction.is_music else NOT_MUSIC
            item["genrescope_score"] = prediction.confidence
            item["genrescope_styles"] = "; ".join(prediction.to_dict()["styles"])
            genres = self._vocabulary.genres_for(prediction, **self._choice)
            self._log.info("{}: {} at {:.2f}", item, ", ".join(genres) or "nothing", prediction.confidence)
            yield item, genres

    def _set(self, model: Item | Album, genres: list[str]) -> None:
        if genres:
            model[FIELD] = genres if MANY else self.config["separator"].as_str().join(genres)

    def _write(self, item: Item, genres: list[str]) -> None:
        """Write the genres into an item's file, and nothing else.

        Not by ``item.try_write``: mediafile, which beets writes with, saves all tags anew and loses some: ID3
        frames that share a key, comments that are not UTF-8.
        """
        path = Path(os.fsdecode(item.path))
        tags = genres if MANY else [str(item[FIELD])]
        try:
            if preview(path, tags, overwrite=True) is not None:
                write_genres(path, tags)
        except GenrescopeError as failure:
            self._log.error("{}; {}", failure.message, failure.hint)
            return
        # Otherwise ``beet update`` would take the file for one that another program has changed.
        item.mtime = item.current_mtime()

    def _put_album(self, album: Album, force: bool) -> None:
        """Give an album the genres that half of its tracks have."""
        tracks = [_genres(item) for item in album.items()]
        counts = Counter(word for genres in tracks for word in genres)
        common = [word for word, count in counts.most_common() if 2 * count >= len(tracks)]
        if common and (force or not _genres(album)):
            self._set(album, common)
            # Its tracks keep their own.
            album.store(inherit=False)


def _genres(model: Item | Album) -> list[str]:
    """Return the genres of a track or an album, whatever the version of beets keeps them in."""
    found = model.get(FIELD)
    return list(found) if isinstance(found, (list, tuple)) else [found] if found else []
