"""Audio files: finding, opening, decoding, resampling and cutting them into segments."""

from genrescope.audio.cue_sheets import read_cue_sheet
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
from genrescope.audio.playlists import read_path_list, read_playlist
from genrescope.audio.segmentation import segment_grid, split, split_stream
from genrescope.audio.sources import is_url, scale_samples, url_refusal
from genrescope.audio.track_tags import Cover, TrackTags, read_track_tags

__all__ = [
    "MAX_MAGNITUDE",
    "AudioFile",
    "AudioStream",
    "Cover",
    "FoundFile",
    "HeaderInfo",
    "Planes",
    "Samples",
    "Source",
    "TrackTags",
    "audio_files",
    "discover",
    "find_audio",
    "import_decoders",
    "info",
    "inspect_header",
    "is_url",
    "load_audio",
    "open_stream",
    "read_cue_sheet",
    "read_path_list",
    "read_playlist",
    "read_track_tags",
    "resample",
    "scale_samples",
    "segment_grid",
    "source_name",
    "split",
    "split_stream",
    "url_refusal",
]
