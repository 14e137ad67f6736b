"""FoldedMember: one architecture trained n times, each time without the speakers of one fold.

    folds.json                    which speaker is in which fold, and which models these are
    fold-1/ fold-2/ ...           a model each; fold-1 was trained without the speakers of fold 1

An utterance of a speaker in a fold goes through that fold's model alone. Utterances of all other
speakers (dev, test, new speech) go through all models; the result is the mean of probabilities.

Shapes: B pieces, T frames, C classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stages.acoustic.models.model_file import read_model_about
from stages.contract.description import read_description
from stages.contract.errors import BadInput
from stages.contract.settings import Settings
from stages.members.batches import Batch
from stages.members.ensemble_posteriors import average_log_posteriors
from stages.members.trained_member import LoadedModel, TrainedMember
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
    def title(self) -> str:
        """The architecture and the number of folds."""
        return f"{self.architecture} in {len(self.models)} folds"

    @property
    def fingerprint(self) -> str:
        """Its models, and the speakers that each was trained without."""
        return fingerprint({"models": list(self.models), "fold_of": self.fold_of})


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFolds:
    """The models of all folds in memory together."""

    fold_of: dict[str, int]
    models: tuple[LoadedModel, ...]

    def log_posteriors(self, batch: Batch) -> Tensor:
        """Natural-log posteriors (B, T, C) by models trained without each piece's speaker."""
        outputs: list[list[Tensor]] = [[] for _ in batch.pieces]
        for fold, model in enumerate(self.models):
            rows = [
                row
                for row, piece in enumerate(batch.pieces)
                if self.fold_of.get(piece.utterance.speaker, fold) == fold
            ]
            if rows:
                logp_BTC = model.log_posteriors(batch.only(rows))
                for row, logp_TC in zip(rows, logp_BTC, strict=True):
                    outputs[row].append(logp_TC[: batch.lengths_B[row]])
        return pad_sequence([_mean(each) for each in outputs], batch_first=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedMember:
    """Models of all folds, as one member."""

    about: FoldsAbout
    models: tuple[TrainedMember, ...]

    averaging_floor = -math.inf  # none: the same softmax outputs, averaged

    @property
    def num_parameters(self) -> int:
        """Number of weights of all models."""
        return sum(model.num_parameters for model in self.models)

    @property
    def num_bytes(self) -> int:
        """Size of the weights of all models."""
        return sum(model.num_bytes for model in self.models)

    def load(self) -> LoadedFolds:
        """Read the weights of all models.

        Raises:
            MissingPart, BadInput: if weights are missing or are not those that were written.
        """
        return LoadedFolds(
            fold_of=self.about.fold_of, models=tuple(model.load() for model in self.models)
        )


def _mean(several: Sequence[Tensor]) -> Tensor:
    """The mean of the models' probabilities (T, C), as a logarithm."""
    if len(several) == 1:
        return several[0]
    if several[0].device.type == "cpu":
        arrays = [logp_TC.numpy() for logp_TC in several]
        return torch.from_numpy(average_log_posteriors(arrays, (1.0,) * len(arrays), "arithmetic"))
    return torch.logsumexp(torch.stack(list(several)), dim=0) - math.log(len(several))


def fold_directory(directory: Path, fold: int) -> Path:
    """Directory of the model trained without `fold` (0, 1, ...); names count from 1."""
    return directory / f"fold-{fold + 1}"


def describe_folds(directory: Path, fold_of: dict[str, int]) -> None:
    """Write folds.json, which makes the member complete: its models must all be there."""
    abouts = [
        read_model_about(fold_directory(directory, fold))
        for fold in range(1 + max(fold_of.values()))
    ]
    about = FoldsAbout(
        architecture=abouts[0].architecture.kind,
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
        MissingPart: if one of its models is missing.
        BadInput: if folds.json is not a valid description, or names other models.
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
