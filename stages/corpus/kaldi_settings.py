"""KaldiSettings: how a Kaldi data directory is read."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.contract.settings import NOT_IN_IDENTITY, LengthDifference, Settings


class KaldiSettings(Settings):
    """How a Kaldi data directory is read. The folder names are below `corpus.path`.

    `unlabelled` are folders of speech that nobody has transcribed or aligned: feats.scp and utt2spk
    are enough. It joins the train split; only soft labels say what it is. `labelled_share` of the
    speakers of `train` keep their hard labels; the others are as if nobody had transcribed them.
    """

    train: str = "train"
    dev: str = "dev"
    test: str = "test"
    unlabelled: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    labelled_share: Annotated[float, NOT_IN_IDENTITY] = Field(1.0, gt=0.0, le=1.0)
    lang: str = "lang"
    frame_shift_ms: float = Field(default=10.0, gt=0)
    max_length_difference: LengthDifference = 0  # features, labels; 1: the longer one is trimmed
    unknown_words: Literal["fail", "keep"] = "fail"

    def not_in_identity(self) -> set[str]:
        """No untranscribed folders: corpora made before the setting existed stay fresh.

        `labelled_share` is counted by CorpusSettings, once for both sources.
        """
        return super().not_in_identity() | (set() if self.unlabelled else {"unlabelled"})

    @model_validator(mode="after")
    def _unlabelled_folders_are_others(self) -> Self:
        taken = [self.train, self.dev, self.test]
        for name in self.unlabelled:
            if name in taken:
                raise ValueError(
                    f"unlabelled: the folder {name!r} is read already: name each folder once"
                )
            taken.append(name)
        return self
