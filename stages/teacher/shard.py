"""One shard: features -> the ensemble's posteriors -> what is kept, block after block.

Where all members are loaded, a block is what goes through a model at once, and memory holds the
posteriors of that; else each member is loaded once for the shard, which is then one block. The
batches and the order of members are the same, and so are the bits.

Shapes: T frames of a block, C classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.models.posteriors import consecutive_batches
from stages.contract.errors import BadPosterior, MemberFailed
from stages.contract.progress import Task
from stages.members.ensemble_posteriors import (
    Combine,
    add_member,
    finish_average,
    raise_to_floor,
    soften,
)
from stages.members.posterior_gate import check_posteriors
from stages.teacher.members import LoadedShares, Share
from storage.corpus.corpus_file import CorpusFile
from storage.errors import EssenceError
from storage.format.layout import StoreAbout
from storage.write.top_k import KeptBlock, keep_top_k, keep_top_p

BLOCK_FRAMES = 2048  # softened and truncated at once

Outputs = Iterator[tuple[int, NDArray[np.float32]]]


class BadUtterances(Exception):
    """What the gate found in a shard: utterance id -> message."""

    def __init__(self, found: dict[str, str]) -> None:
        super().__init__("; ".join(found.values()))
        self.found = found


def label_shard(
    about: StoreAbout,
    loaded: LoadedShares,
    corpus: CorpusFile,
    indices: Sequence[int],
    *,
    batch_frames: int,
    task: Task,
) -> Iterator[KeptBlock]:
    """What is kept of the utterances at `indices` of the corpus, one after the other, in blocks.

    Raises:
        BadUtterances: at the end, when a member's output was no distribution; all are named.
        MemberFailed: when a member could not be asked at all, naming it and the utterance.
    """
    batches = consecutive_batches(corpus, indices, batch_frames=batch_frames)
    bad: dict[str, str] = {}
    for block in batches if loaded.all_at_once else [list(indices)]:
        total_TC = _sum_of_members(
            about, loaded, corpus, block, bad=bad, batch_frames=batch_frames, task=task
        )
        if not bad:
            yield from _keep(about, total_TC)
    if bad:
        raise BadUtterances(bad)


def _sum_of_members(
    about: StoreAbout,
    loaded: LoadedShares,
    corpus: CorpusFile,
    block: Sequence[int],
    *,
    bad: dict[str, str],
    batch_frames: int,
    task: Task,
) -> NDArray[np.float32]:
    lengths = [corpus.utterances[index].num_frames for index in block]
    first_of = dict(zip(block, np.cumsum([0, *lengths]).tolist(), strict=False))
    total_TC = np.zeros((sum(lengths), about.num_classes), np.float32)
    for share in loaded.shares:
        for index, given_TC in _outputs(share, corpus, block, batch_frames=batch_frames):
            logp_TC = raise_to_floor(given_TC, floor=share.member.averaging_floor)
            row = corpus.utterances[index]
            rows = slice(first_of[index], first_of[index] + row.num_frames)
            fits = logp_TC.shape == total_TC[rows].shape
            is_sound = fits and add_member(
                total_TC[rows], logp_TC, weight=share.weight, combine=_rule(about)
            )
            why = "" if is_sound else _what_is_wrong(share, corpus, index, logp_TC)
            if why:
                bad.setdefault(row.id, why)
            else:
                task.advance(row.num_frames)
    return total_TC


def _what_is_wrong(
    share: Share, corpus: CorpusFile, index: int, logp_TC: NDArray[np.float32]
) -> str:
    row = corpus.utterances[index]
    try:
        check_posteriors(
            logp_TC,
            num_frames=row.num_frames,
            num_classes=corpus.about.num_classes,
            member=f"{share.member.about.kind} {share.directory}",
            utterance=row.id,
        )
    except BadPosterior as error:
        return str(error)
    return ""


def _outputs(
    share: Share, corpus: CorpusFile, block: Sequence[int], *, batch_frames: int
) -> Outputs:
    """What the member says; where it breaks, the utterance that breaks it is looked for."""
    num_done = 0
    outputs = share.member.log_posteriors(corpus, block, batch_frames=batch_frames)
    try:
        for output in outputs:
            yield output
            num_done += 1
    except EssenceError:
        raise
    except Exception as cause:
        member = f"member {share.member.about.kind} {share.directory}"
        rest = consecutive_batches(corpus, block[num_done:], batch_frames=batch_frames)
        names = [corpus.utterances[index].id for index in _guilty(share, corpus, next(rest, []))]
        hint = ": lower teacher.batch_frames" if len(names) > 1 else ""
        raise MemberFailed(
            f"{member} could not label utterance {', '.join(map(repr, names))}: "
            f"{type(cause).__name__}: {cause}{hint}"
        ) from cause


def _guilty(share: Share, corpus: CorpusFile, batch: Sequence[int]) -> Sequence[int]:
    """The utterance of a batch that fails alone too; all of it, where none does."""
    for index in batch:
        is_sound = False
        with suppress(Exception):  # it is told already
            list(share.member.log_posteriors(corpus, [index], batch_frames=1))
            is_sound = True
        if not is_sound:
            return [index]
    return batch


def _rule(about: StoreAbout) -> Combine:
    return "geometric" if about.combine == "geometric" else "arithmetic"


def _keep(about: StoreAbout, total_TC: NDArray[np.float32]) -> Iterator[KeptBlock]:
    if _rule(about) == "arithmetic" and about.temperature == 1 and not about.temperatures:
        yield keep_top_p(total_TC, about.kept, tiers=about.tiers)  # the quick way, and the usual
        return
    for start in range(0, len(total_TC), BLOCK_FRAMES):
        logp_TC = finish_average(total_TC[start : start + BLOCK_FRAMES], combine=_rule(about))
        yield keep_top_k(
            soften(logp_TC, about.temperature),
            about.kept,
            tiers=about.tiers,
            temperatures=about.temperatures,
        )
