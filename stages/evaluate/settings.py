"""EvaluateSettings: how systems are decoded and scored."""

from typing import Annotated

from pydantic import Field

from stages.contract.settings import NOT_IN_IDENTITY, Settings


class EvaluateSettings(Settings):
    """The grids are searched on dev only; test is decoded once, with what dev chose."""

    beam: float = Field(default=11.0, gt=0)  # nats, after the acoustic scale
    max_active: int = Field(default=1000, ge=50)  # states alive in a frame
    acoustic_scales: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(0.025, 0.035, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.56), min_length=1
    )
    insertion_penalties: tuple[float, ...] = Field(
        default=(-3.0, -2.0, -1.0, 0.0, 1.0, 2.0), min_length=1
    )
    prior_smoothing: float = Field(default=1.0, gt=0)  # frames added to every class's count
    batch_frames: Annotated[int, NOT_IN_IDENTITY] = Field(default=8192, ge=1)
    # Processes that decode; 0: one for each processor.
    processes: Annotated[int, NOT_IN_IDENTITY] = Field(default=0, ge=0)
