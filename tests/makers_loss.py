"""Makers of frames with hard and soft labels, and the dense float64 definition of the loss.

The definition is written from DESIGN 8 alone: it makes the whole target (N, C) and lets autograd
do the rest. Nothing of stages/student is used.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    logits_NC: Tensor
    labels_N: Tensor
    ids_NK: Tensor
    logp_NK: Tensor
    tail_N: Tensor

    def soft(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.labels_N, self.ids_NK, self.logp_NK, self.tail_N


def make_frames(
    *,
    num_frames: int = 7,
    num_classes: int = 11,
    k: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    unlabelled: bool = True,
    temperature: float = 1.0,
) -> Frames:
    rng = torch.Generator().manual_seed(seed)
    logits_NC = 3 * torch.randn(num_frames, num_classes, generator=rng, dtype=torch.float64)
    teacher_NC = 3 * torch.randn(num_frames, num_classes, generator=rng, dtype=torch.float64)
    logp_NC = (teacher_NC / temperature).log_softmax(1)
    logp_NK, ids_NK = logp_NC.topk(k, dim=1)
    tail_N = logp_NC.exp().scatter(1, ids_NK, 0.0).sum(1)
    labels_N = torch.randint(num_classes, (num_frames,), generator=rng)
    if num_frames:
        labels_N[0] = ids_NK[0, 0]  # one label among the kept ranks for certain
    if unlabelled and num_frames > 2:
        labels_N[2] = -1
    return Frames(
        logits_NC=logits_NC.to(dtype),
        labels_N=labels_N,
        ids_NK=ids_NK,
        logp_NK=logp_NK.to(dtype),
        tail_N=tail_N.to(dtype),
    )


def dense_loss(
    logits_NC: Tensor,
    labels_N: Tensor,
    ids_NK: Tensor,
    logp_NK: Tensor,
    tail_N: Tensor,
    *,
    hard_weight: float,
    tail: str,
    temperature: float = 1.0,
    frame_weights_N: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Total, hard and soft loss by definition, in the logits' own precision."""
    hard, soft, weights, hard_weights = [], [], [], []
    for frame in range(len(logits_NC)):
        label = int(labels_N[frame])
        weight = 1.0 if frame_weights_N is None else float(frame_weights_N[frame])
        if hard_weight == 1 and label < 0:
            weight = 0.0
        weights.append(weight)
        hard_weights.append(weight if label >= 0 else 0.0)
        log_student_C = logits_NC[frame].log_softmax(0)
        hard.append(-log_student_C[label] if label >= 0 else 0 * log_student_C[0])
        soft.append(
            temperature**2
            * _soft(
                (logits_NC[frame] / temperature).log_softmax(0),
                label,
                {
                    int(i): float(p)
                    for i, p in zip(ids_NK[frame], logp_NK[frame].exp(), strict=True)
                },
                float(tail_N[frame]),
                tail,
            )
        )
    mix = [hard_weight * h + (1 - hard_weight) * s for h, s in zip(hard, soft, strict=True)]
    return _mean(mix, weights), _mean(hard, hard_weights), _mean(soft, weights)


def _soft(
    log_student_C: Tensor, label: int, kept: dict[int, float], mass: float, tail: str
) -> Tensor:
    outside = [c for c in range(len(log_student_C)) if c not in kept]
    if tail == "truth" and label < 0:
        tail = "renormalize"
    whole = sum(kept.values()) if tail == "renormalize" else 1.0
    loss = -sum(p / whole * log_student_C[c] for c, p in kept.items())
    if not outside:
        return loss
    if tail == "bucket":
        loss = loss - mass * torch.logsumexp(log_student_C[outside], 0)
    if tail == "uniform":
        loss = loss - sum(mass / len(outside) * log_student_C[c] for c in outside)
    if tail == "truth":
        loss = loss - mass * log_student_C[label]
    return loss


def _mean(values: list[Tensor], weights: list[float]) -> Tensor:
    if sum(weights) == 0:
        return torch.zeros(())
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
