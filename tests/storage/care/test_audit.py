"""Audit figures for every k compared with figures computed from the posteriors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage.care.audit import audit_store
from storage.care.store_audit import PERCENTILES
from storage.corpus.corpus_file import CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.errors import StoreMismatch
from storage.format.pruning import Pruning
from storage.read.reader import open_store
from storage.write.top_k import keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.store import (
    fill_store,
    make_about,
    make_logp,
    make_utterances,
    utterances_of,
)
from tests.support.oracles.pruning import count_by_loop

LENGTHS = (50, 0, 71, 33)
NUM_CLASSES, KEPT = 23, 7


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "train.h5"
    about = CorpusAbout(
        split="train",
        num_classes=NUM_CLASSES,
        feature_dim=2,
        frame_shift_ms=30.0,
        subsampling=3,
        class_inventory="d" * 64,
        has_labels=True,
        feature_settings={},
    )
    with CorpusWriter(path, about) as writer:
        for index, row in enumerate(make_utterances(LENGTHS)):
            writer.add(
                row.id,
                speaker="ada",
                transcript="",
                features_TF=np.zeros((row.num_frames, 2), np.float32),
                labels_T=hard_labels(index),
            )
    return path


def hard_labels(index: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    rng = np.random.default_rng(index)
    labels_T = rng.integers(0, NUM_CLASSES, size=LENGTHS[index]).astype(np.int32)
    labels_T[::5] = -1
    return labels_T


def logp_of(index: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return make_logp(LENGTHS[index], NUM_CLASSES, seed=index, sharpness=2.0)


def make_store(path: Path, corpus: Path, pruning: Pruning | None = None) -> None:
    with CorpusFile(corpus) as opened:
        fingerprint, rows = opened.fingerprint, utterances_of(opened)
    sizes = {"kept": KEPT, "shard_frames": 132, "chunk_frames": 33}
    about = make_about(corpus_fingerprint=fingerprint, pruning=pruning, **sizes)
    writer = StoreWriter.create(path, about, utterances=rows)
    for shard in writer.missing_shards():
        logp_TC = np.concatenate([logp_of(index) for index in writer.shard(shard)])
        writer.write_shard(shard, keep_top_k(logp_TC, KEPT, tiers=about.tiers))
    writer.seal()


@pytest.mark.parametrize("pruning", [None, Pruning(mass=0.8, min_prob=0.02)], ids=str)
def test_audit_figures_match_the_posteriors(
    tmp_path: Path, corpus: Path, pruning: Pruning | None
) -> None:
    """A float64 oracle on the posteriors themselves; the error of the codes is at most 1%."""
    with CorpusFile(corpus) as opened:
        make_store(tmp_path / "a.zarr", corpus, pruning)
        advanced: list[int] = []
        store = open_store(tmp_path / "a.zarr")
        audit = audit_store(store, corpus=opened, advance=advanced.append)
    assert sum(advanced) == sum(LENGTHS)
    prob_TC = np.exp(np.concatenate([logp_of(i) for i in range(4)]).astype(np.float64))
    sorted_TC = -np.sort(-prob_TC, axis=1)
    best_TC = np.argsort(-prob_TC, axis=1, kind="stable")
    count_T = np.full(len(prob_TC), KEPT)
    if pruning is not None:
        count_T = np.minimum([count_by_loop(p_C, pruning) for p_C in sorted_TC], KEPT)
        assert len(set(count_T.tolist())) > 4
    is_rank_TC = np.arange(NUM_CLASSES) < count_T[:, None]
    sorted_TC, best_TC = sorted_TC * is_rank_TC, np.where(is_rank_TC, best_TC, -2)
    hard_T = np.concatenate([hard_labels(i) for i in range(4)])
    known_T = hard_T >= 0
    assert audit.num_labelled == known_T.sum()
    assert audit.agreement == (best_TC[known_T, 0] == hard_T[known_T]).mean()
    assert audit.teacher_frame_error == pytest.approx(1 - audit.agreement)
    # A label outside the kept ranks: an equal share of what is outside.
    tail_T = 1 - sorted_TC[:, :KEPT].sum(axis=1)
    is_kept_T = (best_TC[:, :KEPT] == hard_T[:, None]).any(axis=1)
    q_T = np.where(
        is_kept_T, prob_TC[np.arange(len(hard_T)), hard_T], tail_T / (NUM_CLASSES - count_T)
    )
    assert audit.label_nats == pytest.approx(-np.log(q_T[known_T]).mean(), abs=0.02)
    events_TE = np.concatenate([sorted_TC[:, :KEPT], tail_T[:, None]], axis=1)[known_T]
    labelled_entropy = -(events_TE * np.log(np.maximum(events_TE, 1e-300))).sum(axis=1).mean()
    assert audit.labelled_entropy == pytest.approx(labelled_entropy, abs=0.02)
    assert audit.labelled_entropy != pytest.approx(audit.entropy[KEPT], abs=1e-6)
    for k in (1, 2, 4, 7):
        kept_T = sorted_TC[:, :k].sum(axis=1)
        events_TE = np.concatenate([sorted_TC[:, :k], 1 - kept_T[:, None]], axis=1)
        entropy = -(events_TE * np.log(np.maximum(events_TE, 1e-300))).sum(axis=1).mean()
        inside_T = (best_TC[:, :k] == hard_T[:, None]).any(axis=1)
        assert audit.kept_mass[k] == pytest.approx(kept_T.mean(), abs=0.01)
        assert audit.tail(k) == pytest.approx(1 - kept_T.mean(), abs=0.01)
        assert audit.entropy[k] == pytest.approx(entropy, abs=0.02)
        assert audit.hard_label_inside[k] == inside_T[known_T].mean()
        if pruning is not None:
            assert audit.mean_ranks[k] == pytest.approx(np.minimum(count_T, k).mean())
            assert audit.with_all_ranks[k] == pytest.approx((count_T >= k).mean())
        spread = np.percentile(kept_T, PERCENTILES, method="inverted_cdf")
        assert audit.kept_mass_percentiles[k] == pytest.approx(tuple(spread), abs=0.02)
    assert bool(audit.mean_ranks) == bool(audit.with_all_ranks) == (pruning is not None)
    opened_bytes = store.bytes_by_tier()
    assert [audit.num_bytes(k) for k in (1, 2, 4, 7)] == [opened_bytes[k] for k in (1, 4, 4, 7)]
    assert audit.bytes_per_frame[7] * sum(LENGTHS) == pytest.approx(opened_bytes[7])


def test_kept_mass_percentiles_match_the_decoded_labels(tmp_path: Path, corpus: Path) -> None:
    make_store(tmp_path / "a.zarr", corpus)
    store = open_store(tmp_path / "a.zarr")
    audit = audit_store(store)
    soft = store.read(range(store.num_frames), k=KEPT)
    prob_TK = np.exp(soft.logp_TK.astype(np.float64))
    kept_TK = np.cumsum(prob_TK, axis=1) / (prob_TK.sum(axis=1) + soft.tail_T)[:, None]
    for k, spread in audit.kept_mass_percentiles.items():
        wanted = np.percentile(kept_TK[:, k - 1], PERCENTILES, method="inverted_cdf")
        assert spread == pytest.approx(tuple(wanted), abs=0.0011)
        assert audit.kept_mass[k] == pytest.approx(kept_TK[:, k - 1].mean(), abs=1e-12)


def test_audit_without_a_corpus_has_no_hard_labels(tmp_path: Path, corpus: Path) -> None:
    make_store(tmp_path / "a.zarr", corpus)
    audit = audit_store(open_store(tmp_path / "a.zarr"))
    assert audit.agreement is None
    assert audit.num_labelled == 0
    assert (audit.label_nats, audit.labelled_entropy) == (None, None)


def test_label_without_any_mass_counts_as_the_floor_of_the_code(
    tmp_path: Path, corpus: Path
) -> None:
    """The teacher is sure of another class: -ln q is bounded, not infinite."""
    with CorpusFile(corpus) as opened:
        rows = utterances_of(opened)
        about = make_about(
            corpus_fingerprint=opened.fingerprint, kept=1, shard_frames=132, chunk_frames=33
        )
        writer = StoreWriter.create(tmp_path / "a.zarr", about, utterances=rows)
        for shard in writer.missing_shards():
            hard_T = np.concatenate([hard_labels(index) for index in writer.shard(shard)])
            logp_TC = np.full((len(hard_T), NUM_CLASSES), -np.inf, np.float32)
            logp_TC[np.arange(len(hard_T)), (hard_T + 1) % NUM_CLASSES] = 0.0
            writer.write_shard(shard, keep_top_k(logp_TC, 1, tiers=about.tiers))
        writer.seal()
        audit = audit_store(open_store(tmp_path / "a.zarr"), corpus=opened)
    assert audit.teacher_frame_error == 1.0
    assert audit.label_nats == pytest.approx(16.0)


def test_audit_refuses_hard_labels_of_another_corpus(tmp_path: Path, corpus: Path) -> None:
    fill_store(tmp_path / "a.zarr", make_about(shard_frames=132), LENGTHS)
    with CorpusFile(corpus) as opened, pytest.raises(StoreMismatch, match="corpus_fingerprint"):
        audit_store(open_store(tmp_path / "a.zarr"), corpus=opened)


def test_audit_counts_utterances_missing_from_store_or_corpus(tmp_path: Path, corpus: Path) -> None:
    with CorpusFile(corpus) as opened:
        rows = utterances_of(opened)
        stranger = replace(rows[0], id="another", num_frames=7)
        fill_store(
            tmp_path / "a.zarr",
            make_about(shard_frames=132),
            utterances=[rows[3], stranger, rows[0]],
        )
        audit = audit_store(open_store(tmp_path / "a.zarr"), corpus=opened)
    assert audit.num_frames == 50 + 7 + 33
    assert audit.num_labelled == sum((hard_labels(index) >= 0).sum() for index in (0, 3))
