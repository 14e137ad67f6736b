"""Makers of corpora of token sequences that a small model can learn."""

from pathlib import Path

import numpy as np

from storage.corpus.corpus_file import CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from tests.support.makers.store import fill_store, utterances_of
from tests.support.makers.training import (
    FEATURE_DIM,
    NUM_CLASSES,
    make_about_of,
    make_corpus_about,
)

LENGTHS = (31, 0, 17, 44, 23, 3, 38, 29)
UNTRANSCRIBED = (2, 6)


def make_token_corpus(
    path: Path,
    *,
    lengths: tuple[int, ...] = LENGTHS,
    seed: int = 0,
    untranscribed: tuple[int, ...] = UNTRANSCRIBED,
    noise: float = 0.3,
) -> Path:
    """Each token is two frames of its centroid, then one of the blank's."""
    centroids = np.random.default_rng(99).normal(size=(NUM_CLASSES, FEATURE_DIM)) * 3 + 5
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with CorpusWriter(path, make_corpus_about(path.stem), has_tokens=True) as writer:
        for number, length in enumerate(lengths):
            tokens_L = rng.integers(1, NUM_CLASSES, size=length // 3)
            spoken = np.stack([tokens_L, tokens_L, 0 * tokens_L], axis=1).flatten()
            classes_T = np.concatenate([spoken, np.zeros(length - len(spoken), np.int64)])
            features = centroids[classes_T] + noise * rng.normal(size=(length, FEATURE_DIM))
            is_transcribed = len(tokens_L) > 0 and number not in untranscribed
            writer.add(
                f"{path.stem}-{number}",
                speaker=f"speaker {number % 3}",
                transcript="a word" if is_transcribed else "",
                features_TF=features.astype(np.float32),
                labels_T=None,
                tokens_L=tokens_L if is_transcribed else None,
            )
    return path


def make_token_directory(directory: Path) -> Path:
    """train.h5, a part of it untranscribed, and dev.h5."""
    make_token_corpus(directory / "train.h5", lengths=LENGTHS * 2, seed=1)
    make_token_corpus(directory / "dev.h5", seed=2, untranscribed=())
    return directory


def make_token_store(path: Path, corpus_path: Path, *, kept: int = 3) -> Path:
    """Soft labels of random posteriors; the blank is rank 1 of some frames."""
    with CorpusFile(corpus_path) as corpus:
        fill_store(path, make_about_of(corpus, kept=kept), utterances=utterances_of(corpus))
    return path
