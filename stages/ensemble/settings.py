"""Settings of the ensemble: its members. The default ones err differently: three families."""

from typing import Self

from pydantic import Field, model_validator

from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.settings import Settings
from stages.members.any_settings import AnyMemberSettings
from stages.members.trained_settings import TrainedMemberSettings
from stages.training.settings import TrainingSettings

DEFAULT_MEMBERS = (
    TrainedMemberSettings(
        name="tdnn",
        architecture=ArchitectureSettings(kind="tdnn", hidden=192, layers=6, dropout=0.2),
        training=TrainingSettings(epochs=16, seed=1),
    ),
    TrainedMemberSettings(
        name="gru",
        architecture=ArchitectureSettings(kind="gru", hidden=128, layers=2, dropout=0.2),
        training=TrainingSettings(epochs=12, seed=2),
    ),
    TrainedMemberSettings(
        name="conv",
        architecture=ArchitectureSettings(kind="conv", hidden=192, layers=5, dropout=0.2),
        training=TrainingSettings(epochs=12, seed=3),
    ),
)


class EnsembleSettings(Settings):
    """The members; no two have the same name."""

    members: tuple[AnyMemberSettings, ...] = Field(DEFAULT_MEMBERS, min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [member.name for member in self.members]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two members are called {twice[0]!r}: give each its own name")
        return self
