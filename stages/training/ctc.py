"""CtcLabels: the objective of token sequences: CTC (Graves et al. 2006), nothing else.

    nats of an utterance = -ln of the sum, over all paths that collapse to its tokens, of the
                           product over frames of the path's probabilities

An utterance counts only if all of it is in the batch: pieces of a longer one have no tokens of
their own, and utterances without a transcript have none. `frames_needed` of the tokens must not
be more than its frames; the corpus stage leaves others out.

The sums are computed on the processor, whatever the device: CUDA's backward pass adds in an order
that changes, so that a resumed run would take other steps. Logits are (N, C) with C in the tens to
thousands, so that the copy costs little.

Shapes: B pieces of a batch, T frames of the longest, N real frames, C classes, L tokens of all
pieces together, H hidden channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.contract.ctc import BLANK
from stages.training.batches import Batch, Piece
from stages.training.objective import BatchLoss
from storage.corpus.corpus_file import CorpusFile

Targets = tuple[Tensor, Tensor, Tensor]  # lengths_B, tokens_L, num_tokens_B
NUM_TARGETS = 3


@dataclass(frozen=True, kw_only=True)
class CtcLabels:
    """Mean nats a frame of CTC against the tokens of `corpus`, of which batches are read."""

    corpus: CorpusFile

    def read(self, batch: Batch) -> tuple[Tensor, ...]:
        """Frames of each piece; the tokens of all; how many each has, 0: it does not count."""
        return read_tokens(self.corpus, batch.pieces)

    def loss(
        self, hidden_NH: Tensor, output: nn.Module, labels_N: Tensor, targets: tuple[Tensor, ...]
    ) -> BatchLoss:
        """Mean nats over the frames of transcribed utterances."""
        lengths_B, tokens_L, num_tokens_B = targets[:NUM_TARGETS]
        nats_B = ctc_nats(output(hidden_NH), lengths_B, tokens_L, num_tokens_B)
        num_frames = transcribed_frames(lengths_B, num_tokens_B)
        return BatchLoss(total=nats_B.sum() / max(1, num_frames), num_frames=num_frames)


def read_tokens(corpus: CorpusFile, pieces: Sequence[Piece]) -> Targets:
    """(lengths_B, tokens_L, num_tokens_B) of the pieces of a batch; int64."""
    sequences = [
        corpus.tokens(piece.index)
        if piece.num_frames == corpus.utterances[piece.index].num_frames
        else None
        for piece in pieces
    ]
    known = [torch.from_numpy(tokens).long() for tokens in sequences if tokens is not None]
    return (
        torch.tensor([piece.num_frames for piece in pieces]),
        torch.cat(known) if known else torch.empty(0, dtype=torch.long),
        torch.tensor([0 if tokens is None else len(tokens) for tokens in sequences]),
    )


def transcribed_frames(lengths_B: Tensor, num_tokens_B: Tensor) -> int:
    """Frames of the utterances that count."""
    return int(lengths_B[num_tokens_B > 0].sum())


def ctc_nats(
    logits_NC: Tensor, lengths_B: Tensor, tokens_L: Tensor, num_tokens_B: Tensor
) -> Tensor:
    """Nats of each utterance that counts, in order, float32 or float64, on the logits' device.

    `logits_NC` are those of all pieces, one after the other. Empty if no utterance counts.
    """
    counts_B = (num_tokens_B > 0).cpu()
    several = torch.split(logits_NC, lengths_B.tolist())
    chosen = [logits for logits, counts in zip(several, counts_B.tolist(), strict=True) if counts]
    if not chosen:
        return logits_NC.sum(dim=1)[:0]  # has a gradient: the caller goes backward all the same
    wide = torch.promote_types(logits_NC.dtype, torch.float32)
    with torch.autocast(logits_NC.device.type, enabled=False):
        padded_TBC = nn.utils.rnn.pad_sequence([each.to(wide) for each in chosen])
        nats_B = functional.ctc_loss(
            padded_TBC.cpu().log_softmax(2),
            tokens_L.cpu(),
            lengths_B.cpu()[counts_B],
            num_tokens_B.cpu()[counts_B],
            blank=BLANK,
            reduction="none",
        )
    return nats_B.to(logits_NC.device)
