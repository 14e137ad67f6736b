"""Kaldi data directory without alignments -> raw utterances: features, transcripts and speakers.

    DIR/train, dev, test   feats.scp  text  utt2spk
    DIR/<unlabelled> ...   feats.scp  utt2spk: untranscribed speech, read after that of train

Alignments and a lang, if there are any, are not read.
"""

from collections.abc import Iterator
from pathlib import Path

from stages.contract.progress import Progress
from stages.corpus.kaldi_folders import KaldiFolders, read_features, refuse_no_directory
from stages.corpus.kaldi_plan import plan_transcribed
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.kept_splits import KeptSplits
from stages.corpus.kept_utterances import KeptUtterances
from stages.corpus.raw import RawUtterance


class KaldiSpeech:
    """The three splits of a Kaldi data directory. The tables are read first.

    `scratch` is an empty folder: features are kept there, uncompressed, after the first pass.
    """

    def __init__(
        self, settings: KaldiSettings, path: Path, *, scratch: Path, progress: Progress
    ) -> None:
        refuse_no_directory(path)
        self._settings = settings
        self._progress = progress
        self._folders = KaldiFolders(settings, path, plan=plan_transcribed)
        self._splits = KeptSplits(self._read, scratch=scratch)

    def left_out(self, split: str) -> dict[str, list[str]]:
        """Reason -> ids of the utterances that are skipped."""
        return self._folders.left_out(split)

    def trimmed(self, split: str) -> list[str]:
        """None: there are no labels."""
        return []

    def remarks(self, split: str) -> list[str]:
        """None."""
        return []

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The utterances of a split, in the order of feats.scp, folder by folder.

        Raises:
            BadInput: naming file, utterance and frame.
        """
        return self._splits.utterances(split)

    def kept(self, split: str) -> KeptUtterances:
        """All utterances of a split, on disk.

        Raises:
            BadInput: as `utterances`.
        """
        return self._splits.whole(split)

    def _read(self, split: str) -> Iterator[RawUtterance]:
        entries = [entry for plan in self._folders.plans[split] for entry in plan.entries]
        with self._progress.task(f"read {split}", total=len(entries), unit="utterances") as task:
            for entry in entries:
                yield RawUtterance(
                    id=entry.id,
                    speaker=entry.speaker,
                    transcript=entry.transcript,
                    features_TF=read_features(entry),
                    labels_T=None,
                    frame_shift_ms=self._settings.frame_shift_ms,
                )
                task.advance()
