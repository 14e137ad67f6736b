"""The stores whose bytes tests/data/golden.json holds. They need the core of the program alone."""

from pathlib import Path
from typing import Any

import numpy as np

from storage.format.layout import StoreAbout
from storage.write.top_k import KeptBlock
from storage.write.writer import StoreWriter
from tests.support.makers.store import make_about, make_utterances

LENGTHS = (5, 0, 17, 11, 9, 23, 2, 14)

STORES: dict[str, dict[str, Any]] = {
    "small": {},
    "tempered": {"temperatures": (2.0, 0.5), "temperature": 1.5, "combine": "geometric"},
    "many classes": {"num_classes": 70_001, "kept": 33, "shard_frames": 26, "chunk_frames": 13},
    "one class kept": {"kept": 1, "weights": (0.25, 0.75), "left_out": ("../ütt/99",)},
}


def integer_block(about: StoreAbout, num_frames: int, *, seed: int) -> KeptBlock:
    """Soft labels from integers alone, so that no processor rounds them in its own way."""
    frames_T1 = np.arange(num_frames, dtype=np.int64)[:, np.newaxis] + 31 * seed
    ranks_K = np.arange(about.kept, dtype=np.int64)
    tiers_G = np.arange(len(about.tiers), dtype=np.int64)
    temperatures_H = np.arange(len(about.temperatures), dtype=np.int64)
    return KeptBlock(
        ids_TK=((frames_T1 * 7 + ranks_K * 3) % about.num_classes).astype(np.uint32),
        logp_TK=-((ranks_K * 5 + frames_T1 % 3 + 1) / 16 + 8).astype(np.float32),
        tail_TG=(1 - (tiers_G + frames_T1 % 5) / 512).astype(np.float32),
        log_norm_TH=((frames_T1 % 9 + temperatures_H) / 8).astype(np.float32),
    )


def store_digest(path: Path, **changes: Any) -> str:
    """Write one of `STORES`. Returns its digest."""
    about = make_about(**changes)
    writer = StoreWriter.create(path, about, utterances=make_utterances(LENGTHS))
    for shard in writer.missing_shards():
        frames = sum(writer.utterances[row].num_frames for row in writer.shard(shard))
        writer.write_shard(shard, integer_block(about, frames, seed=shard))
    return writer.seal()
