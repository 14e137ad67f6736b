"""EssenceCtc: the student's objective on token sequences: CTC, and soft labels frame by frame.

    ( hard_weight * sum of CTC's nats of transcribed utterances
      + (1 - hard_weight) * sum over frames of w * soft loss ) / frames of the batch

w is `student.blank` where the teacher's rank 1 is the blank, otherwise 1; ctc_definition.py defines
the loss and is the oracle of its tests. The divisor counts all frames, so that the ranks' shares
of a batch add up to the batch.

Shapes: N real frames of a batch, H hidden channels, B pieces.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stages.contract.ctc import BLANK
from stages.student.essence import Essence
from stages.student.loss.fused import essence_loss
from stages.student.loss.options import LossOptions
from stages.training.batches import Batch
from stages.training.ctc import NUM_TARGETS, ctc_nats, read_tokens, transcribed_frames
from stages.training.objective import BatchLoss
from storage.corpus.corpus_file import NO_LABEL, CorpusFile


@dataclass(frozen=True, slots=True)
class EssenceCtc:
    """hard_weight * CTC + (1 - hard_weight) * soft loss on the store's k best classes."""

    essence: Essence
    corpus: CorpusFile

    def read(self, batch: Batch) -> tuple[Tensor, ...]:
        """The tokens of the batch (training/ctc.py), then what `Essence` reads.

        Raises:
            StoreError: when an utterance is missing, or has fewer frames than the batch.
        """
        return (*read_tokens(self.corpus, batch.pieces), *self.essence.read(batch))

    def loss(
        self, hidden_NH: Tensor, output: nn.Module, labels_N: Tensor, targets: tuple[Tensor, ...]
    ) -> BatchLoss:
        """The weighted loss, and its hard and soft parts."""
        settings = self.essence.settings
        lengths_B, tokens_L, num_tokens_B = targets[:NUM_TARGETS]
        logits_NC = output(hidden_NH)
        num_frames = len(logits_NC)
        soft_sum = self._soft_sum(logits_NC, targets[NUM_TARGETS:])
        hard_sum = torch.zeros_like(soft_sum)
        if settings.hard_weight > 0:
            hard_sum = ctc_nats(logits_NC, lengths_B, tokens_L, num_tokens_B).sum()
        total = settings.hard_weight * hard_sum + (1 - settings.hard_weight) * soft_sum
        transcribed = transcribed_frames(lengths_B, num_tokens_B)
        return BatchLoss(
            total=total / num_frames,
            num_frames=num_frames,
            parts={
                "hard": float(hard_sum.detach()) / max(1, transcribed),
                "soft": float(soft_sum.detach()) / num_frames,
            },
            part_frames={"hard": transcribed},
        )

    def _soft_sum(self, logits_NC: Tensor, stored: tuple[Tensor, ...]) -> Tensor:
        """The weighted soft losses of all frames, added up."""
        settings = self.essence.settings
        soft = self.essence.soft_targets(stored)
        options = LossOptions(hard_weight=0, tail=settings.tail, temperature=settings.temperature)
        is_blank_N = soft.ids_NK[:, 0] == BLANK
        weights_N = torch.where(is_blank_N, settings.blank_weight, 1.0)
        no_labels_N = torch.full((len(logits_NC),), NO_LABEL, device=logits_NC.device)
        mean = essence_loss(logits_NC, no_labels_N, soft, options, frame_weights_N=weights_N).total
        return mean * weights_N.sum()
