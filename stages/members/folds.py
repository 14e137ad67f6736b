"""Folds: which speakers each model of a member is trained without, so that it can label them.

A model's posteriors on its own training data add little to the labels. With n folds a member is n
models; each is trained without the speakers of one fold, and labels those.
"""

from collections import Counter
from collections.abc import Container, Iterable

from stages.contract.errors import BadInput
from storage.corpus.utterance import Utterance


def plan_folds(
    utterances: Iterable[Utterance], num_folds: int, *, unlabelled: Container[str]
) -> dict[str, int]:
    """The fold of every speaker, 0 to num_folds - 1: even in frames, the same in every run.

    Speakers are placed by labelled speech, then by all of their speech, the most first, each into
    the fold that has the least: labelled speech is spread as well. `unlabelled` are utterance ids.

    Raises:
        BadInput: if there are fewer speakers than folds, or only one has hard labels.
    """
    frames: Counter[str] = Counter()
    labelled: Counter[str] = Counter()
    for row in utterances:
        frames[row.speaker] += row.num_frames
        labelled[row.speaker] += 0 if row.id in unlabelled else row.num_frames
    if len(frames) < num_folds:
        raise BadInput(
            f"found {len(frames)} speakers for {num_folds} folds: give every utterance its speaker "
            "(utt2spk), or lower the member's folds"
        )
    if sum(count > 0 for count in labelled.values()) < 2:
        raise BadInput(
            f"found hard labels of one speaker for {num_folds} folds, wanted two speakers at "
            "least: nothing is left to train the model without that speaker: label more "
            "(labelled_share), or set the member's folds to 1"
        )
    held = [0] * num_folds
    fold_of = {}
    for speaker in sorted(frames, key=lambda name: (-labelled[name], -frames[name], name)):
        fold_of[speaker] = held.index(min(held))
        held[fold_of[speaker]] += frames[speaker]
    return fold_of
