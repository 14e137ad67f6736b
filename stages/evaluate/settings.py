"""EvaluateSettings: how systems are decoded and scored."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from stages.contract.settings import NOT_IN_IDENTITY, Settings


class EvaluateSettings(Settings):
    """The grids are searched on dev only; test is decoded once, at the best point of dev."""

    beam: float = Field(default=11.0, gt=0)  # nats, after the acoustic scale
    max_active: int = Field(default=1000, ge=50)  # states that survive a frame, at most
    min_active: int = Field(default=200, ge=0)  # at least, however narrow the beam: Kaldi's default
    acoustic_scales: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(0.025, 0.035, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.56), min_length=1
    )
    insertion_penalties: tuple[float, ...] = Field(
        default=(-3.0, -2.0, -1.0, 0.0, 1.0, 2.0), min_length=1
    )
    prior_smoothing: float = Field(default=1.0, gt=0)  # frames added to the count of each class
    batch_frames: Annotated[int, NOT_IN_IDENTITY] = Field(default=8192, ge=1)
    # Processes that decode; 0: one for each processor.
    processes: Annotated[int, NOT_IN_IDENTITY] = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _min_active_is_below_max_active(self) -> Self:
        if self.min_active >= self.max_active:
            raise ValueError(
                f"min_active is {self.min_active}, max_active {self.max_active}: "
                "wanted min_active below max_active: lower the first or raise the second"
            )
        return self
