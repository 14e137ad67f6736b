"""audio, deployment -> words with times and confidences. No torch is loaded.

The front end, the graph, the scale and the confidences are those of training and evaluation, so
that the test speech of a corpus gives the words that its evaluation counted.

Shapes: T samples, frames or rows, F feature dims, C classes.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.features.filterbank import log_mel
from stages.acoustic.features.front_end import to_rows
from stages.acoustic.lang.beam_search import decode_matrix
from stages.acoustic.lang.graph import read_graph, read_words
from stages.acoustic.lang.word_confidence import WordConfidence
from stages.acoustic.sound.audio_file import read_audio
from stages.acoustic.sound.speech_table import SpeechRow, readable
from stages.contract.errors import BadInput
from stages.contract.progress import Task
from stages.contract.settings import Settings
from stages.deploy.folder import GRAPH_FOLDER, Deployment
from stages.deploy.speaker_sums import SpeakerSums

MS = 1000


class Word(Settings):
    """A word; times in seconds from the start of the file. None: unknown."""

    word: str
    start: float | None
    end: float | None
    confidence: float | None


class Transcript(Settings):
    """One line of the output. `is_whole` is False if the speech ends within a word."""

    id: str
    speaker: str
    path: str
    seconds: float
    text: str
    words: tuple[Word, ...]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """An utterance that could not be transcribed, and why."""

    row: SpeechRow
    reason: str


@dataclass(slots=True)
class Clock:
    """Seconds of speech that were transcribed, and the time that it took."""

    speech: float = 0.0
    taken: float = 0.0

    @property
    def real_time_factor(self) -> float:
        """Seconds for each second of speech; 0.0 for no speech."""
        return self.taken / self.speech if self.speech else 0.0


@dataclass(kw_only=True)
class Transcriber:
    """A deployment with its graph in memory."""

    deployment: Deployment
    sums: SpeakerSums
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        folder = self.deployment.directory / GRAPH_FOLDER
        penalty = self.deployment.about.decoding.insertion_penalty
        self._graph = read_graph(folder, word_cost=penalty)
        self._words = read_words(folder)
        self._spellings = self.deployment.spellings
        self._confidence = WordConfidence(self.deployment.log_prior_C, self._spellings)

    @property
    def num_passes(self) -> int:
        """How often each file is read, and the task is advanced for it."""
        return 2 if self.sums.are_gathered else 1

    def transcribe(self, rows: Sequence[SpeechRow], task: Task) -> Iterator[Transcript | Failed]:
        """Transcribe utterances in order; those that cannot be read are `Failed`.

        Where features are normalised by speaker, all speech is read once before the first result:
        files that change in between are transcribed as they are then.
        """
        begun = time.perf_counter()
        failed = self._gather(rows, task) if self.sums.are_gathered else {}
        self.clock.taken += time.perf_counter() - begun
        for row in rows:
            begun = time.perf_counter()
            found = failed.get(row.id) or self._transcribe(row)
            self.clock.taken += time.perf_counter() - begun
            if isinstance(found, Transcript):
                self.clock.speech += found.seconds
            task.advance()
            yield found

    def _gather(self, rows: Sequence[SpeechRow], task: Task) -> dict[str, Failed]:
        """Add up the sums of all speakers; returns the utterances that cannot be read, by id."""
        failed = {}
        for row in rows:
            try:
                self.sums.count(row.speaker, self._features(row))
            except BadInput as error:
                failed[row.id] = Failed(row, str(error))
            task.advance()
        return failed

    def _transcribe(self, row: SpeechRow) -> Transcript | Failed:
        try:
            features_TF = self._features(row)
        except BadInput as error:
            return Failed(row, str(error))
        return self._search(row, self.log_likelihoods(row.speaker, features_TF))

    def log_likelihoods(
        self, speaker: str, features_TF: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """log p(c|x) - log p(c) of each row, (T, C)."""
        how = self.deployment.about.features
        rows_TF = to_rows(self.sums.normalise(speaker, features_TF), how)
        # As the corpus file stores them: float16 rounds.
        stored_TF = rows_TF.astype(how.dtype).astype(np.float32)
        return self.deployment.model.of_utterance(stored_TF) - self.deployment.log_prior_C

    def _search(self, row: SpeechRow, loglike_TC: NDArray[np.float32]) -> Transcript:
        decoding = self.deployment.about.decoding
        scaled_TC = loglike_TC * np.float32(decoding.acoustic_scale)
        path = decode_matrix(self._graph, scaled_TC, limits=decoding.limits)
        words = [self._words[number] for number in path.words]
        confidences = self._confidence.along(words, path.classes, loglike_TC)
        spans = self._spellings.spans(words, path.classes) if self._spellings else None
        unknown = [None] * len(words)
        return Transcript(
            id=row.id,
            speaker=row.speaker,
            path=readable(row.path),
            seconds=self._seconds(len(loglike_TC)),
            text=" ".join(words),
            words=tuple(
                Word(
                    word=word,
                    start=self._seconds(span[0], row.start) if span else None,
                    end=self._seconds(span[1], row.start) if span else None,
                    confidence=confidence,
                )
                for word, span, confidence in zip(
                    words, spans or unknown, confidences or unknown, strict=True
                )
            ),
            is_whole=path.reached_final,
        )

    def _seconds(self, num_rows: int, start: float = 0.0) -> float:
        return round(start + num_rows * self.deployment.about.row_ms / MS, 3)

    def _features(self, row: SpeechRow) -> NDArray[np.float32]:
        try:
            samples_T = read_audio(row.path, row.part)
        except OSError as cause:
            raise BadInput(f"{row.path} cannot be read ({cause.strerror})") from cause
        return log_mel(samples_T, num_mel_bins=self.deployment.sound.num_mel_bins)
