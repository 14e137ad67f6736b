"""TrainingCorpus: the train and dev splits of one corpus directory, checked against each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from stages.contract.copies import DEV_ORIGINALS, copy_ids, read_copies
from stages.contract.errors import BadInput
from stages.training.batches import LabelSource, Piece, cut_pieces
from stages.training.settings import Utterances
from storage.corpus.corpus_file import CorpusFile


@dataclass(frozen=True, kw_only=True)  # no slots: `unlabelled` is kept
class TrainingCorpus:
    """Two open splits with the same features and classes.

    Utterances of train whose ids are in `left_out` are not trained on. `labels` are hard labels of
    train in place of those in its file; dev has its own.
    """

    train: CorpusFile
    dev: CorpusFile
    left_out: frozenset[str] = frozenset()
    labels: LabelSource | None = None

    @property
    def num_frames(self) -> int:
        """Frames of one epoch."""
        return sum(self._lengths())

    @cached_property
    def unlabelled(self) -> frozenset[str]:
        """Utterances of train, with frames, none of which has a hard label: untranscribed speech.

        In a corpus of token sequences: those without tokens.

        All that learns from hard labels alone leaves them out.
        """
        if self.labels is None:
            is_labelled_U = self.train.is_transcribed()
        else:
            is_labelled_U = self.labels.labelled_frames() > 0
        rows = zip(self.train.utterances, is_labelled_U, strict=True)
        return frozenset(row.id for row, is_labelled in rows if row.num_frames and not is_labelled)

    def labelled_part(self) -> Self:
        """The same without the unlabelled utterances: neither read nor counted."""
        return replace(self, left_out=self.left_out | self.unlabelled)

    def describe_labels(self) -> str:
        """5,574 utterances, 1,858 with hard labels: of those that are trained on."""
        used = {row.id for row in self.train.utterances if row.num_frames} - self.left_out
        return f"{len(used):,} utterances, {len(used - self.unlabelled):,} with hard labels"

    def pieces(self, chunk_frames: int) -> list[Piece]:
        """What one epoch trains on: utterances, or pieces of those that are longer.

        Of token sequences, only untranscribed utterances are cut.
        """
        is_whole_U = self.train.is_transcribed() if self.train.has_tokens else None
        return cut_pieces(self._lengths(), chunk_frames, is_whole_U=is_whole_U)

    def _lengths(self) -> list[int]:
        rows = self.train.utterances
        return [0 if row.id in self.left_out else row.num_frames for row in rows]


@contextmanager
def open_training_corpus(
    directory: Path, *, needs_labels: bool, utterances: Utterances = "all"
) -> Iterator[TrainingCorpus]:
    """Open train.h5 and dev.h5. Dev must have hard labels; train too where `needs_labels`.

    Raises:
        BadInput: when a split is empty, has no labels, or the two do not belong together, or when
            `utterances` of train are wanted that it does not have.
    """
    with (
        CorpusFile(directory / "train.h5") as train,
        CorpusFile(_dev_path(directory, utterances)) as dev,
    ):
        for name in ("feature_dim", "num_classes", "class_inventory"):
            found, wanted = getattr(dev.about, name), getattr(train.about, name)
            if found != wanted:
                raise BadInput(
                    f"{dev.path} has {name} {found}, {train.path} has {wanted}: "
                    "make both with one run of 'essence corpus'"
                )
        for split in (train, dev):
            if split.num_frames == 0:
                raise BadInput(f"{split.path} holds no frame: there is nothing to train on")
        for split in (train, dev) if needs_labels else (dev,):
            if not split.is_transcribed().any():
                wanted = "transcripts" if split.has_tokens else "an alignment"
                raise BadInput(f"{split.path} has no hard labels: give {wanted} of its utterances")
        left_out = _not_among(utterances, train, directory)
        yield TrainingCorpus(train=train, dev=dev, left_out=left_out)


def _dev_path(directory: Path, utterances: Utterances) -> Path:
    """Dev as models are chosen on it: by originals, if they are trained on those."""
    originals = directory / f"{DEV_ORIGINALS}.h5"
    is_apart = utterances == "originals" and originals.is_file()
    return originals if is_apart else directory / "dev.h5"


def _not_among(utterances: Utterances, train: CorpusFile, directory: Path) -> frozenset[str]:
    """Ids of train that are not `utterances`."""
    if utterances == "all":
        return frozenset()
    copies = copy_ids(read_copies(directory, "train"))
    originals = frozenset(row.id for row in train.utterances) - copies
    if not copies:
        raise BadInput(
            f"{train.path} holds no copies, training.utterances is {utterances!r}: list copies in "
            "corpus.copies, or set it to 'all'"
        )
    return copies if utterances == "originals" else originals
