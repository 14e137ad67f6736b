"""keep_top_k and keep_top_p against a sort in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StoreError
from storage.format.tiers import plan_tiers
from storage.write.top_k import join_blocks, keep_top_k, keep_top_p, log_norm
from tests.support.makers.store import make_logp


@given(st.integers(0, 50), st.integers(1, 19), st.integers(1, 13), st.data())
def test_the_largest_are_kept_and_ties_go_by_id(
    seed: int, num_frames: int, num_classes: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, num_classes))
    rng = np.random.default_rng(seed)
    # Few distinct values: ties everywhere; zeros of both signs; -inf for what underflowed.
    values = np.array([0.0, -0.0, 1e-7, -1.0, -3.5, -np.inf], dtype=np.float32)
    logp_TC = rng.choice(values, size=(num_frames, num_classes))
    kept = keep_top_k(logp_TC, k, tiers=plan_tiers(k))
    order_TC = np.argsort(-(logp_TC + 0.0), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(kept.ids_TK, order_TC)
    np.testing.assert_array_equal(kept.logp_TK, np.take_along_axis(logp_TC, order_TC, axis=1))


@pytest.mark.parametrize("sharpness", [1.0, 4.0, 9.0])
def test_every_tail_is_exact_down_to_the_smallest(sharpness: float) -> None:
    logp_TC = make_logp(307, 211, seed=5, sharpness=sharpness)
    tiers = plan_tiers(32)
    kept = keep_top_k(logp_TC, 32, tiers=tiers)
    sorted_TC = -np.sort(-np.exp(logp_TC.astype(np.float64)), axis=1)
    for column, tier in enumerate(tiers):
        wanted_T = sorted_TC[:, tier.last :][:, ::-1].sum(axis=1)
        np.testing.assert_allclose(kept.tail_TG[:, column], wanted_T, rtol=1e-6)
    if sharpness == 9.0:
        assert kept.tail_TG.min() < 1e-6


def test_one_minus_sum_would_fail_the_exact_tail() -> None:
    """The reason for the rule: in float32 the difference has no correct digit."""
    logp_TC = make_logp(307, 211, seed=5, sharpness=9.0)
    kept = keep_top_k(logp_TC, 32, tiers=plan_tiers(32))
    naive_T = np.float32(1.0) - np.exp(kept.logp_TK).sum(axis=1)
    assert np.median(np.abs(naive_T - kept.tail_TG[:, -1]) / kept.tail_TG[:, -1]) > 0.01


def test_nothing_is_left_when_all_classes_are_kept() -> None:
    kept = keep_top_k(make_logp(7, 5), 5, tiers=plan_tiers(5))
    assert (kept.tail_TG[:, -1] == 0.0).all()


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    logp_TC = make_logp(101, 17)
    whole = keep_top_k(logp_TC, 5, tiers=plan_tiers(5), temperatures=(2.0,))
    monkeypatch.setattr("storage.write.top_k.BLOCK_VALUES", 50)
    pieces = keep_top_k(logp_TC, 5, tiers=plan_tiers(5), temperatures=(2.0,))
    halves = join_blocks(
        [
            keep_top_k(part, 5, tiers=plan_tiers(5), temperatures=(2.0,))
            for part in (logp_TC[:40], logp_TC[40:])
        ]
    )
    for name in ("ids_TK", "logp_TK", "tail_TG", "log_norm_TH"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))
        np.testing.assert_array_equal(getattr(whole, name), getattr(halves, name))


def test_a_log_norm_makes_kept_probabilities_exact_at_its_temperature() -> None:
    logp_TC = make_logp(23, 19).astype(np.float64)
    for temperature in (0.5, 2.0, 7.0):
        p_TC = np.exp(logp_TC) ** (1 / temperature)
        np.testing.assert_allclose(
            log_norm(logp_TC, temperature), np.log(p_TC.sum(axis=1)), rtol=1e-9
        )


def test_more_than_all_classes_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot keep 6 of 5 classes: keep at most 5"):
        keep_top_k(make_logp(3, 5), 6, tiers=plan_tiers(6))


def test_nan_is_refused_with_its_frame() -> None:
    logp_TC = make_logp(11, 5)
    logp_TC[7, 2] = np.nan
    with pytest.raises(StoreError, match="frame 7"):
        keep_top_k(logp_TC, 2, tiers=plan_tiers(2))


@given(st.integers(0, 50), st.integers(1, 19), st.integers(1, 13), st.data())
def test_of_probabilities_the_same_are_kept(
    seed: int, num_frames: int, num_classes: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, num_classes))
    rng = np.random.default_rng(seed)
    values = np.array([0.0, 1e-42, 1e-30, 1e-7, 0.25, 0.5], dtype=np.float32)
    prob_TC = rng.choice(values, size=(num_frames, num_classes))
    tiers = plan_tiers(k)
    kept = keep_top_p(prob_TC.copy(), k, tiers=tiers)
    order_TC = np.argsort(-prob_TC, axis=1, kind="stable")
    np.testing.assert_array_equal(kept.ids_TK, order_TC[:, :k])
    sorted_TC = np.take_along_axis(prob_TC, order_TC, axis=1).astype(np.float64)
    smallest = np.finfo(np.float32).tiny
    wanted_TK = np.log(np.maximum(sorted_TC[:, :k], smallest))
    np.testing.assert_allclose(kept.logp_TK, wanted_TK, rtol=1e-6, atol=1e-6)
    for column, tier in enumerate(tiers):
        wanted_T = sorted_TC[:, tier.last :][:, ::-1].sum(axis=1)
        np.testing.assert_allclose(kept.tail_TG[:, column], wanted_T, rtol=1e-5, atol=1e-38)


@pytest.mark.parametrize("sharpness", [1.0, 4.0, 9.0])
def test_tails_of_probabilities_are_exact_to_a_thousandth_of_a_code_s_step(
    sharpness: float,
) -> None:
    prob_TC = np.exp(make_logp(307, 2110, seed=5, sharpness=sharpness))
    tiers = plan_tiers(32)
    sorted_TC = -np.sort(-prob_TC.astype(np.float64), axis=1)
    kept = keep_top_p(prob_TC, 32, tiers=tiers)
    for column, tier in enumerate(tiers):
        wanted_T = sorted_TC[:, tier.last :][:, ::-1].sum(axis=1)
        np.testing.assert_allclose(kept.tail_TG[:, column], wanted_T, rtol=1e-5)


def test_nan_among_probabilities_is_refused_with_its_frame() -> None:
    prob_TC = np.full((41, 5), 0.2, np.float32)
    prob_TC[37, 2] = np.nan
    with pytest.raises(StoreError, match=r"frame 37: "):
        keep_top_p(prob_TC, 2, tiers=plan_tiers(2))
