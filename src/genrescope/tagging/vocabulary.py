"""From a model's answer to one's own words for genres."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_args

from genrescope.errors import ConfigError
from genrescope.labels import known_labels, matching_labels, title_case
from genrescope.types import STYLE_THRESHOLD
from genrescope.utils import did_you_mean, parse_toml

Hierarchy = Literal["leaf", "path", "levels"]
UncertainPolicy = Literal["nothing", "styles", "all"]

SHIPPED: Final = ("beets", "discogs", "id3v1", "musicbrainz")
"""The vocabularies that come with the package."""

STEP: Final = " > "
"""Between the levels of a path, as written in a vocabulary file."""


class Answer(Protocol):
    """What a vocabulary needs to know of an answer: `Prediction` and `LibraryEntry` have it."""

    @property
    def genre(self) -> str | None:
        """The genre with the highest score; None where there is an error instead of an answer."""

    @property
    def is_uncertain(self) -> bool:
        """Whether the highest score is below the model's threshold."""

    @property
    def is_music(self) -> bool:
        """Whether the track is music."""

    @property
    def scores(self) -> Mapping[str, float]:
        """Score by genre."""

    @property
    def styles(self) -> Mapping[str, float]:
        """Probability by style."""


@dataclass(frozen=True)
class Vocabulary:
    """One's own words for a model's labels.

    Attributes
    ----------
    words_for : mapping of label to words
        Each word may be a path, ``Metal > Heavy Metal``; a label with no words is dropped. Labels that are
        not named get the name that `genrescope.labels.title_case` gives them.
    hierarchy : {"leaf", "path", "levels"}
        What of a path is written: its last word, all of it as one genre, or each level as a genre.
    separator : str
        Between the levels where ``path`` makes one genre of them.
    """

    words_for: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hierarchy: Hierarchy = "leaf"
    separator: str = STEP

    @classmethod
    def load(cls, name: str | os.PathLike[str], *, labels: Iterable[str] = ()) -> Vocabulary:
        """Read a vocabulary from a TOML file: ``hierarchy``, ``separator`` and the table ``[words]``.

        Parameters
        ----------
        name : str or path
            One of `SHIPPED`, or the path of a file.
        labels : iterable of str
            What can be named besides `genrescope.labels.known_labels`: for a model of one's own, its
            ``classes``.

        Raises
        ------
        ConfigError
            ``invalid_config``: no such file, not TOML, or something in it that is not known.
        """
        path = _shipped(name) if name in SHIPPED else Path(name)
        try:
            content = parse_toml(path.read_text(encoding="utf-8-sig"))
        except OSError as reason:
            hint = did_you_mean(str(name), SHIPPED, otherwise="check the spelling")
            raise _bad(path, f"cannot be read: {reason.strerror}", hint) from None
        except ValueError as reason:
            raise _bad(path, f"not a TOML file: {reason}", "see docs/tagging.md for an example") from None
        _refuse_unknown(path, content, ("hierarchy", "separator", "words"), "setting")
        hierarchy, separator = content.get("hierarchy", "leaf"), content.get("separator", STEP)
        if hierarchy not in get_args(Hierarchy):
            raise _bad(
                path, f"hierarchy cannot be {hierarchy!r}", "choose one of: " + ", ".join(get_args(Hierarchy))
            )
        if not isinstance(separator, str) or not separator:
            raise _bad(path, f"separator cannot be {separator!r}", f"the default is {STEP!r}")
        words = content.get("words", {})
        if not isinstance(words, dict):
            raise _bad(path, "words is not a table", 'write [words], and below it lines like hiphop = "Rap"')
        return cls(_words_for(path, words, tuple(labels)), hierarchy, separator)

    def genres_for(
        self,
        answer: Answer,
        *,
        genre_threshold: float | None = None,
        style_threshold: float | None = None,
        max_genres: int | None = None,
        uncertain: UncertainPolicy = "nothing",
    ) -> list[str]:
        """Return the genres for an answer: those of the model first, then styles, each by falling score.

        Parameters
        ----------
        answer : Prediction or LibraryEntry
            An entry with an error has no genres, nor has one that is not music.
        genre_threshold : float, optional
            Every genre with this score or more; None: the best one only.
        style_threshold : float, optional
            Every style with this probability or more, but at least `genrescope.types.STYLE_THRESHOLD`; None:
            no styles.
        max_genres : int, optional
            How many genres at most.
        uncertain : {"nothing", "styles", "all"}
            What to take from an uncertain answer: styles can be reliable where the genre is not.

        Returns
        -------
        list of str
            Genres in the words of this vocabulary, each once.
        """
        if answer.genre is None or not answer.is_music or (answer.is_uncertain and uncertain == "nothing"):
            return []
        labels: list[str] = []
        if not answer.is_uncertain or uncertain == "all":
            labels = [answer.genre] if genre_threshold is None else _reaching(answer.scores, genre_threshold)
        if style_threshold is not None:
            labels += _reaching(answer.styles, max(style_threshold, STYLE_THRESHOLD))
        found: dict[str, str] = {}
        for word in self._written(labels):
            found.setdefault(word.casefold(), word)
        return list(found.values())[:max_genres]

    def _written(self, labels: Iterable[str]) -> Iterator[str]:
        for label in labels:
            for text in self.words_for.get(label, (title_case(label),)):
                levels = text.split(STEP)
                if self.hierarchy == "levels":
                    yield from levels
                else:
                    yield levels[-1] if self.hierarchy == "leaf" else self.separator.join(levels)


def _reaching(scores: Mapping[str, float], lowest: float) -> list[str]:
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [label for label, score in ranked if score >= lowest]


def _shipped(name: str | os.PathLike[str]) -> Traversable:
    return resources.files("genrescope.tagging").joinpath("data", f"{name}.toml")


def _words_for(
    path: Path | Traversable, words: Mapping[str, object], further: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Return the words by label. A line is for all labels that its left side means; an exact one wins."""
    found: dict[str, tuple[str, ...]] = {}
    for name, text in words.items():
        parsed = _parsed(path, name, text)
        meant = matching_labels(name, further)
        if not meant:
            raise _bad(path, f"no label is called {name!r}", did_you_mean(name, (*known_labels(), *further)))
        found |= {label: parsed for label in meant if label == name or label not in words}
    return found


def _parsed(path: Path | Traversable, label: str, text: object) -> tuple[str, ...]:
    """Read the right side of a line: a word, a path of words, a list of either; "" or [] drops the label."""
    if text == "":
        return ()
    words = []
    for one in text if isinstance(text, list) else [text]:
        levels = [level.strip() for level in one.split(STEP)] if isinstance(one, str) else []
        if not levels or not all(levels):
            raise _bad(
                path,
                f"words.{label} cannot be {text!r}",
                'write "Word", "Wide Word > Narrow Word", ["Several", "Words"], or "" to drop it',
            )
        words.append(STEP.join(levels))
    return tuple(words)


def _refuse_unknown(
    path: Path | Traversable, content: Mapping[str, Any], known: tuple[str, ...], what: str
) -> None:
    for name in content:
        if name not in known:
            raise _bad(path, f"no {what} is called {name!r}", did_you_mean(name, known))


def _bad(path: Path | Traversable, what: str, hint: str) -> ConfigError:
    return ConfigError("invalid_config", f"{path}: {what}", hint)
