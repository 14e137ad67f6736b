"""FstArrays: a weighted transducer in an OpenFst file as numpy arrays.

    header   i4 magic, i4 length and fst type, i4 length and arc type, i4 version, i4 flags,
             u8 properties, i8 start, i8 states, i8 arcs
    const    per state f4 final, u4 first arc, u4 arcs, u4 input epsilons, u4 output epsilons;
             then all arcs
    vector   per state f4 final, i8 arcs, and its arcs
    arc      i4 input label, i4 output label, f4 cost, i4 next state

As in fst.h, const-fst.h and vector-fst.h of OpenFst 1.6 to 1.8, the versions that Kaldi uses.
Python objects for millions of arcs would take minutes and gigabytes; a const file is mapped, not
read. Const and vector files are read, const files are written.

Shapes: S states, A arcs, W words of four bytes.
"""

import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadInput

ARC = np.dtype([("input", "<i4"), ("output", "<i4"), ("cost", "<f4"), ("next", "<i4")])
STATE = np.dtype(
    [
        ("final", "<f4"),
        ("first", "<u4"),
        ("count", "<u4"),
        ("input_epsilons", "<u4"),
        ("output_epsilons", "<u4"),
    ]
)
MAGIC = 2125659606
HAS_SYMBOLS = 1 | 2  # flags: input symbols, output symbols
IS_ALIGNED = 4
ALIGNMENT = 16  # bytes
CONST_ALIGNED_VERSION = 1
CONST_VERSION = 2
EXPANDED = 1  # the only property set: true for all const files; the others are unknown
MAX_HEADER = 1024  # bytes
CHUNK_ARCS = 1 << 20  # 16 MB

Arcs = NDArray[np.void]


@dataclass(frozen=True, slots=True, kw_only=True)
class FstArrays:
    """A transducer: the arcs of state s are arcs_A[first_S[s] : first_S[s] + count_S[s]]."""

    start: int
    final_S: NDArray[np.float32]  # cost of ending in the state; inf: not final
    first_S: NDArray[np.int64]
    count_S: NDArray[np.int64]
    arcs_A: Arcs

    def chunks(self) -> Iterator[tuple[int, Arcs]]:
        """The arcs in order, in chunks, each with the index of its first arc."""
        for start in range(0, len(self.arcs_A), CHUNK_ARCS):
            yield start, np.asarray(self.arcs_A[start : start + CHUNK_ARCS])

    def sources(self, start: int, stop: int) -> NDArray[np.int32]:
        """The states that the arcs from `start` up to `stop` leave."""
        low, high = np.searchsorted(self.first_S + self.count_S, [start, stop - 1], side="right")
        states = slice(int(low), int(high) + 1)
        first_S, count_S = self.first_S[states], self.count_S[states]
        num_S = np.minimum(first_S + count_S, stop) - np.maximum(first_S, start)
        return np.repeat(np.arange(low, high + 1, dtype=np.int32), num_S)


@dataclass(frozen=True, slots=True)
class _Header:
    type: str
    version: int
    flags: int
    start: int
    num_states: int
    num_arcs: int
    num_bytes: int  # of the header


def read_fst(path: Path) -> FstArrays:
    """Read a const or vector file. All references between states and arcs are checked.

    Raises:
        BadInput: if the file is missing, truncated, damaged, empty or of another type.
    """
    if not path.is_file():
        raise BadInput(f"{path} is missing: wanted an OpenFst file")
    header = _read_header(path)
    fst = _read_const(path, header) if header.type == "const" else _read_vector(path, header)
    _refuse_invalid(path, fst)
    return fst


def encode_const(fst: FstArrays, *, change: Callable[[Arcs], Arcs]) -> Iterator[bytes]:
    """The bytes of a const file, in pieces, with `change` applied to the arcs.

    `change` returns a copy and must keep epsilons, which are counted before.
    """
    num_states, num_arcs = len(fst.final_S), len(fst.arcs_A)
    yield struct.pack("<i", MAGIC) + _string("const") + _string("standard")
    yield struct.pack("<iiQ", CONST_VERSION, 0, EXPANDED)
    yield struct.pack("<qqq", fst.start, num_states, num_arcs)
    states_S = np.zeros(num_states, STATE)
    states_S["final"], states_S["first"], states_S["count"] = fst.final_S, fst.first_S, fst.count_S
    for side in ("input", "output"):
        before = np.zeros(num_arcs + 1, np.int64)  # epsilons before each arc
        np.cumsum(fst.arcs_A[side] == 0, out=before[1:])
        states_S[f"{side}_epsilons"] = before[fst.first_S + fst.count_S] - before[fst.first_S]
    yield states_S.tobytes()
    for _, arcs in fst.chunks():
        yield change(arcs).tobytes()


def _string(text: str) -> bytes:
    return struct.pack("<i", len(text)) + text.encode()


def _read_header(path: Path) -> _Header:
    with path.open("rb") as file:
        raw = file.read(MAX_HEADER)
    if len(raw) < 4 or struct.unpack_from("<i", raw) != (MAGIC,):
        raise BadInput(
            f"{path} is not an OpenFst file: wanted HCLG.fst of utils/mkgraph.sh, decompressed"
        )
    try:
        type, at = _take_string(raw, 4)
        arc_type, at = _take_string(raw, at)
        version, flags, _ = struct.unpack_from("<iiQ", raw, at)
        start, num_states, num_arcs = struct.unpack_from("<qqq", raw, at + 16)
    except (struct.error, UnicodeDecodeError) as cause:
        raise BadInput(f"{path}: its header is damaged ({cause}): copy it again") from cause
    if type not in ("const", "vector") or arc_type != "standard":
        raise BadInput(
            f"{path} holds a {type!r} transducer of {arc_type!r} arcs, wanted const or vector, "
            "standard: run fstconvert --fst_type=const"
        )
    if flags & HAS_SYMBOLS:
        raise BadInput(
            f"{path} holds symbol tables: run fstsymbols --clear_isymbols --clear_osymbols"
        )
    return _Header(type, version, flags, start, num_states, num_arcs, at + 40)


def _take_string(raw: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<i", raw, at)
    if not 0 <= length <= len(raw) - at - 4:
        raise struct.error(f"a name of {length} bytes")
    return raw[at + 4 : at + 4 + length].decode(), at + 4 + length


def _read_const(path: Path, header: _Header) -> FstArrays:
    is_aligned = bool(header.flags & IS_ALIGNED) or header.version == CONST_ALIGNED_VERSION
    states_at = _aligned(header.num_bytes) if is_aligned else header.num_bytes
    arcs_at = states_at + header.num_states * STATE.itemsize
    arcs_at = _aligned(arcs_at) if is_aligned else arcs_at
    wanted, found = arcs_at + header.num_arcs * ARC.itemsize, path.stat().st_size
    if min(header.num_states, header.num_arcs) < 0 or found != wanted:
        raise BadInput(
            f"{path} is truncated or damaged: {found} bytes found, {wanted} wanted for "
            f"{header.num_states} states and {header.num_arcs} arcs: copy it again"
        )
    _refuse_empty(path, header.start, header.num_states)
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    states_S = raw[states_at : states_at + header.num_states * STATE.itemsize].view(STATE)
    return FstArrays(
        start=header.start,
        final_S=states_S["final"].copy(),
        first_S=states_S["first"].astype(np.int64),
        count_S=states_S["count"].astype(np.int64),
        arcs_A=raw[arcs_at:].view(ARC),
    )


def _aligned(at: int) -> int:
    return -(-at // ALIGNMENT) * ALIGNMENT


def _read_vector(path: Path, header: _Header) -> FstArrays:
    """States and arcs are interleaved: visit the states one by one, take all arcs at once."""
    num_bytes = path.stat().st_size - header.num_bytes
    words_W = np.fromfile(path, dtype="<i4", offset=header.num_bytes)
    starts, counts = array("q"), array("q")
    words, end, at = words_W.data, len(words_W), 0
    while at < end:
        count = words[at + 1] if at + 3 <= end and words[at + 2] == 0 else -1
        if not 0 <= count <= (end - at - 3) // 4:
            break
        starts.append(at)
        counts.append(count)
        at += 3 + 4 * count
    if at != end or num_bytes % 4 or header.num_states not in (len(starts), -1):  # -1: from a pipe
        raise BadInput(
            f"{path} is truncated or damaged: {len(starts)} whole states found, "
            f"{header.num_states} wanted: copy it again"
        )
    _refuse_empty(path, header.start, len(starts))
    starts_S = np.frombuffer(starts, np.int64)
    count_S = np.frombuffer(counts, np.int64)
    is_arc_W = np.ones(end, bool)
    for offset in range(3):
        is_arc_W[starts_S + offset] = False
    return FstArrays(
        start=header.start,
        final_S=words_W[starts_S].view("<f4"),
        first_S=np.cumsum(count_S) - count_S,
        count_S=count_S,
        arcs_A=words_W[is_arc_W].view(ARC),
    )


def _refuse_empty(path: Path, start: int, num_states: int) -> None:
    if start == -1 or num_states == 0:
        raise BadInput(f"{path} is an empty graph: did utils/mkgraph.sh succeed?")


def _refuse_invalid(path: Path, fst: FstArrays) -> None:
    """Raise BadInput for invalid references and costs, which would crash the decoder's process."""
    num_states, num_arcs = len(fst.final_S), len(fst.arcs_A)
    points_outside = not 0 <= fst.start < num_states
    points_outside |= bool((fst.first_S + fst.count_S > num_arcs).any())
    is_whole = np.array_equal(fst.first_S, np.cumsum(fst.count_S) - fst.count_S)
    is_whole &= int(fst.count_S.sum()) == num_arcs
    is_number = not (np.isnan(fst.final_S) | np.isneginf(fst.final_S)).any()
    for _, arcs in fst.chunks():
        points_outside |= bool(((arcs["next"] < 0) | (arcs["next"] >= num_states)).any())
        is_number &= not (np.isnan(arcs["cost"]) | np.isneginf(arcs["cost"])).any()
    if points_outside or not is_whole or not is_number:
        what = "an arc or a state points outside" if points_outside else "a cost is not a number"
        what = what if is_whole or points_outside else "its states share arcs or leave some out"
        raise BadInput(f"{path} is damaged: {what} ({num_states} states): copy it again")
    if not np.isfinite(fst.final_S).any():
        raise BadInput(
            f"{path} has no final state, so that no sentence can end: make the graph again"
        )
