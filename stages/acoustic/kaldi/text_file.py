"""Text file: one of somebody's text files, whole, or an error that names it."""

from pathlib import Path

from stages.contract.errors import BadInput


def read_text(path: Path, *, wanted: str) -> str:
    """Its text, without a byte order mark; `wanted` says what such a file belongs to.

    Raises:
        BadInput: where it is missing, unreadable or not UTF-8.
    """
    if not path.is_file():
        raise BadInput(f"{path} is missing: {wanted}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as cause:
        raise BadInput(f"{path} is not UTF-8 text ({cause}): convert it") from cause
    except OSError as cause:
        raise BadInput(f"{path} cannot be read ({cause})") from cause
