"""Settings of a student: what it learns from, in which proportion, and how large it is."""

from typing import Self

from pydantic import Field, model_validator

from stages.acoustic.models.architectures import ArchitectureSettings
from stages.contract.settings import Settings
from stages.student.targets import TailPolicy
from stages.training.settings import TrainingSettings


class StudentSettings(Settings):
    """One student. hard_weight 1 is the baseline on hard labels: k, tail, T do not matter then."""

    name: str | None = None
    k: int = Field(8, ge=1)  # ranks of the soft labels, at most the store's K
    hard_weight: float = Field(0.5, ge=0.0, le=1.0)  # the rest is the soft labels'
    tail: TailPolicy = "renormalize"
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)  # share of all classes; hard labels alone
    temperature: float = Field(1.0, gt=0.0)  # one that the store has: see teacher.temperatures
    # A batch of more logits (frames times classes) never holds them all: output layer and loss are
    # computed in chunks of frames. No slower from here on; see docs/benchmarks.md.
    chunk_above: int = Field(1 << 23, ge=0)
    # A store to learn from, not the teacher's: a path, https://, s3://, ... (docs/sharing.md).
    store: str | None = Field(None, min_length=1)
    cache_bytes: int = Field(20 << 30, ge=0)  # of a store behind a URL, kept on this machine's disk
    architecture: ArchitectureSettings = ArchitectureSettings()
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _smooth_hard_labels_alone(self) -> Self:
        if self.label_smoothing and self.hard_weight < 1:
            raise ValueError(
                f"label_smoothing {self.label_smoothing} is a baseline without a teacher and "
                f"hard_weight is {self.hard_weight}: set one of them to 0, or hard_weight to 1"
            )
        return self
