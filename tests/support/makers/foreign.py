"""Makers for trainers that are not ours: a store by utterances, a batch of a model, its loss."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.student.loss.options import TailPolicy
from storage.format.layout import StoreUtterance
from storage.format.recorded import digest_of_id
from storage.read.reader import open_store
from storage.write.top_k import keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.store import make_about, make_logp

LENGTHS = {"utt-a": 9, "utt-b": 4, "utt-c": 0, "utt-d": 13}
NUM_CLASSES = 23


def store_of_utterances(path: Path, lengths: Mapping[str, int] | None = None, **about: Any) -> Path:
    """A sealed store of random soft labels of these utterances."""
    lengths = LENGTHS if lengths is None else lengths
    made = make_about(**about)
    rows = [StoreUtterance(id=i, num_frames=n, digest=digest_of_id(i)) for i, n in lengths.items()]
    writer = StoreWriter.create(path, made, utterances=rows)
    for shard in writer.missing_shards():
        blocks = [
            keep_top_k(
                make_logp(writer.utterances[row].num_frames, made.num_classes, seed=row),
                made.kept,
                tiers=made.tiers,
                temperatures=made.temperatures,
            )
            for row in writer.shard(shard)
        ]
        writer.write_blocks(shard, blocks)
    writer.seal()
    return path


def make_logits(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random logits that want a gradient."""
    rng = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(*shape, generator=rng, dtype=torch.float64)).to(dtype).requires_grad_()


def make_labels(num_utterances: int, num_frames: int, *, seed: int = 0) -> Tensor:
    """Random classes; a fifth of the frames has none."""
    rng = torch.Generator().manual_seed(seed)
    labels_BT = torch.randint(NUM_CLASSES, (num_utterances, num_frames), generator=rng)
    is_absent_BT = torch.rand(num_utterances, num_frames, generator=rng) < 0.2
    return labels_BT.masked_fill(is_absent_BT, -1)


def loss_by_hand(
    logits_BTC: NDArray[np.float64],
    labels_BT: NDArray[np.int64] | None,
    place: Path,
    lengths: Mapping[str, int],
    *,
    k: int,
    hard_weight: float,
    tail: TailPolicy,
) -> tuple[float, int]:
    """Sum over frames of the loss, and how many frames count: frame by frame, class by class.

    Utterances that the store does not hold have no soft labels.
    """
    store, total, count = open_store(place), 0.0, 0
    for b, (id, length) in enumerate(lengths.items()):
        soft = store.read([id], k=k) if id in store else None
        for t in range(length):
            z_C = logits_BTC[b, t] - logits_BTC[b, t].max()
            student_C = z_C - np.log(np.exp(z_C).sum())
            label = -1 if labels_BT is None else int(labels_BT[b, t])
            hard = -student_C[label] if label >= 0 else 0.0
            cost = hard_weight * hard
            if soft is not None:
                kept = soft.ids_TK[t], np.exp(soft.logp_TK[t].astype(np.float64))
                cost += (1 - hard_weight) * _soft_cost(
                    student_C, *kept, float(soft.tail_T[t]), label, tail
                )
            has_hard, has_soft = label >= 0 and hard_weight > 0, soft is not None
            total += cost
            count += has_hard or (has_soft and hard_weight < 1)
    return total, count


def _soft_cost(
    student_C: NDArray[np.float64],
    ids_K: NDArray[Any],
    prob_K: NDArray[np.float64],
    mass: float,
    label: int,
    tail: TailPolicy,
) -> float:
    """-sum q ln p of one frame."""
    target_C = np.zeros_like(student_C)
    outside = np.setdiff1d(np.arange(len(student_C)), ids_K)
    renormalized_K = prob_K / prob_K.sum()
    is_unlabelled_truth = tail == "truth" and label < 0
    target_C[ids_K] = renormalized_K if tail == "renormalize" or is_unlabelled_truth else prob_K
    bucket = 0.0
    if tail == "uniform":
        target_C[outside] = mass / len(outside)
    elif tail == "truth" and label >= 0:
        target_C[label] += mass
    elif tail == "bucket":
        bucket = -mass * float(np.log(np.exp(student_C[outside]).sum()))
    return float(-(target_C * student_C).sum()) + bucket
