"""ChosenLabels: hard labels of train, of each utterance the corpus's or the ensemble's.

Utterances with a hard label in the corpus file are transcribed, all others untranscribed. The
student's settings choose for either kind; a labels directory holds paths of both.

Shapes: T frames of an utterance, U utterances.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.contract.ensemble_labels import EnsembleLabels
from stages.contract.errors import BadInput, MissingPart
from stages.student.settings import LabelSettings, StudentSettings
from stages.training.corpus import TrainingCorpus
from storage.corpus.corpus_file import NO_LABEL, CorpusFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenLabels:
    """A source of hard labels (see `LabelSource`); `is_by_ensemble` by index of the utterance."""

    corpus: CorpusFile
    ensemble: EnsembleLabels
    is_by_ensemble_U: NDArray[np.bool_]

    def labels(self, index: int, *, span: tuple[int, int] | None = None) -> NDArray[np.int32]:
        """Hard labels (T,) of the utterance at `index`, or of its frames [start, end)."""
        if not self.is_by_ensemble_U[index]:
            return self.corpus.labels(index, span=span)
        row = self.corpus.utterances[index]
        start, end = span or (0, row.num_frames)
        assert 0 <= start <= end <= row.num_frames
        classes_T = self.ensemble.classes_T[row.first_frame + start : row.first_frame + end]
        return np.array(classes_T, np.int32)

    def labelled_frames(self) -> NDArray[np.int64]:
        """How many frames of each utterance have a hard label, (U,)."""
        counts_U = self.corpus.labelled_frames()
        for index in np.flatnonzero(self.is_by_ensemble_U).tolist():
            counts_U[index] = int((self.labels(index) != NO_LABEL).sum())
        return counts_U


def choose_labels(
    settings: LabelSettings, ensemble: EnsembleLabels, corpus: CorpusFile
) -> ChosenLabels:
    """The labels that the settings ask for."""
    is_transcribed_U = corpus.labelled_frames() > 0
    is_by_ensemble_U = np.where(
        is_transcribed_U, settings.transcribed == "realigned", settings.untranscribed == "decoded"
    )
    return ChosenLabels(corpus=corpus, ensemble=ensemble, is_by_ensemble_U=is_by_ensemble_U)


def with_chosen_labels(
    corpus: TrainingCorpus, settings: StudentSettings, directory: Path | None
) -> tuple[TrainingCorpus, dict[str, Any]]:
    """The corpus with the labels of the settings, and facts that tell them; often as it was.

    Raises:
        MissingPart: when labels of the ensemble are wanted and no directory is named.
        BadInput: when the directory has labels of another corpus, or train has no hard label.
    """
    if settings.labels.are_given:
        return corpus, {}
    if directory is None:
        raise MissingPart(
            f"student.labels is {settings.labels.model_dump()} and no directory of labels is "
            "named: run 'essence labels'"
        )
    ensemble = EnsembleLabels.open(directory, corpus.train)
    chosen = choose_labels(settings.labels, ensemble, corpus.train)
    if settings.hard_weight > 0 and not chosen.labelled_frames().any():
        raise BadInput(
            f"{corpus.train.path} has no hard labels with student.labels "
            f"{settings.labels.model_dump()}: set student.labels.untranscribed to decoded"
        )
    facts = {"labels": {**settings.labels.model_dump(), "digest": ensemble.digest}}
    return replace(corpus, labels=chosen), facts
