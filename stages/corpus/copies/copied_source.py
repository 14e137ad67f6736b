"""CopiedSource: a source whose utterances are of audio files, and copies of them.

Copies are made of the samples rounded to 16 bits, with the labels that the source gives the
originals.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import tee
from pathlib import Path

from stages.acoustic.features.rates import num_frames_of
from stages.acoustic.lang.lang_folder import AnyLang
from stages.acoustic.sound.span_reader import SpanReader
from stages.contract.copies import DEV_ORIGINALS
from stages.contract.errors import BadInput
from stages.contract.progress import Progress
from stages.corpus.copies.kept_recordings import KeptRecordings
from stages.corpus.copies.kinds import AnyCopy
from stages.corpus.copies.make import copies_of
from stages.corpus.kept_utterances import KeptUtterances
from stages.corpus.raw import RawUtterance
from stages.corpus.sound.noise import to_16_bits
from stages.corpus.sound.recording import Recording
from stages.corpus.source import Source


class CopiedSource:
    """The utterances of `source`, which state where their audio is, and the copies of these.

    In dev and test a copy stands for the originals. `scratch` is a folder for recordings.
    """

    def __init__(
        self,
        source: Source,
        copies: Sequence[AnyCopy],
        *,
        num_mel_bins: int,
        scratch: Path,
        progress: Progress,
    ) -> None:
        self._source = source
        self._copies = copies
        self._num_mel_bins = num_mel_bins
        self._scratch = scratch
        self._progress = progress
        self._reader = SpanReader()
        self._kept: dict[str, KeptUtterances] = {}

    @property
    def lang(self) -> AnyLang:
        """That of the originals."""
        return self._source.lang

    def has_labels(self, split: str) -> bool:
        """Whether the originals have labels."""
        return self._source.has_labels(_spoken(split))

    def labelled_speakers(self, split: str) -> Set[str]:
        """Those of the originals."""
        return self._source.labelled_speakers(_spoken(split))

    def left_out(self, split: str) -> Mapping[str, Sequence[str]]:
        """Reason -> ids of the originals that are skipped."""
        return self._source.left_out(_spoken(split))

    def trimmed(self, split: str) -> Sequence[str]:
        """Ids of the originals that were trimmed."""
        return self._source.trimmed(_spoken(split))

    def remarks(self, split: str) -> Sequence[str]:
        """Those on the originals."""
        return self._source.remarks(_spoken(split))

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The originals, then copy after copy of all of them: made and kept once, then read back.

        Raises:
            BadInput: as the source; where babble needs other speakers and there are none; or where
                an utterance was trimmed.
        """
        copies = [copy for copy in self._copies if split in copy.splits]
        if not copies:
            yield from self._source.utterances(_spoken(split))
            return
        if split not in self._kept:
            kept = KeptUtterances(self._scratch / f"{split}.copied")
            yield from kept.keep(self._copied(split, copies))
            self._kept[split] = kept
        else:
            yield from self._kept[split]

    def _copied(self, split: str, copies: Sequence[AnyCopy]) -> Iterator[RawUtterance]:
        recordings = KeptRecordings(self._scratch / f"{split}.recordings")
        raws, originals = tee(self._source.utterances(split))  # one apart at most
        recorded = recordings.keep(map(self._recording, originals))
        for raw, _ in zip(raws, recorded, strict=True):
            if split == "train":
                yield raw
        yield from copies_of(
            recordings,
            copies,
            split=split,
            num_mel_bins=self._num_mel_bins,
            progress=self._progress,
        )

    def _recording(self, raw: RawUtterance) -> Recording:
        if raw.audio is None:
            raise BadInput(f"utterance {raw.id!r} has no audio to make copies of")
        samples_T = self._reader.read_again(raw.audio)
        if num_frames_of(len(samples_T)) != len(raw.features_TF):
            raise BadInput(
                f"utterance {raw.id!r} was trimmed to the length of its alignment, and its copies "
                "would be longer: leave out corpus.copies, or align again"
            )
        return Recording(
            id=raw.id,
            speaker=raw.speaker,
            transcript=raw.transcript,
            samples_T=to_16_bits(samples_T),
            labels_T=raw.labels_T,
        )


def _spoken(split: str) -> str:
    return "dev" if split == DEV_ORIGINALS else split  # of which no copy is made
