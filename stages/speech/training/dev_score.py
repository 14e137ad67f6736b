"""model, corpus file -> frame error and cross-entropy against the hard labels."""

from collections.abc import Callable
from contextlib import closing

import torch

from stages.speech.architectures import AcousticModel
from stages.speech.batches import cut_pieces, plan_batches, read_ahead, read_batch
from stages.speech.frame_loss import FrameScore, score_frames
from storage.corpus_file import CorpusFile


@torch.no_grad()
def score_model(
    model: AcousticModel,
    corpus: CorpusFile,
    *,
    batch_frames: int,
    chunk_frames: int,
    device: str,
    at_each_batch: Callable[[], None],
) -> FrameScore:
    """The score over all labelled frames. What `at_each_batch` raises ends it."""
    model.eval()
    pieces = cut_pieces([row.num_frames for row in corpus.utterances], chunk_frames)
    plan = plan_batches([piece.num_frames for piece in pieces], batch_frames, seed=0, epoch=0)
    score = FrameScore()
    read = read_ahead(plan, lambda chosen: read_batch(corpus, [pieces[i] for i in chosen]))
    with closing(read) as batches:
        for batch in batches:
            at_each_batch()
            live_BT = batch.live_BT.to(device)
            logits_NC = model(batch.features_BTF.to(device), batch.lengths_B)[live_BT]
            score = score + score_frames(logits_NC, batch.labels_BT.to(device)[live_BT])
    return score
