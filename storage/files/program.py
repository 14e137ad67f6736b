"""Program: the digest of the code that decides what is stored.

A version number does not tell two checkouts of one version apart. The digest does: where two
processes, or two runs, make one thing, they compare it. It becomes part of nothing that is
finished: other code may read that, and makes the same recipe of it.
"""

import functools
import hashlib
from pathlib import Path

PACKAGES = ("storage", "stages")  # next to each other, in a checkout and where a wheel is installed
FOLDER = Path(__file__).resolve().parents[2]


@functools.cache
def program_digest() -> str:
    """SHA-256 of the sources of `storage` and `stages` that this process runs, 64 hex digits."""
    return sources_digest(FOLDER)


def sources_digest(folder: Path) -> str:
    """SHA-256 over path and content of all modules of both packages in `folder`, by path."""
    digest = hashlib.sha256()
    paths = (path for package in PACKAGES for path in (folder / package).rglob("*.py"))
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in paths):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
