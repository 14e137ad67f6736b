"""The loss on a device: is it right, and what does it cost, with and without the output layer?

Shapes: N frames, H hidden channels, C classes, K kept classes.
"""

import itertools
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from shutil import which
from typing import Any, get_args
from unittest.mock import patch

import torch
from gpu_measure import Device, Table, ratio_rows
from loss import Batch, Form, gathered, make_batch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from stages.student.loss import frame_losses
from stages.student.loss.chunked import essence_linear_loss
from stages.student.loss.definition import SoftTargets, dense_loss
from stages.student.loss.fused import essence_loss
from stages.student.loss.options import LossOptions, TailPolicy

HARD_WEIGHT = 0.2
RENORMALIZED = LossOptions(hard_weight=HARD_WEIGHT, tail="renormalize")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Classes, frames, number format, ranks.
LOSSES = [
    (3000, 16384, "fp32", 8),
    (3000, 16384, "fp32", 32),
    (9000, 8192, "fp32", 8),
    (9000, 8192, "fp32", 32),
    (9000, 8192, "bf16", 8),
    (9000, 8192, "bf16", 32),
    (32000, 4096, "fp32", 8),
    (128256, 1024, "fp32", 8),
]
LAYERS = [(9000, 8192, "fp32", 8), (9000, 8192, "bf16", 8), (32000, 4096, "bf16", 8)]
TOYS = [(50, 24, "fp32", 3), (50, 24, "bf16", 3)]
HIDDEN = 1024


def right_table(device: Device) -> Table:
    """The largest errors of loss and gradient, by number format and tail policy."""
    sizes = [(97, 5), (300, 8)] if device.is_toy else [(97, 5), (5000, 32), (40000, 8)]
    rows: list[list[str | float | int | None]] = []
    for dtype, tail in itertools.product(DTYPES, get_args(TailPolicy)):
        if dtype == "fp16" and not device.is_cuda:
            continue
        errors = [
            _errors(device, num_classes, k, dtype=dtype, tail=tail, hard=hard, temperature=heat)
            for (num_classes, k), hard, heat in itertools.product(sizes, (0.0, 0.3), (1.0, 2.5))
        ]
        rows.append([f"{dtype}, {tail}", *(max(each) for each in zip(*errors, strict=True))])
    columns = ["logits, tail policy", "relative error of the loss", "of the gradient (norm)"]
    return Table("Right: against the dense definition in float64", columns, rows)


def _errors(
    device: Device,
    num_classes: int,
    k: int,
    *,
    dtype: str,
    tail: TailPolicy,
    hard: float,
    temperature: float,
) -> tuple[float, float]:
    batch = _batch_on(device, num_classes, 64, k=k, hidden=16)
    options = LossOptions(hard_weight=hard, tail=tail, temperature=temperature)
    logits_NC = linear(*batch.layer).detach().to(DTYPES[dtype])
    labels_N = batch.labels_N.clone()
    labels_N[::3] = -1
    leaf_NC, exact_NC = logits_NC.clone().requires_grad_(), logits_NC.double().requires_grad_()
    found = essence_loss(leaf_NC, labels_N, batch.soft, options).total
    exact_soft = replace(
        batch.soft, logp_NK=batch.soft.logp_NK.double(), tail_N=batch.soft.tail_N.double()
    )
    wanted = dense_loss(exact_NC, labels_N, exact_soft, options).total
    (gradient_NC,) = torch.autograd.grad(found, leaf_NC)
    (wanted_NC,) = torch.autograd.grad(wanted, exact_NC)
    off = (gradient_NC.double() - wanted_NC).norm() / wanted_NC.norm()
    return float((found.detach().double() - wanted.detach()).abs() / wanted.detach()), float(off)


def loss_tables(device: Device) -> list[Table]:
    """Loss and gradient of given logits."""
    return [_loss_table(device, *size) for size in (TOYS if device.is_toy else LOSSES)]


def _loss_table(device: Device, num_classes: int, num_frames: int, dtype: str, k: int) -> Table:
    batch = _batch_on(device, num_classes, num_frames, k=k, hidden=64)
    logits_NC = linear(*batch.layer).detach().to(DTYPES[dtype]).requires_grad_()
    scratch_NC = torch.empty_like(logits_NC, requires_grad=False)
    kept = (batch.labels_N, batch.soft.ids_NK, batch.soft.logp_NK)

    def gradient(loss: Tensor, wrt: Tensor = logits_NC) -> object:
        return torch.autograd.grad(loss, wrt)

    def in_place(**options: Any) -> Form:
        def act() -> object:
            inner_NC = scratch_NC.detach().requires_grad_()
            chosen = replace(RENORMALIZED, **options)
            return gradient(
                essence_loss(inner_NC, *batch.targets, chosen, in_place=True).total, inner_NC
            )

        return Form(act, lambda: scratch_NC.copy_(logits_NC.detach()))

    def without_kernel() -> Form:
        form = in_place()

        def act() -> object:
            with patch.object(frame_losses, "_kernel_for", lambda *_: None):
                return form.act()

        return Form(act, form.prepare)

    forms = {
        "copy of the logits (floor)": Form(lambda: scratch_NC.copy_(logits_NC.detach())),
        "cross_entropy, hard labels": Form(
            lambda: gradient(cross_entropy(logits_NC, batch.labels_N))
        ),
        "ours, hard labels": in_place(hard_weight=1.0),
        "ours": in_place(),
        "ours, bucket": in_place(tail="bucket"),
        "ours, uniform": in_place(tail="uniform"),
        "ours, no kernel": without_kernel(),
        "gather on log_softmax": Form(lambda: gradient(gathered(logits_NC, *kept))),
    }
    if _can_compile(device):
        whole = torch.compile(gathered, fullgraph=True)
        forms["gather, torch.compile"] = Form(lambda: gradient(whole(logits_NC, *kept)))
    peaks = {name: device.peak_bytes(form) for name, form in forms.items()}
    rows = ratio_rows(device.measure(forms), of="copy of the logits (floor)")
    return Table(
        f"Loss: C = {num_classes}, N = {num_frames}, {dtype}, k = {k}",
        ["form", "ms", "times the copy", "peak memory"],
        [[*row, _in_logits(peaks[str(row[0])], logits_NC)] for row in rows],
    )


def layer_tables(device: Device) -> list[Table]:
    """Output layer, loss, and the gradients of activations and weights."""
    return [_layer_table(device, *size) for size in (TOYS if device.is_toy else LAYERS)]


def _layer_table(device: Device, num_classes: int, num_frames: int, dtype: str, k: int) -> Table:
    hidden = 16 if device.is_toy else HIDDEN
    batch = _batch_on(device, num_classes, num_frames, k=k, hidden=hidden)
    layer = tuple(values.detach().requires_grad_() for values in batch.layer)
    plain = tuple(values.detach().to(DTYPES[dtype]) for values in layer)
    is_half = dtype != "fp32"

    def autocast() -> Any:
        if not is_half:
            return nullcontext()
        return torch.autocast(torch.device(device.name).type, dtype=DTYPES[dtype])

    def products() -> object:
        hidden_NH, weight_CH, _ = plain
        logits_NC = hidden_NH @ weight_CH.T
        return logits_NC @ weight_CH, logits_NC.T @ hidden_NH

    def gradients(make: Any) -> Form:
        def act() -> object:
            with autocast():
                loss = make()
            return torch.autograd.grad(loss, layer)

        return Form(act)

    forms = {
        "three products (floor)": Form(products),
        "layer, then cross_entropy": gradients(
            lambda: cross_entropy(linear(*layer), batch.labels_N)
        ),
        "layer, then ours": gradients(
            lambda: essence_loss(linear(*layer), *batch.targets, RENORMALIZED, in_place=True).total
        ),
        "ours, in chunks": gradients(
            lambda: essence_linear_loss(*layer, *batch.targets, RENORMALIZED).total
        ),
    }
    peaks = {name: device.peak_bytes(form) for name, form in forms.items()}
    rows = ratio_rows(device.measure(forms), of="layer, then cross_entropy")
    logits_NC = torch.empty(num_frames, num_classes, device="meta")
    return Table(
        f"Layer and loss: H = {hidden}, C = {num_classes}, N = {num_frames}, {dtype}, k = {k}",
        ["form", "ms", "times layer + cross_entropy", "peak memory"],
        [[*row, _in_logits(peaks[str(row[0])], logits_NC)] for row in rows],
    )


def _batch_on(device: Device, num_classes: int, num_frames: int, *, k: int, hidden: int) -> Batch:
    made = make_batch(num_frames, num_classes, k=k, hidden=hidden)
    hidden_NH, weight_CH, bias_C = (
        values.detach().to(device.name).requires_grad_() for values in made.layer
    )
    soft = made.soft
    return Batch(
        hidden_NH=hidden_NH,
        weight_CH=weight_CH,
        bias_C=bias_C,
        labels_N=made.labels_N.to(device.name),
        soft=SoftTargets(
            ids_NK=soft.ids_NK.to(device.name),
            logp_NK=soft.logp_NK.to(device.name),
            tail_N=soft.tail_N.to(device.name),
        ),
    )


def _in_logits(peak: int | None, logits_NC: Tensor) -> float | None:
    return None if peak is None else peak / (4 * logits_NC.numel())


def _can_compile(device: Device) -> bool:
    if device.is_toy:
        return False
    return find_spec("triton") is not None if device.is_cuda else which("g++") is not None
