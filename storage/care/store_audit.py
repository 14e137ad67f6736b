"""StoreAudit: a store in figures: what the first k ranks keep, leave out and cost."""

from dataclasses import dataclass, field

PERCENTILES = (5, 25, 50, 75, 95)  # of the frames
FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAudit:
    """A store in figures. A dictionary maps each k of `ranks_to_show` to a figure.

    kept_mass: mean probability of the first k ranks, 0 to 1. Ranks and tail of a frame are scaled
        to sum to one first (`SoftLabels.distribution`).
    kept_mass_percentiles: the kept mass that PERCENTILES of the frames do not exceed, to 0.001.
    entropy: nats per frame, of k ranks and the tail as one more event: a lower bound of the
        entropy of the teacher's posteriors.
    hard_label_inside: share of the labelled frames whose hard label is among the k ranks; empty if
        no hard label is known.
    labelled_entropy: nats per labelled frame, of the kept ranks and the tail as one more event.
    label_nats: mean -ln q(label) over labelled frames. A label outside the kept ranks has an equal
        share of the tail.
    bytes_per_frame: what a reader of k ranks opens.
    mean_ranks: of the first k ranks, how many a frame has; empty if all frames have K.
    with_all_ranks: share of the frames that have k ranks; empty if all frames have K.

    The fields with a default are missing in the summaries that earlier versions wrote.
    """

    split: str
    digest: str
    num_utterances: int
    num_frames: int
    num_classes: int
    kept: int
    kept_mass: dict[int, float]
    bytes_per_frame: dict[int, float]
    kept_mass_percentiles: dict[int, tuple[float, ...]] = field(default_factory=dict)
    entropy: dict[int, float] = field(default_factory=dict)
    hard_label_inside: dict[int, float] = field(default_factory=dict)
    num_labelled: int = 0
    labelled_entropy: float | None = None
    label_nats: float | None = None
    left_out: tuple[str, ...] = ()  # utterances whose posteriors were refused
    mean_ranks: dict[int, float] = field(default_factory=dict)
    with_all_ranks: dict[int, float] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """False for the summary of an earlier version."""
        return bool(self.kept_mass_percentiles)

    @property
    def dense_bytes_per_frame(self) -> int:
        """Bytes of all classes as float32."""
        return FLOAT32_BYTES * self.num_classes

    @property
    def agreement(self) -> float | None:
        """Share of the labelled frames whose hard label is rank 1; None if there are none."""
        return self.hard_label_inside.get(1)

    @property
    def teacher_frame_error(self) -> float | None:
        """Share of the labelled frames whose hard label is not rank 1; None if there are none."""
        return None if self.agreement is None else 1.0 - self.agreement

    def tail(self, k: int) -> float:
        """Mean probability outside the first k ranks."""
        return 1.0 - self.kept_mass[k]

    def num_bytes(self, k: int) -> int:
        """Bytes that a reader of k ranks opens, of the whole store."""
        return round(self.bytes_per_frame[k] * self.num_frames)
