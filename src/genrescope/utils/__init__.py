"""Files, folders, hashes, downloads and suggestions: what has nothing to do with audio."""

from genrescope.utils.download import download_file
from genrescope.utils.file_names import ListedPaths, file_url_path, safe_file_name, stored_paths
from genrescope.utils.files import (
    check_output,
    open_atomic,
    remove_stale_copies,
    replace_file,
    replacing,
    spreadsheet_cell,
    temporary_beside,
    write_atomic,
)
from genrescope.utils.hashing import sha256_bytes, sha256_file, sha256_stream, sha256_text
from genrescope.utils.imports import import_object, source_digest
from genrescope.utils.parsing import check_types, load_array, parse_json, parse_toml
from genrescope.utils.paths import cache_folder, data_folder, package_data
from genrescope.utils.suggest import did_you_mean

__all__ = [
    "ListedPaths",
    "cache_folder",
    "check_output",
    "check_types",
    "data_folder",
    "did_you_mean",
    "download_file",
    "file_url_path",
    "import_object",
    "load_array",
    "open_atomic",
    "package_data",
    "parse_json",
    "parse_toml",
    "remove_stale_copies",
    "replace_file",
    "replacing",
    "safe_file_name",
    "sha256_bytes",
    "sha256_file",
    "sha256_stream",
    "sha256_text",
    "source_digest",
    "spreadsheet_cell",
    "stored_paths",
    "temporary_beside",
    "write_atomic",
]
