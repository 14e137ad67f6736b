"""Text file: the whole text of an input file, or an error that names it."""

import io
from pathlib import Path

from stages.contract.errors import BadInput
from storage.files.regular_file import open_regular


def read_text(path: Path, *, wanted: str) -> str:
    """Read a file without its byte order mark. `wanted` ends the message if it is missing.

    Raises:
        BadInput: if it is missing, unreadable or not UTF-8.
    """
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig") as file:
            return file.read()
    except FileNotFoundError as cause:
        raise BadInput(f"{path} is missing: {wanted}") from cause
    except UnicodeDecodeError as cause:
        raise BadInput(f"{path} is not UTF-8 text ({cause}): convert it") from cause
    except OSError as cause:
        raise BadInput(f"{path} cannot be read ({cause.strerror})") from cause
