"""Settings of training: how, how long, on which utterances and which changed features."""

from typing import Annotated, Any, Literal

from pydantic import Field

from stages.contract.settings import NOT_IN_IDENTITY, Settings
from stages.training.augmentation import AugmentationSettings
from stages.training.precision import PrecisionName
from stages.training.schedule import ScheduleName

# Of train, where the corpus has copies (corpus.copies). Models trained on originals are chosen on
# the originals of dev.
Utterances = Literal["all", "originals", "copies"]


class TrunkSettings(Settings):
    """Of `schedule: trunk`. Runs of several lengths take the same steps until they decay."""

    warmup_epochs: float = Field(1.0, ge=0.0)
    decay_share: float = Field(0.2, gt=0.0, lt=1.0)  # of a run, at its end


class TrainingSettings(Settings):
    """How a model is trained. Rates and shares are per step; the schedule counts frames."""

    utterances: Utterances = "all"
    epochs: int = Field(6, ge=1)
    batch_frames: int = Field(1500, ge=1)  # real frames, padding apart
    chunk_frames: int = Field(4096, ge=1)  # longer utterances are cut for training
    block_frames: int = Field(0, ge=0)  # shuffle such blocks of neighbours: slow disks; 0: all
    learning_rate: float = Field(3e-3, gt=0.0)  # at the peak
    warmup: float = Field(0.1, ge=0.0, lt=1.0)  # share of all frames
    # After the warm-up. plateau: halved when dev is no better. trunk: constant, then a short decay,
    # without early stopping; `trunk` has its warm-up.
    schedule: ScheduleName = "cosine"
    trunk: TrunkSettings = TrunkSettings()
    precision: PrecisionName = "fp32"  # of the model's products; bf16 and fp16 are for GPUs
    weight_decay: float = Field(0.01, ge=0.0)
    clip: float = Field(5.0, gt=0.0)  # largest norm of the gradient
    patience: int = Field(4, ge=1)  # epochs without a better dev frame error before it stops
    average_last: int = Field(1, ge=1)  # mean weights of so many epochs, if better on dev
    seed: int = Field(0, ge=0, lt=1 << 63)
    # Between checkpoints in an epoch; 0: every step.
    checkpoint_minutes: Annotated[float, NOT_IN_IDENTITY] = Field(5.0, ge=0.0)
    # Figures of every epoch in work/tensorboard as well.
    tensorboard: Annotated[bool, NOT_IN_IDENTITY] = False
    augmentation: AugmentationSettings = AugmentationSettings()

    def not_in_identity(self) -> set[str]:
        """All utterances do not count: models from before there were copies stay fresh.

        Of the schedules each has its own settings: those of others do not count.
        """
        other_schedules = {"warmup", "patience"} if self.schedule == "trunk" else {"trunk"}
        return super().not_in_identity() | other_schedules | self.at_default("utterances")

    @property
    def decays_from(self) -> float:
        """Of a trunk: the epochs after which the rate decays; parts count."""
        return round(self.epochs * (1 - self.trunk.decay_share), 6)

    def trunk_identity(self) -> dict[str, Any]:
        """The settings that count before the decay: neither the length nor the decay does."""
        settings = self.identity()
        return {
            **{name: value for name, value in settings.items() if name != "epochs"},
            "trunk": {"warmup_epochs": self.trunk.warmup_epochs},
        }
