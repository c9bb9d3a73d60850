"""Labeled music: reading data sets, splitting them, and their segments as arrays."""

from genrescope.datasets.annotations import Annotation, LabelMatrix, label_classes, label_matrix
from genrescope.datasets.base import (
    Dataset,
    DatasetIssue,
    dataset_fingerprint,
    dataset_from_tracks,
    find_duplicates,
)
from genrescope.datasets.digests import artist_digest, artist_digests, content_digests, track_digest
from genrescope.datasets.gtzan import load_gtzan, load_index
from genrescope.datasets.readers import LAYOUT_READERS, load_dataset
from genrescope.datasets.segments import MEMORY_LIMIT_BYTES, SegmentDataset, build_segments
from genrescope.datasets.spectrograms import decode_db, encode_db, load_spectrogram
from genrescope.datasets.splits import FOLDED_PROTOCOLS, PROTOCOLS, Split, get_protocol, split_dataset
from genrescope.datasets.tables import read_rows

__all__ = [
    "FOLDED_PROTOCOLS",
    "LAYOUT_READERS",
    "MEMORY_LIMIT_BYTES",
    "PROTOCOLS",
    "Annotation",
    "Dataset",
    "DatasetIssue",
    "LabelMatrix",
    "SegmentDataset",
    "Split",
    "artist_digest",
    "artist_digests",
    "build_segments",
    "content_digests",
    "dataset_fingerprint",
    "dataset_from_tracks",
    "decode_db",
    "encode_db",
    "find_duplicates",
    "get_protocol",
    "label_classes",
    "label_matrix",
    "load_dataset",
    "load_gtzan",
    "load_index",
    "load_spectrogram",
    "read_rows",
    "split_dataset",
    "track_digest",
]
