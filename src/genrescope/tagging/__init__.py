"""Genre tags of audio files: reading, writing and undoing them."""

from genrescope.tagging.vocabulary import LABELS, UncertainPolicy, Vocabulary
from genrescope.tagging.writer import (
    TagChange,
    TagChangePreview,
    UndoResult,
    preview,
    read_genres,
    undo,
    write_genres,
)

__all__ = [
    "LABELS",
    "TagChange",
    "TagChangePreview",
    "UncertainPolicy",
    "UndoResult",
    "Vocabulary",
    "preview",
    "read_genres",
    "undo",
    "write_genres",
]
