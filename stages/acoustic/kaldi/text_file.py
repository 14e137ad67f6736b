"""Text file: the whole text of an input file, or an error that names it."""

from pathlib import Path

from stages.contract.errors import BadInput


def read_text(path: Path, *, wanted: str) -> str:
    """Read a file without its byte order mark. `wanted` ends the message if it is missing.

    Raises:
        BadInput: if it is missing, unreadable or not UTF-8.
    """
    if not path.is_file():
        raise BadInput(f"{path} is missing: {wanted}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as cause:
        raise BadInput(f"{path} is not UTF-8 text ({cause}): convert it") from cause
    except OSError as cause:
        raise BadInput(f"{path} cannot be read ({cause})") from cause
