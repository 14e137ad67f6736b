"""FoldedMember: one architecture trained n times, each time without the speakers of one fold.

    folds.json                    which speaker is in which fold, and which models these are
    fold-1/ fold-2/ ...           a model each; fold-1 has never heard the speakers of fold 1

An utterance of a speaker in a fold is heard by that fold's model alone. Anybody else's (dev,
test, new speech) is heard by all of them, and the member says the mean of their probabilities.

Shapes: T frames, C classes.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.models.model_file import read_model_about
from stages.acoustic.models.posteriors import consecutive_batches
from stages.contract.description import read_description
from stages.contract.errors import BadInput
from stages.contract.settings import Settings
from stages.members.ensemble_posteriors import average_log_posteriors
from stages.members.trained_member import TrainedMember
from storage.corpus.corpus_file import CorpusFile
from storage.files.fingerprint import fingerprint
from storage.files.publish import publish_file

FOLDS_FILE = "folds.json"


class FoldsAbout(Settings):
    """What a folded member is. `models` are the fingerprints of its weights, fold by fold."""

    format: Literal["essence folded member 1"] = "essence folded member 1"
    architecture: str
    num_classes: int
    class_inventory: str
    feature_dim: int
    models: tuple[str, ...]
    fold_of: dict[str, int]  # speaker -> 0, 1, ...

    @property
    def kind(self) -> str:
        """What people call it."""
        return f"{self.architecture} in {len(self.models)} folds"

    @property
    def fingerprint(self) -> str:
        """Its models, and whom each of them has not heard."""
        return fingerprint({"models": list(self.models), "fold_of": self.fold_of})


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedMember:
    """Its models are in memory together, as long as it is asked."""

    about: FoldsAbout
    models: tuple[TrainedMember, ...]

    averaging_floor = -math.inf  # none, as for its models

    @property
    def num_parameters(self) -> int:
        """Of all its models."""
        return sum(model.num_parameters for model in self.models)

    @property
    def num_bytes(self) -> int:
        """Of all its models' weights."""
        return sum(model.num_bytes for model in self.models)

    def loaded(self) -> "FoldedMember":
        """The member with its models in memory.

        Raises:
            MissingPart, BadInput: where weights are not what they should be.
        """
        return replace(self, models=tuple(model.loaded() for model in self.models))

    def log_posteriors(
        self, corpus: CorpusFile, indices: Iterable[int], *, batch_frames: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Natural-log posteriors (T, C) of each utterance, by models that never heard its speaker.

        Raises:
            MissingPart, BadInput: where weights are not what they should be.
        """
        models = self.loaded().models
        for batch in consecutive_batches(corpus, indices, batch_frames=batch_frames):
            said: dict[int, list[NDArray[np.float32]]] = {index: [] for index in batch}
            for fold, model in enumerate(models):
                heard = [index for index in batch if self._listens(fold, corpus, index)]
                outputs = model.log_posteriors(corpus, heard, batch_frames=batch_frames)
                for index, logp_TC in outputs:
                    said[index].append(logp_TC)
            for index in batch:
                yield index, _mean(said.pop(index))

    def _listens(self, fold: int, corpus: CorpusFile, index: int) -> bool:
        return self.about.fold_of.get(corpus.utterances[index].speaker, fold) == fold


def _mean(said: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    if len(said) == 1:
        return said[0]
    return average_log_posteriors(said, (1.0,) * len(said), "arithmetic")


def fold_directory(directory: Path, fold: int) -> Path:
    """Where the model lies that has not heard `fold` (0, 1, ...): people count from 1."""
    return directory / f"fold-{fold + 1}"


def describe_folds(directory: Path, fold_of: dict[str, int]) -> None:
    """Write folds.json over models that are all there: only then is the member whole."""
    abouts = [
        read_model_about(fold_directory(directory, fold))
        for fold in range(1 + max(fold_of.values()))
    ]
    about = FoldsAbout(
        architecture=abouts[0].kind,
        num_classes=abouts[0].num_classes,
        class_inventory=abouts[0].class_inventory,
        feature_dim=abouts[0].feature_dim,
        models=tuple(about.fingerprint for about in abouts),
        fold_of=fold_of,
    )
    publish_file(directory / FOLDS_FILE, about.model_dump_json(indent=2).encode() + b"\n")


def open_folded(directory: Path, *, device: str) -> FoldedMember:
    """The member in `directory`; no weights are read.

    Raises:
        MissingPart: when one of its models is not there.
        BadInput: when folds.json is not ours, or its models are others.
    """
    advice = f"remove {directory} and train again"
    about = read_description(FoldsAbout, directory / FOLDS_FILE, advice=advice)
    models = []
    for fold, wanted in enumerate(about.models):
        place = fold_directory(directory, fold)
        model = TrainedMember(place, read_model_about(place), device)
        if model.about.fingerprint != wanted:
            raise BadInput(
                f"{place}: found model {model.about.fingerprint[:12]}, {FOLDS_FILE} names "
                f"{wanted[:12]}: {advice}"
            )
        models.append(model)
    return FoldedMember(about=about, models=tuple(models))
