"""model, corpus file -> log-posteriors: one utterance after the other, in the order asked.

An utterance longer than PIECE_FRAMES goes through in pieces, each with CONTEXT_FRAMES on either
side, so that activations of a ten-hour recording stay within O(piece).

Shapes: B utterances, T frames, F feature dims, C classes.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from stages.acoustic.models.architectures import AcousticModel
from stages.contract.errors import BadInput
from storage.corpus.corpus_file import CorpusFile

PIECE_FRAMES = 8192
CONTEXT_FRAMES = 256  # more than any convolution here sees, and seconds of a recurrence's past


def log_posteriors(
    model: AcousticModel,
    corpus: CorpusFile,
    indices: Iterable[int],
    batch_frames: int,
    device: str,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Natural-log posteriors (T, C) of each utterance, float32, as (index, logp_TC).

    `batch_frames` bounds the padded frames of a batch. The same indices give the same bits on the
    same device and thread count; other batches may move the last bits. The model is put into
    evaluation mode.

    Raises:
        BadInput: when the corpus has other features than the model.
    """
    if corpus.about.feature_dim != model.feature_dim:
        raise BadInput(
            f"{corpus.path} has {corpus.about.feature_dim} feature dims, "
            f"the model was trained on {model.feature_dim}: train it on this corpus"
        )
    model.eval()
    for batch in consecutive_batches(corpus, indices, batch_frames=batch_frames):
        if corpus.utterances[batch[0]].num_frames > PIECE_FRAMES:
            yield batch[0], _in_pieces(model, corpus, batch[0], device)
            continue
        blocks = [corpus.features(index) for index in batch]
        yield from zip(batch, _forward(model, blocks, device), strict=True)


def consecutive_batches(
    corpus: CorpusFile, indices: Iterable[int], *, batch_frames: int
) -> Iterator[list[int]]:
    """What goes through a model at once. The utterances of a batch, asked alone, are that batch."""
    batch: list[int] = []
    longest = 0
    for index in indices:
        length = corpus.utterances[index].num_frames
        longest = max(longest, length)
        long = longest > PIECE_FRAMES  # such a one goes alone
        if batch and (long or (len(batch) + 1) * longest > batch_frames):
            yield batch
            batch, longest = [], length
        batch.append(index)
        if longest > PIECE_FRAMES:
            yield batch
            batch, longest = [], 0
    if batch:
        yield batch


@torch.no_grad()
def _forward(
    model: AcousticModel, blocks: list[NDArray[np.float32]], device: str
) -> list[NDArray[np.float32]]:
    lengths = [len(block) for block in blocks]
    live = [i for i, length in enumerate(lengths) if length]
    results = [np.zeros((0, model.num_classes), np.float32) for _ in blocks]
    if not live:
        return results
    features_BTF = torch.zeros(len(live), max(lengths), model.feature_dim)
    for row, i in enumerate(live):
        features_BTF[row, : lengths[i]] = torch.from_numpy(blocks[i])
    lengths_B = torch.tensor([lengths[i] for i in live])
    logits_BTC = model(features_BTF.to(device), lengths_B)
    logp_BTC = torch.log_softmax(logits_BTC.float(), dim=2).cpu().numpy()
    for row, i in enumerate(live):
        results[i] = logp_BTC[row, : lengths[i]]
    return results


def _in_pieces(
    model: AcousticModel, corpus: CorpusFile, index: int, device: str
) -> NDArray[np.float32]:
    num_frames = corpus.utterances[index].num_frames
    logp_TC = np.empty((num_frames, model.num_classes), np.float32)
    for start in range(0, num_frames, PIECE_FRAMES):
        end = min(start + PIECE_FRAMES, num_frames)
        first, last = max(0, start - CONTEXT_FRAMES), min(num_frames, end + CONTEXT_FRAMES)
        (piece,) = _forward(model, [corpus.features(index, span=(first, last))], device)
        logp_TC[start:end] = piece[start - first : end - first]
    return logp_TC
