"""AudioSpeech: audio files and their transcripts -> raw utterances, without hard labels.

The features of a split are kept on disk after the first pass, so that audio is decoded once. If
audio that cannot be used is skipped, that pass is made first, to find what is skipped.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stages.acoustic.features.filterbank import log_mel
from stages.acoustic.features.rates import FRAME_SHIFT_MS
from stages.acoustic.sound.span_reader import SpanReader
from stages.acoustic.sound.speech_table import SpeechRow
from stages.contract.errors import BadInput
from stages.contract.progress import Progress
from stages.corpus.audio.formats import find_format
from stages.corpus.audio.plan import plan_audio
from stages.corpus.audio.settings import AudioSettings
from stages.corpus.kept_splits import KeptSplits
from stages.corpus.kept_utterances import KeptUtterances
from stages.corpus.raw import RawUtterance
from stages.corpus.source import SPLITS


class AudioSpeech:
    """The three splits of audio at `path`. The tables are read and checked first.

    `scratch` is an empty folder.

    Raises:
        BadInput: if a table is not what it should be; with `unreadable: skip`, if no audio of a
            split can be used.
    """

    def __init__(
        self, settings: AudioSettings, path: Path, *, scratch: Path, progress: Progress
    ) -> None:
        self._settings = settings
        self._progress = progress
        rows = find_format(path, settings).rows(path, settings)
        self._plan = plan_audio(rows, settings, where=path)
        self._reader = SpanReader()
        self._splits = KeptSplits(self._read, scratch=scratch)
        self._skipped: dict[str, dict[str, list[str]]] = {split: {} for split in SPLITS}
        if settings.unreadable == "skip":
            self._skip_unreadable(where=path)

    def rows(self, split: str) -> Sequence[SpeechRow]:
        """The utterances of a split as the tables state them, less those that are skipped."""
        skipped = {id for ids in self._skipped[split].values() for id in ids}
        return [row for row in self._plan.rows[split] if row.id not in skipped]

    def left_out(self, split: str) -> Mapping[str, Sequence[str]]:
        """Reason -> ids of the utterances that are skipped; what is wrong with audio names it."""
        return self._plan.left_out[split] | self._skipped[split]

    def trimmed(self, split: str) -> Sequence[str]:
        """None: there are no labels to be of another length."""
        return ()

    def remarks(self, split: str) -> Sequence[str]:
        """None."""
        return ()

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The utterances of a split, in the order of the tables.

        Raises:
            BadInput: naming file and utterance, if audio cannot be used and is not skipped.
        """
        return self._splits.utterances(split)

    def kept(self, split: str) -> KeptUtterances:
        """All utterances of a split, on disk.

        Raises:
            BadInput: as `utterances`.
        """
        return self._splits.whole(split)

    def _skip_unreadable(self, *, where: Path) -> None:
        for split in SPLITS:
            if not len(self.kept(split)):
                reason, ids = next(iter(self._skipped[split].items()))
                raise BadInput(
                    f"{where}: no audio of {split} can be used; the first of "
                    f"{len(self._plan.rows[split])} utterances, {ids[0]!r}: {reason}"
                )

    def _read(self, split: str) -> Iterator[RawUtterance]:
        rows = self._plan.rows[split]
        with self._progress.task(f"read {split}", total=len(rows), unit="utterances") as task:
            for row in rows:
                try:
                    raw = self._utterance(row)
                except BadInput as error:
                    if self._settings.unreadable == "fail":
                        raise BadInput(f"utterance {row.id!r}: {error}") from error
                    self._skipped[split].setdefault(str(error), []).append(row.id)
                else:
                    yield raw
                task.advance()

    def _utterance(self, row: SpeechRow) -> RawUtterance:
        try:
            span = self._reader.locate(row)  # before it is read: a change in between is found later
            samples_T = self._reader.read(row)
        except OSError as cause:
            raise BadInput(f"{row.path} cannot be read ({cause.strerror})") from cause
        return RawUtterance(
            id=row.id,
            speaker=row.speaker,
            transcript=" ".join((row.text or "").split()),
            features_TF=log_mel(samples_T, num_mel_bins=self._settings.num_mel_bins),
            labels_T=None,
            frame_shift_ms=FRAME_SHIFT_MS,
            audio=span,
        )


def all_ids(speech: AudioSpeech) -> set[str]:
    """Ids of the utterances of all splits."""
    return {row.id for split in SPLITS for row in speech.rows(split)}
