"""Makers of posteriors and small stores."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.corpus.corpus_file import CorpusFile
from storage.format.layout import StoreAbout, StoreUtterance
from storage.write.top_k import KeptBlock, keep_top_k
from storage.write.writer import StoreWriter


def make_logp(
    num_frames: int, num_classes: int, *, seed: int = 0, sharpness: float = 4.0
) -> NDArray[np.float32]:
    """Peaked posteriors, as acoustic models give them: float32 log-softmax."""
    rng = np.random.default_rng(seed)
    logits_TC = rng.normal(size=(num_frames, num_classes)) * sharpness
    best_T1 = logits_TC.max(axis=1, keepdims=True)
    norm_T1 = best_T1 + np.log(np.exp(logits_TC - best_T1).sum(axis=1, keepdims=True))
    return np.asarray(logits_TC - norm_T1, dtype=np.float32)


def make_about(**changes: Any) -> StoreAbout:
    """A store's about; name what shall differ."""
    fields: dict[str, Any] = {
        "split": "train",
        "corpus_fingerprint": "c" * 64,
        "class_inventory": "d" * 64,
        "num_classes": 23,
        "kept": 7,
        "members": ("a" * 64, "b" * 64),
        "weights": (0.5, 0.5),
        "combine": "arithmetic",
        "temperature": 1.0,
        "temperatures": (),
        "shard_frames": 33,
        "chunk_frames": 11,
        "frame_shift_ms": 30.0,
        "subsampling": 3,
        "left_out": (),
        "program_version": "0.1.0",
    }
    return StoreAbout(**(fields | changes))


def make_utterances(lengths: Sequence[int]) -> list[StoreUtterance]:
    """Utterances of these lengths; the ids are odd on purpose."""
    return [
        StoreUtterance(
            id=f"../ütt/{index}",
            num_frames=length,
            digest=hashlib.sha256(str(index).encode()).hexdigest(),
        )
        for index, length in enumerate(lengths)
    ]


def make_block(about: StoreAbout, num_frames: int, *, seed: int) -> KeptBlock:
    """What a shard of so many frames keeps."""
    logp_TC = make_logp(num_frames, about.num_classes, seed=seed)
    return keep_top_k(logp_TC, about.kept, tiers=about.tiers, temperatures=about.temperatures)


def quick_block(about: StoreAbout, num_frames: int, *, seed: int) -> KeptBlock:
    """A sound block of many classes, without the posteriors of all of them."""
    rng = np.random.default_rng(seed)
    step = about.num_classes // about.kept
    ranks_TK = np.tile(np.arange(about.kept) * step, (num_frames, 1))
    ids_TK = rng.permuted(ranks_TK, axis=1) + rng.integers(0, step, size=(num_frames, 1))
    prob_TK = -np.sort(-rng.dirichlet(np.full(about.kept, 0.3), size=num_frames), axis=1)
    outside_T1 = rng.random((num_frames, 1))
    kept_TK = np.maximum(prob_TK * (1 - outside_T1), 1e-9)
    tails = [outside_T1[:, 0] + kept_TK[:, tier.last :].sum(axis=1) for tier in about.tiers]
    return KeptBlock(
        ids_TK=ids_TK.astype(np.uint32),
        logp_TK=np.log(kept_TK).astype(np.float32),
        tail_TG=np.stack(tails, axis=1).astype(np.float32),
        log_norm_TH=rng.normal(size=(num_frames, len(about.temperatures))).astype(np.float32),
    )


def shard_block(writer: StoreWriter, shard: int) -> KeptBlock:
    """The block that `fill_store` writes as this shard."""
    frames = sum(writer.utterances[row].num_frames for row in writer.shard(shard))
    return make_block(writer.about, frames, seed=shard)


def utterances_of(corpus: CorpusFile) -> list[StoreUtterance]:
    """What a store of this corpus lists."""
    return [
        StoreUtterance(id=row.id, num_frames=row.num_frames, digest=row.digest)
        for row in corpus.utterances
    ]


def fill_store(
    path: Path,
    about: StoreAbout,
    lengths: Sequence[int] = (),
    *,
    utterances: Sequence[StoreUtterance] = (),
) -> str:
    """Create or resume, write all missing shards, seal. Returns the digest."""
    rows = utterances or make_utterances(lengths)
    writer = StoreWriter.create(path, about, utterances=rows)
    for shard in writer.missing_shards():
        writer.write_shard(shard, shard_block(writer, shard))
    return writer.seal()


def tree_digest(root: Path) -> str:
    """One hash of all names and bytes below a directory."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{path.relative_to(root)} {len(content)} ".encode() + content)
    return digest.hexdigest()
