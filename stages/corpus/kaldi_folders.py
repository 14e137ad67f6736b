"""KaldiFolders: the folders of a Kaldi data directory, planned, and the features of an utterance.

Shapes: T frames, F feature dims.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.kaldi.objects import read_matrix
from stages.contract.errors import BadInput
from stages.corpus.kaldi_plan import Entry, FolderPlan, plan_unlabelled, refuse_shared
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.kaldi_shares import share_out


def refuse_no_directory(path: Path) -> None:
    """Raise BadInput if the data directory is not there."""
    if not path.is_dir():
        raise BadInput(f"{path} is not a directory: set corpus.path to a Kaldi data directory")


class KaldiFolders:
    """Split -> the plans of its folders. Folders of untranscribed speech come last in train.

    `plan` reads the tables of a split's own folder.

    Raises:
        BadInput: if a table is missing or damaged, or two folders have an utterance in common.
    """

    def __init__(
        self, settings: KaldiSettings, path: Path, *, plan: Callable[[str, Path], FolderPlan]
    ) -> None:
        plans = _plan_splits(settings, path, plan=plan)
        self.plans = {split: [own] for split, own in plans.items()}
        for name in settings.unlabelled:
            more = plan_unlabelled(path / name)
            refuse_shared(more, [other for plans in self.plans.values() for other in plans])
            self.plans["train"].append(more)

    def left_out(self, split: str) -> dict[str, list[str]]:
        """Reason -> ids of the utterances that are skipped."""
        left_out: dict[str, list[str]] = defaultdict(list)
        for plan in self.plans[split]:
            for reason, ids in plan.left_out.items():
                left_out[reason] += ids
        return dict(left_out)


def _plan_splits(
    settings: KaldiSettings, path: Path, *, plan: Callable[[str, Path], FolderPlan]
) -> dict[str, FolderPlan]:
    """The splits that have folders, and those that are taken from train.

    Raises:
        BadInput: if a folder is there for a split that is taken from train.
    """
    plans = {split: plan(split, path / name) for split, name in settings.folders.items()}
    for split in settings.shares:
        if (path / getattr(settings, split)).is_dir():
            raise BadInput(
                f"{path / getattr(settings, split)} is there, and corpus.kaldi.{split}_share takes "
                f"{split} from train: set the share to 0, or name another folder in "
                f"corpus.kaldi.{split}"
            )
    if settings.shares:
        plans |= share_out(plans["train"], settings.shares)
    return {split: plans[split] for split in ("train", "dev", "test")}


def read_features(entry: Entry) -> NDArray[np.float32]:
    """The features (T, F) of an utterance.

    Raises:
        BadInput: if they are damaged, or one is not finite.
    """
    features_TF = read_matrix(entry.features)
    finite_T = np.isfinite(features_TF).all(axis=1)
    if not finite_T.all():
        raise BadInput(
            f"{entry.features}: utterance {entry.id!r}, frame {int(np.argmin(finite_T))}: "
            "a feature is not finite: compute the features again, or remove the utterance"
        )
    return features_TF
