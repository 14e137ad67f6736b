"""Makers of partly labelled corpora, and of what a teacher who knows better says of them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.corpus.corpus_file import CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.write.top_k import join_blocks, keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.store import utterances_of
from tests.support.makers.training import (
    FEATURE_DIM,
    NUM_CLASSES,
    make_about_of,
    make_corpus_about,
)

RARE = 4  # a class that only unlabelled speech says, and dev
LABELLED = (31, 17, 44, 23, 38, 29)
UNLABELLED = (27, 33, 0, 19, 41, 22, 36)
KEPT = 3

Truth = dict[str, NDArray[np.int32]]


def make_partly_labelled(directory: Path, *, labelled_speakers: int = 3) -> Truth:
    """train.h5, of which the utterances `mute-*` have no labels, and dev.h5; gives the truth."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(8)
    truth: Truth = {}
    with CorpusWriter(directory / "train.h5", make_corpus_about("train")) as writer:
        for number, length in enumerate(LABELLED):
            id, speaker = f"said-{number}", f"speaker {number % labelled_speakers}"
            truth[id] = _add(writer, id, speaker, length, rng, num_classes=RARE, is_labelled=True)
        for number, length in enumerate(UNLABELLED):
            id, speaker = f"mute-{number}", f"stranger {number % 4}"
            truth[id] = _add(
                writer, id, speaker, length, rng, num_classes=NUM_CLASSES, is_labelled=False
            )
    with CorpusWriter(directory / "dev.h5", make_corpus_about("dev")) as writer:
        for number, length in enumerate((35, 28, 41)):
            id = f"dev-{number}"
            _add(writer, id, "d", length, rng, num_classes=NUM_CLASSES, is_labelled=True)
    return truth


def make_knowing_store(path: Path, corpus_path: Path, truth: Truth) -> Path:
    """The soft labels of a teacher who is nearly sure of the truth, labelled or not."""
    with CorpusFile(corpus_path) as corpus:
        about = make_about_of(corpus, kept=KEPT)
        utterances = utterances_of(corpus)
    writer = StoreWriter.create(path, about, utterances=utterances)
    for shard in writer.missing_shards():
        said = [_posteriors(truth[utterances[row].id]) for row in writer.shard(shard)]
        kept = [keep_top_k(logp_TC, KEPT, tiers=about.tiers, temperatures=()) for logp_TC in said]
        writer.write_shard(shard, join_blocks(kept))
    writer.seal()
    return path


def _posteriors(truth_T: NDArray[np.int32]) -> NDArray[np.float32]:
    logits_TC = np.random.default_rng(len(truth_T)).normal(size=(len(truth_T), NUM_CLASSES))
    logits_TC[np.arange(len(truth_T)), truth_T] += 6.0
    total_T1 = np.log(np.exp(logits_TC).sum(axis=1, keepdims=True))
    return (logits_TC - total_T1).astype(np.float32)


def _add(
    writer: CorpusWriter,
    id: str,
    speaker: str,
    length: int,
    rng: np.random.Generator,
    *,
    num_classes: int,
    is_labelled: bool,
) -> NDArray[np.int32]:
    centroids = np.random.default_rng(99).normal(size=(NUM_CLASSES, FEATURE_DIM)) * 3 + 5
    truth_T = np.repeat(rng.integers(num_classes, size=length // 3 + 1), 3)[:length]
    features_TF = centroids[truth_T] + 0.3 * rng.normal(size=(length, FEATURE_DIM))
    writer.add(
        id,
        speaker=speaker,
        transcript="a word" if is_labelled else "",
        features_TF=features_TF.astype(np.float32),
        labels_T=truth_T.astype(np.int32) if is_labelled else None,
    )
    return truth_T.astype(np.int32)
