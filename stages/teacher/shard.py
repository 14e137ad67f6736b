"""One shard: features -> the ensemble's posteriors -> what is kept, block after block.

If all members are in memory, a block is one batch, and memory holds the posteriors of that.
Otherwise each member is loaded once for the shard, which is then one block. Batches and the order
of members are the same in both cases, and so are the bits.

Shapes: T frames, C classes.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stages.contract.errors import BadPosterior
from stages.contract.progress import Task
from stages.members.batches import Batch, Piece, plan_batches, read_batch
from stages.members.run import check_piece, run_member
from stages.members.shares import LoadedShares, Share
from stages.teacher.block_mean import BlockMean, NumpyMean, keep_changed
from stages.teacher.given_transcript import GivenTranscript, whole_utterances
from stages.teacher.torch_mean import TorchMean
from storage.corpus.corpus_file import CorpusFile
from storage.format.layout import StoreAbout
from storage.write.top_k import KeptBlock


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
    transcripts: GivenTranscript | None = None,
    batch_frames: int,
    device: str,
    task: Task,
) -> Iterator[KeptBlock]:
    """What is kept of the utterances at `indices` of the corpus, one after the other, in blocks.

    With `transcripts`, of posteriors given the transcript.

    Raises:
        BadUtterances: at the end, if a member's output was no distribution; all are named.
        MemberFailed: if a member raises, naming it and the utterance.
    """
    plan = list(plan_batches(corpus.utterances, indices, batch_frames=batch_frames))
    blocks = [[pieces] for pieces in plan] if loaded.all_at_once and plan else [plan]
    if transcripts is not None and loaded.all_at_once:
        blocks = list(whole_utterances(plan))  # a path goes through all pieces of an utterance
    bad: dict[str, str] = {}
    for block in blocks:
        batches = _read(loaded, corpus, block, device=device)
        num_frames = sum(piece.num_frames for pieces in block for piece in pieces)
        mean = mean_on(device, about, num_frames)
        for share in loaded.shares:
            bad = _add_share(mean, share, batches, task=task) | bad
        if not bad:
            yield from _kept(mean, block, about, transcripts)
    if bad:
        raise BadUtterances(bad)


def _kept(
    mean: BlockMean,
    block: Sequence[tuple[Piece, ...]],
    about: StoreAbout,
    transcripts: GivenTranscript | None,
) -> Iterator[KeptBlock]:
    if transcripts is None:
        yield from mean.keep()
        return
    logp_TC = mean.log_posteriors()
    transcripts.replace(logp_TC, [piece for pieces in block for piece in pieces])
    yield from keep_changed(logp_TC, about)


def mean_on(device: str, about: StoreAbout, num_frames: int) -> BlockMean:
    """The implementation for a device: what it computes on the processor keeps its bytes."""
    if torch.device(device).type == "cuda":
        return TorchMean(about, num_frames, device=device)
    return NumpyMean(about, num_frames)  # mps has no float64, which exact tails need


def _read(
    loaded: LoadedShares, corpus: CorpusFile, block: Sequence[tuple[Piece, ...]], *, device: str
) -> list[Batch]:
    # Read once for all members: features take little next to the mean, of C values a frame.
    with_features = any(share.member.about.feature_dim is not None for share in loaded.shares)
    return [
        read_batch(corpus, pieces, device=device, with_features=with_features) for pieces in block
    ]


def _add_share(
    mean: BlockMean, share: Share, batches: Sequence[Batch], *, task: Task
) -> dict[str, str]:
    """Add one member to the mean; returns what the gate found, by utterance id.

    The member is referred to from here alone: its memory is free before the next one is loaded.
    """
    member = share.load()
    bad: dict[str, str] = {}
    first = 0
    for batch in batches:
        outputs = list(run_member(member, batch, share.member.about, name=share.name))
        rows = []
        for piece, _ in outputs:
            rows.append(slice(first, first + piece.num_frames))
            first += piece.num_frames
        pieces = [(place, logp_TC) for place, (_, logp_TC) in zip(rows, outputs, strict=True)]
        sound = mean.add(pieces, weight=share.weight, floor=share.member.averaging_floor)
        for (piece, logp_TC), is_sound in zip(outputs, sound, strict=True):
            if not is_sound and (why := _what_is_wrong(share, piece, logp_TC)):
                bad.setdefault(piece.utterance.id, why)
            else:
                task.advance(piece.num_frames)
    return bad


def _what_is_wrong(share: Share, piece: Piece, logp_TC: Tensor) -> str:
    num_classes = share.member.about.num_classes
    try:
        check_piece(logp_TC.cpu().numpy(), piece, num_classes=num_classes, name=share.name)
    except BadPosterior as error:
        return str(error)
    return ""
