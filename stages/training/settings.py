"""Settings of training: how, how long, on which utterances and which changed features."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from stages.contract.settings import NOT_IN_IDENTITY, Settings
from stages.training.augmentation import AugmentationSettings
from stages.training.schedule import ScheduleName

# Of train, where the corpus has copies (corpus.copies). Models trained on originals are chosen on
# the originals of dev.
Utterances = Literal["all", "originals", "copies"]
PrecisionName = Literal["fp32", "bf16", "fp16"]

LEFT_OUT_AT_DEFAULT = ("utterances", "equal_steps")  # models from before they existed stay fresh


class TrunkSettings(Settings):
    """Of `schedule: trunk`. Runs of several lengths take the same steps until they decay."""

    warmup_epochs: float = Field(1.0, ge=0.0)
    decay_share: float = Field(0.2, gt=0.0, lt=1.0)  # of a run, at its end


class TrainingSettings(Settings):
    """How a model is trained. Rates and shares are per step; the schedule counts frames."""

    utterances: Utterances = "all"
    epochs: int = Field(6, ge=1)  # over what the model reads
    # `epochs` and trunk.warmup_epochs are over all of `utterances`, whatever part of them the model
    # reads: hard labels of a third take as many steps as soft labels of all. No early stopping.
    equal_steps: bool = False
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
        """Younger settings at their defaults do not count: earlier models stay fresh.

        Nor do settings without effect: those of other schedules, patience if steps are equal.
        """
        other_schedules = {"warmup", "patience"} if self.schedule == "trunk" else {"trunk"}
        without_effect = other_schedules | ({"patience"} if self.equal_steps else set())
        return super().not_in_identity() | without_effect | self.at_default(*LEFT_OUT_AT_DEFAULT)

    def in_own_epochs(self, *, all_frames: int, own_frames: int) -> Self:
        """The same steps, with lengths as epochs over the `own_frames` of `all_frames` it reads.

        The number of epochs is rounded: steps differ by those of half such an epoch at most.
        """
        if not self.equal_steps:
            return self
        times = all_frames / max(1, own_frames)
        epochs = max(1, round(self.epochs * times))
        warmup_epochs = self.trunk.warmup_epochs * times
        return self.model_copy(
            update={
                "equal_steps": False,
                "epochs": epochs,
                "patience": epochs,  # a run that stops early has not taken as many steps
                "trunk": self.trunk.model_copy(update={"warmup_epochs": warmup_epochs}),
            }
        )

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
