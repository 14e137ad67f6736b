"""Results: what the stages pass to each other about systems and their errors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict

from stages.contract.latency import Latency
from stages.contract.settings import Settings
from storage.care.store_audit import StoreAudit

SystemKind = Literal["member", "ensemble", "student"]
# Raise one when its class, or what is measured for it, changes: then systems are measured again.
RESULT_FORMAT = 5  # Evaluation, in result.json
SPEED_FILE = "speed.json"  # Speed
EXPORT_FORMAT = 2  # the folder of an export; 2: matrices are quantised dynamically
AUDIO_FORMAT = 1  # recordings and tables of the spoken corpus
QUALITY_FORMAT = 2  # FrameQuality, in frames.json; 2 keeps small posteriors of archived members


@dataclass(frozen=True, kw_only=True)
class SystemFacts:
    """Settings of a system that the report shows; None where its kind has no such setting."""

    architecture: str = ""  # in words
    seed: int | None = None
    k: int | None = None  # k, hard_weight, tail and temperature are of students
    hard_weight: float | None = None
    tail: str | None = None
    temperature: float | None = None
    has_given_labels: bool = True  # its hard labels are the corpus's, not the ensemble's
    is_null_arm: bool = False  # its ranks 2 to k are permuted or redrawn
    epochs: int | None = None  # of a student on a trunk: its length
    has_equal_steps: bool = False  # its epochs are over all speech, whatever part it reads
    right_context: float | None = None  # rows that it sees ahead; infinite: all of the utterance


@dataclass(frozen=True, kw_only=True)
class System:
    """Something that gives posteriors: one model, or several that are averaged."""

    name: str
    kind: SystemKind
    fingerprint: str
    model_directories: tuple[Path, ...]
    weights: tuple[float, ...]
    combine: Literal["arithmetic", "geometric"] = "arithmetic"
    facts: SystemFacts = SystemFacts()
    latency: Latency | None = None  # None: unknown
    teacher: str | None = None  # fingerprint of the soft labels that a student learnt from
    ensemble: str = ""  # identity of the members that its soft or hard labels are by, if any
    group: str = ""  # the same for students that differ in their seed alone
    # Trained on the corpus whose fingerprint this is: the same speech, all of it transcribed.
    full_corpus: str = ""
    group_name: str = ""  # its name, with no seed in it
    curve: str = ""  # the same for students on one trunk schedule that differ in seed and length
    curve_name: str = ""  # its name, with neither in it

    @property
    def is_fully_transcribed(self) -> bool:
        """Whether it learnt from transcripts that the other systems do not have."""
        return bool(self.full_corpus)


class WordErrors(Settings):
    """Counts of one scoring; the word error rate is their sum over the reference words."""

    reference_words: int
    insertions: int
    deletions: int
    substitutions: int

    @property
    def errors(self) -> int:
        """Insertions, deletions and substitutions together."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def rate(self) -> float:
        """Word error rate, 0.1 for one word in ten; 0.0 for an empty reference."""
        return self.errors / self.reference_words if self.reference_words else 0.0


class UtteranceResult(Settings):
    """Reference and hypothesis of an utterance, with their errors."""

    id: str
    speaker: str
    reference: str
    hypothesis: str
    words: WordErrors
    # Of each word of the hypothesis (stages/acoustic/lang/word_confidence.py); None: unknown.
    confidences: tuple[float, ...] | None = None


class FrameErrors(Settings):
    """Posteriors against the hard labels; errors are None for a split without hard labels."""

    num_frames: int
    frame_error: float | None  # share of labelled frames whose best class is not the label
    cross_entropy: float | None  # nats per labelled frame


class PhoneErrors(Settings):
    """Phones recognised without a language model (stages/evaluate/phone_errors.py)."""

    reference_phones: int
    errors: int

    @property
    def rate(self) -> float:
        """Phone error rate, 0.1 for one phone in ten."""
        return self.errors / self.reference_phones


class SplitResult(Settings):
    """One system on one split.

    There is no interval here: it follows from the counts of the utterances and from the report's
    settings (stages/report/statistics/bootstrap.py), for the terminal and the page alike.
    """

    split: str
    frames: FrameErrors
    words: WordErrors
    utterances: tuple[UtteranceResult, ...]
    phones: PhoneErrors | None = None  # None: the lang does not tell phones
    greedy: "GreedyResult | None" = None  # of a corpus of tokens


class GreedyResult(Settings):
    """Utterances in tokens, characters and words, by greedy decoding; None: not spelled."""

    tokens: tuple[UtteranceResult, ...]
    characters: tuple[UtteranceResult, ...] | None
    words: tuple[UtteranceResult, ...] | None
    blank_share: float  # of all frames


class ReliabilityBin(Settings):
    """Frames whose highest posterior lies in one of the equally wide bins of 0 to 1."""

    num_frames: int
    confidence: float  # mean of the highest posterior
    accuracy: float  # share of frames whose most probable class is the hard label


class Calibration(Settings):
    """Agreement of confidence and accuracy (Guo et al. 2017), on labelled dev frames."""

    expected_error: float  # ECE: mean distance of confidence and accuracy, weighted by frames
    bins: tuple[ReliabilityBin, ...]


class GradientMatch(Settings):
    """Cosine of two gradients at the logits: of a target, and of all that the store keeps.

    `overall` takes all frames as one long vector, so that frames with large gradients count more;
    `mean` is the mean over frames.
    """

    overall: float
    mean: float


class Fidelity(Settings):
    """Distance of a system from the teacher, on dev frames with soft labels, at their temperature.

    `divergence` is KL(teacher || system) in nats per frame, over the kept classes and the tail as
    one more event: a lower bound of the KL over all classes. `by_rank[k]` compares the gradient
    of the first k ranks, renormalised, with that of all ranks and the tail; `hard_labels` compares
    that of the hard labels.
    """

    store: str  # digest
    num_frames: int
    agreement: float  # share of frames with the same most probable class
    divergence: float
    by_rank: dict[int, GradientMatch]
    hard_labels: GradientMatch | None


class FrameQuality(Settings):
    """Metrics of a system's posteriors on dev; None if a metric could not be measured."""

    model_config = ConfigDict(extra="ignore")  # older files hold real_time_factor

    calibration: Calibration | None
    fidelity: Fidelity | None


class Speed(Settings):
    """Speed of a system on the machine that evaluated it, in a file of its own.

    A stopwatch never gives the same figure twice: this is no part of the artefact's result, and not
    on the page.
    """

    real_time_factor: float | None  # seconds of one processor thread per second of speech


class Evaluation(Settings):
    """One system, decoded: scale and penalty were chosen on dev. Stored as result.json.

    The system is not part of it: its name depends on the settings, the errors do not.
    """

    num_parameters: int | None  # None: of a model that is known by its posteriors alone
    acoustic_scale: float
    insertion_penalty: float
    dev: SplitResult
    test: SplitResult


@dataclass(frozen=True, kw_only=True)
class SystemResult:
    """A system and all its measurements: assembled from several artefacts, not stored."""

    system: System
    evaluation: Evaluation
    frames: FrameQuality | None = None  # an artefact of its own: it depends on the teacher
    real_time_factor: float | None = None  # see Speed

    @property
    def dev(self) -> SplitResult:
        """Errors on dev."""
        return self.evaluation.dev

    @property
    def test(self) -> SplitResult:
        """Errors on test."""
        return self.evaluation.test


class EpochMetrics(Settings):
    """One line of metrics.jsonl. No clock is in it: the same run gives the same bytes."""

    model_config = ConfigDict(extra="ignore")  # older files hold frames_per_second

    epoch: int
    train_loss: float
    dev_frame_error: float  # token error rate of a corpus of tokens
    dev_cross_entropy: float
    learning_rate: float
    train_parts: dict[str, float] = {}  # of train_loss: hard, soft


class TeacherSummary(Settings):
    """What `essence teacher` made: an audit of each store, measured when the store was sealed."""

    model_config = ConfigDict(extra="ignore")  # earlier versions wrote other keys too

    members: tuple[str, ...]
    stores: tuple[StoreAudit, ...]


class CorpusSummary(Settings):
    """What `essence corpus` made. `left_out` maps a reason to the utterance ids it struck."""

    source: str
    num_classes: int
    num_words: int
    splits: tuple["SplitSummary", ...]

    @property
    def train(self) -> "SplitSummary":
        """The training split."""
        return next(split for split in self.splits if split.split == "train")


class LabelledPart(Settings):
    """The utterances of a split that have hard labels."""

    num_utterances: int
    num_frames: int
    hours: float


class SplitSummary(Settings):
    """One split in figures. `labelled` is None where all of it has hard labels.

    `heard_speakers` counts those of dev and test whom train has too; `lost_visits` is the share of
    the alignment's state visits of which subsampling leaves no frame; `copies` maps the name of a
    copy to the number of its utterances.
    """

    split: str
    num_utterances: int
    num_speakers: int
    num_frames: int
    hours: float
    num_words: int
    left_out: dict[str, tuple[str, ...]]
    trimmed: tuple[str, ...] = ()  # utterances whose features and labels differed by a frame
    labelled: LabelledPart | None = None
    heard_speakers: int = 0
    lost_visits: float = 0.0
    copies: dict[str, int] = {}
