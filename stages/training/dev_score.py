"""model, corpus file -> frame error and cross-entropy against the hard labels, or token errors."""

from contextlib import closing

import torch

from stages.acoustic.models.architectures import AcousticModel
from stages.training.batches import cut_pieces, plan_batches, read_ahead, read_batch
from stages.training.frame_loss import FrameScore, score_frames
from stages.training.interrupts import Interrupt
from stages.training.ranks import Ranks
from stages.training.token_score import score_tokens
from storage.corpus.corpus_file import CorpusFile


@torch.no_grad()
def score_model(
    model: AcousticModel,
    corpus: CorpusFile,
    *,
    batch_frames: int,
    chunk_frames: int,
    device: str,
    ranks: Ranks,
    interrupt: Interrupt,
) -> FrameScore | None:
    """The score over all labelled frames, batches dealt out to the ranks; None where asked to stop.

    Of token sequences: over all tokens, of whole utterances.

    One process alone stops at once, several when all are done.
    """
    model.eval()
    is_whole_U = corpus.is_transcribed() if corpus.has_tokens else None
    lengths = [row.num_frames for row in corpus.utterances]
    pieces = cut_pieces(lengths, chunk_frames, is_whole_U=is_whole_U)
    plan = plan_batches([piece.num_frames for piece in pieces], batch_frames, seed=0, epoch=0)
    score = FrameScore()
    read = read_ahead(
        plan[ranks.rank :: ranks.size],
        lambda chosen: read_batch(corpus, [pieces[i] for i in chosen]),
    )
    with closing(read) as batches:
        for batch in batches:
            if ranks.size == 1 and interrupt.is_asked:
                return None
            live_BT = batch.live_BT.to(device)
            logits_NC = model(batch.features_BTF.to(device), batch.lengths_B)[live_BT]
            if corpus.has_tokens:
                score = score + score_tokens(logits_NC, corpus, batch.pieces)
            else:
                score = score + score_frames(logits_NC, batch.labels_BT.to(device)[live_BT])
    sums = (float(score.num_frames), float(score.num_errors), score.nats)
    frames, errors, nats = ranks.exchange(sums, is_asked=interrupt.is_asked)
    if ranks.must_stop(is_asked=interrupt.is_asked):
        return None
    return FrameScore(num_frames=int(frames), num_errors=int(errors), nats=nats)
