"""MemberKind: one row of the table of kinds (kinds.py).

A kind has two files: its settings, which are plain data, and how a member of it is made, opened,
and checked before evaluation. To add a kind, write both and add a row to each table: SETTINGS
(any_settings.py), where settings files and recipes find it, and KINDS, where the teacher and the
evaluation do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from stages.contract.progress import Progress
from stages.members.member import Member
from stages.members.settings import MemberSettings
from stages.training.ranks import Ranks

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

    A directory with one of the `descriptions` (file names) holds a member of this kind. `open`
    reads no weights; its second argument is the device. `why_not` returns why the member in a
    directory cannot give posteriors of all of some splits here, or None.
    """

    settings: type[S]
    make: Make[S]
    descriptions: tuple[str, ...]
    open: Callable[[Path, str], Member]
    why_not: Callable[[Path, Sequence[str]], str | None]

    @property
    def name(self) -> str:
        """Value of `kind` in the settings."""
        return str(self.settings.model_fields["kind"].default)
