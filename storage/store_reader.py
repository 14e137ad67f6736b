"""SoftLabelStore: the k best of any utterances, in any order, from a sealed store.

A reader of k ranks opens the tiers up to k and no others. Decoded chunks are kept for a while,
so that neighbours cost one decoding. Nothing is held open: safe to use after a fork.

Shapes: T frames, K ranks, F rows of a chunk, k ranks asked for,
R ranks of the opened tiers.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.chunk_reader import ChunkReader
from storage.errors import StoreCorrupt, StoreError
from storage.manifest import read_head, read_manifest
from storage.soft_labels import SoftLabels
from storage.store_format import log_norm_array, refuse_difference, tier_arrays
from storage.store_metadata import read_sealed_metadata
from storage.store_verify import verify_objects
from storage.tiers import tier_of
from storage.value_code import LOGP_OF_CODE, PROB_OF_CODE, sum_differences

CACHED_CHUNKS = 64  # under 60 MiB at K = 32, F = 8192


def open_store(path: Path) -> "SoftLabelStore":
    """Open a sealed store; its metadata are compared with the manifest.

    Raises:
        StoreIncomplete: when it is under construction.
        StoreCorrupt: when something is missing or differs.
        StoreError: when it is not there, or of another format.
    """
    return SoftLabelStore(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """A decoded inner chunk: ids and codes of the first k ranks, decoded tail."""

    ids_Fk: NDArray[np.unsignedinteger[Any]]
    codes_Fk: NDArray[np.uint8]
    tail_F: NDArray[np.float32]


class SoftLabelStore:
    """A sealed store, open for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest = read_head(path)
        self._records = read_manifest(path, self.digest)
        metadata = read_sealed_metadata(path, self._records)
        self.about = metadata.about
        self.utterances = metadata.utterances
        self._plan = metadata.plan
        self._index_of = {row.id: index for index, row in enumerate(self.utterances)}
        self._chunks = ChunkReader(
            root=path,
            records=self._records,
            chunk_frames=self.about.chunk_frames,
            chunks_per_shard=self.about.shard_frames // self.about.chunk_frames,
        )
        self._cache: OrderedDict[tuple[int, int, int], _Chunk] = OrderedDict()

    @property
    def num_frames(self) -> int:
        """Frames of all utterances."""
        return sum(row.num_frames for row in self.utterances)

    @property
    def num_shards(self) -> int:
        """How many shards."""
        return self._plan.num_shards

    def __contains__(self, id: object) -> bool:
        return id in self._index_of

    def shard(self, index: int) -> range:
        """The utterances of a shard, as indices into `utterances`."""
        return self._plan.utterances(index)

    def read(self, utterance_ids: Sequence[str], *, k: int) -> SoftLabels:
        """Soft labels of utterances, one after the other in the order asked.

        Raises:
            StoreError: when an id is unknown, or k is larger than what is kept.
            StoreCorrupt: when bytes are missing or differ.
        """
        self._refuse_bad_k(k)
        return self._join([self._locate(id) for id in utterance_ids], k)

    def read_utterance(self, id: str, k: int) -> SoftLabels:
        """Soft labels of one utterance. Raises as `read`."""
        return self.read([id], k=k)

    def read_shard(self, index: int, k: int) -> SoftLabels:
        """Soft labels of all utterances of a shard, in order. Raises as `read`."""
        self._refuse_bad_k(k)
        return self._join([(index, 0, self._shard_frames(index))], k)

    def read_log_norm(self, id: str, *, temperature: float) -> NDArray[np.float32]:
        """ln sum_j p_j^(1/temperature) over all classes, (T,), of one utterance.

        Raises:
            StoreError: when the store has no such temperature, with the list of those it has.
        """
        if temperature not in self.about.temperatures:
            raise StoreError(
                f"{self.path} holds temperatures {self.about.temperatures}, asked {temperature}: "
                "choose one of them or run 'essence teacher' with teacher.temperatures"
            )
        shard, start, stop = self._locate(id)
        array = log_norm_array(temperature)
        parts = [
            self._chunks.read(array, shard=shard, chunk=chunk)[rows]
            for chunk, rows in self._pieces(start, stop)
        ]
        values_T = np.concatenate([np.empty(0, np.float32), *parts]).astype(np.float32)
        if not np.isfinite(values_T).all():
            raise StoreCorrupt(f"{self.path}: {array.name} of utterance {id!r} is not finite")
        return values_T

    def bytes_by_tier(self) -> dict[int, int]:
        """Last rank of a tier -> bytes that a reader of that many ranks opens, in all shards."""
        opened, total = {}, 0
        for index, tier in enumerate(self.about.tiers):
            ids, val, tail = (self._bytes_of(a.name) for a in tier_arrays(self.about, index))
            total += ids + val
            opened[tier.last] = total + tail
        return opened

    def verify(self, *, data: bool = True) -> None:
        """Compare every object with the manifest: sizes, and with `data` all bytes.

        Raises:
            StoreCorrupt: naming what is missing, of another size, changed, or not listed.
        """
        verify_objects(self.path, self._records, digest=self.digest, data=data)

    def check_matches(self, *, corpus_fingerprint: str, class_inventory: str) -> None:
        """Make sure that the store was made from this corpus.

        Raises:
            StoreMismatch: with a field-by-field difference.
        """
        found = {
            "corpus_fingerprint": self.about.corpus_fingerprint,
            "class_inventory": self.about.class_inventory,
        }
        wanted = {"corpus_fingerprint": corpus_fingerprint, "class_inventory": class_inventory}
        refuse_difference(str(self.path), found, wanted)

    def _bytes_of(self, array: str) -> int:
        prefix = f"{array}/c/"
        return sum(r.num_bytes for name, r in self._records.items() if name.startswith(prefix))

    def _refuse_bad_k(self, k: int) -> None:
        if not 1 <= k <= self.about.kept:
            raise StoreError(
                f"{self.path} holds K={self.about.kept}, asked k={k}: lower student.k "
                "or run 'essence teacher' with a larger teacher.kept"
            )

    def _locate(self, id: str) -> tuple[int, int, int]:
        if id not in self._index_of:
            raise StoreError(f"{self.path} holds no utterance {id!r}: was it made for this split?")
        index = self._index_of[id]
        start = int(self._plan.offset_U[index])
        return int(self._plan.shard_U[index]), start, start + self.utterances[index].num_frames

    def _shard_frames(self, shard: int) -> int:
        return sum(self.utterances[index].num_frames for index in self.shard(shard))

    def _pieces(self, start: int, stop: int) -> list[tuple[int, slice]]:
        """(chunk, rows in it) for the rows [start, stop) of a shard."""
        size = self.about.chunk_frames
        if start == stop:
            return []
        return [
            (chunk, slice(max(start - chunk * size, 0), min(stop - chunk * size, size)))
            for chunk in range(start // size, -(-stop // size))
        ]

    def _join(self, places: Sequence[tuple[int, int, int]], k: int) -> SoftLabels:
        ids = [np.empty((0, k), np.uint32)]
        codes = [np.empty((0, k), np.uint8)]
        tails = [np.empty(0, np.float32)]
        for shard, start, stop in places:
            for number, rows in self._pieces(start, stop):
                chunk = self._chunk(shard, number, k)
                ids.append(chunk.ids_Fk[rows].astype(np.uint32))
                codes.append(chunk.codes_Fk[rows])
                tails.append(chunk.tail_F[rows])
        return SoftLabels(
            ids_TK=np.concatenate(ids),
            logp_TK=LOGP_OF_CODE[np.concatenate(codes)],
            tail_T=np.concatenate(tails),
        )

    def _chunk(self, shard: int, number: int, k: int) -> _Chunk:
        key = (shard, number, k)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        chunk = self._decode(shard, number, k)
        self._cache[key] = chunk
        if len(self._cache) > CACHED_CHUNKS:
            self._cache.popitem(last=False)
        return chunk

    def _decode(self, shard: int, number: int, k: int) -> _Chunk:
        last_tier = tier_of(self.about.tiers, k)
        arrays = [tier_arrays(self.about, index) for index in range(last_tier + 1)]
        ids = [self._chunks.read(ids, shard=shard, chunk=number) for ids, _, _ in arrays]
        values = [self._chunks.read(val, shard=shard, chunk=number) for _, val, _ in arrays]
        tail_F = self._chunks.read(arrays[-1][2], shard=shard, chunk=number)
        ids_Fk = np.concatenate(ids, axis=1)[:, :k]
        self._refuse_fill(shard, number, ids_Fk)
        codes_FR = sum_differences(np.concatenate(values, axis=1))
        return _Chunk(
            ids_Fk=ids_Fk, codes_Fk=codes_FR[:, :k], tail_F=self._tail_after(k, codes_FR, tail_F)
        )

    def _tail_after(
        self, k: int, codes_FR: NDArray[np.uint8], tail_F: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Mass after rank k: the tail of k's tier, and the tier's ranks beyond k."""
        everything_is_kept = codes_FR.shape[1] == self.about.num_classes
        mass_F: NDArray[np.float32] = PROB_OF_CODE[codes_FR[:, k:]].sum(axis=1)
        if not everything_is_kept:
            mass_F += PROB_OF_CODE[tail_F]
        return np.minimum(mass_F, np.float32(1.0))

    def _refuse_fill(self, shard: int, number: int, ids_Fk: NDArray[Any]) -> None:
        start = number * self.about.chunk_frames
        used = ids_Fk[: max(0, self._shard_frames(shard) - start)]
        wrong_T = (used >= self.about.num_classes).any(axis=1)
        if wrong_T.any():
            row = start + int(np.argmax(wrong_T))
            utterances = self.shard(shard)
            ends = np.cumsum([self.utterances[index].num_frames for index in utterances])
            index = utterances[int(np.searchsorted(ends, row, side="right"))]
            raise StoreCorrupt(
                f"{self.path}, shard {shard}, utterance {self.utterances[index].id!r}, "
                f"frame {row - int(self._plan.offset_U[index])}: a class id is fill or not below "
                f"{self.about.num_classes}: the data are missing"
            )
