"""Shares of a Kaldi experiment's train folder as dev and test, where it has no such folders."""

import hashlib
from collections import Counter
from dataclasses import replace

from stages.contract.errors import BadInput
from stages.corpus.kaldi_plan import Entry, FolderPlan


def share_out(train: FolderPlan, shares: dict[str, float]) -> dict[str, FolderPlan]:
    """Take whole speakers out of train for other splits; each has at least one.

    Which ones depends on their names alone, so that other speakers do not change it.

    Raises:
        BadInput: if train has too few speakers.
    """
    by_speaker = Counter(entry.speaker for entry in train.entries)
    order = sorted(by_speaker, key=lambda name: hashlib.sha256(name.encode()).digest())
    if len(order) <= len(shares):
        raise BadInput(
            f"{train.directory}: {len(order)} speakers, wanted more than {len(shares)} to take "
            f"{' and '.join(shares)} from: give folders of their own instead of shares"
        )
    split_of: dict[str, str] = {}
    for number, (split, share) in enumerate(shares.items()):
        wanted, taken = share * len(train.entries), 0
        reserved = len(shares) - number  # one for each split that comes after, and one for train
        while taken < wanted and len(order) > reserved:
            speaker = order.pop(0)
            split_of[speaker] = split
            taken += by_speaker[speaker]
    parts: dict[str, list[Entry]] = {split: [] for split in ("train", *shares)}
    for entry in train.entries:
        parts[split_of.get(entry.speaker, "train")].append(entry)
    left_out = train.left_out
    return {
        split: replace(train, entries=tuple(entries), left_out=left_out if split == "train" else {})
        for split, entries in parts.items()
    }
