"""Log-posteriors of utterances, from a member in memory, without any check."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.models.architectures import AcousticModel
from stages.members.batches import plan_batches, read_batch
from stages.members.member import LoadedMember
from stages.members.trained_member import LoadedModel
from storage.corpus.corpus_file import CorpusFile


def posteriors_of(
    member: LoadedMember,
    corpus: CorpusFile,
    indices: Iterable[int] | None = None,
    *,
    batch_frames: int = 90,
) -> dict[int, NDArray[np.float32]]:
    """Index of each utterance (all of them by default) -> its log-posteriors (T, C)."""
    chosen = list(range(len(corpus.utterances)) if indices is None else indices)
    empty_TC = np.zeros((0, corpus.about.num_classes), np.float32)
    parts = {index: [empty_TC] for index in chosen}
    for pieces in plan_batches(corpus.utterances, chosen, batch_frames=batch_frames):
        batch = read_batch(corpus, pieces, device="cpu", with_features=True)
        for piece, logp_TC in batch.without_context(member.log_posteriors(batch)):
            parts[piece.index].append(logp_TC.numpy())
    return {index: np.concatenate(blocks) for index, blocks in parts.items()}


def model_posteriors(
    model: AcousticModel,
    corpus: CorpusFile,
    indices: Iterable[int] | None = None,
    *,
    batch_frames: int = 90,
) -> dict[int, NDArray[np.float32]]:
    """The same of a model that is no member yet."""
    return posteriors_of(LoadedModel(model.eval()), corpus, indices, batch_frames=batch_frames)
