"""Settings of the trained kind of member (trained.py). Does not load torch."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from stages.acoustic.models.description import describe_architecture, right_context_of
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.results import SplitSummary, SystemFacts
from stages.contract.settings import NOT_IN_IDENTITY
from stages.members.settings import MemberSettings
from stages.training.settings import TrainingSettings


class TrainedMemberSettings(MemberSettings):
    """A member that is trained on the corpus's hard labels.

    With `folds` above 1 it is trained that many times, each time without the speakers of one
    fold, and the teacher labels a training utterance with the model trained without its speaker.
    """

    key: ClassVar[str] = "architecture"
    # Recipes are older than kinds: a member must keep its name.
    kind: Annotated[Literal["trained"], NOT_IN_IDENTITY] = "trained"
    architecture: ArchitectureSettings = ArchitectureSettings()
    training: TrainingSettings = TrainingSettings()
    folds: int = Field(1, ge=1, le=100)

    def frames_to_train_on(self, train: SplitSummary) -> int:
        """Those with hard labels in each epoch of each fold; early stopping may save some."""
        own_frames = train.labelled.num_frames if train.labelled else train.num_frames
        frames = train.num_frames if self.training.equal_steps else own_frames
        return frames * self.training.epochs * max(1, self.folds - 1)  # a fold has (n - 1) / n

    def facts(self) -> SystemFacts:
        """Architecture, seed and right context."""
        architecture = self.architecture.model_dump(mode="json")
        return SystemFacts(
            architecture=describe_architecture(architecture),
            seed=self.training.seed,
            right_context=right_context_of(architecture),
        )

    def own_architectures(self) -> frozenset[str]:
        """The member's factory, if its architecture is the user's own."""
        return frozenset({self.architecture.kind} if self.architecture.is_own else ())
