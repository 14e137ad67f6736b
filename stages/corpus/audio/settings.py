"""AudioSettings: how audio files and what is stated of them are read."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.acoustic.sound.speech_table import Columns
from stages.contract.settings import NOT_IN_IDENTITY, LengthDifference, Settings
from stages.corpus.kaldi_settings import UnknownWords

SplitName = Annotated[str, Field(min_length=1)]


class SplitNames(Settings):
    """Names of the splits in the source: of folders, of parts of a dataset, in a column."""

    train: SplitName = "train"
    dev: SplitName = "dev"
    test: SplitName = "test"


class AudioSettings(Settings):
    """How audio is read. `corpus.path` is a table, a manifest or a folder (docs/audio.md).

    `columns` are the names of columns where they are others. Relative paths in a table begin at
    `folder`, which is relative to the table's own. `channel` counts from 0; it is needed where
    files have more than one.

    `dev_share` and `test_share` of train become dev and test, by whole speakers, or by recordings
    where no speakers are given. An utterance of train without a transcript is an error, is left
    out, or is untranscribed speech, by `no_transcript`. `labelled_share` of train's speakers keep
    their hard labels. Audio that cannot be read or used is an error, or its utterances are skipped
    and listed, by `unreadable`.

    `alignments` are folders of Kaldi's alignments, in the classes of the folder `lang`: pdf ids, or
    with `model`, Kaldi's final.mdl, transition-ids. `snip_edges` is that of the features which were
    aligned: Kaldi's default, true, leaves two frames out.
    """

    splits: SplitNames = SplitNames()
    columns: Columns = Columns()
    folder: Annotated[Path | None, NOT_IN_IDENTITY] = None  # the content of the source counts
    channel: int | None = Field(None, ge=0)
    dev_share: float = Field(0.0, ge=0.0, lt=0.5)
    test_share: float = Field(0.0, ge=0.0, lt=0.5)
    labelled_share: Annotated[float, NOT_IN_IDENTITY] = Field(1.0, gt=0.0, le=1.0)
    no_transcript: Literal["fail", "leave_out", "untranscribed"] = "fail"
    unreadable: Literal["fail", "skip"] = "fail"
    num_mel_bins: int = Field(40, ge=10, le=80)
    alignments: Annotated[tuple[Path, ...], NOT_IN_IDENTITY] = ()
    lang: Annotated[Path | None, NOT_IN_IDENTITY] = None
    model: Annotated[Path | None, NOT_IN_IDENTITY] = None
    snip_edges: bool = False
    max_length_difference: LengthDifference = 0  # of features and labels; 1: trim the longer
    unknown_words: UnknownWords = "fail"

    def not_in_identity(self) -> set[str]:
        """What has its default and is younger than the first corpora of audio."""
        return super().not_in_identity() | self.at_default("unreadable")

    @property
    def shares(self) -> dict[str, float]:
        """The splits that are taken from train, and their shares of its utterances."""
        shares = {"dev": self.dev_share, "test": self.test_share}
        return {split: share for split, share in shares.items() if share}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the splits in the source that are not taken from train."""
        return tuple(self.split_of)

    @property
    def split_of(self) -> dict[str, str]:
        """Name of a split in the source -> the split, for those that are not taken from train."""
        names = self.splits.model_dump()
        return {name: split for split, name in names.items() if split not in self.shares}

    @model_validator(mode="after")
    def _split_names_differ(self) -> Self:
        if len(self.split_of) + len(self.shares) < len(SplitNames.model_fields):
            raise ValueError(f"splits: a name comes twice in {self.splits}: name each once")
        return self

    @model_validator(mode="after")
    def _alignments_need_a_lang(self) -> Self:
        if bool(self.alignments) != (self.lang is not None):
            raise ValueError(
                "alignments and lang belong together: name the folders with ali.*.gz in "
                "alignments, and the folder that gives their classes a meaning in lang"
            )
        if self.model is not None and not self.alignments:
            raise ValueError("model is the final.mdl of alignments: name their folders too")
        return self
