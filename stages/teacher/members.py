"""Members of the teacher, in the order of their fingerprints, fit for one corpus."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from stages.contract.errors import BadInput
from stages.members.ensemble_posteriors import normalise_weights
from stages.members.kinds import open_member
from stages.members.member import Member
from storage.corpus.corpus_file import CorpusFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One member and its share of the mean."""

    directory: Path
    member: Member
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedShares:
    """Members as they are asked. Loaded `all_at_once`, none is read again from shard to shard."""

    shares: tuple[Share, ...]
    all_at_once: bool


def load_members(shares: Sequence[Share], *, most_bytes: int) -> LoadedShares:
    """All members in memory where their weights fit into `most_bytes`; else one at a time.

    Raises:
        MissingPart, BadInput: where a member's weights are not what they should be.
    """
    if sum(share.member.num_bytes for share in shares) > most_bytes:
        return LoadedShares(shares=tuple(shares), all_at_once=False)
    loaded = tuple(replace(share, member=share.member.loaded()) for share in shares)
    return LoadedShares(shares=loaded, all_at_once=True)


def order_members(
    directories: Sequence[Path], weights: Sequence[float] | None, *, device: str
) -> tuple[Share, ...]:
    """Members by fingerprint: the order of averaging, whatever the order of the settings.

    Raises:
        BadInput: when weights do not fit, or a member comes twice.
        MissingPart: when a member is not there.
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
        for name in ("num_classes", "class_inventory", "feature_dim"):
            found, wanted = getattr(share.member.about, name), getattr(corpus.about, name)
            if found not in (wanted, None):  # None: archived posteriors need no features
                raise BadInput(
                    f"{share.directory}: the member's {name} is {found}, {corpus.path} has "
                    f"{wanted}: train it on this corpus, or leave it out"
                )
