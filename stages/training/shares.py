"""Shares: batches as this rank reads them: its part of each, changed, with the targets.

The plan is of the whole batches, whatever the number of ranks: rank r of N has pieces r, r + N ...
of each. What is random in a piece follows from (seed, epoch, step, place in the whole batch), so
the number of ranks changes no feature.

Shapes: B utterances, T frames, F feature dims.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from stages.training.augmentation import augment
from stages.training.batches import Batch, plan_batches, read_ahead, read_batch
from stages.training.corpus import TrainingCorpus
from stages.training.objective import Objective
from stages.training.ranks import Ranks
from stages.training.settings import TrainingSettings

AUGMENTATION = 1  # a stream of random numbers; stream 0 is the order of batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of a batch; none where ranks are more than pieces.

    `num_frames` counts the real frames of the whole batch.
    """

    num_frames: int
    batch: Batch | None
    targets: tuple[Tensor, ...] = ()


def read_shares(
    settings: TrainingSettings,
    *,
    corpus: TrainingCorpus,
    objective: Objective,
    ranks: Ranks,
    epoch: int,
    steps_done: int,
    mean_F: Tensor,
    std_F: Tensor,
) -> Generator[Share]:
    """This rank's shares of the batches of an epoch that are still to come."""
    pieces = corpus.pieces(settings.chunk_frames)
    lengths = [piece.num_frames for piece in pieces]
    plan = plan_batches(
        lengths,
        settings.batch_frames,
        settings.seed,
        epoch,
        block_frames=settings.block_frames,
    )
    mean, std = mean_F.cpu().numpy(), std_F.cpu().numpy()

    def read(planned: tuple[int, list[int]]) -> Share:
        step, chosen = planned
        num_frames = sum(lengths[index] for index in chosen)
        places = range(ranks.rank, len(chosen), ranks.size)
        if not places:
            return Share(num_frames=num_frames, batch=None)
        chosen_pieces = [pieces[chosen[place]] for place in places]
        batch = read_batch(corpus.train, chosen_pieces, labels=corpus.labels)
        targets = objective.read(batch)
        if settings.augmentation.is_on:
            changed_BTF = augment(
                batch.features_BTF.numpy(),
                batch.lengths_B.tolist(),
                settings=settings.augmentation,
                mean_F=mean,
                std_F=std,
                rngs=[
                    np.random.default_rng([settings.seed, epoch, step, AUGMENTATION, place])
                    for place in places
                ],
            )
            batch = replace(batch, features_BTF=torch.from_numpy(changed_BTF))
        return Share(num_frames=num_frames, batch=batch, targets=targets)

    return read_ahead(list(enumerate(plan))[steps_done:], read)
