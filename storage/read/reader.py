"""SoftLabelStore: the k best of any utterances or frames, in any order, from a sealed store.

A reader of k ranks opens the tiers up to k and no others. Frames are numbered through the whole
store, utterance after utterance. A store can be used from any process or thread: a fork may share
it, and a process that it is sent to opens it again there.

Shapes: T frames, K ranks asked for, R ranks of the opened tiers.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.contents.contents import StoreContents, read_contents
from storage.contents.frame_map import FrameMap, Rows, Wanted, count_frames
from storage.contents.object_check import check_objects, refuse_problems, strangers
from storage.contents.part import records_here, refuse_left_out
from storage.errors import StoreCorrupt, StoreError, StoreMismatch
from storage.format.layout import (
    FrameArray,
    count_arrays,
    differences,
    log_norm_array,
    refuse_difference,
    tier_arrays,
)
from storage.format.pruning import fill_ids
from storage.format.tiers import refuse_more_ranks
from storage.format.value_code import decode_logp
from storage.place.find_place import find_place
from storage.place.place import Place
from storage.read.rank_reader import RankReader
from storage.read.soft_labels import SoftLabelCodes, SoftLabels

CACHE_BYTES = 64 << 20


def open_store(
    place: Place | Path | str, *, cache_bytes: int = CACHE_BYTES, allow_unfinished: bool = False
) -> "SoftLabelStore":
    """Open a sealed store, at a path or a URL; its metadata are compared with the manifest.

    `cache_bytes` bounds what each thread keeps decompressed. With `allow_unfinished` a store on
    disk may be under construction: `absent_shards` lists what it lacks; reading that is an error.

    Raises:
        StoreIncomplete: when it is under construction.
        StoreCorrupt: when something is missing or differs.
        StoreUnreachable: when the system or the server does not let us read.
        StoreError: when it is not there, of another format, or no package here reads such a URL.
    """
    contents = read_contents(find_place(place), allow_unfinished=allow_unfinished)
    return SoftLabelStore(contents, cache_bytes=cache_bytes)


class SoftLabelStore:
    """An open store: its contents, read once, and its frames, read on request."""

    def __init__(self, contents: StoreContents, *, cache_bytes: int = CACHE_BYTES) -> None:
        self.contents = contents
        self.place = contents.place
        self.digest = contents.digest  # empty while the store is under construction
        self.absent_shards = contents.absent_shards
        self.about = contents.metadata.about
        self.utterances = contents.metadata.utterances
        self._plan = contents.metadata.plan
        self._map = FrameMap(
            contents.metadata, where=str(self.place), absent_shards=self.absent_shards
        )
        self._cache_bytes = cache_bytes

    @cached_property
    def _reader(self) -> RankReader:
        """Made at the first read: many a store is opened for its headers only."""
        return RankReader(
            self.place,
            self.contents.records,
            self.about,
            self._map,
            cache_bytes=self._cache_bytes,
        )

    @property
    def num_frames(self) -> int:
        """Frames of all utterances."""
        return self._map.num_frames

    @property
    def num_shards(self) -> int:
        """How many shards."""
        return self._plan.num_shards

    def __contains__(self, id: object) -> bool:
        return id in self._map

    def shard(self, index: int) -> range:
        """The utterances of a shard, as indices into `utterances`."""
        return self._plan.utterances(index)

    def read(self, wanted: Wanted, *, k: int) -> SoftLabels:
        """Soft labels of utterances or parts of them (`Span`), in the order asked, or of frames.

        Raises:
            StoreError: when an id or a frame is not there, or k is larger than what is kept.
            StorePartial: when this copy of the store lacks these ranks, or this shard.
            StoreCorrupt: when bytes are missing or differ.
        """
        runs = self._find(wanted, k)
        num_frames = count_frames(runs)
        labels = SoftLabels(
            ids_TK=np.empty((num_frames, k), np.uint32),
            logp_TK=np.empty((num_frames, k), np.float32),
            tail_T=np.empty(num_frames, np.float32),
            count_T=self._room_for_counts(num_frames),
        )
        for rows, part in self._reader.ranks(runs, k):
            labels.ids_TK[rows] = part.ids_TK
            decode_logp(part.codes_TK, out=labels.logp_TK[rows])
            labels.tail_T[rows] = part.tail_T
            if labels.count_T is not None and part.count_T is not None:
                labels.count_T[rows] = part.count_T
        if labels.count_T is not None:
            fill_ids(labels.ids_TK, labels.is_absent_TK)
        return labels

    def refuse_absent(self, wanted: Wanted, *, k: int) -> None:
        """Make sure that this copy has what `read` opens, without reading. Raises as `read`."""
        self._find(wanted, k)

    def read_codes(self, wanted: Wanted, *, k: int) -> SoftLabelCodes:
        """As `read`, with probabilities as one-byte codes."""
        runs = self._find(wanted, k)
        num_frames = count_frames(runs)
        labels = SoftLabelCodes(
            ids_TK=np.empty((num_frames, k), self.about.ids_dtype),
            codes_TK=np.empty((num_frames, k), np.uint8),
            tail_T=np.empty(num_frames, np.float32),
            count_T=self._room_for_counts(num_frames),
        )
        for rows, part in self._reader.ranks(runs, k):
            labels.ids_TK[rows] = part.ids_TK
            labels.codes_TK[rows] = part.codes_TK
            labels.tail_T[rows] = part.tail_T
            if labels.count_T is not None and part.count_T is not None:
                labels.count_T[rows] = part.count_T
        return labels

    def read_utterance(self, id: str, k: int) -> SoftLabels:
        """Soft labels of one utterance. Raises as `read`."""
        return self.read([id], k=k)

    def read_shard(self, index: int, k: int) -> SoftLabels:
        """Soft labels of all utterances of a shard, in order. Raises as `read`."""
        return self.read(self.shard_frames(index), k=k)

    def shard_frames(self, index: int) -> range:
        """The frames of a shard."""
        return self._map.shard_frames(index)

    def utterance_frames(self, id: str) -> range:
        """The frames of an utterance."""
        return self._map.utterance_frames(id)

    def read_log_norm(self, id: str, *, temperature: float) -> NDArray[np.float32]:
        """ln sum_j p_j^(1/temperature) over all classes, (T,), of one utterance.

        Raises:
            StoreError: when the store has no such temperature, with the list of those it has.
        """
        if temperature not in self.about.temperatures:
            raise StoreError(
                f"{self.place} holds temperatures {self.about.temperatures}, asked {temperature}: "
                "choose one of them, or a store that was made with it in teacher.temperatures"
            )
        array = log_norm_array(self.about, temperature)
        runs = self._map.find([id])
        self._refuse_left_out([array], runs, 1)
        values_T = self._reader.values(array, runs).view("<f4").astype(np.float32)
        if not np.isfinite(values_T).all():
            raise StoreCorrupt(f"{self.place}: {array.name} of utterance {id!r} is not finite")
        return values_T

    def bytes_by_tier(self) -> dict[int, int]:
        """Last rank of a tier -> bytes that a reader of that many ranks opens, in all shards."""
        opened, total = {}, sum(self._bytes_of(a.name) for a in count_arrays(self.about))
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
        records = self.contents.records
        here = records_here(self.place, self.contents.part, records)
        found = [problem for _, problem in check_objects(self.place, here, data=data)]
        others = strangers(self.place, records, digest=self.digest)
        refuse_problems(self.place, [*filter(None, found), *others])

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
        refuse_difference(str(self.place), found, wanted, cure="name a store of this corpus")

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process the store is opened again, and must be the same one."""
        return _open_again, (self.place, self._cache_bytes, self.digest)

    def _room_for_counts(self, num_frames: int) -> NDArray[np.uint16] | None:
        return None if self.about.pruning is None else np.empty(num_frames, np.uint16)

    def _bytes_of(self, array: str) -> int:
        prefix = f"{array}/c/"
        return sum(
            r.num_bytes for name, r in self.contents.records.items() if name.startswith(prefix)
        )

    def _find(self, wanted: Wanted, k: int) -> list[Rows]:
        refuse_more_ranks(str(self.place), k=k, kept=self.about.kept)
        runs = self._map.find(wanted)
        self._refuse_left_out(self._reader.opened(k).arrays, runs, k)
        return runs

    def _refuse_left_out(self, arrays: Sequence[FrameArray], runs: Sequence[Rows], k: int) -> None:
        part = self.contents.part
        if part is not None:
            names, shards = [array.name for array in arrays], [run.shard for run in runs]
            refuse_left_out(self.place, part, names, shards=shards, k=k)


def _open_again(place: Place, cache_bytes: int, digest: str) -> SoftLabelStore:
    store = open_store(place, cache_bytes=cache_bytes)
    if store.digest != digest:
        (line,) = differences({"digest": store.digest}, {"digest": digest})
        raise StoreMismatch(f"{place} was replaced while it was in use: {line}: open it again")
    return store
