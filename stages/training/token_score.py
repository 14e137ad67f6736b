"""logits, tokens -> token error rate and CTC's nats a token, by greedy decoding.

Shapes: N frames of a batch, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.contract.ctc import collapse, edit_distance, frames_needed
from stages.training.batches import Piece
from stages.training.ctc import ctc_nats, read_tokens
from stages.training.frame_loss import FrameScore
from storage.corpus.corpus_file import CorpusFile


@torch.no_grad()
def score_tokens(logits_NC: Tensor, corpus: CorpusFile, pieces: Sequence[Piece]) -> FrameScore:
    """Token errors and nats of whole utterances; what counts is their tokens, not their frames.

    Utterances without tokens, and those whose tokens need more frames than there are, do not count.
    """
    chosen, frames, at = [], [], 0
    for piece in pieces:
        tokens_L = corpus.tokens(piece.index)
        if tokens_L is not None and frames_needed(tokens_L) <= piece.num_frames:
            chosen.append(piece)
            frames.append(logits_NC[at : at + piece.num_frames])
        at += piece.num_frames
    if not chosen:
        return FrameScore()
    targets = read_tokens(corpus, chosen)
    references = torch.split(targets[1], targets[2].tolist())
    errors = sum(
        edit_distance(reference.tolist(), collapse(logits.argmax(dim=1).cpu().numpy()).tolist())
        for reference, logits in zip(references, frames, strict=True)
    )
    return FrameScore(
        num_frames=len(targets[1]),
        num_errors=errors,
        nats=float(ctc_nats(torch.cat(frames), *targets).sum()),
    )
