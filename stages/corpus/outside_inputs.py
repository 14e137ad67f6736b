"""What a corpus reads next to the speech: the contents of files, the versions of programs."""

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from stages.contract.errors import BadInput
from storage.files.fingerprint import file_digest

SYNTHESISER = "espeakng-loader"  # the package that has espeak-ng


def file_digests(files: Mapping[str, Path | None], *, branch: str) -> dict[str, str]:
    """SHA-256 of each file by the name of its setting below `branch`, those left out (None) apart.

    Raises:
        BadInput: if a file is missing or cannot be read.
    """
    digests = {}
    for name, path in files.items():
        if path is None:
            continue
        if not os.path.lexists(path):
            raise BadInput(f"{branch}.{name}: {path} is missing: wanted a file")
        try:
            digests[name] = file_digest(path)
        except OSError as cause:
            raise BadInput(f"{branch}.{name}: {path} cannot be read: {cause}") from cause
    return digests


def package_version(package: str) -> str:
    """The version that is installed, or `absent`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
