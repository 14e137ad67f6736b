"""Settings of training: how, how long, on which changed features."""

from typing import Any

from pydantic import Field

from stages.contract.settings import Settings
from stages.training.augmentation import AugmentationSettings
from stages.training.precision import PrecisionName
from stages.training.schedule import ScheduleName

# On what is learnt: no part of a run's identity.
WITHOUT_EFFECT = {"checkpoint_minutes", "tensorboard"}


class TrainingSettings(Settings):
    """How a model is trained. Rates and shares are per step; the schedule counts frames."""

    epochs: int = Field(6, ge=1)
    batch_frames: int = Field(1500, ge=1)  # real frames, padding apart
    chunk_frames: int = Field(4096, ge=1)  # longer utterances are cut for training
    block_frames: int = Field(0, ge=0)  # shuffle such blocks of neighbours: slow disks; 0: all
    learning_rate: float = Field(3e-3, gt=0.0)  # at the peak
    warmup: float = Field(0.1, ge=0.0, lt=1.0)  # share of all frames
    schedule: ScheduleName = "cosine"  # behind the warm-up; plateau: halved when dev is no better
    precision: PrecisionName = "fp32"  # of the model's products; bf16 and fp16 are for GPUs
    weight_decay: float = Field(0.01, ge=0.0)
    clip: float = Field(5.0, gt=0.0)  # largest norm of the gradient
    patience: int = Field(4, ge=1)  # epochs without a better dev frame error before it stops
    average_last: int = Field(1, ge=1)  # mean weights of so many epochs, if better on dev
    seed: int = Field(0, ge=0, lt=1 << 63)
    checkpoint_minutes: float = Field(5.0, ge=0.0)  # between checkpoints in an epoch; 0: every step
    tensorboard: bool = False  # figures of every epoch in work/tensorboard as well
    augmentation: AugmentationSettings = AugmentationSettings()

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is learnt."""
        return self.model_dump(mode="json", exclude=WITHOUT_EFFECT)
