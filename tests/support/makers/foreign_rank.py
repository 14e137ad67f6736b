"""One process of a foreign trainer under DistributedDataParallel.

python -m tests.support.makers.foreign_rank STORE FOLDER RANK NUM_RANKS

Each rank has one utterance of the batch; the gradients are saved by rank 0 as gradients.pt.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from stages.student.foreign.module import EssenceLoss
from stages.student.foreign.source import SoftLabelSource
from tests.support.makers.foreign import NUM_CLASSES, make_labels, make_logits

IDS, LENGTHS = ["utt-a", "utt-d", "unknown"], [9, 13, 5]


class Model(nn.Module):
    """A small acoustic model; with `layer_outside` the loss applies its last layer."""

    def __init__(self, *, layer_outside: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.inner, self.output = nn.Linear(5, 8), nn.Linear(8, NUM_CLASSES)
        self._layer_outside = layer_outside

    def forward(self, inputs: Tensor) -> Tensor:
        """Hidden activations or logits."""
        hidden = self.inner(inputs).tanh()
        return hidden if self._layer_outside else self.output(hidden)


def gradients(place: Path, rows: list[int], *, layer_outside: bool, num_ranks: int) -> list[Tensor]:
    """Gradients of the mean over all frames of the batch, from these utterances of it."""
    model = Model(layer_outside=layer_outside)
    wrapped: Any = DistributedDataParallel(model) if num_ranks > 1 else model
    inputs, labels = make_logits(3, 13, 5).detach().float(), make_labels(3, 13)
    soft = SoftLabelSource(place, k=3)([IDS[r] for r in rows], [LENGTHS[r] for r in rows])
    output = wrapped(inputs[rows])
    parts = EssenceLoss(hard_weight=0.3, tail="bucket", reduction="sum").parts(
        (output, model.output) if layer_outside else output, labels[rows], soft
    )
    num_frames = torch.tensor(float(parts.num_frames))
    if num_ranks > 1:
        distributed.all_reduce(num_frames)
    # DDP divides the sum of the ranks' gradients by their number.
    (parts.total * num_ranks / num_frames).backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def main(place: Path, folder: Path, rank: int, num_ranks: int) -> None:
    """Both kinds of gradients, by all ranks."""
    meeting = (folder / "meeting").as_uri()
    distributed.init_process_group("gloo", meeting, rank=rank, world_size=num_ranks)
    rows = list(range(rank, len(IDS), num_ranks))
    made = [
        gradients(place, rows, layer_outside=layer_outside, num_ranks=num_ranks)
        for layer_outside in (False, True)
    ]
    if not rank:
        torch.save(made, folder / "gradients.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
