"""Options of the student's loss, which definition.py defines. Does not load torch."""

from dataclasses import dataclass
from typing import Literal

TailPolicy = Literal["renormalize", "bucket", "uniform", "truth", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOptions:
    """How hard labels and soft targets are combined.

    Raises:
        ValueError: when a value is out of range.
    """

    hard_weight: float  # 0 to 1; soft targets have the rest
    tail: TailPolicy
    temperature: float = 1.0  # T, of the soft loss alone

    def __post_init__(self) -> None:
        if not 0 <= self.hard_weight <= 1:
            raise ValueError(f"hard_weight is {self.hard_weight}: choose a value from 0 to 1")
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}: choose a value above 0")
