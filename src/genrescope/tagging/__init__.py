"""Genre tags of audio files: reading, writing and undoing them."""

from genrescope.tagging.formats import require_mutagen
from genrescope.tagging.vocabulary import SHIPPED, Answer, UncertainPolicy, Vocabulary
from genrescope.tagging.writer import (
    TagChange,
    TagChangePreview,
    UndoResult,
    UndoStatus,
    preview,
    read_genres,
    undo,
    write_genres,
)

__all__ = [
    "SHIPPED",
    "Answer",
    "TagChange",
    "TagChangePreview",
    "UncertainPolicy",
    "UndoResult",
    "UndoStatus",
    "Vocabulary",
    "preview",
    "read_genres",
    "require_mutagen",
    "undo",
    "write_genres",
]
