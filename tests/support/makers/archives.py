"""Makers of archived members: posteriors in Kaldi archives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.contract.progress import SilentProgress
from stages.ensemble.make import make_member
from stages.members.archived_settings import ArchivedMemberSettings
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.kaldi import write_archive

Posteriors = Callable[[int], NDArray[np.float32]]  # number of frames -> log-posteriors (T, C)


def make_archived_member(directory: Path, corpus: Path, posteriors: Posteriors) -> Path:
    """The directory of a member; its archives of train and dev are in `directory`/archives."""
    archives = directory / "archives"
    archives.mkdir(parents=True)
    for split in ("train", "dev"):
        with CorpusFile(corpus / f"{split}.h5") as file:
            rows = [row for row in file.utterances if row.num_frames]
        write_archive(archives, split, {row.id: posteriors(row.num_frames) for row in rows})
    make_member(
        ArchivedMemberSettings(name=directory.name, posteriors=archives),
        corpus_directory=corpus,
        directory=directory,
        device="cpu",
        progress=SilentProgress(),
    )
    return directory


def sharp_posteriors(seed: int, *, num_classes: int, floor: float = -np.inf) -> Posteriors:
    """Draws distributions whose small log-posteriors reach down to -inf; never below `floor`."""
    rng = np.random.default_rng(seed)

    def draw(num_frames: int) -> NDArray[np.float32]:
        sharpness_T1 = rng.choice([1, 30, 100, 300], size=(num_frames, 1))
        logits_TC = rng.normal(size=(num_frames, num_classes)) * sharpness_T1
        logits_TC -= logits_TC.max(axis=1, keepdims=True)
        logp_TC = logits_TC - np.log(np.exp(logits_TC).sum(axis=1, keepdims=True))
        logp_TC[logp_TC < -400] = -np.inf
        return np.maximum(logp_TC.astype(np.float32), np.float32(floor))

    return draw
