"""The names of genres and styles: the taxonomy of the default model, and the labels of older ones.

The taxonomy has two levels, genres and styles; ``data/taxonomy.toml`` lists them, with what they are taken
from. Older models have the ten genres of GTZAN and 45 styles, the music genres among AudioSet's classes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import resources
from typing import Final, Literal

# The ten genres of GTZAN, the data set of the paper.
GTZAN_GENRES: Final = (
    "blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock",
)  # fmt: skip

_LONGEST_PHRASE = 4
_MAX_TAG_LENGTH = 200

# The probability from which on a style is the answer in place of the genre above it.
SURE_STYLE: Final = 0.5

# Where the label's own letters do not make the words that people write.
_SPELLINGS = {
    "new-age": "New Age",
    "r&b": "R&B",
    "contemporary r&b": "Contemporary R&B",
    "synth-pop": "Synth-Pop",
    "jazz-funk": "Jazz-Funk",
    "dance-pop": "Dance-Pop",
}
_SMALL_WORDS = frozenset({"and", "of", "the", "in", "n", "a"})

# The branch "Music genre" of AudioSet's ontology, without classes that are ways of making music rather than
# genres (beatboxing, vocal music, a cappella, music for children, independent music).
STYLE_INDICES: Final = {
    "pop": 216,
    "hip hop": 217,
    "rock": 219,
    "heavy metal": 220,
    "punk rock": 221,
    "grunge": 222,
    "progressive rock": 223,
    "rock and roll": 224,
    "psychedelic rock": 225,
    "rhythm and blues": 226,
    "soul": 227,
    "reggae": 228,
    "country": 229,
    "swing": 230,
    "bluegrass": 231,
    "funk": 232,
    "folk": 233,
    "middle eastern": 234,
    "jazz": 235,
    "disco": 236,
    "classical": 237,
    "opera": 238,
    "electronic": 239,
    "house": 240,
    "techno": 241,
    "dubstep": 242,
    "drum and bass": 243,
    "electronica": 244,
    "electronic dance": 245,
    "ambient": 246,
    "trance": 247,
    "latin": 248,
    "salsa": 249,
    "flamenco": 250,
    "blues": 251,
    "new-age": 253,
    "african": 256,
    "afrobeat": 257,
    "christian": 258,
    "gospel": 259,
    "asian": 260,
    "carnatic": 261,
    "bollywood": 262,
    "ska": 263,
    "traditional": 264,
}
"""The styles of older models: each one's place among AudioSet's 527 classes, in their order."""

STYLES: Final = tuple(STYLE_INDICES)


@dataclass(frozen=True)
class SourceClass:
    """A class of one of the two networks that taught the default model.

    Attributes
    ----------
    network : {"audioset", "lastfm"}
        AudioSet's 527 classes, of EfficientAT, or Last.fm's 50 tags, of musicnn.
    name : str
        As the network's authors call it.
    index : int
        Its place among the outputs of the network.
    """

    network: Literal["audioset", "lastfm"]
    name: str
    index: int


@dataclass(frozen=True)
class Style:
    """A style of the taxonomy: the lower of its two levels.

    Attributes
    ----------
    name : str
        In lower case, as a model's outputs are called.
    genre : str
        The genre above it.
    sources : tuple of SourceClass
        What it is computed from: the geometric mean of their probabilities.
    """

    name: str
    genre: str
    sources: tuple[SourceClass, ...]


@dataclass(frozen=True)
class Genre:
    """A genre of the taxonomy: the upper of its two levels.

    Attributes
    ----------
    name : str
        As a model's classes and data sets have it: ``disco_funk``.
    title : str
        As people write it: ``Disco & Funk``.
    scored_as : str
        The genre that the default model scores for it: itself, but for those without labeled recordings.
    aliases : tuple of str
        Further words for it.
    sources : tuple of SourceClass
        The classes that mean it.
    styles : tuple of Style
    """

    name: str
    title: str
    scored_as: str
    aliases: tuple[str, ...]
    sources: tuple[SourceClass, ...]
    styles: tuple[Style, ...]


@dataclass(frozen=True)
class Taxonomy:
    """Genres and the styles below them.

    Attributes
    ----------
    version : str
        Changes with the names or their order.
    genres : tuple of Genre
    """

    version: str
    genres: tuple[Genre, ...]

    @property
    def styles(self) -> tuple[Style, ...]:
        """The styles of all genres."""
        return tuple(style for genre in self.genres for style in genre.styles)

    @property
    def scored_genres(self) -> tuple[Genre, ...]:
        """The genres that the default model scores."""
        return tuple(genre for genre in self.genres if genre.scored_as == genre.name)

    def is_below(self, style: str, genre: str) -> bool:
        """Return whether a style is below a genre, or below one that is scored as this genre.

        Parameters
        ----------
        style, genre : str
            Names; one that is not of this taxonomy is below nothing.
        """
        return genre in self._genres_above.get(style, ())

    def sure_style(self, genre: str, styles: Mapping[str, float]) -> str | None:
        """Return the likeliest style below a genre, if its probability is at least `SURE_STYLE`.

        Parameters
        ----------
        genre : str
        styles : mapping of str to float
            Probability by style.
        """
        below = [
            style for style, chance in styles.items() if chance >= SURE_STYLE and self.is_below(style, genre)
        ]
        return max(below, key=styles.__getitem__, default=None)

    @cached_property
    def _genres_above(self) -> dict[str, frozenset[str]]:
        return {
            style.name: frozenset((genre.name, genre.scored_as))
            for genre in self.genres
            for style in genre.styles
        }


@cache
def load_taxonomy() -> Taxonomy:
    """Return the taxonomy that comes with the package: genres of two levels, ``data/taxonomy.toml``."""
    content = tomllib.loads(
        resources.files("genrescope").joinpath("data", "taxonomy.toml").read_text(encoding="utf8")
    )

    def sources(names: Iterable[str]) -> tuple[SourceClass, ...]:
        return tuple(
            SourceClass("lastfm", name[4:], content["lastfm"][name[4:]])
            if name.startswith("tag:")
            else SourceClass("audioset", name, content["audioset"][name])
            for name in names
        )

    return Taxonomy(
        content["version"],
        tuple(
            Genre(
                name,
                genre["name"],
                genre.get("scored_as", name),
                tuple(genre.get("aliases", ())),
                sources(genre["sources"]),
                tuple(Style(style, name, sources(names)) for style, names in genre["styles"].items()),
            )
            for name, genre in content["genres"].items()
        ),
    )


@cache
def known_labels() -> tuple[str, ...]:
    """Return the genres and styles of this package's models: those of the taxonomy, and the older ones."""
    taxonomy = load_taxonomy()
    names = (*(genre.name for genre in taxonomy.genres), *(style.name for style in taxonomy.styles))
    return tuple(dict.fromkeys((*names, *GTZAN_GENRES, *STYLES)))


def matching_labels(text: str, labels: Iterable[str] = ()) -> frozenset[str]:
    """Return the labels that a word means: ``Hip Hop``, ``hip-hop`` and ``hiphop`` are the same word.

    Parameters
    ----------
    text : str
        Its case, spaces and punctuation do not count, and ``&`` is "and".
    labels : iterable of str
        Labels besides `known_labels`, as those of a model of one's own.

    Returns
    -------
    frozenset of str
        Empty where no label is called so. Several where models of different versions call it differently.
    """
    key = label_key(text)
    return _labels_by_key().get(key, frozenset()) | {label for label in labels if label_key(label) == key}


def matching_class(label: str, classes: Sequence[str]) -> str | None:
    """Return the class of a model that a data set's label means, None where there is none or several.

    Parameters
    ----------
    label : str
        Of a track: the class itself, another spelling (``Hip-Hop``), an older name (``disco``), or a genre
        that is scored as one of the classes (``punk``).
    classes : sequence of str
        Of the model.
    """
    if label in classes:
        return label
    meant = matching_labels(label, classes)
    scored = {genre.scored_as for genre in load_taxonomy().genres if genre.name in meant}
    found = [name for name in classes if name in meant] or [name for name in classes if name in scored]
    return found[0] if len(found) == 1 else None


def taxonomy_nodes(classes: Sequence[str]) -> tuple[frozenset[str], ...]:
    """Return the nodes of the taxonomy that each class stands for: itself and the genre above it.

    Parameters
    ----------
    classes : sequence of str
        Genres and styles, in any spelling. One that is not of the taxonomy stands for itself.

    Returns
    -------
    tuple of frozenset of str
        One or two names of each class; the same name for the same node.
    """
    taxonomy = load_taxonomy()
    parents = {style.name: style.genre for style in taxonomy.styles}
    genres = {genre.name for genre in taxonomy.genres}
    found = []
    for label in classes:
        meant = matching_labels(label)
        # Where a genre and a style have one name, it is the genre.
        node = next((name for name in sorted(meant & genres)), None)
        node = node or next((name for name in sorted(meant & parents.keys())), f"={label_key(label)}")
        found.append(frozenset({node, parents[node]} if node in parents and node not in genres else {node}))
    return tuple(found)


@lru_cache(4096)
def tag_labels(tag: str, classes: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the genres and styles that a tag means, in the order in which it names them.

    It means every genre whose name is among its words: "Progressive Death Metal" is metal, "Pop/Rock" is pop
    and rock, "Country Rock" is that style, country and rock. A style means the genre above it as well, and a
    genre the one that is scored in its place. Of a longer name, only words that are names themselves count,
    not aliases: "Classic Rock" is not classical.

    Parameters
    ----------
    tag : str
        A genre, as a file's tags have it, in any spelling.
    classes : tuple of str
        Labels besides `known_labels`, as those of a model of one's own.

    Returns
    -------
    tuple of str
        Empty where it is of other words.
    """
    text = tag[:_MAX_TAG_LENGTH]
    words = [word for word in re.split(r"[\W_]+", text) if word]
    found: dict[str, None] = {}
    reached = 0
    for start in range(len(words)):
        longest = start
        for stop in range(min(start + _LONGEST_PHRASE, len(words)), start, -1):
            meant = matching_labels(" ".join(words[start:stop]), classes)
            if stop <= max(reached, longest):
                meant = frozenset(
                    label for label in meant if label_key(label) == label_key("".join(words[start:stop]))
                )
            elif meant:
                longest = stop
            found |= dict.fromkeys(node for label in sorted(meant) for node in label_nodes(label))
        reached = max(reached, longest)
    # Punctuation that is a word: "R&B".
    found |= dict.fromkeys(
        node for label in sorted(matching_labels(text, classes)) for node in label_nodes(label)
    )
    return tuple(found)


@cache
def label_nodes(label: str) -> tuple[str, ...]:
    """Return a label, the genre above it, and the genres that are scored in place of these.

    Parameters
    ----------
    label : str
        A genre or style.
    """
    scored = {genre.name: genre.scored_as for genre in load_taxonomy().genres}
    (above,) = taxonomy_nodes([label])
    # A label that is not of the taxonomy has no node but itself.
    nodes = dict.fromkeys((label, *sorted(node for node in above if not node.startswith("="))))
    return tuple(nodes | dict.fromkeys(scored[node] for node in nodes if node in scored))


def display_name(label: str) -> str:
    """Return a label as it stands in lists, tables and pages: ``disco_funk`` is "disco & funk".

    Parameters
    ----------
    label : str
        A genre or style, of this package's models or of one's own.
    """
    return _titles()[label].lower() if label in _titles() else label


def title_case(label: str) -> str:
    """Return a label as tags have it: ``disco_funk`` is "Disco & Funk", ``hip hop`` is "Hip Hop".

    Parameters
    ----------
    label : str
        A genre or style, of this package's models or of one's own.
    """
    return _titles().get(label) or " ".join(
        word if word in _SMALL_WORDS and place else word[:1].upper() + word[1:]
        for place, word in enumerate(label.replace("_", " ").split())
    )


@cache
def _titles() -> dict[str, str]:
    return {genre.name: genre.title for genre in load_taxonomy().genres} | _SPELLINGS


@cache
def _labels_by_key() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for label in known_labels():
        found.setdefault(label_key(label), set()).add(label)
    for genre in load_taxonomy().genres:
        for word in (genre.title, *genre.aliases):
            found.setdefault(label_key(word), set()).add(genre.name)
    return {key: frozenset(labels) for key, labels in found.items()}


def label_key(text: str) -> str:
    """Return a text without what different spellings of a genre differ in; "Hip Hop" and "HipHop" agree.

    Parameters
    ----------
    text : str
        The name of a genre.
    """
    folded = text.casefold().replace("&", "and").replace("'n'", "and")
    letters = "".join(letter for letter in folded if letter.isalnum())
    return (letters or text).replace("rhythmandblues", "rnb").replace("randb", "rnb")
