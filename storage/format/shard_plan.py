"""Shard plan: which utterance lies in which shard, and where. A pure function of the lengths.

Utterances keep their order and never cross a shard, so that a shard is one unit of work,
retry and transfer. What is left of a shard is fill.

Shapes: U utterances.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreError
from storage.format.layout import MAX_CHUNK_BYTES

SHARD_FRAMES = 32768  # of a store whose maker asks for no other size, and of its chunks
CHUNK_FRAMES = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """`offset_U` counts frames from the start of the utterance's shard."""

    num_shards: int
    shard_U: NDArray[np.uint32]
    offset_U: NDArray[np.uint64]

    def utterances(self, shard: int) -> range:
        """The utterances of a shard: one run of indices."""
        return range(
            int(np.searchsorted(self.shard_U, shard, side="left")),
            int(np.searchsorted(self.shard_U, shard, side="right")),
        )


def fit_chunk_frames(kept: int) -> int:
    """CHUNK_FRAMES, or the largest power of two with which a chunk of K ranks may be read."""
    most = max(1, MAX_CHUNK_BYTES // (4 * kept))
    return min(CHUNK_FRAMES, 1 << (most.bit_length() - 1))


def fit_shard_frames(lengths: Sequence[int], *, wanted: int, chunk_frames: int) -> int:
    """Rows S of a shard: a multiple of `chunk_frames`, near `wanted`.

    More where the longest utterance needs it, less where the whole corpus does.
    """
    rows = max(min(wanted, sum(lengths)), max(lengths, default=0), 1)
    return -(-rows // chunk_frames) * chunk_frames


def plan_shards(lengths: Sequence[int], shard_frames: int) -> ShardPlan:
    """Fill shards of `shard_frames` rows in the order given. There is always one shard.

    Raises:
        StoreError: when an utterance is longer than a shard.
    """
    shards, offsets = [], []
    shard = used = 0
    for index, length in enumerate(lengths):
        if length > shard_frames:
            raise StoreError(
                f"utterance {index} has {length} frames, a shard {shard_frames}: "
                "ask for larger shards (teacher.shard_frames)"
            )
        if used + length > shard_frames:
            shard, used = shard + 1, 0
        shards.append(shard)
        offsets.append(used)
        used += length
    return ShardPlan(
        num_shards=shard + 1,
        shard_U=np.array(shards, dtype=np.uint32),
        offset_U=np.array(offsets, dtype=np.uint64),
    )
