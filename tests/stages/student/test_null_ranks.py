"""Null ranks: rank 1 stays; the others are in random order, or nothing is left of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.student.null_ranks import permuted_ranks, redrawn_ranks


def ranks(num_frames: int, num_classes: int, k: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(num_classes)[:k] for _ in range(num_frames)]
    return np.array(rows, np.uint16).reshape(num_frames, k)


def redrawn(ids_TK: np.ndarray, num_classes: int, **changes: object) -> np.ndarray:
    fields: dict = {"id": "utt", "start": 0, "seed": 5, **changes}
    return redrawn_ranks(ids_TK, num_classes=num_classes, **fields)


@settings(max_examples=60, deadline=None)
@given(
    num_frames=st.integers(0, 13),
    num_classes=st.integers(1, 17),
    k=st.integers(1, 17),
    seed=st.integers(0, 1 << 62),
)
def test_redrawn_ranks_are_distinct_classes_after_the_same_first(
    num_frames: int, num_classes: int, k: int, seed: int
) -> None:
    ids_TK = ranks(num_frames, num_classes, min(k, num_classes))
    before = ids_TK.copy()
    found_TK = redrawn(ids_TK, num_classes, seed=seed)
    assert (found_TK.dtype, found_TK.shape) == (ids_TK.dtype, ids_TK.shape)
    np.testing.assert_array_equal(ids_TK, before)
    np.testing.assert_array_equal(found_TK[:, :1], ids_TK[:, :1])
    assert (found_TK < num_classes).all()
    assert all(len(set(row)) == len(row) for row in found_TK.tolist())


def test_redrawn_ranks_are_uniform_whatever_was_stored() -> None:
    num_classes, k = 6, 4
    ids_TK = np.tile(np.array([2, 0, 1, 3], np.uint16), (20_000, 1))
    found_TK = redrawn(ids_TK, num_classes)
    for rank in range(1, k):
        share_C = np.bincount(found_TK[:, rank], minlength=num_classes) / len(found_TK)
        np.testing.assert_allclose(share_C[[0, 1, 3, 4, 5]], 0.2, atol=0.012)
        assert share_C[2] == 0
    # Ranks of one frame are as independent as draws without replacement are.
    pairs = np.bincount(found_TK[:, 1].astype(int) * num_classes + found_TK[:, 2], minlength=36)
    assert np.ptp(pairs[pairs > 0]) < 0.25 * pairs.max()
    assert (pairs > 0).sum() == 5 * 4


def test_redrawn_ranks_follow_from_seed_id_and_start_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ids_TK = ranks(9, 11, 5)
    first = redrawn(ids_TK, 11)
    np.testing.assert_array_equal(redrawn(ids_TK, 11), first)
    for change in ({"id": "other"}, {"start": 9}, {"seed": 6}):
        assert (redrawn(ids_TK, 11, **change) != first).any()
    monkeypatch.setattr("stages.student.null_ranks.BLOCK_VALUES", 22)  # two frames a block
    np.testing.assert_array_equal(redrawn(ids_TK, 11), first)


@settings(max_examples=60, deadline=None)
@given(
    num_frames=st.integers(0, 13),
    num_classes=st.integers(1, 17),
    k=st.integers(1, 17),
    seed=st.integers(0, 1 << 62),
)
def test_permuted_ranks_are_the_same_classes_after_the_same_first(
    num_frames: int, num_classes: int, k: int, seed: int
) -> None:
    ids_TK = ranks(num_frames, num_classes, min(k, num_classes))
    before = ids_TK.copy()
    found_TK = permuted_ranks(ids_TK, id="utt", start=3, seed=seed)
    assert (found_TK.dtype, found_TK.shape) == (ids_TK.dtype, ids_TK.shape)
    np.testing.assert_array_equal(ids_TK, before)
    np.testing.assert_array_equal(found_TK[:, :1], ids_TK[:, :1])
    np.testing.assert_array_equal(np.sort(found_TK, axis=1), np.sort(ids_TK, axis=1))
    again_TK = permuted_ranks(ids_TK, id="utt", start=3, seed=seed)
    np.testing.assert_array_equal(again_TK, found_TK)


def test_permuted_ranks_have_every_order_equally_often() -> None:
    ids_TK = np.tile(np.array([2, 0, 1, 3], np.uint16), (12_000, 1))
    found_TK = permuted_ranks(ids_TK, id="utt", start=0, seed=5)
    orders, counts = np.unique(found_TK[:, 1:], axis=0, return_counts=True)
    assert len(orders) == 6
    np.testing.assert_allclose(counts / len(found_TK), 1 / 6, atol=0.015)
    for change in ({"id": "other"}, {"start": 9}, {"seed": 6}):
        fields: dict = {"id": "utt", "start": 0, "seed": 5, **change}
        assert (permuted_ranks(ids_TK, **fields) != found_TK).any()
