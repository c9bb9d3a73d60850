"""Files, folders, hashes and downloads: what has nothing to do with audio."""

from genrescope.utils.download import download_file
from genrescope.utils.files import (
    cache_folder,
    check_output,
    data_folder,
    package_data,
    replacing,
    write_atomic,
)

__all__ = [
    "cache_folder",
    "check_output",
    "data_folder",
    "download_file",
    "package_data",
    "replacing",
    "write_atomic",
]
