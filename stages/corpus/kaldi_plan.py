"""Plan of a Kaldi folder: which utterances are read, decided from its tables alone.

What an utterance lacks leaves it out, with the reason. A folder of untranscribed speech has
features and speakers; whatever text or alignment lies beside them is not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.acoustic.kaldi.objects import Location
from stages.acoustic.kaldi.tables import read_scp, read_table
from stages.contract.errors import BadInput
from stages.corpus.kaldi_alignments import Alignments, open_alignments

UNLABELLED_FILES = ("feats.scp", "utt2spk")  # what a folder of untranscribed speech needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An utterance that will be read."""

    id: str
    speaker: str
    transcript: str
    features: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPlan:
    """What is read of a folder, and what is left out and why."""

    directory: Path
    entries: tuple[Entry, ...]
    alignments: Alignments | None
    left_out: dict[str, list[str]]


def plan_split(split: str, directory: Path) -> FolderPlan:
    """Read the tables of a split and decide what is read.

    Raises:
        BadInput: where a table is missing or damaged, nothing is left, or train or dev has no
            alignments.
    """
    located = read_scp(directory / "feats.scp")
    texts = read_table(directory / "text")
    speakers = read_table(directory / "utt2spk")
    alignments = open_alignments(directory)
    if alignments is None and split != "test":
        raise BadInput(
            f"{directory} has no alignments: wanted ali.scp, ali.ark or ali.*.gz with pdf ids"
        )
    lacking = {
        "no transcript": [id for id in located if id not in texts],
        "no speaker": [id for id in located if id in texts and not speakers.get(id)],
        "no features": [id for id in texts if id not in located],
    }
    if split == "train" and alignments is not None:
        lacking["no alignment"] = [
            id for id in located if id in texts and speakers.get(id) and id not in alignments
        ]
    return _plan(
        directory, located, speakers, texts, alignments, lacking, holder=f"the {split} split"
    )


def plan_unlabelled(directory: Path) -> FolderPlan:
    """The same of a folder of untranscribed speech: its utterances have no words and no labels.

    Raises:
        BadInput: where a table is missing or damaged, or nothing is left.
    """
    refuse_missing_tables(directory)
    located = read_scp(directory / "feats.scp")
    speakers = read_table(directory / "utt2spk")
    lacking = {
        "no speaker": [id for id in located if not speakers.get(id)],
        "no features": [id for id in speakers if id not in located],
    }
    texts = dict.fromkeys(located, "")
    return _plan(
        directory, located, speakers, texts, None, lacking, holder="this unlabelled folder"
    )


def refuse_missing_tables(directory: Path) -> None:
    """Make sure that a folder of untranscribed speech has the tables that it needs.

    Raises:
        BadInput: naming the first that is missing.
    """
    for name in UNLABELLED_FILES:
        if not (directory / name).is_file():
            raise BadInput(
                f"{directory / name} is missing: a folder of corpus.kaldi.unlabelled needs "
                f"{' and '.join(UNLABELLED_FILES)}, and lies below corpus.path"
            )


def refuse_shared(unlabelled: FolderPlan, others: Sequence[FolderPlan]) -> None:
    """Make sure that no utterance of untranscribed speech is read from another folder, too.

    Raises:
        BadInput: naming one, and both folders.
    """
    ids = {entry.id for entry in unlabelled.entries}
    for other in others:
        twice = [entry.id for entry in other.entries if entry.id in ids]
        if twice:
            raise BadInput(
                f"{unlabelled.directory}: {len(twice)} of its {len(ids)} utterances are in "
                f"{other.directory}, too ({twice[0]!r} is one), wanted speech that no other folder "
                "has: take them out of one feats.scp, or give them ids of their own"
            )


def _plan(
    directory: Path,
    located: dict[str, Location],
    speakers: dict[str, str],
    texts: dict[str, str],
    alignments: Alignments | None,
    lacking: dict[str, list[str]],
    *,
    holder: str,
) -> FolderPlan:
    struck = {id for ids in lacking.values() for id in ids}
    entries = tuple(
        Entry(id=id, speaker=speakers[id], transcript=texts[id], features=location)
        for id, location in located.items()
        if id not in struck
    )
    left_out = {reason: ids for reason, ids in lacking.items() if ids}
    if not entries:
        counts = ", ".join(f"{len(ids)} with {why}" for why, ids in left_out.items())
        raise BadInput(
            f"{directory}: {holder} holds no utterance "
            f"(left out: {counts or 'none'}): are its tables of the same utterances?"
        )
    return FolderPlan(
        directory=directory, entries=entries, alignments=alignments, left_out=left_out
    )
