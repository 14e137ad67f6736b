"""Folds: who hears which speaker in training, so that a teacher can label what it never heard.

A model's posteriors on its own training data say little that the labels do not. With n folds a
member is n models; each is trained without the speakers of one fold, and labels those.
"""

from collections import Counter
from collections.abc import Iterable

from stages.errors import BadInput
from storage.corpus_file import Utterance


def plan_folds(utterances: Iterable[Utterance], num_folds: int) -> dict[str, int]:
    """The fold of every speaker, 0 to num_folds - 1: like amounts of speech, the same each time.

    The longest speaker first, each into the fold that has least.

    Raises:
        BadInput: when there are fewer speakers than folds.
    """
    frames: Counter[str] = Counter()
    for row in utterances:
        frames[row.speaker] += row.num_frames
    if len(frames) < num_folds:
        raise BadInput(
            f"found {len(frames)} speakers for {num_folds} folds: give every utterance its speaker "
            "(utt2spk), or lower the member's folds"
        )
    held = [0] * num_folds
    fold_of = {}
    for speaker in sorted(frames, key=lambda name: (-frames[name], name)):
        fold_of[speaker] = held.index(min(held))
        held[fold_of[speaker]] += frames[speaker]
    return fold_of
