"""CorpusSettings: the source of speech and the processing of its features."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import model_validator

from stages.acoustic.features.front_end_settings import FrontEndSettings
from stages.acoustic.features.rates import FRAME_SHIFT_MS
from stages.contract.latency import FrontEnd
from stages.contract.settings import NOT_IN_IDENTITY, Settings
from stages.corpus.align.settings import AlignSettings
from stages.corpus.audio.settings import AudioSettings
from stages.corpus.copies.kinds import AnyCopy
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.spoken.settings import SpokenSettings
from stages.corpus.tokens.settings import TokenSettings

AnySource = Literal["spoken", "kaldi", "audio"]
# Source -> what its path is.
PATHS = {
    "kaldi": "a Kaldi directory",
    "audio": "a table, manifest or folder of audio",
}


class CorpusSettings(Settings):
    """Settings of the corpus stage. `copies` are made from its utterances (docs/copies.md)."""

    source: AnySource = "spoken"
    path: Annotated[Path | None, NOT_IN_IDENTITY] = None  # the content of the source counts
    spoken: SpokenSettings = SpokenSettings()
    kaldi: KaldiSettings = KaldiSettings()
    audio: AudioSettings = AudioSettings()
    features: FrontEndSettings = FrontEndSettings()
    copies: tuple[AnyCopy, ...] = ()
    align: AlignSettings | None = None  # null: the source has hard labels and a lang
    # What hard labels are: a class of every frame, or the token sequence of the transcript.
    targets: Literal["frames", "tokens"] = "frames"
    tokens: TokenSettings = TokenSettings()

    def identity(self) -> dict[str, Any]:
        """The settings that decide the corpus, next to the content of its source.

        A share of 1 is left out, so that corpora made before the setting existed stay fresh.
        """
        share = {"labelled_share": self.labelled_share} if self.labelled_share < 1 else {}
        return {**super().identity(), **share}

    def not_in_identity(self) -> set[str]:
        """Also the settings of sources that are not read, and `copies` if there are none."""
        other_sources = set(get_args(AnySource)) - {self.source}
        no_copies = set() if self.copies else {"copies"}
        of_tokens = {"targets", "tokens"} if self.targets == "frames" else set()
        without = other_sources | no_copies | of_tokens
        return super().not_in_identity() | without | self.at_default("align")

    @property
    def labelled_share(self) -> float:
        """Share of train's speakers that keep their hard labels, 0 to 1."""
        of_source: SpokenSettings | KaldiSettings | AudioSettings = getattr(self, self.source)
        return of_source.labelled_share

    @property
    def num_mel_bins(self) -> int | None:
        """Features that this program computes from audio; None where they are given."""
        return None if self.source == "kaldi" else getattr(self, self.source).num_mel_bins

    @property
    def front_end(self) -> FrontEnd:
        """What a row of the corpus file waits for."""
        is_kaldi = self.source == "kaldi"
        over = self.features.cmvn
        return FrontEnd(
            frame_ms=self.kaldi.frame_shift_ms if is_kaldi else FRAME_SHIFT_MS,
            frames_per_row=self.features.subsample,
            look_ahead=self.features.look_ahead,
            normalised_over=over if over in ("speaker", "utterance") else "",
        )

    @model_validator(mode="after")
    def _other_sources_are_not_set(self) -> Self:
        for source, what in PATHS.items():
            given = getattr(self, source)
            if self.source != source and given != type(given)():
                raise ValueError(
                    f"found settings of {what} ({source}), but source is {self.source}: add "
                    f"--set corpus.source={source} --set corpus.path=DIR, or remove {source}"
                )
        return self

    @model_validator(mode="after")
    def _source_has_its_path(self) -> Self:
        if self.source in PATHS and self.path is None:
            raise ValueError(
                f"source {self.source} needs {PATHS[self.source]}: set path, or add --set "
                "corpus.path=DIR"
            )
        return self

    @model_validator(mode="after")
    def _audio_has_labels(self) -> Self:
        if self.targets == "tokens":
            return self
        if self.source == "audio" and bool(self.audio.alignments) == (self.align is not None):
            found = "both" if self.align else "neither"
            raise ValueError(
                "source audio needs hard labels: set align, which makes them (docs/alignment.md), "
                "or audio.alignments (folders of Kaldi's alignments) and audio.lang, or set "
                "targets to tokens, which need no alignment (docs/ctc.md); "
                f"found {found}"
            )
        return self

    @model_validator(mode="after")
    def _spoken_corpus_is_aligned(self) -> Self:
        if self.source == "spoken" and self.align is not None:
            raise ValueError(
                "found settings of an alignment (align), but source is spoken, which has hard "
                "labels: remove align, or set source and path to another corpus"
            )
        return self

    @model_validator(mode="after")
    def _tokens_need_no_alignment(self) -> Self:
        if self.targets == "frames":
            if self.tokens != TokenSettings():
                raise ValueError(
                    "found settings of tokens, but targets is frames: set targets to tokens, or "
                    "remove tokens"
                )
            return self
        if self.align is not None or self.audio.alignments or self.kaldi.model:
            given = "align" if self.align else "alignments and their model"
            raise ValueError(f"targets is tokens, which need no alignment: remove {given}")
        if self.source == "audio" and self.copies:
            raise ValueError(
                "copies of recordings are made with the labels of their frames, and targets is "
                "tokens: leave out copies, or set targets to frames"
            )
        return self

    @model_validator(mode="after")
    def _copies_need_audio(self) -> Self:
        if self.source == "kaldi" and self.copies:
            names = ", ".join(copy.name for copy in self.copies)
            raise ValueError(
                f"copies ({names}) are made from audio, a Kaldi directory (source: kaldi) has "
                "features only: make the copies with Kaldi's tools and put them into its folders, "
                "or leave copies out"
            )
        return self

    @model_validator(mode="after")
    def _copies_differ(self) -> Self:
        for name, count in Counter(copy.name for copy in self.copies).items():
            if count > 1:
                raise ValueError(f"{count} copies are called {name!r}: give each its own name")
        for split in ("dev", "test"):
            names = [copy.name for copy in self.copies if split in copy.splits]
            if len(names) > 1:
                raise ValueError(
                    f"the copies {' and '.join(names)} all stand for the originals of {split}: "
                    "name the split in one of them"
                )
        return self
