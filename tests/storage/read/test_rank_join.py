"""Joining and summing ranks gives the same arrays as plain numpy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.format.tiers import plan_tiers
from storage.format.value_code import rank_differences
from storage.read.rank_join import RankJoin


def joined(codes_TK: np.ndarray, ids_TK: np.ndarray, dtype: str) -> RankJoin:
    tiers = plan_tiers(codes_TK.shape[1])
    join = RankJoin(tiers, max_frames=len(codes_TK) + 3, ids_dtype=dtype)
    join.sum_codes()  # what was there before does not matter
    join.begin(len(codes_TK))
    differences_TK = rank_differences(codes_TK)
    for index, tier in enumerate(tiers):
        for at in range(0, len(codes_TK), 5):
            rows = slice(at, at + 5)
            ids = np.ascontiguousarray(ids_TK[rows, tier.columns], dtype=dtype)
            join.put_ids(index, at, ids.reshape(-1).view(np.uint8))
            differences = np.ascontiguousarray(differences_TK[rows, tier.columns])
            join.put_differences(index, at, differences.reshape(-1))
    return join


@settings(max_examples=60, deadline=None)
@given(
    num_frames=st.integers(0, 23),
    kept=st.integers(1, 70),
    top=st.sampled_from([1, 30, 256]),
    dtype=st.sampled_from(["<u2", "<u4"]),
    seed=st.integers(0, 99),
)
def test_rank_join_restores_rows_that_were_cut(
    num_frames: int, kept: int, top: int, dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes_TK = np.sort(rng.integers(0, top, size=(num_frames, kept)), axis=1).astype(np.uint8)
    ids_TK = rng.integers(0, 1 << 16, size=(num_frames, kept))
    join = joined(codes_TK, ids_TK, dtype)
    np.testing.assert_array_equal(join.ids_TR, ids_TK)
    np.testing.assert_array_equal(join.sum_codes(), codes_TK)
    assert join.first_unordered() is None


@settings(max_examples=60, deadline=None)
@given(kept=st.integers(2, 70), frame=st.integers(0, 10), data=st.data())
def test_rank_join_finds_codes_that_do_not_ascend(
    kept: int, frame: int, data: st.DataObject
) -> None:
    codes_TK = np.sort(np.random.default_rng(kept).integers(0, 256, size=(11, kept)), axis=1)
    codes_TK = codes_TK.astype(np.uint8)
    codes_TK[frame] = 200
    codes_TK[frame, data.draw(st.integers(1, kept - 1)) :] = data.draw(st.integers(0, 199))
    join = joined(codes_TK, codes_TK.astype(np.int64), "<u2")
    join.sum_codes()
    assert join.first_unordered() == frame
