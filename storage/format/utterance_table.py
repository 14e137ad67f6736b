"""UtteranceTable: the utterances of a store as arrays, 50 bytes each and its id; objects take 300.

    ids          all ids in UTF-8, one after the other
    starts_V     where each id begins in them, and where the last one ends
    length_U     frames
    digest_UB    sha256 of the content in the corpus file

It is a sequence of StoreUtterance, which are made one by one when they are asked for.

Shapes: U utterances, V = U + 1, B = 32 bytes of a digest.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from storage.format.layout import StoreUtterance

DIGEST_BYTES = 32


class UtteranceTable(Sequence[StoreUtterance]):
    """The utterances in order. Equal to any sequence of the same utterances."""

    def __init__(
        self,
        *,
        ids: bytes,
        starts_V: NDArray[np.int64],
        length_U: NDArray[np.uint64],
        digest_UB: NDArray[np.uint8],
    ) -> None:
        self.ids = ids
        self.starts_V = starts_V
        self.length_U = length_U
        self.digest_UB = digest_UB

    @classmethod
    def of(cls, utterances: Iterable[StoreUtterance]) -> "UtteranceTable":
        """The table of these utterances; one that is a table already is returned as it is."""
        if isinstance(utterances, UtteranceTable):
            return utterances
        ids, sizes, lengths, digests = bytearray(), array("q", [0]), array("Q"), bytearray()
        for row in utterances:
            id = row.id.encode()
            ids += id
            sizes.append(len(id))
            lengths.append(row.num_frames)
            digests += bytes.fromhex(row.digest)
        return cls(
            ids=bytes(ids),
            starts_V=np.cumsum(np.frombuffer(sizes, np.int64)),
            length_U=np.array(lengths, np.uint64),
            digest_UB=np.frombuffer(bytes(digests), np.uint8).reshape(-1, DIGEST_BYTES),
        )

    def __len__(self) -> int:
        return len(self.length_U)

    @overload
    def __getitem__(self, index: int) -> StoreUtterance: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[StoreUtterance, ...]: ...
    def __getitem__(self, index: int | slice) -> StoreUtterance | tuple[StoreUtterance, ...]:
        if isinstance(index, slice):
            return tuple(self[row] for row in range(*index.indices(len(self))))
        row = range(len(self))[index]  # an IndexError where a tuple raises one
        return StoreUtterance(
            id=self._id(row).decode(),
            num_frames=int(self.length_U[row]),
            digest=self.digest_UB[row].tobytes().hex(),
        )

    def __iter__(self) -> Iterator[StoreUtterance]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, UtteranceTable):
            return (
                self.ids == other.ids
                and np.array_equal(self.starts_V, other.starts_V)
                and np.array_equal(self.length_U, other.length_U)
                and np.array_equal(self.digest_UB, other.digest_UB)
            )
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        # Without the index: another process has other hashes.
        made = partial(
            UtteranceTable,
            ids=self.ids,
            starts_V=self.starts_V,
            length_U=self.length_U,
            digest_UB=self.digest_UB,
        )
        return made, ()

    def find(self, id: str) -> int | None:
        """Which utterance has this id; None if there is none."""
        hashes, rows = self._index
        key = id.encode(errors="surrogatepass")
        wanted = hash(key)
        at = bisect_left(hashes, wanted)
        while at < len(hashes) and hashes[at] == wanted:
            if self._id(rows[at]) == key:
                return rows[at]
            at += 1
        return None

    def an_id_twice(self) -> str | None:
        """An id that more than one utterance has, if there is one."""
        hashes, rows = self._index
        sorted_U = np.asarray(hashes)
        # Equal ids have equal hashes, which lie together; different ids hardly ever have.
        for at in np.flatnonzero(sorted_U[1:] == sorted_U[:-1]).tolist():
            ids = [self._id(rows[n]) for n in range(at, bisect_right(hashes, hashes[at]))]
            if len(set(ids)) < len(ids):
                return ids[0].decode()
        return None

    @cached_property
    def _index(self) -> tuple["array[int]", "array[int]"]:
        """The hashes of all ids, ascending, and whose they are: 16 bytes an utterance."""
        spans = pairwise(self.starts_V.tolist())
        hash_U = np.fromiter((hash(self.ids[a:b]) for a, b in spans), np.int64, count=len(self))
        order_U = np.argsort(hash_U, kind="stable")
        hashes, rows = array("q"), array("q")
        hashes.frombytes(hash_U[order_U].tobytes())
        rows.frombytes(order_U.astype(np.int64).tobytes())
        return hashes, rows

    def _id(self, row: int) -> bytes:
        return self.ids[self.starts_V.item(row) : self.starts_V.item(row + 1)]
