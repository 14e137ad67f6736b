"""Settings of a student: what it learns from, in which proportion, and how large it is."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.results import SplitSummary
from stages.contract.settings import NOT_IN_IDENTITY, Settings, Temperature
from stages.student.loss.options import TailPolicy
from stages.training.settings import LEFT_OUT_AT_DEFAULT as OF_TRAINING_LEFT_OUT
from stages.training.settings import TrainingSettings

OF_SOFT_LABELS = {"k", "tail", "temperature", "trust", "ranks", "blank"}
# Students from before they existed stay fresh.
LEFT_OUT_AT_DEFAULT = ("labels", "trust", "ranks", "blank")


class LabelSettings(Settings):
    """Which hard labels of train a student has: the corpus's, or the ensemble's (labels-*/)."""

    # realigned: the ensemble's best path along the transcript. Where there is none, no labels.
    transcribed: Literal["given", "realigned"] = "given"
    # decoded: the classes of the ensemble's best path through the decoding graph.
    untranscribed: Literal["none", "decoded"] = "none"

    @property
    def are_given(self) -> bool:
        """Are all of them the corpus's?"""
        return self == LabelSettings()


class BlankWeight(Settings):
    """The factor of the soft loss on frames that the teacher gives to blank."""

    weight: float = Field(ge=0.0, le=1.0)


class StudentTrainingSettings(TrainingSettings):
    """Training of a student: longer than a member's by default, which reads less speech."""

    epochs: int = Field(8, ge=1)
    seed: int = Field(10, ge=0, lt=1 << 63)


class StudentSettings(Settings):
    """One student. hard_weight 1 is the baseline on hard labels: k, tail, T do not matter then."""

    name: Annotated[str | None, NOT_IN_IDENTITY] = None
    k: int = Field(8, ge=1)  # ranks of the soft labels, at most the store's K
    hard_weight: float = Field(0.2, ge=0.0, le=1.0)  # the rest is the soft labels'
    tail: TailPolicy = "renormalize"
    labels: LabelSettings = LabelSettings()  # hard labels of train; dev keeps the corpus's
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)  # share of all classes; hard labels alone
    temperature: Temperature = 1.0  # one that the store has: see teacher.temperatures
    # where_right: soft labels count only where rank 1 is the hard label (trust.py).
    trust: Literal["always", "where_right"] = "always"
    # Null arms: the classes of ranks 2 to k in random order, or drawn at random (null_ranks.py).
    ranks: Literal["as_stored", "permuted", "redrawn"] = "as_stored"
    # Of a corpus of tokens: the soft loss on frames whose rank 1 is the blank (ctc.py). keep: as it
    # is; drop: none.
    blank: Literal["keep", "drop"] | BlankWeight = "keep"
    # A batch of more logits (frames times classes) never holds them all: output layer and loss are
    # computed in chunks of frames. No slower from here on; see docs/benchmarks.md.
    chunk_above: int = Field(1 << 23, ge=0)
    # A store to learn from, not the teacher's: a path, https://, s3://, ... (docs/sharing.md).
    # Its digest counts, its place does not.
    store: Annotated[str | None, NOT_IN_IDENTITY] = Field(None, min_length=1)
    # Of a store behind a URL, kept on this machine's disk.
    cache_bytes: Annotated[int, NOT_IN_IDENTITY] = Field(20 << 30, ge=0)
    architecture: ArchitectureSettings = ArchitectureSettings()
    training: StudentTrainingSettings = StudentTrainingSettings()

    @property
    def blank_weight(self) -> float:
        """The factor of the soft loss on frames that the teacher gives to blank."""
        if isinstance(self.blank, BlankWeight):
            return self.blank.weight
        return 1.0 if self.blank == "keep" else 0.0

    def frames_to_train_on(self, train: SplitSummary) -> int:
        """About how many frames of train its training reads; on hard labels alone only theirs.

        An epoch of a student with equal steps counts as one over all speech. Early stopping may
        save some, and the few utterances that the ensemble could not align or decode are counted.
        """
        reads_all = self.hard_weight < 1 or self.labels.untranscribed == "decoded"
        reads_all = reads_all or self.training.equal_steps or train.labelled is None
        part = train if reads_all else train.labelled
        return part.num_frames * self.training.epochs if part else 0

    def trunk_identity(self) -> dict[str, Any]:
        """The settings that count before the rate decays, and where it does."""
        return {
            **self.identity(),
            "training": self.training.trunk_identity(),
            "until": self.training.decays_from,
        }

    def not_in_identity(self) -> set[str]:
        """A student on hard labels alone reads no soft labels: their settings do not count."""
        of_soft_labels = OF_SOFT_LABELS if self.hard_weight == 1 else set()
        one_order = self.k <= (2 if self.ranks == "permuted" else 1)  # of ranks 2 to k
        of_ranks = {"ranks"} if one_order else set()
        left_out = of_soft_labels | of_ranks | self.at_default(*LEFT_OUT_AT_DEFAULT)
        return super().not_in_identity() | left_out

    @model_validator(mode="after")
    def _smooth_hard_labels_alone(self) -> Self:
        if self.label_smoothing and self.hard_weight < 1:
            raise ValueError(
                f"label_smoothing {self.label_smoothing} is a baseline without a teacher and "
                f"hard_weight is {self.hard_weight}: set one of them to 0, or hard_weight to 1"
            )
        return self


def with_defaults(counted: dict[str, Any]) -> dict[str, Any]:
    """Settings of a student's recipe, with those that a recipe leaves out at their defaults."""
    defaults = StudentSettings().model_dump(mode="json")
    is_taught = counted["hard_weight"] < 1
    left_out = {
        name: defaults[name]
        for name in LEFT_OUT_AT_DEFAULT
        if is_taught or name not in OF_SOFT_LABELS
    }
    of_training = {name: defaults["training"][name] for name in OF_TRAINING_LEFT_OUT}
    training = {**counted["training"]}
    training |= {name: value for name, value in of_training.items() if name not in training}
    return {**left_out, **counted, "training": training}
