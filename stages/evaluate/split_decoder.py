"""SplitDecoder: decodes and scores one split of one system, at any scale and penalty."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.acoustic.lang.beam_search import BestPath, SearchLimits
from stages.acoustic.lang.word_confidence import WordConfidence
from stages.contract.progress import Progress
from stages.contract.results import SplitResult, UtteranceResult, WordErrors
from stages.evaluate.decode import DecodingPool
from stages.evaluate.decode_worker import DecodeJob
from stages.evaluate.frames import FrameTally
from stages.evaluate.greedy import GreedyTally
from stages.evaluate.phone_errors import PhoneTally
from stages.evaluate.score import add_up, score_utterance
from stages.evaluate.settings import EvaluateSettings
from stages.evaluate.tune import Point
from storage.corpus.corpus_file import CorpusFile
from storage.corpus.utterance import Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedSplit:
    """The words of a split, decoded at one point."""

    point: Point
    utterances: tuple[UtteranceResult, ...]
    paths: tuple[BestPath, ...]

    @property
    def num_partial(self) -> int:
        """Utterances whose best path reaches no final state."""
        return sum(not path.reached_final for path in self.paths)

    @property
    def words(self) -> WordErrors:
        """The word errors of all utterances."""
        return add_up([item.words for item in self.utterances])


@dataclass(slots=True, kw_only=True)
class SplitDecoder:
    """A split whose log-likelihoods are in a file, with all that decoding needs."""

    name: str
    corpus: CorpusFile
    likelihoods: Path
    tally: FrameTally
    phone_tally: PhoneTally
    greedy: GreedyTally | None = None
    confidence: WordConfidence
    pool: DecodingPool
    words: Sequence[str]
    settings: EvaluateSettings
    progress: Progress
    best: DecodedSplit | None = None  # with the fewest errors so far: not decoded twice

    def num_errors(self, point: Point) -> int:
        """Word errors at `point`."""
        decoded = self.decode(point)
        if self.best is None or decoded.words.errors < self.best.words.errors:
            self.best = decoded
        return decoded.words.errors

    def decode(self, point: Point) -> DecodedSplit:
        """Decode and score every utterance at `point`."""
        results, found = [], []
        title = (
            f"{self.name}: decode {self.corpus.about.split}, scale {point.acoustic_scale:g}, "
            f"penalty {point.insertion_penalty:g}"
        )
        with self.progress.task(title, total=self.corpus.num_frames, unit="frames") as task:
            paths = self.pool.decode(self._jobs(point))
            for row, path in zip(self.corpus.utterances, paths, strict=True):
                results.append(self._score(row, path))
                found.append(path)
                task.advance(row.num_frames)
        return DecodedSplit(point=point, utterances=tuple(results), paths=tuple(found))

    def result(self, point: Point) -> SplitResult:
        """Errors of the split at `point`."""
        decoded = self.best
        if decoded is None or decoded.point != point:
            decoded = self.decode(point)
        if decoded.num_partial:
            self.progress.note(
                f"{self.name}: {decoded.num_partial} of {len(decoded.utterances)} utterances of "
                f"{self.corpus.about.split} end within a word; their best partial path counts "
                "(a larger evaluate.beam may help)"
            )
        return SplitResult(
            split=self.corpus.about.split,
            frames=self.tally.result(),
            words=decoded.words,
            utterances=tuple(self._with_confidences(decoded)),
            phones=self.phone_tally.result(),
            greedy=self.greedy.result() if self.greedy else None,
        )

    def _score(self, row: Utterance, path: BestPath) -> UtteranceResult:
        hypothesis = " ".join(self.words[word] for word in path.words)
        return score_utterance(
            row.id, speaker=row.speaker, reference=row.transcript, hypothesis=hypothesis
        )

    def _with_confidences(self, decoded: DecodedSplit) -> Iterator[UtteranceResult]:
        """The utterances of the chosen point; at the others no confidence is needed."""
        loglike_TC = np.load(self.likelihoods, mmap_mode="r")
        several = zip(self.corpus.utterances, decoded.utterances, decoded.paths, strict=True)
        for row, utterance, path in several:
            rows_TC = loglike_TC[row.first_frame : row.first_frame + row.num_frames]
            words = [self.words[word] for word in path.words]
            confidences = self.confidence.along(words, path.classes, rows_TC)
            yield utterance.model_copy(update={"confidences": confidences})

    def _jobs(self, point: Point) -> list[DecodeJob]:
        limits = SearchLimits(
            beam=self.settings.beam,
            max_active=self.settings.max_active,
            min_active=self.settings.min_active,
        )
        return [
            DecodeJob(
                path=self.likelihoods,
                first_frame=row.first_frame,
                num_frames=row.num_frames,
                point=point,
                limits=limits,
            )
            for row in self.corpus.utterances
        ]
