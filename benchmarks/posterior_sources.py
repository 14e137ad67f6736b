"""Where a benchmark's posteriors come from: a seed, models on speech, or a store.

Posteriors from a seed or from models have not been coded yet, so the error of coding can be
measured on them. The values of a store have been through the value code once.

Shapes: T frames, C classes, K kept ranks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from realistic_posteriors import realistic_posteriors

from stages.members.ensemble_posteriors import average_log_posteriors
from stages.members.kinds import open_member
from stages.members.run import compute_posteriors
from storage.corpus.corpus_file import CorpusFile
from storage.format.tiers import plan_tiers
from storage.read.reader import SoftLabelStore
from storage.write.top_k import KeptBlock, join_blocks, keep_top_k

KEPT = 32
DENSE_FRAMES = 16_384  # enough for the dense file to exceed the processor's caches
FORWARD_FRAMES = 8192  # of one forward pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Posteriors:
    """Kept ranks of all frames, all classes of the first frames; `exact`: never coded."""

    kept: KeptBlock
    dense_TC: NDArray[np.float32]
    lengths: list[int]  # frames of the utterances
    num_classes: int
    exact: bool


def from_seed(num_frames: int, num_classes: int) -> Posteriors:
    """Made posteriors, in utterances of 1 to 30 seconds, 10 on average, at 30 ms a frame."""
    rng = np.random.default_rng(1)
    drawn = np.clip(rng.lognormal(np.log(300), 0.5, size=num_frames), 33, 1000).astype(int)
    lengths = drawn[: int(np.searchsorted(np.cumsum(drawn), num_frames))].tolist()
    return _keep(realistic_posteriors(sum(lengths), num_classes, seed=1), lengths, num_classes)


def from_members(directories: Sequence[Path], corpus_path: Path) -> Posteriors:
    """Posteriors of an ensemble on a corpus: the mean of the members' probabilities."""
    members = [open_member(directory, device="cpu") for directory in directories]
    with CorpusFile(corpus_path) as corpus:
        indices = range(len(corpus.utterances))
        said = [
            compute_posteriors(
                member,
                corpus,
                indices,
                batch_frames=FORWARD_FRAMES,
                device="cpu",
                name=str(directory),
            )
            for member, directory in zip(members, directories, strict=True)
        ]
        blocks = (_mean([logp_TC for _, logp_TC in one]) for one in zip(*said, strict=True))
        lengths = [row.num_frames for row in corpus.utterances]
        return _keep(blocks, lengths, corpus.about.num_classes)


def from_store(store: SoftLabelStore) -> Posteriors:
    """Posteriors of a store; in the dense frames the tail is spread over the other classes."""
    frames, about = range(store.num_frames), store.about
    whole = store.read(frames, k=about.kept)
    tails = [store.read(frames, k=tier.last).tail_T for tier in about.tiers]
    kept = KeptBlock(
        ids_TK=whole.ids_TK,
        logp_TK=whole.logp_TK,
        tail_TG=np.stack(tails, axis=1),
        log_norm_TH=np.empty((store.num_frames, 0), np.float32),
    )
    return Posteriors(
        kept=kept,
        dense_TC=_spread_out(kept, about.num_classes),
        lengths=[row.num_frames for row in store.utterances],
        num_classes=about.num_classes,
        exact=False,
    )


def _keep(
    blocks: Iterable[NDArray[np.float32]], lengths: list[int], num_classes: int
) -> Posteriors:
    kept, dense = [], []
    num_kept = min(KEPT, num_classes)
    for logp_TC in blocks:
        kept.append(keep_top_k(logp_TC, num_kept, tiers=plan_tiers(num_kept)))
        if sum(map(len, dense)) < DENSE_FRAMES:
            dense.append(logp_TC)
    return Posteriors(
        kept=join_blocks(kept),
        dense_TC=np.concatenate(dense),
        lengths=lengths,
        num_classes=num_classes,
        exact=True,
    )


def _mean(members: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return average_log_posteriors(members, [1.0] * len(members), "arithmetic")


def _spread_out(kept: KeptBlock, num_classes: int) -> NDArray[np.float32]:
    ids_TK = kept.ids_TK[:DENSE_FRAMES].astype(np.intp)
    tail_T1 = np.maximum(kept.tail_TG[:DENSE_FRAMES, -1:], 1e-30)
    dense_TC = np.repeat(np.log(tail_T1 / num_classes), num_classes, axis=1).astype(np.float32)
    np.put_along_axis(dense_TC, ids_TK, kept.logp_TK[:DENSE_FRAMES], axis=1)
    return dense_TC
