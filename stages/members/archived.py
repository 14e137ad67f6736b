"""The archived kind of member: posteriors that another program computed, in Kaldi archives."""

from collections.abc import Sequence
from pathlib import Path

from stages.contract.progress import Progress
from stages.members.archive_check import ArchiveCheck
from stages.members.archived_posteriors import ABOUT_FILE, ArchivedPosteriors, read_archive_about
from stages.members.archived_settings import ArchivedMemberSettings
from stages.members.kind import MemberKind
from stages.members.member import Member
from stages.training.ranks import ALONE, Ranks
from storage.files.publish import publish_file


def make_archived(
    settings: ArchivedMemberSettings,
    *,
    corpus_directory: Path,
    directory: Path,
    device: str,  # noqa: ARG001  nothing is computed
    progress: Progress,
    ranks: Ranks = ALONE,
    keep_bad: bool = False,
) -> None:
    """Check all posteriors against the corpus, then write member.json; the archives stay.

    Raises:
        MissingPart: if train or dev has none.
        BadInput: if an utterance is missing, or has other classes or frames than the corpus.
        BadPosterior: naming member, utterance and frame, if one is no distribution; with
            `keep_bad`, if none of a split is one.
    """
    if not ranks.is_first:  # one pass over the archives is enough
        return
    check = ArchiveCheck(
        name=settings.name,
        archives=settings.posteriors.resolve(),
        posteriors_are=settings.posteriors_are,
        max_length_difference=settings.max_length_difference,
        progress=progress,
        keep_bad=keep_bad,
    )
    about = check.run(corpus_directory)
    publish_file(directory / ABOUT_FILE, about.model_dump_json(indent=2).encode() + b"\n")


def open_archived(directory: Path, _device: str) -> Member:
    """The member in `directory`, after a look at the archives that it names."""
    return ArchivedPosteriors(directory)


def why_not_archived(directory: Path, splits: Sequence[str]) -> str | None:
    """The archives are missing, or those of one of the splits are."""
    about = read_archive_about(directory)
    if not about.path.is_dir():
        return f"the posteriors in {about.path} are not there any more"
    missing = [split for split in splits if split not in about.splits]
    if missing:
        wanted = " or ".join(f"{missing[0]}.{suffix}" for suffix in ("scp", "ark"))
        return f"there are no posteriors of {missing[0]} in {about.path}: wanted {wanted}"
    return None


ARCHIVED = MemberKind(
    settings=ArchivedMemberSettings,
    make=make_archived,
    descriptions=(ABOUT_FILE,),
    open=open_archived,
    why_not=why_not_archived,
)
