"""Makers of frames with hard and soft labels, and the dense float64 definition of the loss.

The definition is written from DESIGN 8 alone: it makes the whole target (N, C) and lets autograd
do the rest. Nothing of stages/student is used.
"""

from dataclasses import dataclass
from pathlib import Path

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


def peak_memory_of_a_step(form: str, *, num_frames: int = 4096, num_classes: int = 9000) -> float:
    """Memory that a step of output layer and loss adds to the process, in sizes of the logits.

    `form` is "chunks" or "logits". For a process of its own: the peak is that of its whole life.
    """
    from stages.student.loss.chunked import essence_linear_loss
    from stages.student.loss.fused import essence_loss

    layer = torch.nn.Linear(8, num_classes)
    hidden_NH = torch.randn(num_frames, 8).requires_grad_()

    def step(rows: slice) -> None:
        h, ids = hidden_NH[rows], torch.arange(8).expand(len(hidden_NH[rows]), 8)
        soft = (ids[:, 0], ids, torch.zeros(ids.shape), torch.zeros(len(h)))
        if form == "chunks":
            parts = essence_linear_loss(
                h, layer.weight, layer.bias, *soft, hard_weight=0.3, tail="renormalize"
            )
        else:
            parts = essence_loss(
                layer(h), *soft, hard_weight=0.3, tail="renormalize", in_place=True
            )
        parts.total.backward()

    step(slice(0, 3))  # libraries and gradients of the weights have their memory
    before = peak_memory_bytes()
    step(slice(None))
    return (peak_memory_bytes() - before) / (4 * num_frames * num_classes)


def peak_memory_bytes() -> int:
    """The most that this process has ever had in memory."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
