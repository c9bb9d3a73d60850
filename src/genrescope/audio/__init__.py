"""Audio files: finding, opening, decoding, resampling and cutting them into segments."""

from genrescope.audio.discovery import FoundFile, audio_files, discover, find_audio
from genrescope.audio.loading import (
    AudioFile,
    AudioInfo,
    AudioStream,
    import_decoders,
    info,
    load_audio,
    open_stream,
)
from genrescope.audio.segmentation import segment_grid, split, split_stream

__all__ = [
    "AudioFile",
    "AudioInfo",
    "AudioStream",
    "FoundFile",
    "audio_files",
    "discover",
    "find_audio",
    "import_decoders",
    "info",
    "load_audio",
    "open_stream",
    "segment_grid",
    "split",
    "split_stream",
]
