"""SoftmaxPass: one softmax of all frames, block by block, at one temperature, and its target.

At temperature 1 hard and soft labels pull on the same softmax: one pass. Otherwise there are two,
the soft labels' at T and the hard ones' at 1.

Shapes: N frames, B frames of a block, C classes, K kept ranks, J = K + 1 named classes.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from stages.student.loss.frame_weights import Lesson
from stages.student.loss.softmax_block import BlockSoftmax, block_softmax, careful_block_softmax
from stages.student.loss.targets import Target, blocks_of

BLOCK_ELEMENTS = 1 << 20  # 4 MiB of float32, which stay in cache


class SoftmaxPass:
    """`target` is what pulls on the softmax of logits / temperature. Blocks come in order."""

    def __init__(
        self, target: Target, index_NJ: Tensor, *, temperature: float, num_classes: int, step: int
    ) -> None:
        self._num_classes = num_classes
        self._temperature = temperature
        pull_NJ, self._others, self._bucket = -target.named_NJ, None, None
        if target.others_N is not None:  # `pull` takes that from all classes, kept or not
            pull_NJ[:, :-1] += target.others_N[:, None]
            self._others = blocks_of(target.others_N[:, None], step)
        if target.bucket_N is not None:
            self._bucket = blocks_of(target.bucket_N, step)
        self._index = blocks_of(index_NJ, step)
        self._mass = blocks_of(target.mass_N(num_classes=num_classes)[:, None], step)
        self._pull = blocks_of(pull_NJ, step)
        self._scratch_BC = pull_NJ.new_empty(0)
        self._z: list[Tensor] = []
        self._logsumexp: list[Tensor] = []
        self._log_tail: list[Tensor] = []
        self._mean: list[Tensor] = []

    def softmax(self, z_BC: Tensor) -> BlockSoftmax:
        """The softmax of the next block of logits, which stay as they are."""
        index_BJ = self._index[len(self._z)]
        if self._temperature != 1:
            z_BC = z_BC / self._temperature
        if len(z_BC) and z_BC.device.type == "cpu" and not torch.compiler.is_compiling():
            if len(self._scratch_BC) < len(z_BC):
                self._scratch_BC = torch.empty_like(z_BC)
            scratch_BC = self._scratch_BC[: len(z_BC)]
            block = block_softmax(
                z_BC, index_BJ, split=self._bucket is not None, scratch_BC=scratch_BC
            )
        else:  # asking how small a probability is would stall a GPU
            block = careful_block_softmax(z_BC, index_BJ, split=self._bucket is not None)
        self._z.append(block.z_BJ)
        self._logsumexp.append(block.logsumexp_B)
        if block.split is not None:
            self._log_tail.append(block.split.log_tail_B)
        if self._others is not None:
            self._mean.append(z_BC.mean(1))
        return block

    def pull(self, block: BlockSoftmax, *, out_BC: Tensor) -> Tensor:
        """The gradient of the logits of the block that came last, written to `out_BC`."""
        now = len(self._z) - 1
        bucket_B = None if self._bucket is None else self._bucket[now]
        block.pull(self._mass[now], self._pull[now], self._index[now], bucket_B, out_BC=out_BC)
        return out_BC if self._others is None else out_BC.sub_(self._others[now])

    def label_cost_N(self) -> Tensor:
        """-log of the student's probability of the label, of all frames that have been passed."""
        return torch.cat(self._logsumexp) - torch.cat(self._z)[:, -1]

    def cross_entropy_N(self, target: Target) -> Tensor:
        """Mass times cost, summed over where the target has mass: nats."""
        logsumexp_N = torch.cat(self._logsumexp)
        cost_NJ = logsumexp_N[:, None] - torch.cat(self._z)
        loss_N = (target.named_NJ * cost_NJ).sum(1)
        if target.others_N is not None:
            all_costs_N = self._num_classes * (logsumexp_N - torch.cat(self._mean))
            loss_N += target.others_N * (all_costs_N - cost_NJ[:, :-1].sum(1))
        if target.bucket_N is not None:
            loss_N -= target.bucket_N * torch.cat(self._log_tail)
        return loss_N


def frame_losses(
    logits_NC: Tensor, lesson: Lesson, *, gradient_NC: Tensor | None, block_frames: int | None
) -> tuple[Tensor, Tensor]:
    """Hard loss (N,) and soft loss (N,); the gradient of the mean is written to `gradient_NC`.

    That may be the memory of the logits. Nothing else of width C outlives a block.
    """
    kernel = _kernel_for(logits_NC, lesson)
    if kernel is not None:
        losses: tuple[Tensor, Tensor] = kernel.row_losses(
            logits_NC, lesson, gradient_NC=gradient_NC
        )
        return losses
    step = block_frames or _block_frames(logits_NC)
    passes = _passes(lesson, num_classes=logits_NC.shape[1], step=step)
    logits = blocks_of(logits_NC, step)
    gradients = logits if gradient_NC is None else blocks_of(gradient_NC, step)
    for logits_BC, gradient_BC in zip(logits, gradients, strict=True):
        z_BC = logits_BC.to(lesson.dtype)
        blocks = [each.softmax(z_BC) for each in passes]
        if gradient_NC is None:
            continue
        if len(passes) == 1 and gradient_BC.dtype == lesson.dtype:
            passes[0].pull(blocks[0], out_BC=gradient_BC)
            continue
        pulls = [
            each.pull(block, out_BC=block.prob_BC)
            for each, block in zip(passes, blocks, strict=True)
        ]
        gradient_BC.copy_(pulls[0] if len(pulls) == 1 else pulls[0].add_(pulls[1]))
    hard_N = passes[-1].label_cost_N() * lesson.known_N
    if lesson.soft is None:
        return hard_N, torch.zeros_like(hard_N)
    return hard_N, passes[0].cross_entropy_N(lesson.soft) * lesson.temperature**2


def _passes(lesson: Lesson, *, num_classes: int, step: int) -> list[SoftmaxPass]:
    """The passes that a lesson takes: the last is at temperature 1, the first has soft labels."""
    share_N, hard_weight, soft = lesson.pull_share_N, lesson.hard_weight, lesson.soft
    hard_N = share_N * lesson.known_N * hard_weight
    temperature, targets = 1.0, [Target(named_NJ=hard_N[:, None])]
    if soft is not None and lesson.temperature == 1:
        targets = [soft.scaled(share_N * (1 - hard_weight)).with_label(hard_N)]
    elif soft is not None:  # T^2 of the loss times the 1 / T of z / T
        temperature = lesson.temperature
        targets = [soft.scaled(share_N * ((1 - hard_weight) * temperature)), *targets]
    return [
        SoftmaxPass(
            target,
            lesson.index_NJ[:, -target.named_NJ.shape[1] :],
            temperature=each,
            num_classes=num_classes,
            step=step,
        )
        for target, each in zip(targets, (temperature, 1.0), strict=False)
    ]


def _kernel_for(logits_NC: Tensor, lesson: Lesson) -> ModuleType | None:
    """row_kernel.py, where the frames lie on a GPU and it can take them."""
    if logits_NC.device.type != "cuda" or torch.compiler.is_compiling():
        return None
    kernel = _row_kernel()
    return kernel if kernel is not None and kernel.fits(logits_NC, lesson) else None


@cache
def _row_kernel() -> ModuleType | None:
    # Imported where it is used: triton comes with torch's CUDA wheels, nobody else needs it.
    if find_spec("triton") is None:
        return None
    return import_module("stages.student.loss.triton_kernel")


def _block_frames(logits_NC: Tensor) -> int:
    if logits_NC.device.type == "cpu" and not torch.compiler.is_compiling():
        return max(1, BLOCK_ELEMENTS // logits_NC.shape[1])
    return max(1, len(logits_NC))  # a GPU has no such cache; a compiler fuses what is not kept
