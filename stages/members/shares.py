"""Shares: members of an ensemble in the order of their fingerprints, fit for one corpus."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from stages.contract.errors import BadInput
from stages.members import run
from stages.members.ensemble_posteriors import normalise_weights
from stages.members.kinds import open_member
from stages.members.member import LoadedMember, Member
from storage.corpus.corpus_file import CorpusFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A member and its share of the mean; `in_memory` is the member as it was loaded, if it was."""

    directory: Path
    member: Member
    weight: float
    in_memory: LoadedMember | None = None

    @property
    def name(self) -> str:
        """The member in messages."""
        return f"{self.member.about.title} {self.directory}"

    def load(self) -> LoadedMember:
        """The member in memory: the one that is kept there, or read for this call."""
        return self.in_memory or self.member.load()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedShares:
    """The members, and whether all of them are kept in memory from shard to shard."""

    shares: tuple[Share, ...]
    all_at_once: bool


def load_members(shares: Sequence[Share], *, most_bytes: int) -> LoadedShares:
    """All members in memory if their weights fit into `most_bytes`; otherwise one at a time.

    Raises:
        MissingPart, BadInput: if a member's weights are missing or not what was written.
    """
    if sum(share.member.num_bytes for share in shares) > most_bytes:
        return LoadedShares(shares=tuple(shares), all_at_once=False)
    loaded = tuple(replace(share, in_memory=share.member.load()) for share in shares)
    return LoadedShares(shares=loaded, all_at_once=True)


def order_members(
    directories: Sequence[Path], weights: Sequence[float] | None, *, device: str
) -> tuple[Share, ...]:
    """Members by fingerprint: the order of averaging, whatever the order of the settings.

    Raises:
        BadInput: if weights do not fit, or a member comes twice.
        MissingPart: if a member is missing.
    """
    weights = normalise_weights(weights, len(directories))
    shares = [
        Share(directory=directory, member=open_member(directory, device=device), weight=weight)
        for directory, weight in zip(directories, weights, strict=True)
    ]
    ordered = sorted(shares, key=lambda share: share.member.about.fingerprint)
    for before, after in pairwise(ordered):
        if before.member.about.fingerprint == after.member.about.fingerprint:
            raise BadInput(
                f"{before.directory} and {after.directory} hold the same weights or posteriors: "
                "name each member once, or give it a larger weight"
            )
    return tuple(ordered)


def refuse_other_corpus(shares: Sequence[Share], corpus: CorpusFile) -> None:
    """Make sure that each member's classes and features are the corpus's.

    Raises:
        BadInput: naming the member and the field.
    """
    for share in shares:
        run.refuse_other_corpus(share.member.about, corpus, name=str(share.directory))
