"""Genre tags of audio files: reading, writing and undoing them."""

from genrescope.tagging.album_tags import AlbumTags, import_readers, read_album_tags
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
    "AlbumTags",
    "Answer",
    "TagChange",
    "TagChangePreview",
    "UncertainPolicy",
    "UndoResult",
    "UndoStatus",
    "Vocabulary",
    "import_readers",
    "preview",
    "read_album_tags",
    "read_genres",
    "require_mutagen",
    "undo",
    "write_genres",
]
