"""MemberKind: one row of the table of kinds (kinds.py), and what the settings of all kinds share.

A kind has one file: its settings, how a member of it is made, opened, and checked before
evaluation. To add a kind, write that file and add its row to KINDS; settings files, recipes, the
teacher and the evaluation find it there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, Protocol, TypeVar

from pydantic import Field

from stages.contract.progress import Progress
from stages.contract.results import SplitSummary, SystemFacts
from stages.contract.settings import NOT_IN_IDENTITY, Settings
from stages.members.member import Member
from stages.training.ranks import Ranks


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
    """Settings that members of every kind have. A kind's class fixes `kind` to its own name."""

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


S_contra = TypeVar("S_contra", bound=MemberSettings, contravariant=True)
S = TypeVar("S", bound=MemberSettings)


class Make(Protocol[S_contra]):
    """Fills `directory` with a member. Of several ranks, each calls it."""

    def __call__(
        self,
        settings: S_contra,
        /,
        *,
        corpus_directory: Path,
        directory: Path,
        device: str,
        progress: Progress,
        ranks: Ranks,
        keep_bad: bool,
    ) -> None:
        """`corpus_directory` holds train.h5, dev.h5 and test.h5.

        `keep_bad`: the teacher leaves out utterances whose posteriors are no distributions, so
        that they are no reason to refuse posteriors that exist already.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberKind(Generic[S]):
    """A row of the table.

    `key` is the setting that implies the kind where `kind` is not given. A directory with one of
    the `descriptions` (file names) holds a member of this kind. `open` reads no weights; its
    second argument is the device. `why_not` returns why the member in a directory cannot give
    posteriors of all of some splits here, or None.
    """

    settings: type[S]
    key: str
    make: Make[S]
    descriptions: tuple[str, ...]
    open: Callable[[Path, str], Member]
    why_not: Callable[[Path, Sequence[str]], str | None]

    @property
    def name(self) -> str:
        """Value of `kind` in the settings."""
        return str(self.settings.model_fields["kind"].default)
