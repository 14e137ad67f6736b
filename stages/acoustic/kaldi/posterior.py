"""bytes of a Kaldi archive <-> Posterior: for each frame pairs of a class and its probability.

    binary   \\0B  \\4 T:int32   of each frame: \\4 n:int32, n times (\\4 id:int32 \\4 p:float32)
    text     [ 12 0.75 7 0.25 ] [ 12 1 ] \\n

As WritePosterior of Kaldi writes it (hmm/posterior.cc). An object of an archive does not state its
type: a vector of integers begins with the same bytes, and fails the check of the sizes here.

Shapes: T frames, K pairs of each frame, P pairs of all frames.
"""

import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.kaldi.objects import (
    BINARY,
    BLOCK_BYTES,
    DAMAGE,
    MAX_FRAMES,
    MAX_TEXT_BYTES,
    read_blocks,
    read_matrix_here,
    read_text_matrix,
)
from stages.contract.errors import BadInput
from storage.exchange.frames import DenseFrames, Frames, SparseFrames

PAIR = np.dtype([("id size", "u1"), ("id", "<i4"), ("p size", "u1"), ("p", "<f4")])
INT = struct.Struct("<Bi")
SIZE = 4  # bytes of an int32 and a float32
MAX_PAIRS = 1 << 26  # of a frame: more is damage

NO_POSTERIOR = (
    "no Posterior of int32 and float32: wanted pairs of class and probability; is this an archive "
    "of alignments, or of doubles (copy-post writes floats)?"
)


def read_frames_here(file: BinaryIO, *, where: str, is_dense: bool | None = None) -> Frames:
    """Read the matrix or the Posterior at the position of `file`, which may be a stream.

    `is_dense` is what the archive holds, if that is known: it decides for '[ ]' in text form.

    Raises:
        BadInput: if it is truncated, damaged or of another type.
    """
    head = file.read(1)
    if head == BINARY[:1]:
        head += file.read(1)
        kind = file.read(1)
        if len(kind) < 1:
            raise BadInput(
                f"{where}: the file is truncated: it ends within {head!r}; copy it again"
            )
        if head == BINARY and kind == bytes([SIZE]):
            return _read_binary(file, where)
        return DenseFrames(read_matrix_here(file, where=where, begun=head + kind))
    line = head if head == b"\n" else head + file.readline(MAX_TEXT_BYTES)
    if not line.endswith(b"\n"):
        raise BadInput(f"{where}: the file is truncated: it ends within a line; copy it again")
    if b"]" not in line and b"[" in line:
        try:
            return DenseFrames(read_text_matrix(file, where=where, begun=line))
        except DAMAGE as cause:
            raise BadInput(f"{where}: not a readable Kaldi matrix ({cause})") from cause
    if is_dense and not line.strip(b" \t\r\n[]"):
        return DenseFrames(np.zeros((0, 0), np.float32))
    return _read_text(line, where)


def binary_posterior(
    ids_TK: NDArray[np.uint32],
    prob_TK: NDArray[np.float32],
    count_T: NDArray[np.integer[Any]] | None = None,
) -> bytes:
    """The bytes of a Posterior with the first `count_T` pairs of each frame, or all K."""
    num_frames, k = ids_TK.shape
    frame = np.dtype([("size", "u1"), ("n", "<i4"), ("pairs", PAIR, (k,))])
    frames_T = np.empty(num_frames, frame)
    frames_T["size"], frames_T["n"] = SIZE, k if count_T is None else count_T
    pairs_TK = frames_T["pairs"]
    pairs_TK["id size"] = pairs_TK["p size"] = SIZE
    pairs_TK["id"], pairs_TK["p"] = ids_TK, prob_TK
    content = frames_T.tobytes()
    if count_T is not None:
        bytes_T = INT.size + PAIR.itemsize * count_T.astype(np.int64)
        rows_TX = np.frombuffer(content, np.uint8).reshape(num_frames, frame.itemsize)
        content = rows_TX[np.arange(frame.itemsize) < bytes_T[:, np.newaxis]].tobytes()
    return BINARY + INT.pack(SIZE, num_frames) + content


def text_posterior(
    ids_TK: NDArray[np.uint32],
    prob_TK: NDArray[np.float32],
    count_T: NDArray[np.integer[Any]] | None = None,
) -> bytes:
    """The same as one line of text; probabilities have as many digits as float32 needs."""
    frames, rows = [], zip(ids_TK.tolist(), prob_TK.astype(str).tolist(), strict=True)
    counts = [ids_TK.shape[1]] * len(ids_TK) if count_T is None else count_T.tolist()
    for (ids_K, prob_K), count in zip(rows, counts, strict=True):
        kept = zip(ids_K[:count], prob_K[:count], strict=True)
        pairs = " ".join(f"{id} {prob}" for id, prob in kept)
        frames.append(f"[ {pairs} ] ")
    return ("".join(frames) + "\n").encode()


def binary_matrix(values_TC: NDArray[np.float32]) -> bytes:
    """The bytes of a FloatMatrix; without rows it has no columns, as Kaldi wants it."""
    shape = values_TC.shape if len(values_TC) else (0, 0)
    sizes = b"".join(INT.pack(SIZE, size) for size in shape)
    return BINARY + b"FM " + sizes + np.ascontiguousarray(values_TC, "<f4").tobytes()


def text_matrix(values_TC: NDArray[np.float32]) -> bytes:
    """The same as text, a line for each row."""
    rows = [f"\n  {' '.join(row)} " for row in values_TC.astype(str).tolist()]
    return f" [{''.join(rows) or ' '}]\n".encode()


def _read_binary(file: BinaryIO, where: str) -> SparseFrames:
    num_frames = _read_number(file, where, "frames", most=MAX_FRAMES, size_is_read=True)
    counts, pieces = [], []
    for frame in range(num_frames):
        count = _read_number(file, f"{where}, frame {frame}", "pairs", most=MAX_PAIRS)
        num_bytes = count * PAIR.itemsize
        few = num_bytes <= BLOCK_BYTES
        piece = file.read(num_bytes) if few else read_blocks(file, num_bytes)
        if len(piece) < num_bytes:
            _refuse_other_type(piece[: len(piece) // PAIR.itemsize * PAIR.itemsize], where, frame)
            raise BadInput(
                f"{where}, frame {frame}: the file is truncated: {num_bytes} bytes wanted, "
                f"{len(piece)} found: copy it again"
            )
        counts.append(count)
        pieces.append(piece)
    pairs_P = np.frombuffer(b"".join(pieces), PAIR)
    count_T = np.array(counts, np.int64)
    bad_P = (pairs_P["id size"] != SIZE) | (pairs_P["p size"] != SIZE)
    if bad_P.any():
        frame = int(np.searchsorted(np.cumsum(count_T), int(np.argmax(bad_P)), side="right"))
        raise BadInput(f"{where}, frame {frame}: {NO_POSTERIOR}")
    return SparseFrames(
        ids_P=np.array(pairs_P["id"], np.int32),
        prob_P=np.array(pairs_P["p"], np.float32),
        count_T=count_T,
    )


def _refuse_other_type(pairs: bytes, where: str, frame: int) -> None:
    """A vector of integers may end where a Posterior of its first numbers would go on."""
    pairs_P = np.frombuffer(pairs, PAIR)
    if (pairs_P["id size"] != SIZE).any() or (pairs_P["p size"] != SIZE).any():
        raise BadInput(f"{where}, frame {frame}: {NO_POSTERIOR}")


def _read_number(
    file: BinaryIO, where: str, what: str, *, most: int, size_is_read: bool = False
) -> int:
    head = file.read(INT.size - size_is_read)
    head = bytes([SIZE]) + head if size_is_read else head
    if len(head) < INT.size:
        raise BadInput(f"{where}: the file is truncated: it ends where a number is; copy it again")
    size, number = INT.unpack(head)
    if size != SIZE:
        raise BadInput(f"{where}: {NO_POSTERIOR}")
    if not 0 <= number <= most:
        raise BadInput(f"{where}: {number} {what}: the file is damaged, or no Posterior")
    return int(number)


def _read_text(line: bytes, where: str) -> SparseFrames:
    tokens_N = np.array(line.split(), dtype=bytes)
    opens_T, closes_T = (np.flatnonzero(tokens_N == sign) for sign in (b"[", b"]"))
    if not _are_brackets(opens_T, closes_T, len(tokens_N)):
        raise BadInput(
            f"{where}: no Posterior: wanted '[ id p id p ] [ id p ] ...' on one line, found "
            f"{line[:40]!r}"
        )
    counts_T = closes_T - opens_T - 1
    if (counts_T % 2).any():
        frame = int(np.argmax(counts_T % 2))
        raise BadInput(
            f"{where}, frame {frame}: {counts_T[frame]} numbers, wanted pairs of class and "
            "probability; a text matrix begins its rows on the line after '['"
        )
    values_N = np.delete(tokens_N, np.concatenate([opens_T, closes_T]))
    try:
        ids_P, prob_P = values_N[0::2].astype(np.int32), values_N[1::2].astype(np.float32)
    except (ValueError, OverflowError) as cause:
        raise BadInput(
            f"{where}: no Posterior ({cause}): wanted pairs of class and probability"
        ) from cause
    return SparseFrames(ids_P=ids_P, prob_P=prob_P, count_T=(counts_T // 2).astype(np.int64))


def _are_brackets(opens_T: NDArray[np.int64], closes_T: NDArray[np.int64], num_tokens: int) -> bool:
    """Does each frame begin where the one before ends, and the line with the last one?"""
    if len(opens_T) != len(closes_T):
        return False
    begins_T = np.concatenate([[0], closes_T + 1])
    return bool(
        np.array_equal(opens_T, begins_T[:-1])
        and begins_T[-1] == num_tokens
        and (closes_T > opens_T).all()
    )
