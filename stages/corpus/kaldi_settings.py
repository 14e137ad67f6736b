"""KaldiSettings: how a Kaldi data directory is read."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.contract.settings import NOT_IN_IDENTITY, LengthDifference, Settings


class KaldiSettings(Settings):
    """How a Kaldi data directory is read. The folder names are below `corpus.path`.

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
    frame_shift_ms: float = Field(default=10.0, gt=0)
    max_length_difference: LengthDifference = 0  # of features and labels; 1: trim the longer
    unknown_words: Literal["fail", "keep"] = "fail"

    def not_in_identity(self) -> set[str]:
        """An empty `unlabelled`, so that corpora made before this setting existed stay fresh.

        CorpusSettings adds `labelled_share`, once for both sources.
        """
        return super().not_in_identity() | (set() if self.unlabelled else {"unlabelled"})

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
