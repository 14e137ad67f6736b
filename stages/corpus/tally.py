"""SplitTally: counts of the utterances of a split while they are written.

Shapes: T frames.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from stages.acoustic.features.front_end import count_visits
from stages.acoustic.features.front_end_settings import FrontEndSettings
from stages.contract.copies import CopyGroup
from stages.contract.results import LabelledPart
from stages.corpus.raw import CopyOf, RawUtterance

MS_PER_HOUR = 3_600_000


@dataclass(slots=True)
class Amount:
    """Utterances, rows of the corpus file, and time."""

    utterances: int = 0
    rows: int = 0
    milliseconds: float = 0.0

    @property
    def hours(self) -> float:
        """The time in hours."""
        return self.milliseconds / MS_PER_HOUR

    def count(self, raw: RawUtterance, *, num_rows: int) -> None:
        """Add one utterance."""
        self.utterances += 1
        self.rows += num_rows
        self.milliseconds += len(raw.features_TF) * raw.frame_shift_ms


@dataclass(slots=True)
class SplitTally:
    """`whole` counts all utterances, `labelled` those with hard labels."""

    whole: Amount = field(default_factory=Amount)
    labelled: Amount = field(default_factory=Amount)
    labelled_ids: list[str] = field(default_factory=list)
    num_words: int = 0
    speakers: set[str] = field(default_factory=set)
    _visits: int = 0
    _lost_visits: int = 0
    _copies: dict[str, dict[str, CopyOf]] = field(default_factory=lambda: defaultdict(dict))

    def count(self, raw: RawUtterance, *, num_rows: int, front_end: FrontEndSettings) -> None:
        """Add one utterance, of which `num_rows` rows were written."""
        self.whole.count(raw, num_rows=num_rows)
        self.num_words += len(raw.transcript.split())
        self.speakers.add(raw.speaker)
        if raw.copy_of is not None:
            self._copies[raw.copy_of.name][raw.id] = raw.copy_of
        if raw.is_labelled:
            self.labelled.count(raw, num_rows=num_rows)
            self.labelled_ids.append(raw.id)
        if raw.labels_T is not None:
            visits, lost = count_visits(raw.labels_T, front_end)
            self._visits += visits
            self._lost_visits += lost

    @property
    def is_labelled(self) -> bool:
        """Do all utterances have hard labels?"""
        return self.labelled.utterances == self.whole.utterances

    @property
    def labelled_part(self) -> LabelledPart | None:
        """The utterances with hard labels; None if all have them."""
        if self.is_labelled:
            return None
        amount = self.labelled
        return LabelledPart(
            num_utterances=amount.utterances, num_frames=amount.rows, hours=amount.hours
        )

    @property
    def lost_visits(self) -> float:
        """Share of the state visits in alignments that have no row in the file."""
        return self._lost_visits / max(self._visits, 1)

    @property
    def copies(self) -> tuple[CopyGroup, ...]:
        """The copies by name, in the order of their first utterances."""
        return tuple(
            CopyGroup(
                name=name,
                is_time_warped=any(copy.is_time_warped for copy in made.values()),
                original_of={id: copy.original for id, copy in made.items()},
            )
            for name, made in self._copies.items()
        )
