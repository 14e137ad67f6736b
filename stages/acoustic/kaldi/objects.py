"""bytes of a Kaldi archive -> one matrix, or one vector of integers.

    matrix, binary   \\0B  token  header  data         FM, DM: floats; CM, CM2, CM3: compressed
    matrix, text     [ 1.0 2.0 \\n 3.0 4.0 ]
    vector, binary   \\0B  \\4 n:int32  then n times  \\4 value:int32
    vector, text     1 2 3 \\n

Declared sizes are compared with the size of the file before memory is allocated. kaldiio decodes
the binary matrices; its general reader is never called, since it also loads pickles and audio.
"""

import io
import struct
from typing import BinaryIO

import numpy as np
from kaldiio.matio import read_matrix_or_vector
from numpy.typing import NDArray

from stages.acoustic.kaldi.location import Location
from stages.contract.errors import BadInput

BINARY = b"\0B"
HEAD_BYTES = 32  # enough for every header
ELEMENT_BYTES = {b"FM": 4, b"DM": 8, b"CM": 1, b"CM2": 2, b"CM3": 1}
RANGE_BYTES = 8  # minimum and range of a compressed matrix, before its sizes
COLUMN_BYTES = 8  # four quantiles of a CM column
SIZES_BYTES = 10  # rows and columns, each with its size
CM_HEAD_BYTES = RANGE_BYTES + 8  # and two sizes without theirs
MAX_FRAMES = 1 << 24  # 46 hours at 10 ms: a larger length is damaged
BLOCK_BYTES = 1 << 20
MAX_TEXT_BYTES = 1 << 28  # of a matrix in text form: two hours of 40 dims at 10 ms
# Exceptions of kaldiio and numpy for damaged bytes.
DAMAGE = (ValueError, RuntimeError, AssertionError, struct.error, IndexError, EOFError, OSError)


def read_matrix(location: Location) -> NDArray[np.float32]:
    """Read the float matrix (T, F) at `location`.

    Raises:
        BadInput: if it is truncated, damaged or of another type.
    """
    try:
        with location.path.open("rb") as file:
            size = file.seek(0, 2)
            if location.offset >= size:
                raise BadInput(_truncated(location, wanted=location.offset + 1, found=size))
            file.seek(location.offset)
            matrix = _decode_matrix(file, location, size)
    except DAMAGE as cause:
        raise BadInput(
            f"{location}: not a readable Kaldi matrix ({cause}): make it again"
        ) from cause
    if matrix.ndim != 2:
        raise BadInput(f"{location}: wanted a matrix (frames x dims), found shape {matrix.shape}")
    return np.asarray(matrix, dtype=np.float32)


def read_matrix_here(file: BinaryIO, *, where: str, begun: bytes) -> NDArray[np.float32]:
    """Read the binary float matrix at the position of `file`, which may be a stream.

    `begun`: its first three bytes, which were read already.

    Raises:
        BadInput: if it is truncated, damaged or of another type.
    """
    try:
        if not begun.startswith(BINARY):
            raise BadInput(f"{where}: wanted a Kaldi matrix, found {begun!r}")
        matrix = _decode_binary_stream(file, where, token=bytearray(begun[len(BINARY) :]))
    except DAMAGE as cause:
        raise BadInput(f"{where}: not a readable Kaldi matrix ({cause}): make it again") from cause
    return np.asarray(matrix, dtype=np.float32)


def skip_matrix(file: BinaryIO, location: Location) -> None:
    """Move `file` past the matrix at `location`. Only a matrix in text form is read.

    Raises:
        BadInput: if it is truncated, damaged or of another type.
    """
    try:
        size = file.seek(0, 2)
        file.seek(location.offset)
        head = file.read(HEAD_BYTES)
        if _is_binary(head, location):
            file.seek(_end_of_matrix(head, location, size))
            return
        file.seek(location.offset)
        while b"]" not in (line := file.readline(BLOCK_BYTES)):
            if not line:
                raise BadInput(f"{location}: the text ends within a matrix: copy it again")
    except DAMAGE as cause:
        raise BadInput(
            f"{location}: not a readable Kaldi matrix ({cause}): make it again"
        ) from cause


def read_int_vector(location: Location) -> NDArray[np.int32]:
    """Read the vector of integers (T,) at `location`.

    Raises:
        BadInput: if it is truncated, damaged or of another type.
    """
    try:
        with location.path.open("rb") as file:
            file.seek(location.offset)
            return read_int_vector_here(file, where=str(location))
    except OSError as cause:
        raise BadInput(f"{location}: cannot be read ({cause})") from cause


def read_int_vector_here(file: BinaryIO, *, where: str) -> NDArray[np.int32]:
    """Read the vector of integers at the position of `file`, which may be a stream."""
    first = file.read(1)
    if first == b"\0":
        return _decode_binary_vector(file, where)
    line = first if first == b"\n" else first + file.readline(8 * MAX_FRAMES)
    if not line.endswith(b"\n"):
        raise BadInput(f"{where}: the file is truncated: it ends within a vector; copy it again")
    try:
        return np.array([int(field) for field in line.split()], dtype=np.int32)
    except (ValueError, OverflowError) as cause:
        raise BadInput(
            f"{where}: wanted a vector of pdf ids, found {line[:20]!r}: "
            "make it with ali-to-pdf and copy-int-vector"
        ) from cause


def _decode_matrix(file: BinaryIO, location: Location, size: int) -> NDArray[np.generic]:
    head = file.read(HEAD_BYTES)
    file.seek(location.offset)
    if not _is_binary(head, location):
        return read_text_matrix(file, where=str(location))
    _end_of_matrix(head, location, size)
    return np.asarray(read_matrix_or_vector(file))


def _decode_binary_stream(file: BinaryIO, where: str, *, token: bytearray) -> NDArray[np.generic]:
    """The rest of a matrix. Memory grows with what is there, not with its header."""
    while not token.endswith(b" ") and len(token) <= max(map(len, ELEMENT_BYTES)):
        token += file.read(1) or b" "
    name = bytes(token[:-1])
    if name not in ELEMENT_BYTES:
        raise BadInput(f"{where}: wanted a matrix (FM, DM, CM, CM2, CM3), found {bytes(token)!r}")
    head = BINARY + token + file.read(SIZES_BYTES if name in (b"FM", b"DM") else CM_HEAD_BYTES)
    wanted = _matrix_bytes(name, head) - len(head)
    body = read_blocks(file, wanted)
    if len(body) < wanted:
        raise BadInput(
            f"{where}: the file is truncated: {wanted} bytes wanted, {len(body)} found: "
            "copy it again"
        )
    return np.asarray(read_matrix_or_vector(io.BytesIO(head + body)))


def read_text_matrix(file: BinaryIO, *, where: str, begun: bytes = b"") -> NDArray[np.float32]:
    """The matrix between brackets, a line for each row. kaldiio would read any number of bytes.

    `begun`: bytes of it that were read already.
    """
    content = bytearray(begun)
    while b"]" not in content[-BLOCK_BYTES:]:
        line = file.readline(BLOCK_BYTES)
        if not line:
            raise BadInput(f"{where}: the text ends within a matrix: copy it again")
        content += line
        if len(content) > MAX_TEXT_BYTES:
            raise BadInput(
                f"{where}: a matrix of more than {MAX_TEXT_BYTES:,} bytes of text: "
                "write it in binary form"
            )
    text = bytes(content[content.index(b"[") + 1 : content.index(b"]")])
    if not text.strip():
        return np.zeros((0, 0), np.float32)
    return np.loadtxt(io.BytesIO(text), dtype=np.float32, ndmin=2)


def _is_binary(head: bytes, location: Location) -> bool:
    if head.startswith(BINARY):
        return True
    if not head.lstrip().startswith(b"["):
        raise BadInput(f"{location}: wanted a Kaldi matrix, found {head[:8]!r}")
    return False


def _end_of_matrix(head: bytes, location: Location, size: int) -> int:
    """Offset of the end of a binary matrix, at most the `size` of the file."""
    token = head[2:].split(b" ", 1)[0]
    if token not in ELEMENT_BYTES:
        raise BadInput(
            f"{location}: wanted a matrix (FM, DM, CM, CM2, CM3), found {head[2:6]!r}: "
            "is this an archive of matrices?"
        )
    end = location.offset + _matrix_bytes(token, head)
    if end > size:
        raise BadInput(_truncated(location, wanted=end, found=size))
    return end


def _matrix_bytes(token: bytes, head: bytes) -> int:
    """Number of bytes of a matrix according to its header."""
    at = len(BINARY) + len(token) + 1
    if token in (b"FM", b"DM"):
        rows, cols = struct.unpack_from("<xixi", head, at)
        header = at + 10
    else:
        rows, cols = struct.unpack_from("<ii", head, at + RANGE_BYTES)
        header = at + RANGE_BYTES + 8 + (COLUMN_BYTES * cols if token == b"CM" else 0)
    if min(rows, cols) < 0 or (rows and not cols):
        raise ValueError(f"{rows} rows and {cols} columns")
    return int(header + rows * cols * ELEMENT_BYTES[token])


def _decode_binary_vector(file: BinaryIO, where: str) -> NDArray[np.int32]:
    head = file.read(6)
    if head[:2] != b"B\4" or len(head) != 6:
        raise BadInput(
            f"{where}: wanted a vector of int32 pdf ids, found {head[1:4]!r}: "
            "make it with ali-to-pdf"
        )
    (length,) = struct.unpack("<i", head[2:])
    if not 0 <= length <= MAX_FRAMES:
        raise BadInput(f"{where}: {length} frames in one utterance: the file is damaged")
    content = read_blocks(file, 5 * length)
    if len(content) < 5 * length:
        raise BadInput(
            f"{where}: the file is truncated: {5 * length} bytes wanted, {len(content)} found"
        )
    pairs = np.frombuffer(content, dtype=np.dtype([("size", "u1"), ("value", "<i4")]))
    if (pairs["size"] != 4).any():
        raise BadInput(f"{where}: not a vector of int32: the file is damaged")
    return np.array(pairs["value"], dtype=np.int32)


def read_blocks(file: BinaryIO, num_bytes: int) -> bytes:
    """Read up to `num_bytes` in blocks: a damaged length allocates no more than the file has."""
    content = bytearray()
    while len(content) < num_bytes:
        block = file.read(min(BLOCK_BYTES, num_bytes - len(content)))
        if not block:
            break
        content += block
    return bytes(content)


def _truncated(location: Location, *, wanted: int, found: int) -> str:
    return f"{location}: the file is truncated: {wanted} bytes wanted, {found} found: copy it again"
