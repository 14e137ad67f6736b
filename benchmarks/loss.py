"""The student's loss against the forms others use: time of loss and gradient, as ratios.

    python benchmarks/loss.py [--frames 4096] [--k 8] [--classes 600,3000,9000] [--rounds 7]

Every form gives the gradient with respect to the logits of hard label + k soft labels (policy
`renormalize`, hard weight 0.2), but `hard labels`, which is torch's own cross-entropy and what
training without a teacher costs. Each round runs all forms once, in another order, and a ratio
is taken within its round: a slow moment of the machine falls on both sides of it.

Shapes: N frames, C classes, K kept ranks.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from stages.student.loss import essence_loss

HARD_WEIGHT = 0.2

Form = Callable[[], object]


def make_batch(num_frames: int, num_classes: int, k: int) -> tuple[Tensor, ...]:
    """Logits, labels, ids, log-probabilities, tail of peaked, random frames."""
    rng = torch.Generator().manual_seed(0)
    logits_NC = (2 * torch.randn(num_frames, num_classes, generator=rng)).requires_grad_()
    teacher_NC = (4 * torch.randn(num_frames, num_classes, generator=rng)).log_softmax(1)
    logp_NK, ids_NK = teacher_NC.topk(k)
    tail_N = teacher_NC.exp().scatter(1, ids_NK, 0.0).sum(1)
    return logits_NC, ids_NK[:, 0].clone(), ids_NK, logp_NK, tail_N


def forms(batch: tuple[Tensor, ...]) -> dict[str, Form]:
    """The contestants. Ours comes first: the others are given as multiples of it."""
    logits_NC, labels_N, ids_NK, logp_NK, tail_N = batch
    scratch_NC = logits_NC.detach().clone()

    def gradient(loss: Tensor, wrt: Tensor = logits_NC) -> Tensor:
        return torch.autograd.grad(loss, wrt)[0]

    def ours(tail: str = "renormalize") -> object:
        how = {"hard_weight": HARD_WEIGHT, "tail": tail}
        return gradient(essence_loss(logits_NC, labels_N, ids_NK, logp_NK, tail_N, **how).total)

    def ours_in_place() -> object:
        # Stands for the output of a linear layer. The scratch holds a gradient after the first
        # round: other numbers, as many of them.
        inner_NC = scratch_NC.detach().requires_grad_()
        how = {"hard_weight": HARD_WEIGHT, "tail": "renormalize", "in_place": True}
        return gradient(
            essence_loss(inner_NC, labels_N, ids_NK, logp_NK, tail_N, **how).total, inner_NC
        )

    def scattered() -> object:
        target_NC = torch.zeros_like(logits_NC).scatter_(1, ids_NK, logp_NK.softmax(1))
        soft = kl_div(logits_NC.log_softmax(1), target_NC, reduction="batchmean")
        return gradient(HARD_WEIGHT * cross_entropy(logits_NC, labels_N) + (1 - HARD_WEIGHT) * soft)

    def gathered() -> object:
        log_student_NC = logits_NC.log_softmax(1)
        soft = -(logp_NK.softmax(1) * log_student_NC.gather(1, ids_NK)).sum(1).mean()
        hard = -log_student_NC.gather(1, labels_N[:, None]).mean()
        return gradient(HARD_WEIGHT * hard + (1 - HARD_WEIGHT) * soft)

    def hard_labels() -> object:
        return gradient(cross_entropy(logits_NC, labels_N))

    return {
        "ours": ours,
        "ours, in place": ours_in_place,
        "ours, bucket": lambda: ours("bucket"),
        "scattered dense + kl_div": scattered,
        "gather on log_softmax": gathered,
        "hard labels (cross_entropy)": hard_labels,
    }


def measure(contestants: dict[str, Form], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of each form in each round, interleaved in an order that changes."""
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for form in contestants.values():
        form()
    for _ in range(rounds):
        for name in rng.permutation(list(contestants)):
            begin = time.perf_counter()
            contestants[name]()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def machine() -> str:
    """Processor, its threads in use, versions."""
    processor = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        lines = described.read_text(encoding="utf-8").splitlines()
        processor = next((x.split(":")[1].strip() for x in lines if "model name" in x), processor)
    return (
        f"{processor}, {torch.get_num_threads()} thread(s), "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=4096)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--classes", default="600,3000,9000")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    print(machine())
    print(f"{asked.frames} frames, k = {asked.k}, float32, {asked.rounds} rounds; loss + gradient")
    for num_classes in map(int, asked.classes.split(",")):
        batch = make_batch(asked.frames, num_classes, asked.k)
        contestants = forms(batch)
        seconds = measure(contestants, rounds=asked.rounds)
        print(f"\nC = {num_classes}")
        print(f"{'form':30}{'median ms':>10}{'times ours':>12}{'(min - max)':>17}")
        for name in contestants:
            ratios = [a / b for a, b in zip(seconds[name], seconds["ours"], strict=True)]
            spread = f"({min(ratios):.2f} - {max(ratios):.2f})"
            print(
                f"{name:30}{1e3 * statistics.median(seconds[name]):10.1f}"
                f"{statistics.median(ratios):12.2f}{spread:>17}"
            )


if __name__ == "__main__":
    main()
