"""Plan of a Kaldi folder: which utterances are read, as a function of its tables.

Incomplete utterances are left out, listed by reason. A folder of untranscribed speech has features
and speakers; a text or alignment next to them is not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.acoustic.kaldi.location import Location
from stages.acoustic.kaldi.tables import read_scp, read_table
from stages.contract.errors import BadInput
from stages.corpus.kaldi_alignments import Alignments, open_alignments
from stages.corpus.kaldi_files import refuse_missing_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An utterance that will be read."""

    id: str
    speaker: str
    transcript: str
    features: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPlan:
    """The utterances of a folder that are read, and the ids of the others by reason."""

    directory: Path
    entries: tuple[Entry, ...]
    alignments: Alignments | None
    left_out: dict[str, list[str]]


def plan_split(split: str, directory: Path, *, alignments_in: Path | None = None) -> FolderPlan:
    """Read the tables of a split and plan which utterances are read.

    `alignments_in` is the folder of its alignments, if that is not `directory`.

    Raises:
        BadInput: if a table is missing or damaged, no utterance is left, or train or dev has no
            alignments.
    """
    located = read_scp(directory / "feats.scp")
    texts = read_table(directory / "text")
    speakers = read_table(directory / "utt2spk")
    alignments = open_alignments(alignments_in or directory, wanted=located)
    if alignments is None and (split != "test" or alignments_in):
        raise BadInput(
            f"{alignments_in or directory} has no alignments: wanted ali.scp, ali.ark or ali.*.gz"
        )
    missing = _missing(located, texts, speakers)
    if split == "train" and alignments is not None:
        missing["no alignment"] = [
            id for id in located if id in texts and speakers.get(id) and id not in alignments
        ]
    return _plan(
        directory, located, speakers, texts, alignments, missing, kind=f"the {split} split"
    )


def plan_transcribed(split: str, directory: Path) -> FolderPlan:
    """Plan a split whose alignments, if there are any, are not read.

    Raises:
        BadInput: if a table is missing or damaged, or no utterance is left.
    """
    located = read_scp(directory / "feats.scp")
    texts = read_table(directory / "text")
    speakers = read_table(directory / "utt2spk")
    missing = _missing(located, texts, speakers)
    return _plan(directory, located, speakers, texts, None, missing, kind=f"the {split} split")


def plan_unlabelled(directory: Path) -> FolderPlan:
    """Plan a folder of untranscribed speech: its utterances have no words and no labels.

    Raises:
        BadInput: if a table is missing or damaged, or no utterance is left.
    """
    refuse_missing_tables(directory)
    located = read_scp(directory / "feats.scp")
    speakers = read_table(directory / "utt2spk")
    missing = {
        "no speaker": [id for id in located if not speakers.get(id)],
        "no features": [id for id in speakers if id not in located],
    }
    texts = dict.fromkeys(located, "")
    return _plan(directory, located, speakers, texts, None, missing, kind="this unlabelled folder")


def refuse_shared(unlabelled: FolderPlan, others: Sequence[FolderPlan]) -> None:
    """Check that no utterance of untranscribed speech is also read from another folder.

    Raises:
        BadInput: naming one utterance and both folders.
    """
    ids = {entry.id for entry in unlabelled.entries}
    for other in others:
        twice = [entry.id for entry in other.entries if entry.id in ids]
        if twice:
            raise BadInput(
                f"{unlabelled.directory}: {len(twice)} of its {len(ids)} utterances are also in "
                f"{other.directory} (for example {twice[0]!r}), wanted distinct utterances: remove "
                "them from one feats.scp, or rename them"
            )


def _missing(
    located: dict[str, Location], texts: dict[str, str], speakers: dict[str, str]
) -> dict[str, list[str]]:
    return {
        "no transcript": [id for id in located if id not in texts],
        "no speaker": [id for id in located if id in texts and not speakers.get(id)],
        "no features": [id for id in texts if id not in located],
    }


def _plan(
    directory: Path,
    located: dict[str, Location],
    speakers: dict[str, str],
    texts: dict[str, str],
    alignments: Alignments | None,
    missing: dict[str, list[str]],
    *,
    kind: str,
) -> FolderPlan:
    excluded = {id for ids in missing.values() for id in ids}
    entries = tuple(
        Entry(id=id, speaker=speakers[id], transcript=texts[id], features=location)
        for id, location in located.items()
        if id not in excluded
    )
    left_out = {reason: ids for reason, ids in missing.items() if ids}
    if not entries:
        counts = ", ".join(f"{len(ids)} with {why}" for why, ids in left_out.items())
        raise BadInput(
            f"{directory}: {kind} has no utterance with all that it needs "
            f"(left out: {counts or 'none'}): do its tables list the same utterances?"
        )
    return FolderPlan(
        directory=directory, entries=entries, alignments=alignments, left_out=left_out
    )
