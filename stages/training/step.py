"""One step: this rank's share of a batch -> loss, gradient, new weights, the same on every rank.

The loss of a batch is the mean over its live frames. A rank's gradient is weighted by its part of
them before all are summed, so that N ranks take the step that one would take.

Shapes: B utterances, T frames, N real frames of a share, H hidden channels.
"""

from math import isfinite

import numpy as np
import torch
from torch import Tensor, nn

from stages.contract.errors import StageError
from stages.training.objective import BatchLoss, Objective
from stages.training.ranks import Ranks
from stages.training.shares import Share
from stages.training.state import TrainingState

DROPOUT = 2  # a stream of random numbers


class Step:
    """How a step is taken; what changes by it is the state."""

    def __init__(
        self, objective: Objective, *, ranks: Ranks, device: str, seed: int, clip: float
    ) -> None:
        self._objective = objective
        self._ranks = ranks
        self._device = device
        self._seed = seed
        self._clip = clip

    def take(self, state: TrainingState, share: Share, *, is_asked: bool) -> "StepLoss":
        """Change the weights; the loss before that. `is_asked`: this process was asked to stop.

        Raises:
            StageError: on every rank, when the loss is not finite.
        """
        position = state.position
        self._seed_dropout(position.epoch, position.step)
        state.model.train()
        state.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(state, share)
        if loss is not None:
            state.precision.backward(loss.total)
        own = StepLoss() if loss is None else StepLoss.of(loss)
        # All that may fail on one rank alone is done: from here the ranks go together.
        gradients = Gradients(state.model) if self._ranks.size > 1 else None
        whole = own.over(self._ranks, is_asked=is_asked)
        if gradients is not None:
            gradients.sum(self._ranks, weight=own.num_frames / max(1, whole.num_frames))
        refuse_diverged(
            whole.total, what="loss", at=f"at epoch {position.epoch + 1}, step {position.step + 1}"
        )
        state.precision.update(state.optimiser, state.model, clip=self._clip)
        return whole

    def _loss(self, state: TrainingState, share: Share) -> BatchLoss | None:
        batch = share.batch
        if batch is None:
            return None
        live_BT = batch.live_BT.to(self._device)
        features_BTF = batch.features_BTF.to(self._device)
        labels_N = batch.labels_BT.to(self._device)[live_BT]
        targets = tuple(values.to(self._device) for values in share.targets)
        with state.precision.computed():
            hidden_NH = state.model.hidden(features_BTF, batch.lengths_B)[live_BT]
            return self._objective.loss(hidden_NH, state.model.output, labels_N, targets)

    def _seed_dropout(self, epoch: int, step: int) -> None:
        stream = [self._seed, epoch, step, DROPOUT, self._ranks.rank]
        words = np.random.SeedSequence(stream).generate_state(1, np.uint64)
        torch.manual_seed(int(words[0] >> np.uint64(1)))


class StepLoss:
    """Sums over live frames: of one rank's share, then of the whole batch."""

    def __init__(
        self,
        num_frames: int = 0,
        total: float = 0.0,
        parts: dict[str, float] | None = None,
        part_frames: dict[str, int] | None = None,
    ) -> None:
        self.num_frames = num_frames
        self.total = total
        self.parts = parts or {}
        self.part_frames = part_frames or {}

    @classmethod
    def of(cls, loss: BatchLoss) -> "StepLoss":
        """The sums behind a share's means."""
        frames = loss.num_frames
        parts = {
            name: value * loss.part_frames.get(name, frames) for name, value in loss.parts.items()
        }
        return cls(frames, float(loss.total.detach()) * frames, parts, loss.part_frames)

    def over(self, ranks: Ranks, *, is_asked: bool) -> "StepLoss":
        """The sums over all ranks. A rank without a share learns no names of parts."""
        numbers = [float(self.num_frames), self.total, *self.parts.values()]
        numbers += map(float, self.part_frames.values())
        frames, total, *sums = ranks.exchange(numbers, is_asked=is_asked)
        parts, counts = sums[: len(self.parts)], map(int, sums[len(self.parts) :])
        return StepLoss(
            int(frames),
            total,
            dict(zip(self.parts, parts, strict=True)),
            dict(zip(self.part_frames, counts, strict=True)),
        )


class Gradients:
    """A model's gradients in one flat tensor: one message between ranks. Zeros where none are."""

    def __init__(self, model: nn.Module) -> None:
        weights = list(model.parameters())
        self._flat = torch.cat([_gradient(each).flatten() for each in weights])
        parts = torch.split(self._flat, [each.numel() for each in weights])
        for each, gradient in zip(weights, parts, strict=True):
            each.grad = gradient.view_as(each)

    def sum(self, ranks: Ranks, *, weight: float) -> None:
        """Sum over ranks, this one's times `weight`; what the weights have as gradient changes."""
        self._flat.mul_(weight)
        ranks.sum_in_place(self._flat)


def _gradient(weights: nn.Parameter) -> Tensor:
    return torch.zeros_like(weights) if weights.grad is None else weights.grad


def refuse_diverged(loss: float, *, what: str, at: str) -> None:
    """Make sure that training goes on from finite weights.

    Raises:
        StageError: when `loss` is not finite.
    """
    if not isfinite(loss):
        raise StageError(
            f"the {what} is {loss} {at}: lower training.learning_rate or training.clip"
        )
