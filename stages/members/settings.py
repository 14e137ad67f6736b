"""MemberSettings: what the settings of all kinds of members share. Does not load torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from stages.contract.results import SplitSummary, SystemFacts
from stages.contract.settings import NOT_IN_IDENTITY, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files outside the work directory that a member is made from.

    `name` is that of the recipe's input. `fingerprint` returns the identity of their content and
    raises BadInput if they cannot be read; where they are stored does not count.
    """

    name: str
    path: Path
    fingerprint: Callable[[], str]


class MemberSettings(Settings):
    """Settings that members of every kind have. A kind's class fixes `kind` to its own name.

    `key` is the setting that implies the kind where `kind` is not given.
    """

    key: ClassVar[str]
    name: Annotated[str, NOT_IN_IDENTITY] = Field(min_length=1)
    kind: str

    def source(self) -> Source | None:
        """The files that the member is made from; None if the corpus is all it needs."""
        return None

    def frames_to_train_on(self, train: SplitSummary) -> int:
        """About how many frames of train its training reads; 0 if it is not trained."""
        return 0

    def facts(self) -> SystemFacts:
        """Row of the member in tables and on the page."""
        return SystemFacts()

    def own_architectures(self) -> frozenset[str]:
        """Factories of the user's own models that these settings name: their code may run."""
        return frozenset()
