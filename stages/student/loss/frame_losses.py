"""Loss and gradient of every frame: block by block in torch, or by the Triton kernel on a GPU.

The gradient of a block is computed while its softmax is in cache, and is written to one tensor of
the logits' size. Nothing else of width C is kept after a block.

Shapes: N frames, B frames of a block, C classes, J target classes.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from stages.student.loss.gradient_term import GradientTerm, gradient_terms
from stages.student.loss.softmax_block import (
    SoftmaxBlock,
    SoftmaxStatistics,
    softmax_block,
    stable_softmax_block,
)
from stages.student.loss.targets import BatchTargets

BLOCK_ELEMENTS = 1 << 20  # 4 MiB of float32, which stay in cache


def frame_losses(
    logits_NC: Tensor, targets: BatchTargets, *, gradient_NC: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Hard loss (N,) and soft loss (N,) of every frame, before weighting.

    The gradient of the weighted loss is written to `gradient_NC`, which may be the memory of the
    logits; None when no gradient is needed.
    """
    kernel = _kernel_for(logits_NC, targets)
    if kernel is not None:
        losses: tuple[Tensor, Tensor] = kernel.kernel_losses(
            logits_NC, targets, gradient_NC=gradient_NC
        )
        return losses
    num_classes = logits_NC.shape[1]
    terms = gradient_terms(targets, num_classes=num_classes)
    statistics = _block_by_block(logits_NC, terms, targets.dtype, gradient_NC)
    hard_N = statistics[-1].label_cross_entropy_N() * targets.labelled_N
    if targets.soft is None:
        return hard_N, torch.zeros_like(hard_N)
    soft_N = statistics[0].cross_entropy_N(targets.soft, num_classes=num_classes)
    return hard_N, soft_N * targets.temperature**2


def _block_by_block(
    logits_NC: Tensor,
    terms: Sequence[GradientTerm],
    dtype: torch.dtype,
    gradient_NC: Tensor | None,
) -> list[SoftmaxStatistics]:
    """Statistics of each term's softmax; the sum of the terms' gradients is written."""
    block_frames = _block_frames(logits_NC)
    scratches = [_scratch(logits_NC, block_frames, dtype) for _ in terms]
    logits = torch.split(logits_NC, block_frames)
    gradients = logits if gradient_NC is None else torch.split(gradient_NC, block_frames)
    statistics: list[list[SoftmaxStatistics]] = [[] for _ in terms]
    for logits_BC, gradient_BC, *terms_B in zip(
        logits, gradients, *(term.split(block_frames) for term in terms), strict=True
    ):
        z_BC = logits_BC.to(dtype)
        blocks = []
        for term, scratch_BC, collected in zip(terms_B, scratches, statistics, strict=True):
            tempered_BC = z_BC if term.temperature == 1 else z_BC / term.temperature
            blocks.append(_softmax(tempered_BC, term, scratch_BC))
            collected.append(_statistics(tempered_BC, term, blocks[-1]))
        # After the last softmax and mean: the gradient may overwrite the logits.
        if gradient_NC is not None:
            _write_gradient(terms_B, blocks, gradient_BC)
    return [SoftmaxStatistics.join(collected) for collected in statistics]


def _softmax(z_BC: Tensor, term: GradientTerm, scratch_BC: Tensor | None) -> SoftmaxBlock:
    with_split = term.bucket_mass_N is not None
    if scratch_BC is None:
        return stable_softmax_block(z_BC, term.class_ids_NJ, with_split=with_split)
    return softmax_block(
        z_BC, term.class_ids_NJ, with_split=with_split, scratch_BC=scratch_BC[: len(z_BC)]
    )


def _statistics(z_BC: Tensor, term: GradientTerm, block: SoftmaxBlock) -> SoftmaxStatistics:
    return SoftmaxStatistics(
        logits_NJ=block.logits_BJ,
        logsumexp_N=block.logsumexp_B,
        log_tail_N=None if block.split is None else block.split.log_tail_B,
        mean_logit_N=None if term.every_mass_N1 is None else z_BC.mean(1),
    )


def _write_gradient(
    terms: Sequence[GradientTerm], blocks: Sequence[SoftmaxBlock], gradient_BC: Tensor
) -> None:
    if len(terms) == 1 and gradient_BC.dtype == blocks[0].prob_BC.dtype:
        terms[0].write_gradient(blocks[0], out_BC=gradient_BC)
        return
    # Summed where the probabilities are, and rounded to a half type once, at the end.
    first_BC, *others = [
        term.write_gradient(block, out_BC=block.prob_BC)
        for term, block in zip(terms, blocks, strict=True)
    ]
    for other_BC in others:
        first_BC.add_(other_BC)
    gradient_BC.copy_(first_BC)


def _is_eager_on_cpu(values: Tensor) -> bool:
    # Reading a value back stalls a GPU and breaks a compiled graph.
    return values.device.type == "cpu" and not torch.compiler.is_compiling()


def _block_frames(logits_NC: Tensor) -> int:
    if _is_eager_on_cpu(logits_NC):
        return max(1, BLOCK_ELEMENTS // logits_NC.shape[1])
    return max(1, len(logits_NC))  # a GPU has no such cache; a compiler plans memory itself


def _scratch(logits_NC: Tensor, block_frames: int, dtype: torch.dtype) -> Tensor | None:
    """Memory for a block's softmax; None when `softmax_block` cannot be used."""
    if not _is_eager_on_cpu(logits_NC) or len(logits_NC) == 0:
        return None
    num_frames, num_classes = logits_NC.shape
    return logits_NC.new_empty(min(block_frames, num_frames), num_classes, dtype=dtype)


def _kernel_for(logits_NC: Tensor, targets: BatchTargets) -> ModuleType | None:
    """triton_kernel.py, if the logits are on a GPU and it supports them."""
    if logits_NC.device.type != "cuda" or torch.compiler.is_compiling():
        return None
    kernel = _triton_kernel()
    return kernel if kernel is not None and kernel.supports(logits_NC, targets) else None


@cache
def _triton_kernel() -> ModuleType | None:
    # Imported on first use: triton is part of torch's CUDA wheels, and absent from others.
    if find_spec("triton") is None:
        return None
    return import_module("stages.student.loss.triton_kernel")
