"""system -> why it cannot be evaluated here, if so: known before any work is done."""

from pathlib import Path

from stages.acoustic.models.model_file import ABOUT_FILE, read_model_about
from stages.acoustic.models.own_architecture import is_allowed
from stages.contract.results import System
from stages.evaluate.evaluate import SPLITS
from stages.members.archived_posteriors import is_archived, read_archive_about


def why_not(system: System) -> str | None:
    """In words for people; None where all that evaluation reads is there."""
    for directory in system.model_directories:
        if not directory.is_dir():
            return "its models are not here"
        if not is_archived(directory):
            if strange := _strange_code(directory):
                return f"its architecture {strange} is code that your settings do not name"
            continue
        about = read_archive_about(directory)
        if not about.path.is_dir():
            return f"the posteriors in {about.path} are not there any more"
        missing = [split for split in SPLITS if split not in about.splits]
        if missing:
            wanted = " or ".join(f"{missing[0]}.{suffix}" for suffix in ("scp", "ark"))
            return f"there are no posteriors of {missing[0]} in {about.path}: wanted {wanted}"
    return None


def _strange_code(directory: Path) -> str | None:
    """The own architecture of a model, or of a fold's, that may not be run here."""
    for folder in (directory, *sorted(directory.glob("fold-*"))):
        if (folder / ABOUT_FILE).is_file():
            architecture = read_model_about(folder).architecture
            if architecture.is_own and not is_allowed(architecture.kind):
                return architecture.kind
    return None
