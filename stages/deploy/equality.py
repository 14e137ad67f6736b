"""Equality: an exported model against the one in torch, on features of the corpus.

Compared are the batches of an evaluation, utterances alone, and batches of very unequal lengths
whose padding is not zero, down to one frame.

Shapes: B utterances, T frames of the longest, F feature dims, C classes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stages.acoustic.models.onnx_model import OnnxModel
from stages.contract.errors import BadInput
from stages.deploy.folder import Equality
from stages.deploy.make_onnx import LogPosteriors
from stages.members.batches import plan_batches, read_batch
from storage.corpus.corpus_file import CorpusFile

TOLERANCE = 1e-4  # in log-probabilities
BATCH_FRAMES = 8192
COMPARED_FRAMES = 20_000  # of a split, in batches
NUM_ALONE = 8  # utterances that are compared alone too
# Lengths around every reach of the layers: one frame, less than a kernel, more than all of them.
PREFIXES = (1, 2, 3, 7, 14, 15, 16, 31, 64, 127)
PADDING = 3.0  # what a batch holds after the end of an utterance


def compare(model: LogPosteriors, exported: OnnxModel, corpora: Sequence[CorpusFile]) -> Equality:
    """Run both on all batches of `compared_batches`.

    Raises:
        BadInput: naming the batch, if they differ by more than TOLERANCE.
    """
    largest, num_batches, num_frames = 0.0, 0, 0
    for corpus in corpora:
        for what, features_BTF, lengths_B in compared_batches(corpus):
            found = _difference(model, exported, features_BTF, lengths_B)
            if not found <= TOLERANCE:  # nan is a difference
                raise BadInput(
                    f"the exported model differs from the one in torch by {found:.2g} in "
                    f"log-probability, wanted {TOLERANCE:g} at most "
                    f"({corpus.about.split}, {what}): "
                    "a custom architecture must not depend on values or length of its input in "
                    "Python code"
                )
            largest, num_batches = max(largest, found), num_batches + 1
            num_frames += int(lengths_B.sum())
    return Equality(
        tolerance=TOLERANCE,
        largest_difference=float(f"{largest:.1e}"),
        num_batches=num_batches,
        num_frames=num_frames,
    )


Batch = tuple[str, NDArray[np.float32], NDArray[np.int64]]


def compared_batches(corpus: CorpusFile) -> Iterator[Batch]:
    """Name, features (B, T, F) and lengths (B,) of every batch that is compared."""
    rows = [index for index, row in enumerate(corpus.utterances) if row.num_frames]
    ends = np.cumsum([corpus.utterances[index].num_frames for index in rows])
    some = rows[: 1 + int(np.searchsorted(ends, COMPARED_FRAMES))]
    for pieces in plan_batches(corpus.utterances, some, batch_frames=BATCH_FRAMES):
        batch = read_batch(corpus, pieces, device="cpu", with_features=True)
        first = f"batch of utterance {pieces[0].utterance.id!r}"
        yield first, batch.features_BTF.numpy(), batch.lengths_B.numpy()
    for index in rows[:NUM_ALONE]:
        features_TF = corpus.features(index)
        name = f"utterance {corpus.utterances[index].id!r} alone"
        yield name, features_TF[None], np.array([len(features_TF)])
    longest = max(rows, key=lambda index: corpus.utterances[index].num_frames)
    yield from _prefixes(corpus.features(longest)[: max(PREFIXES) + 1])


def _prefixes(features_TF: NDArray[np.float32]) -> Iterator[Batch]:
    """The first frames of an utterance: each length alone, then all of them in one batch."""
    lengths = [length for length in PREFIXES if length <= len(features_TF)]
    for length in lengths:
        yield f"{length} frames alone", features_TF[None, :length], np.array([length])
    padded_BTF = np.full((len(lengths), max(lengths), features_TF.shape[1]), PADDING, np.float32)
    for row, length in enumerate(lengths):
        padded_BTF[row, :length] = features_TF[:length]
    yield "a batch of unequal lengths", padded_BTF, np.array(lengths)


@torch.no_grad()
def _difference(
    model: LogPosteriors,
    exported: OnnxModel,
    features_BTF: NDArray[np.float32],
    lengths_B: NDArray[np.int64],
) -> float:
    """The largest difference within the utterances; inf if the exported model fails."""
    wanted_BTC = model(torch.from_numpy(features_BTF), torch.from_numpy(lengths_B)).numpy()
    try:
        found_BTC = exported.log_posteriors(features_BTF, lengths_B)
    except Exception:  # noqa: BLE001  onnxruntime has no class of errors: a fixed shape, say
        return float("inf")
    if found_BTC.shape != wanted_BTC.shape:
        return float("inf")
    differences = [
        float(np.abs(found_TC[:length] - wanted_TC[:length]).max())
        for found_TC, wanted_TC, length in zip(found_BTC, wanted_BTC, lengths_B, strict=True)
    ]
    return float(np.max(differences))
