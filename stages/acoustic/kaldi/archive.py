"""Kaldi archive without an scp, a sequence of id, space, object: ids and offsets of objects."""

from pathlib import Path
from typing import BinaryIO

from stages.acoustic.kaldi.location import Location
from stages.acoustic.kaldi.objects import skip_matrix
from stages.contract.errors import BadInput

MAX_ID_BYTES = 4096


def locate_matrices(path: Path) -> dict[str, Location]:
    """id -> location of its matrix. Binary matrices are skipped by their headers, without reading.

    Raises:
        BadInput: if the archive is damaged or an id occurs twice.
    """
    located: dict[str, Location] = {}
    try:
        with path.open("rb") as file:
            while id := read_id(file, path):
                if id in located:
                    raise BadInput(f"{path}: utterance {id!r} occurs twice: keep one matrix")
                located[id] = Location(path, file.tell())
                skip_matrix(file, located[id])
    except OSError as cause:
        raise BadInput(f"{path} cannot be read ({cause}): copy it again") from cause
    return located


def read_id(file: BinaryIO, path: Path) -> str | None:
    """Read the id at the position of `file`, which may be a stream; None at the end.

    Raises:
        BadInput: if there is no id.
    """
    token = bytearray()
    while (byte := file.read(1)) not in (b" ", b""):
        token += byte
        if len(token) > MAX_ID_BYTES:
            raise BadInput(f"{path}: no utterance id found: is this a Kaldi archive?")
    try:
        id = token.decode("utf-8").strip()
    except UnicodeDecodeError as cause:
        raise BadInput(f"{path}: {bytes(token[:20])!r} is not an utterance id ({cause})") from cause
    if byte and not id:
        raise BadInput(f"{path}: an empty utterance id: is this a Kaldi archive?")
    if id and not byte:
        raise BadInput(f"{path}: ends after the id {id!r}: truncated; copy it again")
    return id or None
