"""One shard: features -> the ensemble's posteriors -> what is kept. One member at a time.

Shapes: T frames of the shard, C classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.errors import BadPosterior
from stages.speech.ensemble_posteriors import Combine, add_member, finish_average, soften
from stages.speech.posterior_gate import check_posteriors
from stages.speech.progress import Task
from stages.teacher.members import Share
from storage.corpus_file import CorpusFile
from storage.store_format import StoreAbout
from storage.top_k import KeptBlock, join_blocks, keep_top_k

BLOCK_FRAMES = 2048  # softened and truncated at once


class BadUtterances(Exception):
    """What the gate found in a shard: utterance id -> message."""

    def __init__(self, found: dict[str, str]) -> None:
        super().__init__("; ".join(found.values()))
        self.found = found


def label_shard(
    about: StoreAbout,
    shares: Sequence[Share],
    corpus: CorpusFile,
    indices: Sequence[int],
    *,
    batch_frames: int,
    task: Task,
) -> KeptBlock:
    """What is kept of the utterances at `indices` of the corpus, one after the other.

    Raises:
        BadUtterances: when a member's output is no distribution; all of that member's are named.
    """
    lengths = [corpus.utterances[index].num_frames for index in indices]
    first_of = dict(zip(indices, np.cumsum([0, *lengths]).tolist(), strict=False))
    total_TC = np.zeros((sum(lengths), about.num_classes), np.float32)
    for share in shares:
        bad: dict[str, str] = {}
        member = share.member
        for index, logp_TC in member.log_posteriors(corpus, indices, batch_frames=batch_frames):
            row = corpus.utterances[index]
            try:
                check_posteriors(
                    logp_TC,
                    num_frames=row.num_frames,
                    num_classes=about.num_classes,
                    member=f"{member.about.kind} {share.directory}",
                    utterance=row.id,
                )
            except BadPosterior as error:
                bad[row.id] = str(error)
                continue
            rows = slice(first_of[index], first_of[index] + row.num_frames)
            add_member(total_TC[rows], logp_TC, weight=share.weight, combine=_rule(about))
            task.advance(row.num_frames)
        if bad:
            raise BadUtterances(bad)
    return _keep(about, total_TC)


def _rule(about: StoreAbout) -> Combine:
    return "geometric" if about.combine == "geometric" else "arithmetic"


def _keep(about: StoreAbout, total_TC: NDArray[np.float32]) -> KeptBlock:
    blocks = []
    for start in range(0, max(1, len(total_TC)), BLOCK_FRAMES):
        logp_TC = finish_average(total_TC[start : start + BLOCK_FRAMES], combine=_rule(about))
        blocks.append(
            keep_top_k(
                soften(logp_TC, about.temperature),
                about.kept,
                tiers=about.tiers,
                temperatures=about.temperatures,
            )
        )
    return join_blocks(blocks)
