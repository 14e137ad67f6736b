"""KaldiSettings: how a Kaldi data directory is read."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.contract.settings import NOT_IN_IDENTITY, LengthDifference, Settings

UnknownWords = Literal["fail", "keep"]


class AlignmentFolders(Settings):
    """Folders with the alignments of the splits, below `corpus.path`; null: the split's own."""

    train: str | None = None
    dev: str | None = None
    test: str | None = None


class KaldiSettings(Settings):
    """How a Kaldi data directory is read. The folder names are below `corpus.path`.

    With `model`, Kaldi's final.mdl, alignments are transition-ids, as Kaldi writes them, and the
    lang is a folder of mkgraph.sh, as it lies. Without it alignments are pdf ids.

    `dev_share` and `test_share` of the utterances of train become dev and test, by whole speakers,
    where the experiment has no such folders.

    `unlabelled` are folders of speech without transcripts and alignments: feats.scp and utt2spk are
    enough. Their utterances are added to the train split, where they get soft labels only.
    `labelled_share` of the speakers of `train` keep their hard labels; the others are treated as
    untranscribed.
    """

    train: str = "train"
    dev: str = "dev"
    test: str = "test"
    unlabelled: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    labelled_share: Annotated[float, NOT_IN_IDENTITY] = Field(1.0, gt=0.0, le=1.0)
    lang: str = "lang"
    model: str | None = Field(None, min_length=1)
    alignments: AlignmentFolders = AlignmentFolders()
    dev_share: float = Field(0.0, ge=0.0, lt=0.5)
    test_share: float = Field(0.0, ge=0.0, lt=0.5)
    frame_shift_ms: float = Field(default=10.0, gt=0)
    max_length_difference: LengthDifference = 0  # of features and labels; 1: trim the longer
    unknown_words: UnknownWords = "fail"

    def not_in_identity(self) -> set[str]:
        """What has its default and is younger than the first corpora, so that those stay fresh.

        CorpusSettings adds `labelled_share`, once for both sources.
        """
        younger = ("unlabelled", "model", "alignments", "dev_share", "test_share")
        return super().not_in_identity() | self.at_default(*younger)

    @property
    def shares(self) -> dict[str, float]:
        """The splits that are taken from train, and their shares of its utterances."""
        shares = {"dev": self.dev_share, "test": self.test_share}
        return {split: share for split, share in shares.items() if share}

    @property
    def folders(self) -> dict[str, str]:
        """The splits that have folders of their own."""
        names = {"train": self.train, "dev": self.dev, "test": self.test}
        return {split: name for split, name in names.items() if split not in self.shares}

    @model_validator(mode="after")
    def _unlabelled_folders_are_others(self) -> Self:
        taken = [self.train, self.dev, self.test]
        for name in self.unlabelled:
            if name in taken:
                raise ValueError(
                    f"unlabelled: the folder {name!r} is already in use: name each folder once"
                )
            taken.append(name)
        return self
