"""system -> why it cannot be evaluated here, if so: known before any work is done."""

from stages.evaluate.evaluate import SPLITS
from stages.speech.archived_posteriors import is_archived, read_archive_about
from stages.speech.results import System


def why_not(system: System) -> str | None:
    """In words for people; None where all that evaluation reads is there."""
    for directory in system.model_directories:
        if not directory.is_dir():
            return "its models are not here"
        if not is_archived(directory):
            continue
        about = read_archive_about(directory)
        if not about.path.is_dir():
            return f"the posteriors in {about.path} are not there any more"
        missing = [split for split in SPLITS if split not in about.splits]
        if missing:
            wanted = " or ".join(f"{missing[0]}.{suffix}" for suffix in ("scp", "ark"))
            return f"there are no posteriors of {missing[0]} in {about.path}: wanted {wanted}"
    return None
