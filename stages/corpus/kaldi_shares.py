"""Shares of a Kaldi experiment's train folder as dev and test, where it has no such folders."""

from collections import Counter
from dataclasses import replace

from stages.corpus.kaldi_plan import Entry, FolderPlan
from stages.corpus.speaker_shares import choose_speakers


def share_out(train: FolderPlan, shares: dict[str, float]) -> dict[str, FolderPlan]:
    """Take whole speakers out of train for other splits; each has at least one.

    Raises:
        BadInput: if train has too few speakers.
    """
    by_speaker = Counter(entry.speaker for entry in train.entries)
    split_of = choose_speakers(by_speaker, shares, where=train.directory)
    parts: dict[str, list[Entry]] = {split: [] for split in ("train", *shares)}
    for entry in train.entries:
        parts[split_of.get(entry.speaker, "train")].append(entry)
    left_out = train.left_out
    return {
        split: replace(train, entries=tuple(entries), left_out=left_out if split == "train" else {})
        for split, entries in parts.items()
    }
