"""Members: the models of the teacher, in the order of their fingerprints, fit for one corpus."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from stages.errors import BadInput
from stages.speech.ensemble_posteriors import normalise_weights
from stages.speech.model_file import ModelAbout, read_model_about
from storage.corpus_file import CorpusFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model and its share of the mean."""

    directory: Path
    about: ModelAbout
    weight: float


def order_members(
    directories: Sequence[Path], weights: Sequence[float] | None
) -> tuple[Member, ...]:
    """Members by fingerprint: the order of averaging, whatever the order of the settings.

    Raises:
        BadInput: when weights do not fit, or a model comes twice.
        MissingPart: when a model is not there.
    """
    shares = normalise_weights(weights, len(directories))
    members = [
        Member(directory=directory, about=read_model_about(directory), weight=share)
        for directory, share in zip(directories, shares, strict=True)
    ]
    ordered = sorted(members, key=lambda member: member.about.fingerprint)
    for before, after in pairwise(ordered):
        if before.about.fingerprint == after.about.fingerprint:
            raise BadInput(
                f"{before.directory} and {after.directory} hold the same weights: "
                "name each member once, or give it a larger weight"
            )
    return tuple(ordered)


def refuse_other_corpus(members: Sequence[Member], corpus: CorpusFile) -> None:
    """Make sure that each member's classes and features are the corpus's.

    Raises:
        BadInput: naming the member and the field.
    """
    for member in members:
        for name in ("num_classes", "class_inventory", "feature_dim"):
            found, wanted = getattr(member.about, name), getattr(corpus.about, name)
            if found != wanted:
                raise BadInput(
                    f"{member.directory}: the member's {name} is {found}, {corpus.path} has "
                    f"{wanted}: train it on this corpus, or leave it out"
                )
