"""The student's loss next to other forms in use: processor time and memory, as ratios.

    OMP_NUM_THREADS=1 python benchmarks/loss.py [--classes 600,3000,9000,32000] [--hidden 256]

First table: loss and gradient of given logits. Second: output layer, loss, and the gradients of
activations, weight and bias. Every form has a hard label and k soft targets a frame (policy
`renormalize`, hard weight 0.2), except those named "hard": they are training without a teacher.

Each round runs all forms once, in a new order. Ratios are taken within a round, so that both sides
of a ratio see the same load of the machine. Memory is the peak that a form adds to the process,
relative to the logits (N, C) in float32; given logits are not counted.

Shapes: N frames, H hidden channels, C classes, K kept classes.
"""

import argparse
import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, linear, linear_cross_entropy

from stages.student.loss.chunked import essence_linear_loss
from stages.student.loss.definition import SoftTargets
from stages.student.loss.fused import essence_loss
from stages.student.loss.options import LossOptions, TailPolicy

HARD_WEIGHT = 0.2
MOST_LOGITS = 4096 * 9000  # fewer frames where classes are more: machines are small


def nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form to be measured; `prepare` runs before it, unmeasured."""

    act: Callable[[], object]
    prepare: Callable[[], object] = nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Random frames whose teacher is peaked."""

    hidden_NH: Tensor
    weight_CH: Tensor
    bias_C: Tensor
    labels_N: Tensor
    soft: SoftTargets

    @property
    def layer(self) -> tuple[Tensor, Tensor, Tensor]:
        """Tensors that need gradients."""
        return self.hidden_NH, self.weight_CH, self.bias_C

    @property
    def targets(self) -> tuple[Tensor, SoftTargets]:
        """Hard labels and soft targets."""
        return self.labels_N, self.soft


def make_batch(num_frames: int, num_classes: int, *, k: int, hidden: int) -> Batch:
    """A batch from a seed."""
    rng = torch.Generator().manual_seed(0)
    logp_NC = (4 * torch.randn(num_frames, num_classes, generator=rng)).log_softmax(1)
    logp_NK, ids_NK = logp_NC.topk(k)
    return Batch(
        hidden_NH=torch.randn(num_frames, hidden, generator=rng).requires_grad_(),
        weight_CH=torch.randn(num_classes, hidden, generator=rng)
        .mul_(2 * hidden**-0.5)
        .requires_grad_(),
        bias_C=torch.zeros(num_classes).requires_grad_(),
        labels_N=ids_NK[:, 0].clone(),
        soft=SoftTargets(
            ids_NK=ids_NK,
            logp_NK=logp_NK,
            tail_N=logp_NC.exp().scatter(1, ids_NK, 0.0).sum(1),
        ),
    )


def mixed(hard: Tensor, soft: Tensor) -> Tensor:
    """The multitask loss."""
    return HARD_WEIGHT * hard + (1 - HARD_WEIGHT) * soft


def scattered(logits_NC: Tensor, batch: Batch) -> Tensor:
    """A dense target, and kl_div."""
    probs_NK = batch.soft.logp_NK.softmax(1)
    target_NC = torch.zeros_like(logits_NC).scatter_(1, batch.soft.ids_NK, probs_NK)
    soft = kl_div(logits_NC.log_softmax(1), target_NC, reduction="batchmean")
    return mixed(cross_entropy(logits_NC, batch.labels_N), soft)


def gathered(logits_NC: Tensor, labels_N: Tensor, ids_NK: Tensor, logp_NK: Tensor) -> Tensor:
    """The kept classes of a log_softmax."""
    log_student_NC = logits_NC.log_softmax(1)
    soft = -(logp_NK.softmax(1) * log_student_NC.gather(1, ids_NK)).sum(1).mean()
    return mixed(-log_student_NC.gather(1, labels_N[:, None]).mean(), soft)


def logits_forms(batch: Batch, *, compiled: bool) -> dict[str, Form]:
    """Loss alone. The first is what the others are compared with."""
    logits_NC = linear(*batch.layer).detach().requires_grad_()
    scratch_NC = torch.empty_like(logits_NC, requires_grad=False)

    def gradient(loss: Tensor, wrt: Tensor = logits_NC) -> Tensor:
        return torch.autograd.grad(loss, wrt)[0]

    def fused() -> object:
        options = LossOptions(hard_weight=HARD_WEIGHT, tail="renormalize")
        return gradient(essence_loss(logits_NC, *batch.targets, options).total)

    def in_place(tail: TailPolicy = "renormalize", hard_weight: float = HARD_WEIGHT) -> Form:
        options = LossOptions(hard_weight=hard_weight, tail=tail)

        # The scratch takes the place of a linear layer's output.
        def act() -> object:
            inner_NC = scratch_NC.detach().requires_grad_()
            parts = essence_loss(inner_NC, *batch.targets, options, in_place=True)
            return gradient(parts.total, inner_NC)

        return Form(act, lambda: scratch_NC.copy_(logits_NC.detach()))

    kept = (batch.labels_N, batch.soft.ids_NK, batch.soft.logp_NK)
    forms = {
        "ours, in place": in_place(),
        "ours, in place, bucket": in_place("bucket"),
        "ours, in place, uniform": in_place("uniform"),
        "ours, logits kept": Form(fused),
        "ours, in place, hard labels alone": in_place(hard_weight=1.0),
        "cross_entropy, hard labels alone": Form(
            lambda: gradient(cross_entropy(logits_NC, batch.labels_N))
        ),
        "scattered dense target, kl_div": Form(lambda: gradient(scattered(logits_NC, batch))),
        "gather on log_softmax": Form(lambda: gradient(gathered(logits_NC, *kept))),
    }
    if compiled:
        whole = torch.compile(gathered, fullgraph=True)
        forms["gather on log_softmax, torch.compile"] = Form(
            lambda: gradient(whole(logits_NC, *kept))
        )
    return forms


def layer_forms(batch: Batch) -> dict[str, Form]:
    """Output layer and loss. The first is the lower bound: three products and nothing else."""
    layer, labels_N = batch.layer, batch.labels_N
    hidden_NH, weight_CH, _ = (values.detach() for values in layer)
    soft, options = batch.soft, LossOptions(hard_weight=HARD_WEIGHT, tail="renormalize")
    kept = (labels_N, soft.ids_NK, soft.logp_NK)
    chunks = torch.nn.LinearCrossEntropyOptions()

    def products() -> object:
        logits_NC = hidden_NH @ weight_CH.T
        return logits_NC @ weight_CH, logits_NC.T @ hidden_NH

    def gradients(loss: Tensor) -> object:
        return torch.autograd.grad(loss, layer)

    def fused(options: torch.nn.LinearCrossEntropyOptions | None) -> object:
        hidden, weight, bias = layer
        return gradients(
            linear_cross_entropy(hidden, weight, labels_N, linear_bias=bias, options=options)
        )

    return {
        "three products (the floor)": Form(products),
        "ours, in chunks": Form(
            lambda: gradients(essence_linear_loss(*layer, labels_N, soft, options).total)
        ),
        "linear, then ours in place": Form(
            lambda: gradients(
                essence_loss(linear(*layer), labels_N, soft, options, in_place=True).total
            )
        ),
        "linear, then scattered and kl_div": Form(
            lambda: gradients(scattered(linear(*layer), batch))
        ),
        "linear, then gather": Form(lambda: gradients(gathered(linear(*layer), *kept))),
        "linear, then cross_entropy, hard": Form(
            lambda: gradients(cross_entropy(linear(*layer), labels_N))
        ),
        "torch's linear_cross_entropy, hard": Form(lambda: fused(None)),
        "the same in its own chunks, hard": Form(lambda: fused(chunks)),
    }


def measure(forms: dict[str, Form], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of the processor of each form in each round, in an order that changes."""
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name in rng.permutation(list(forms)):
            forms[name].prepare()
            begin = time.process_time()
            forms[name].act()
            seconds[name].append(time.process_time() - begin)
    return seconds


def peak_bytes(form: Form) -> int | None:
    """The most memory that a form adds to the process; None where it cannot be measured."""
    form.act()
    form.prepare()
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # freed memory must not be reused
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset the peak
    except (OSError, AttributeError):
        return None
    before = status_bytes("VmRSS")
    form.act()
    return status_bytes("VmHWM") - before


def status_bytes(name: str) -> int:
    """A line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def print_table(title: str, forms: dict[str, Form], *, rounds: int, logits_bytes: int) -> None:
    """Time as a multiple of the first form's, memory in sizes of the logits."""
    peaks = {name: peak_bytes(form) for name, form in forms.items()}  # warms up as well
    seconds = measure(forms, rounds=rounds)
    first = next(iter(forms))
    print(f"\n| {title} | ms | times the first | memory |\n|---|---|---|---|")
    for name in forms:
        ratios = [a / b for a, b in zip(seconds[name], seconds[first], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        peak = peaks[name]
        memory = "" if peak is None else f"{peak / logits_bytes:.2f}"
        print(f"| {name} | {1e3 * statistics.median(seconds[name]):.1f} | {spread} | {memory} |")


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
    parser.add_argument("--classes", default="600,3000,9000,32000")
    parser.add_argument("--frames", type=int, default=4096)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    compiled = which("g++") is not None
    print(machine())
    if not compiled:
        print("no g++: torch.compile is left out")
    print(f"k = {asked.k}, H = {asked.hidden}, float32, {asked.rounds} rounds")
    for num_classes in map(int, asked.classes.split(",")):
        num_frames = min(asked.frames, MOST_LOGITS // num_classes)
        batch = make_batch(num_frames, num_classes, k=asked.k, hidden=asked.hidden)
        at = f"C = {num_classes}, N = {num_frames}"
        how = {"rounds": asked.rounds, "logits_bytes": 4 * num_frames * num_classes}
        print_table(f"{at}: loss", logits_forms(batch, compiled=compiled), **how)
        print_table(f"{at}: layer and loss", layer_forms(batch), **how)


if __name__ == "__main__":
    main()
