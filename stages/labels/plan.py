"""Plan of the labels stage: what is made of each utterance, and which ones are worked on together.

Pure functions. The parts follow from the corpus file alone, so that a resumed run has the same.
"""

from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.corpus.utterance import Utterance

PART_FRAMES = 16384
PART_VALUES = 1 << 24  # posteriors of a part, of one member: 64 MiB of float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A path for the utterance at `index`: along `words`, or through the whole graph if None."""

    index: int
    num_frames: int
    words: tuple[str, ...] | None


def plan_utterances(
    utterances: Collection[Utterance],
    labelled_frames_U: NDArray[np.int64],
    *,
    skipped: Container[str],
) -> list[Wanted]:
    """What is to be found. An utterance without any hard label is untranscribed: it is decoded.

    Empty utterances and those in `skipped` have no path.
    """
    rows = zip(utterances, labelled_frames_U.tolist(), strict=True)
    return [
        Wanted(
            index=index,
            num_frames=row.num_frames,
            words=tuple(row.transcript.split()) if num_labelled else None,
        )
        for index, (row, num_labelled) in enumerate(rows)
        if row.num_frames and row.id not in skipped
    ]


def cut_parts(wanted: Collection[Wanted], *, num_classes: int) -> Iterator[list[Wanted]]:
    """Utterances that are worked on together: few enough frames to hold all their posteriors.

    A longer utterance is a part of its own.
    """
    most_frames = max(1, min(PART_FRAMES, PART_VALUES // num_classes))
    part: list[Wanted] = []
    room = most_frames
    for each in wanted:
        if part and each.num_frames > room:
            yield part
            part, room = [], most_frames
        part.append(each)
        room -= each.num_frames
    if part:
        yield part
