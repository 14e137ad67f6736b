"""Settings of a member: trained here, or given by its posteriors."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from stages.acoustic.models.architectures import ArchitectureSettings
from stages.contract.settings import NOT_IN_IDENTITY, LengthDifference, Settings
from stages.members.posterior_archive import PosteriorsAre
from stages.training.settings import TrainingSettings


class MemberSettings(Settings):
    """One member. Its name is for people; what it learns does not depend on it.

    It is trained here (`architecture`, `training`), or is somebody else's, known by its
    `posteriors`: a directory of Kaldi archives (stages/members/posterior_archive.py).

    With `folds` above 1 it is trained so many times, each time without the speakers of one fold,
    and the teacher labels a training utterance by the model that has not heard its speaker.
    """

    name: Annotated[str, NOT_IN_IDENTITY] = Field(min_length=1)
    architecture: ArchitectureSettings = ArchitectureSettings()
    training: TrainingSettings = TrainingSettings()
    folds: int = Field(1, ge=1, le=100)
    posteriors: Annotated[Path | None, NOT_IN_IDENTITY] = None  # the content of the archives counts
    posteriors_are: PosteriorsAre = "log"  # natural logarithms, or probabilities
    max_length_difference: LengthDifference = 0  # frames; 1: posteriors lose or repeat their last

    def not_in_identity(self) -> set[str]:
        """What is read for the other kind of member alone does not count either."""
        trained, archived = (
            {"architecture", "training"},
            {"posteriors_are", "max_length_difference"},
        )
        return super().not_in_identity() | (archived if self.posteriors is None else trained)

    @model_validator(mode="after")
    def _trained_or_archived(self) -> Self:
        given = self.model_fields_set & {"architecture", "training", "folds"}
        if self.posteriors is not None and given:
            raise ValueError(
                f"member {self.name} has posteriors, it is not trained here: "
                f"take {' and '.join(sorted(given))} away, or posteriors"
            )
        of_posteriors = self.model_fields_set & {"posteriors_are", "max_length_difference"}
        if self.posteriors is None and of_posteriors:
            raise ValueError(f"member {self.name} has no posteriors: give posteriors: DIR")
        return self
