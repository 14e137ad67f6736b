"""corpus -> member: trained here, or adopted by the posteriors that it gave elsewhere."""

from pathlib import Path

from stages.contract.progress import Progress
from stages.members.adopt import adopt_member
from stages.members.settings import MemberSettings
from stages.members.train import train_member
from stages.training.ranks import ALONE, Ranks


def make_member(
    settings: MemberSettings,
    *,
    corpus_directory: Path,
    directory: Path,
    device: str,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> None:
    """Fill `directory` with what `stages.members.member.open_member` opens.

    Ranks train together; archives are looked at by the first alone.
    """
    if settings.posteriors is not None:
        if ranks.is_first:
            adopt_member(
                settings, corpus_directory=corpus_directory, directory=directory, progress=progress
            )
        return
    train_member(
        settings,
        corpus_directory=corpus_directory,
        directory=directory,
        device=device,
        progress=progress,
        ranks=ranks,
    )
