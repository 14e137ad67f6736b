"""system -> why it cannot be evaluated here, if so: known before any work is done."""

from stages.contract.results import System
from stages.evaluate.evaluate import SPLITS
from stages.members import kinds


def why_not(system: System) -> str | None:
    """The reason, for a note; None if all that evaluation reads is there."""
    reasons = (kinds.why_not(directory, SPLITS) for directory in system.model_directories)
    return next((reason for reason in reasons if reason), None)
