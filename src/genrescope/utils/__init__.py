"""Files, folders, hashes, downloads and suggestions: what has nothing to do with audio."""

from genrescope.utils.download import download_file
from genrescope.utils.files import check_output, remove_stale_copies, replacing, write_atomic
from genrescope.utils.hashing import sha256_bytes, sha256_file, sha256_stream, sha256_text
from genrescope.utils.paths import cache_folder, data_folder, package_data
from genrescope.utils.suggest import did_you_mean

__all__ = [
    "cache_folder",
    "check_output",
    "data_folder",
    "did_you_mean",
    "download_file",
    "package_data",
    "remove_stale_copies",
    "replacing",
    "sha256_bytes",
    "sha256_file",
    "sha256_stream",
    "sha256_text",
    "write_atomic",
]
