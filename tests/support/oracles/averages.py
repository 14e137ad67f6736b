"""Averaged posteriors of train, computed as the evaluation does: in one batch, for all of it."""

from pathlib import Path

import numpy as np

from stages.contract.progress import SilentProgress
from stages.contract.results import System
from stages.evaluate.likelihoods import average_members, run_members
from storage.corpus.corpus_file import CorpusFile


def mean_posteriors(house: Path, corpus: CorpusFile, scratch: Path) -> list[np.ndarray]:
    """Log-posteriors (T, C) of each utterance: the members `one` and `two` of a house."""
    system = System(
        name="ensemble",
        kind="ensemble",
        fingerprint="f",
        model_directories=(house / "one", house / "two"),
        weights=(0.5, 0.5),
        combine="geometric",
    )
    run_members(
        system,
        {"train": corpus},
        scratch,
        batch_frames=4000,
        device="cpu",
        progress=SilentProgress(),
    )
    return list(average_members(system, "train", corpus, scratch))
