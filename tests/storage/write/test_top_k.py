"""Blocks of kept ranks. The contract of selections is in tests/stages/teacher/test_selection.py."""

import numpy as np
import pytest

from storage.format.tiers import plan_tiers
from storage.write.top_k import cut_block, join_blocks, keep_top_k, log_norm
from tests.support.makers.store import make_logp

ARRAYS = ("ids_TK", "logp_TK", "tail_TG", "log_norm_TH")


def test_tail_as_one_minus_the_sum_would_have_no_correct_digit() -> None:
    """The reason for summing the classes outside: float32 has no digits left for a small tail."""
    logp_TC = make_logp(307, 211, seed=5, sharpness=9.0)
    kept = keep_top_k(logp_TC, 32, tiers=plan_tiers(32))
    naive_T = np.float32(1.0) - np.exp(kept.logp_TK).sum(axis=1)
    assert np.median(np.abs(naive_T - kept.tail_TG[:, -1]) / kept.tail_TG[:, -1]) > 0.01


@pytest.mark.parametrize("at", [0, 1, 40, 101])
def test_blocks_cut_and_joined_are_those_of_all_frames(at: int) -> None:
    logp_TC = make_logp(101, 17)
    options = {"tiers": plan_tiers(5), "temperatures": (2.0,)}
    whole = keep_top_k(logp_TC, 5, **options)  # type: ignore[arg-type]
    parts = [keep_top_k(part, 5, **options) for part in (logp_TC[:at], logp_TC[at:])]  # type: ignore[arg-type]
    joined, first = join_blocks(parts), cut_block(whole, 0, at)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
        np.testing.assert_array_equal(getattr(first, name), getattr(parts[0], name))


def test_log_norm_makes_kept_probabilities_exact_at_its_temperature() -> None:
    logp_TC = make_logp(23, 19).astype(np.float64)
    for temperature in (0.5, 2.0, 7.0):
        p_TC = np.exp(logp_TC) ** (1 / temperature)
        np.testing.assert_allclose(
            log_norm(logp_TC, temperature), np.log(p_TC.sum(axis=1)), rtol=1e-9
        )
