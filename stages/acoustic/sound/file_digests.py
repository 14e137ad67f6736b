"""FileDigests: the SHA-256 of audio files, computed again only for a file that has changed."""

from dataclasses import dataclass
from pathlib import Path

from stages.contract.errors import BadInput
from storage.files.fingerprint import file_digest

MOST_REMEMBERED = 100_000  # files; a corpus may have more


@dataclass(frozen=True, slots=True)
class FileState:
    """What changes when a file is written or replaced."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """The state of the file at `path`.

        Raises:
            BadInput: if it is missing or cannot be read.
        """
        try:
            found = path.stat()
        except OSError as cause:
            raise BadInput(f"{path} cannot be read ({cause.strerror})") from cause
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


class FileDigests:
    """Remembers digests by the state of the file: a recording of many utterances is read once."""

    def __init__(self) -> None:
        self._found: dict[Path, tuple[FileState, str]] = {}

    def of(self, path: Path) -> tuple[FileState, str]:
        """The digest of a file, and its state before it was read.

        Raises:
            BadInput: if it is missing or cannot be read.
        """
        state = FileState.of(path)
        found = self._found.get(path)
        if found is None or found[0] != state:
            try:
                found = state, file_digest(path)
            except OSError as cause:
                raise BadInput(f"{path} cannot be read ({cause.strerror})") from cause
            if len(self._found) >= MOST_REMEMBERED:
                self._found.clear()
            self._found[path] = found
        return found
