"""Audio files: finding, opening, decoding, resampling and cutting them into segments."""

from genrescope.audio.discovery import FoundFile, audio_files, discover, find_audio
from genrescope.audio.header import HeaderInfo, inspect_header
from genrescope.audio.loading import (
    AudioFile,
    AudioStream,
    Samples,
    Source,
    import_decoders,
    info,
    load_audio,
    open_stream,
    resample,
    source_name,
)
from genrescope.audio.mixing import Planes
from genrescope.audio.outliers import MAX_MAGNITUDE
from genrescope.audio.segmentation import segment_grid, split, split_stream
from genrescope.audio.sources import scale_samples

__all__ = [
    "MAX_MAGNITUDE",
    "AudioFile",
    "AudioStream",
    "FoundFile",
    "HeaderInfo",
    "Planes",
    "Samples",
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
    "scale_samples",
    "segment_grid",
    "source_name",
    "split",
    "split_stream",
]
