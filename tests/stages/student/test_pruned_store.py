"""Students of a pruned store: batches, temperatures, null arms and losses know each frame's count.

Shapes: B utterances, T frames of the longest, N frames, C classes, K kept classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.acoustic.models.settings import ArchitectureSettings
from stages.student.essence import Essence
from stages.student.foreign.batch import join_batches
from stages.student.foreign.module import EssenceLoss
from stages.student.foreign.source import SoftLabelSource
from stages.student.loss.definition import SoftTargets, dense_loss
from stages.student.loss.options import LossOptions, TailPolicy
from stages.student.null_ranks import permuted_ranks
from stages.student.settings import StudentSettings
from stages.student.tempering import temper
from stages.training.batches import Piece, read_batch
from storage.corpus.corpus_file import CorpusFile
from storage.format.pruning import Pruning
from storage.read.reader import SoftLabelStore, open_store
from tests.support.makers.foreign import LENGTHS, NUM_CLASSES, make_labels, store_of_utterances
from tests.support.makers.training import make_corpus, make_settings
from tests.support.oracles.loss import POLICIES

PRUNED = {"pruning": Pruning(mass=0.9), "temperatures": (2.0,)}
K = 6


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of_utterances(tmp_path_factory.mktemp("store") / "train.zarr", **PRUNED)


def exact_targets(store: SoftLabelStore, id: str, k: int, temperature: float) -> SoftTargets:
    """What `read` returns of an utterance, at another temperature."""
    found = store.read_utterance(id, k)
    assert found.count_T is not None
    assert 1 <= found.count_T.min() < found.count_T.max() <= k
    soft = SoftTargets(
        ids_NK=torch.from_numpy(found.ids_TK.astype(np.int64)),
        logp_NK=torch.from_numpy(found.logp_TK),
        tail_N=torch.from_numpy(found.tail_T),
        count_N=torch.from_numpy(found.count_T.astype(np.int64)),
    )
    if temperature == 1:
        return soft
    log_norm_N = torch.from_numpy(store.read_log_norm(id, temperature=temperature))
    return temper(soft, log_norm_N, temperature=temperature, num_classes=NUM_CLASSES)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("tail", POLICIES)
def test_loss_of_a_batch_is_that_of_its_utterances_alone(
    place: Path, tail: TailPolicy, temperature: float
) -> None:
    ids = ["utt-d", "unknown", "utt-a", "utt-c"]
    source = SoftLabelSource(place, k=K, temperature=temperature)
    batch = source(ids, [13, 5, 9, 0])
    rejoined = join_batches(batch.split())
    labels_BT = make_labels(4, 13)
    rng = torch.Generator().manual_seed(1)
    logits_BTC = 3 * torch.randn(4, 13, NUM_CLASSES, generator=rng)
    options = LossOptions(hard_weight=0.0, tail=tail, temperature=temperature)
    loss = EssenceLoss(hard_weight=0.0, tail=tail, temperature=temperature)
    total, num_frames = 0.0, 0
    for row, id in ((0, "utt-d"), (2, "utt-a")):
        length = LENGTHS[id]
        soft = exact_targets(source.store, id, K, temperature)
        parts = dense_loss(logits_BTC[row, :length], labels_BT[row, :length], soft, options)
        total, num_frames = total + float(parts.soft) * length, num_frames + length
    for given in (batch, rejoined):
        assert loss(logits_BTC, labels_BT, given).item() == pytest.approx(total / num_frames, 1e-5)


@pytest.mark.parametrize("ranks", ["as_stored", "permuted", "redrawn"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_objective_reads_the_counts(tmp_path: Path, temperature: float, ranks: Any) -> None:
    path = make_corpus(tmp_path / "train.h5", lengths=(31, 17))
    with CorpusFile(path) as corpus:
        lengths = {row.id: row.num_frames for row in corpus.utterances}
        num_classes = corpus.about.num_classes
        batch = read_batch(corpus, [Piece(index=1, start=3, num_frames=11)])
    made = {"num_classes": num_classes, "kept": 4, **PRUNED}
    store = open_store(store_of_utterances(tmp_path / "a.zarr", lengths, **made))
    settings = StudentSettings(
        k=4,
        temperature=temperature,
        tail="uniform",
        hard_weight=0.3,
        ranks=ranks,
        architecture=ArchitectureSettings(kind="gru"),
        training=make_settings(),
    )
    objective = Essence(settings, store)
    stored = objective.read(batch)
    rng = torch.Generator().manual_seed(1)
    logits_NC = torch.randn(11, num_classes, generator=rng)
    labels_N = batch.labels_BT[0]
    found = objective.loss(logits_NC.clone(), torch.nn.Identity(), labels_N, stored)
    alone = store.read_utterance(batch.ids[0], 4)
    assert alone.count_T is not None
    count_N = torch.from_numpy(alone.count_T[3:14].astype(np.int64))
    soft = SoftTargets(
        ids_NK=stored[0].long(),
        logp_NK=torch.from_numpy(alone.logp_TK[3:14]),
        tail_N=torch.from_numpy(alone.tail_T[3:14]),
        count_N=count_N,
    )
    for row, count in enumerate(count_N.tolist()):
        kept = stored[0][row, :count].tolist()
        assert len(set(kept)) == count
        if ranks != "redrawn":
            assert {*kept} == {*alone.ids_TK[3 + row, :count].tolist()}
    if temperature != 1:
        log_norm_T = store.read_log_norm(batch.ids[0], temperature=temperature)
        log_norm_N = torch.from_numpy(log_norm_T[3:14])
        soft = temper(soft, log_norm_N, temperature=temperature, num_classes=num_classes)
    options = LossOptions(hard_weight=0.3, tail="uniform", temperature=temperature)
    wanted = dense_loss(logits_NC, labels_N, soft, options)
    assert float(found.total) == pytest.approx(float(wanted.total), rel=1e-5)


def test_permuted_ranks_stay_within_the_count() -> None:
    ids_TK = np.tile(np.arange(7, dtype=np.uint16), (4000, 1))
    count_T = (1 + np.arange(4000) % 7).astype(np.uint16)
    found_TK = permuted_ranks(ids_TK, id="a", start=0, seed=5, count_T=count_T)
    np.testing.assert_array_equal(found_TK[:, 0], 0)
    for count in range(1, 8):
        of_count_NK = found_TK[count_T == count]
        np.testing.assert_array_equal(
            np.sort(of_count_NK[:, :count], axis=1), ids_TK[:1, :count].repeat(len(of_count_NK), 0)
        )
        np.testing.assert_array_equal(of_count_NK[:, count:], ids_TK[: len(of_count_NK), count:])
        if count > 2:
            share = np.bincount(of_count_NK[:, 1], minlength=7)[1:count] / len(of_count_NK)
            np.testing.assert_allclose(share, 1 / (count - 1), atol=0.08)
