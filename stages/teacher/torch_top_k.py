"""keep_top_k, keep_top_k_of_probabilities for tensors: the K best of every frame, on any device.

The rules are those of storage/write/top_k.py: best first, ties by the smaller id, exact tails.
Only what is kept leaves the device.

Shapes: T frames, C classes, K kept ranks, G tiers, H temperatures, R rows of a block.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from storage.errors import StoreError
from storage.format.tiers import Tier
from storage.write.top_k import SMALLEST_PROB, KeptBlock, refuse_too_many

BLOCK_VALUES = 1 << 24  # classes times frames worked on at once: 128 MiB as float64


def keep_top_k(
    logp_TC: Tensor, k: int, *, tiers: Sequence[Tier], temperatures: Sequence[float] = ()
) -> KeptBlock:
    """Keep the k largest of every frame, from float32 log-posteriors, which stay as they are.

    Tails and log norms are sums in float64.

    Raises:
        StoreError: if k is larger than C, or a value is NaN.
    """
    kept = _Kept(logp_TC, k, num_tiers=len(tiers), num_temperatures=len(temperatures))
    for rows in _blocks(logp_TC):
        logp_RC = logp_TC[rows]
        ids_RK, best_RK, kept.is_nan_T[rows] = _largest(logp_RC, k)
        prob_RC = logp_RC.double().exp()
        prob_RK = prob_RC.gather(1, ids_RK)
        outside_R = prob_RC.scatter_(1, ids_RK, 0.0).sum(dim=1)
        kept.ids_TK[rows], kept.logp_TK[rows] = ids_RK, best_RK
        kept.tail_TG[rows] = _tail_after_each(prob_RK, outside_R, tiers)
        for column, temperature in enumerate(temperatures):
            log_norm_R = torch.logsumexp(logp_RC.double() / temperature, dim=1)
            kept.log_norm_TH[rows, column] = log_norm_R.float()
    return kept.block()


def keep_top_k_of_probabilities(prob_TC: Tensor, k: int, *, tiers: Sequence[Tier]) -> KeptBlock:
    """The same from float32 probabilities, which are used up. Ties are those of probabilities.

    Raises:
        StoreError: if k is larger than C, or a value is NaN.
    """
    kept = _Kept(prob_TC, k, num_tiers=len(tiers), num_temperatures=0)
    for rows in _blocks(prob_TC):
        ids_RK, best_RK, kept.is_nan_T[rows] = _largest(prob_TC[rows], k)
        outside_R = prob_TC[rows].scatter_(1, ids_RK, 0.0).sum(dim=1, dtype=torch.float64)
        kept.ids_TK[rows] = ids_RK
        kept.logp_TK[rows] = best_RK.clamp(min=float(SMALLEST_PROB)).log()
        kept.tail_TG[rows] = _tail_after_each(best_RK.double(), outside_R, tiers)
    return kept.block()


class _Kept:
    """What is kept, on the device of the posteriors, until all frames are done."""

    def __init__(self, values_TC: Tensor, k: int, *, num_tiers: int, num_temperatures: int) -> None:
        num_frames, num_classes = values_TC.shape
        refuse_too_many(k, num_classes)
        device = values_TC.device
        self.ids_TK = torch.empty(num_frames, k, dtype=torch.int64, device=device)
        self.logp_TK = torch.empty(num_frames, k, device=device)
        self.tail_TG = torch.empty(num_frames, num_tiers, device=device)
        self.log_norm_TH = torch.empty(num_frames, num_temperatures, device=device)
        self.is_nan_T = torch.zeros(num_frames, dtype=torch.bool, device=device)

    def block(self) -> KeptBlock:
        """The block in the processor's memory.

        Raises:
            StoreError: naming the first frame with a NaN.
        """
        wrong_T = self.is_nan_T.cpu().numpy()
        if wrong_T.any():
            raise StoreError(f"frame {int(np.argmax(wrong_T))}: a value is NaN")
        return KeptBlock(
            ids_TK=self.ids_TK.cpu().numpy().astype(np.uint32),
            logp_TK=self.logp_TK.cpu().numpy(),
            tail_TG=self.tail_TG.cpu().numpy(),
            log_norm_TH=self.log_norm_TH.cpu().numpy(),
        )


def _blocks(values_TC: Tensor) -> Iterator[slice]:
    num_frames, num_classes = values_TC.shape
    step = max(1, BLOCK_VALUES // num_classes)
    for start in range(0, num_frames, step):
        yield slice(start, start + step)


def _largest(values_RC: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids (int64) and values of the k largest of each row, largest first, ties by smaller id.

    And whether the row holds a NaN: topk takes that for the largest value of all.
    """
    best_RK, ids_RK = torch.topk(values_RC, k, dim=1)
    is_nan_R = best_RK[:, 0].isnan()
    # topk promises no order among equal values. Which of them it takes matters only in rows where
    # more than k values are at least the k-th largest: these few are selected again.
    least_R1 = best_RK[:, -1:]
    tied = ((values_RC >= least_R1).sum(dim=1) > k).nonzero()[:, 0]
    if len(tied):
        ids_RK[tied] = _smallest_ids(values_RC[tied], least_R1[tied], k)
    # By id, then stably by value. + 0.0 makes 0.0 of -0.0, which a sort by bits would not tie.
    ids_RK = ids_RK.sort(dim=1).values
    order_RK = (values_RC.gather(1, ids_RK) + 0.0).sort(dim=1, descending=True, stable=True).indices
    ids_RK = ids_RK.gather(1, order_RK)
    return ids_RK, values_RC.gather(1, ids_RK), is_nan_R


def _smallest_ids(values_RC: Tensor, least_R1: Tensor, k: int) -> Tensor:
    """All ids above the least value; of those that equal it the smaller ones, until there are k."""
    above_RC = values_RC > least_R1
    equal_RC = values_RC == least_R1
    room_R1 = k - above_RC.sum(dim=1, keepdim=True)
    chosen_RC = above_RC | (equal_RC & (equal_RC.cumsum(dim=1) <= room_R1))
    return chosen_RC.nonzero()[:, 1].view(len(values_RC), k)


def _tail_after_each(prob_RK: Tensor, outside_R: Tensor, tiers: Sequence[Tier]) -> Tensor:
    """The mass (R, G) after each tier's last rank, float32: what is outside, and ranks between."""
    after_R, columns = outside_R, []
    for tier in reversed(tiers):
        columns.append(after_R)
        after_R = after_R + prob_RK[:, tier.columns].sum(dim=1)
    return torch.stack(columns[::-1], dim=1).float()
