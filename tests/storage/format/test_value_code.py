"""Value code: its error is within the bounds of the format."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage.format.tiers import plan_tiers
from storage.format.value_code import (
    LOGP_OF_CODE,
    PROB_OF_CODE,
    decode_logp,
    encode_logp,
    encode_prob,
    rank_differences,
    sum_differences,
)
from storage.write.top_k import keep_top_k
from tests.support.makers.store import make_logp


def test_codes_decode_and_encode_to_themselves() -> None:
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(encode_logp(LOGP_OF_CODE), codes)
    np.testing.assert_array_equal(encode_prob(PROB_OF_CODE), codes)


def test_codes_are_those_of_the_formula() -> None:
    logp = -np.random.default_rng(3).uniform(0, 16, size=1000)
    wanted = np.round(255 * np.sqrt(-logp / 16))
    assert np.abs(encode_logp(logp.astype(np.float32)) - wanted).max() <= 1
    assert (encode_logp(logp.astype(np.float32)) == wanted).mean() > 0.99
    np.testing.assert_allclose(LOGP_OF_CODE[100], -16 * (100 / 255) ** 2, rtol=1e-6)


def test_codes_exist_for_one_zero_and_rounding_above_one() -> None:
    logp = np.array([0.0, -0.0, 1e-6, -16.0, -50.0, -np.inf], dtype=np.float32)
    assert encode_logp(logp).tolist() == [0, 0, 0, 255, 255, 255]
    assert encode_prob(np.array([0.0, 1.0])).tolist() == [255, 0]
    assert LOGP_OF_CODE[0] == 0.0
    assert not np.signbit(LOGP_OF_CODE[0])


@given(st.lists(st.lists(st.integers(0, 255), min_size=7, max_size=7), min_size=1, max_size=11))
def test_rank_differences_sum_up_to_the_codes(rows: list[list[int]]) -> None:
    codes_TK = np.array(rows, dtype=np.uint8)
    np.testing.assert_array_equal(sum_differences(rank_differences(codes_TK)), codes_TK)


def test_codes_ascend_for_descending_ranks() -> None:
    logp_TK = -np.sort(np.random.default_rng(1).exponential(3.0, size=(97, 9)), axis=1)
    codes_TK = encode_logp(logp_TK.astype(np.float32)).astype(int)
    assert (np.diff(codes_TK, axis=1) >= 0).all()


def stored_divergence(logp_TC: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """KL(p || stored) and entropy of every frame, over 32 ranks and the tail, in float64."""
    kept = keep_top_k(logp_TC, 32, tiers=plan_tiers(32))
    prob_TC = np.exp(logp_TC.astype(np.float64))
    columns_TK = kept.ids_TK.astype(int)
    prob_TK = np.take_along_axis(prob_TC, columns_TK, axis=1)
    np.put_along_axis(prob_TC, columns_TK, 0.0, axis=1)
    p_TE = np.column_stack([prob_TK, prob_TC.sum(axis=1)])
    ranks_TK = PROB_OF_CODE[encode_logp(kept.logp_TK)]
    tail_T = PROB_OF_CODE[encode_prob(kept.tail_TG[:, -1])]
    q_TE = np.column_stack([ranks_TK, tail_T]).astype(np.float64)
    p_TE /= p_TE.sum(axis=1, keepdims=True)
    q_TE /= q_TE.sum(axis=1, keepdims=True)
    safe_TE = np.where(p_TE > 0, p_TE, 1.0)
    divergence_T = (p_TE * np.log(safe_TE / q_TE)).sum(axis=1)
    return divergence_T, -(p_TE * np.log(safe_TE)).sum(axis=1)


def test_code_divergence_of_peaked_posteriors_is_within_its_bound() -> None:
    """Posteriors like those of acoustic models: the best class has 0.6 to 0.85 on average."""
    pairs = [stored_divergence(make_logp(501, 1009, sharpness=s)) for s in (6.0, 9.0, 14.0)]
    divergence = np.concatenate([divergence_T for divergence_T, _ in pairs])
    assert divergence.min() > -1e-12
    assert divergence.mean() <= 5e-5
    assert divergence.max() <= 5e-4


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 2.0, 3.0, 4.0])
def test_code_divergence_of_flat_posteriors_grows_only_with_entropy(sharpness: float) -> None:
    divergence_T, entropy_T = stored_divergence(make_logp(301, 1009, sharpness=sharpness))
    assert divergence_T.max() <= 5e-4
    assert divergence_T.mean() <= 5e-5 * max(entropy_T.mean(), 1.0)


def test_decode_logp_is_the_table_bit_for_bit() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(64, 4)
    out = np.empty((64, 4), np.float32)
    decode_logp(codes, out=out)
    np.testing.assert_array_equal(out.view(np.uint32), LOGP_OF_CODE[codes].view(np.uint32))
