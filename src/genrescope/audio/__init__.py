"""Audio files: finding, opening, decoding, resampling and cutting them into segments."""

from genrescope.audio.discovery import FoundFile, audio_files, discover, find_audio
from genrescope.audio.header import HeaderInfo, inspect_header
from genrescope.audio.loading import (
    AudioFile,
    AudioStream,
    Source,
    import_decoders,
    info,
    load_audio,
    open_stream,
    resample,
)
from genrescope.audio.outliers import MAX_MAGNITUDE
from genrescope.audio.segmentation import segment_grid, split, split_stream

__all__ = [
    "MAX_MAGNITUDE",
    "AudioFile",
    "AudioStream",
    "FoundFile",
    "HeaderInfo",
    "Source",
    "audio_files",
    "discover",
    "find_audio",
    "import_decoders",
    "info",
    "inspect_header",
    "load_audio",
    "open_stream",
    "resample",
    "segment_grid",
    "split",
    "split_stream",
]
