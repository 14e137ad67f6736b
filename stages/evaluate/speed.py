"""models, corpus -> real-time factor: seconds of one processor thread per second of speech.

The clock is that of the thread, which stops while other programs run. Utterances are processed one
by one, as in an interactive use. Reading features and decoding are not included.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from stages.members.batches import Batch, plan_batches, read_batch
from stages.members.kinds import open_member
from stages.members.member import Member
from storage.corpus.corpus_file import CorpusFile

MEASURED_SECONDS = 20.0  # of speech
REPEATS = 3  # the fastest counts


def real_time_factor(directories: Sequence[Path], corpus: CorpusFile) -> float | None:
    """The sum over all models; None if one of them computes nothing from features."""
    seconds_per_frame = corpus.about.frame_shift_ms / 1000
    indices = _first_utterances(corpus, round(MEASURED_SECONDS / seconds_per_frame))
    num_frames = sum(corpus.utterances[index].num_frames for index in indices)
    members = [open_member(directory, device="cpu") for directory in directories]
    if not num_frames or any(member.about.feature_dim is None for member in members):
        return None
    speech = num_frames * seconds_per_frame
    with _one_thread():
        batches = [
            read_batch(corpus, pieces, device="cpu", with_features=True)
            for pieces in plan_batches(corpus.utterances, indices, batch_frames=1)
        ]
        return sum(_fastest(member, batches) for member in members) / speech


def _first_utterances(corpus: CorpusFile, num_frames: int) -> list[int]:
    chosen, total = [], 0
    for index, row in enumerate(corpus.utterances):
        if total < num_frames and row.num_frames:
            chosen.append(index)
            total += row.num_frames
    return chosen


def _fastest(opened: Member, batches: Sequence[Batch]) -> float:
    member = opened.load()
    taken = []
    for _ in range(REPEATS):
        start = time.thread_time()
        for batch in batches:
            member.log_posteriors(batch)
        taken.append(time.thread_time() - start)
    return min(taken)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
