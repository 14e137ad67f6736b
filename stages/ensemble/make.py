"""corpus -> member, as the kind of its settings makes it (stages/members/kinds.py)."""

from pathlib import Path

from stages.contract.progress import Progress
from stages.members.kinds import kind_of
from stages.members.settings import MemberSettings
from stages.training.ranks import ALONE, Ranks


def make_member(
    settings: MemberSettings,
    *,
    corpus_directory: Path,
    directory: Path,
    device: str,
    progress: Progress,
    ranks: Ranks = ALONE,
    keep_bad: bool = False,
) -> None:
    """Fill `directory` with what `stages.members.kinds.open_member` opens.

    `keep_bad`: archived posteriors that are no distributions are noted, not refused; the teacher
    leaves their utterances out.
    """
    kind_of(settings).make(
        settings,
        corpus_directory=corpus_directory,
        directory=directory,
        device=device,
        progress=progress,
        ranks=ranks,
        keep_bad=keep_bad,
    )
