"""SplitDecoder: decodes and scores one split of one system, at any scale and penalty."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.evaluate.decode import DecodingPool
from stages.evaluate.decode_worker import DecodeJob
from stages.evaluate.frames import FrameTally
from stages.evaluate.score import add_up, rate_interval, word_errors
from stages.evaluate.settings import EvaluateSettings
from stages.evaluate.tune import Point
from stages.speech.progress import Progress
from stages.speech.results import SplitResult, UtteranceResult
from storage.corpus_file import CorpusFile


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitDecoder:
    """A split whose log-likelihoods are written, and what it takes to decode them."""

    name: str
    corpus: CorpusFile
    likelihoods: Path
    tally: FrameTally
    pool: DecodingPool
    words: Sequence[str]
    settings: EvaluateSettings
    progress: Progress

    def num_errors(self, point: Point) -> int:
        """Word errors at `point`."""
        return add_up([item.words for item in self.utterances(point)[0]]).errors

    def utterances(self, point: Point) -> tuple[list[UtteranceResult], int]:
        """What was heard at `point`, and how many utterances ended in no final state."""
        results = []
        num_partial = 0
        split = self.corpus.about.split
        title = f"{self.name}: {split} at {point.acoustic_scale:g}, {point.insertion_penalty:g}"
        with self.progress.task(title, total=self.corpus.num_frames, unit="frames") as task:
            heard = self.pool.decode(self._jobs(point))
            for row, best in zip(self.corpus.utterances, heard, strict=True):
                hypothesis = " ".join(self.words[word] for word in best.words)
                num_partial += not best.reached_final
                results.append(
                    UtteranceResult(
                        id=row.id,
                        speaker=row.speaker,
                        reference=row.transcript,
                        hypothesis=hypothesis,
                        words=word_errors(row.transcript, hypothesis),
                    )
                )
                task.advance(row.num_frames)
        return results, num_partial

    def result(self, point: Point) -> SplitResult:
        """The split at `point`, with the interval of its word error rate."""
        utterances, num_partial = self.utterances(point)
        split = self.corpus.about.split
        if num_partial:
            self.progress.note(
                f"{self.name}: {num_partial} of {len(utterances)} utterances of {split} end "
                "within a word; their best partial path counts (a larger evaluate.beam may help)"
            )
        rng = np.random.default_rng(self.settings.seed)
        low, high = rate_interval(utterances, samples=self.settings.bootstrap_samples, rng=rng)
        return SplitResult(
            split=split,
            num_frames=self.tally.num_frames,
            frame_error=self.tally.frame_error,
            cross_entropy=self.tally.cross_entropy,
            words=add_up([item.words for item in utterances]),
            rate_low=low,
            rate_high=high,
            utterances=tuple(utterances),
        )

    def _jobs(self, point: Point) -> list[DecodeJob]:
        return [
            DecodeJob(
                path=self.likelihoods,
                first_frame=row.first_frame,
                num_frames=row.num_frames,
                point=point,
                beam=self.settings.beam,
                max_active=self.settings.max_active,
            )
            for row in self.corpus.utterances
        ]
