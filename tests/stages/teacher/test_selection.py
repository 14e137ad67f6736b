"""The contract of selections of the k best: one suite for arrays and for tensors.

The oracle sorts in float64. Inputs that hold ties, zeros of both signs and -inf are drawn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.teacher.selection import NUMPY, TORCH, Selection
from storage.errors import StoreError
from storage.format.tiers import plan_tiers
from storage.format.value_code import FLOOR, STEPS, encode_logp, encode_prob
from storage.write.top_k import KeptBlock
from tests.support.makers.store import make_logp

LOGS = np.array([0.0, -0.0, -1e-7, -1.0, -3.5, -90.0, -np.inf], np.float32)
PROBABILITIES = np.array([0.0, 1e-42, 1e-30, 1e-7, 0.25, 0.5], np.float32)
SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Case:
    """An implementation and the conversion of arrays to its input."""

    name: str
    selection: Selection[Any]
    given: Callable[[NDArray[np.float32]], Any]
    module: str


def on(device: str) -> Callable[[NDArray[np.float32]], torch.Tensor]:
    return lambda values_TC: torch.from_numpy(values_TC.copy()).to(device)


CASES = [
    Case("numpy", NUMPY, np.copy, "storage.write.top_k"),
    Case("torch", TORCH, on("cpu"), "stages.teacher.torch_top_k"),
    Case("cuda", TORCH, on("cuda"), "stages.teacher.torch_top_k"),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    if chosen.name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return chosen


def oracle(values_TC: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Ids of the k largest, best first, ties by the smaller id."""
    order_TC = np.argsort(-(values_TC.astype(np.float64) + 0.0), axis=1, kind="stable")
    return np.asarray(order_TC[:, :k])


def exact_tails(prob_TC: NDArray[np.float64], ids_TK: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mass outside the first k ranks, for the last rank of each tier."""
    outside_TC = prob_TC.copy()
    columns = []
    for tier in plan_tiers(ids_TK.shape[1]):
        np.put_along_axis(outside_TC, ids_TK[:, tier.columns], 0.0, axis=1)
        columns.append(np.sort(outside_TC, axis=1).sum(axis=1))
    return np.stack(columns, axis=1)


def drawn(data: st.DataObject, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Frames of few distinct values, and a k from 1 to C."""
    num_classes = data.draw(st.integers(1, 13))
    num_frames = data.draw(st.integers(0, 19))
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 20)))
    return rng.choice(values, size=(num_frames, num_classes)), data.draw(
        st.integers(1, num_classes)
    )


@given(data=st.data())
def test_largest_log_posteriors_are_kept_and_ties_go_to_the_smaller_id(
    case: Case, data: st.DataObject
) -> None:
    logp_TC, k = drawn(data, LOGS)
    kept = case.selection.keep_top_k(case.given(logp_TC), k, tiers=plan_tiers(k))
    ids_TK = oracle(logp_TC, k)
    assert (kept.ids_TK.dtype, kept.logp_TK.dtype) == (np.uint32, np.float32)
    np.testing.assert_array_equal(kept.ids_TK, ids_TK)
    np.testing.assert_array_equal(kept.logp_TK, np.take_along_axis(logp_TC, ids_TK, axis=1))
    tail_TG = exact_tails(np.exp(logp_TC.astype(np.float64)), ids_TK)
    np.testing.assert_allclose(kept.tail_TG, tail_TG, rtol=1e-6, atol=1e-38)


@given(data=st.data())
def test_largest_probabilities_are_kept_and_ties_go_to_the_smaller_id(
    case: Case, data: st.DataObject
) -> None:
    prob_TC, k = drawn(data, PROBABILITIES)
    keep = case.selection.keep_top_k_of_probabilities
    kept = keep(case.given(prob_TC), k, tiers=plan_tiers(k))
    ids_TK = oracle(prob_TC, k)
    np.testing.assert_array_equal(kept.ids_TK, ids_TK)
    best_TK = np.take_along_axis(prob_TC, ids_TK, axis=1).astype(np.float64)
    wanted_TK = np.log(np.maximum(best_TK, SMALLEST))
    np.testing.assert_allclose(kept.logp_TK, wanted_TK, rtol=1e-6, atol=1e-6)
    tail_TG = exact_tails(prob_TC.astype(np.float64), ids_TK)
    np.testing.assert_allclose(kept.tail_TG, tail_TG, rtol=1e-5, atol=1e-38)
    assert kept.log_norm_TH.shape == (len(prob_TC), 0)


@pytest.mark.parametrize("sharpness", [1.0, 4.0, 9.0])
@pytest.mark.parametrize("num_classes", [211, 9001])
def test_tail_mass_is_exact_down_to_the_smallest(
    case: Case, sharpness: float, num_classes: int
) -> None:
    logp_TC = make_logp(53, num_classes, seed=5, sharpness=sharpness)
    prob_TC = np.exp(logp_TC)
    tiers = plan_tiers(32)
    kept = case.selection.keep_top_k(case.given(logp_TC), 32, tiers=tiers)
    wanted_TG = exact_tails(np.exp(logp_TC.astype(np.float64)), oracle(logp_TC, 32))
    np.testing.assert_allclose(kept.tail_TG, wanted_TG, rtol=1e-6)
    kept = case.selection.keep_top_k_of_probabilities(case.given(prob_TC), 32, tiers=tiers)
    wanted_TG = exact_tails(prob_TC.astype(np.float64), oracle(prob_TC, 32))
    np.testing.assert_allclose(kept.tail_TG, wanted_TG, rtol=1e-5)
    if sharpness == 9.0 and num_classes == 211:
        assert wanted_TG.min() < 1e-6


@pytest.mark.parametrize("temperature", [0.5, 2.0, 7.0])
def test_log_norm_is_computed_over_all_classes(case: Case, temperature: float) -> None:
    logp_TC = make_logp(23, 19)
    kept = case.selection.keep_top_k(
        case.given(logp_TC), 3, tiers=plan_tiers(3), temperatures=(1.0, temperature)
    )
    wanted_T = np.log((np.exp(logp_TC.astype(np.float64)) ** (1 / temperature)).sum(axis=1))
    np.testing.assert_allclose(kept.log_norm_TH[:, 1], wanted_T, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(kept.log_norm_TH[:, 0], 0.0, atol=1e-6)


@pytest.mark.parametrize("k", [1, 5])
def test_selection_keeps_one_class_or_all(case: Case, k: int) -> None:
    logp_TC = make_logp(7, 5)
    for kept in (
        case.selection.keep_top_k(case.given(logp_TC), k, tiers=plan_tiers(k)),
        case.selection.keep_top_k_of_probabilities(
            case.given(np.exp(logp_TC)), k, tiers=plan_tiers(k)
        ),
    ):
        np.testing.assert_array_equal(kept.ids_TK, oracle(logp_TC, k))
        if k == 5:
            assert (kept.tail_TG[:, -1] == 0.0).all()


def test_selection_does_not_depend_on_block_size(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    logp_TC = make_logp(101, 17)
    tiers = plan_tiers(5)

    def both() -> list[KeptBlock]:
        return [
            case.selection.keep_top_k(case.given(logp_TC), 5, tiers=tiers, temperatures=(2.0,)),
            case.selection.keep_top_k_of_probabilities(case.given(np.exp(logp_TC)), 5, tiers=tiers),
        ]

    whole = both()
    monkeypatch.setattr(f"{case.module}.BLOCK_VALUES", 50)
    for one, other in zip(whole, both(), strict=True):
        for name in ("ids_TK", "logp_TK", "tail_TG", "log_norm_TH"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("at", [[(37, 2)], [(40, 0), (37, 4)], [(37, c) for c in range(5)]])
def test_nan_is_refused_with_its_frame(case: Case, at: Sequence[tuple[int, int]]) -> None:
    values_TC = np.full((41, 5), 0.2, np.float32)  # ties hide a NaN from a comparison
    for place in at:
        values_TC[place] = np.nan
    for keep in (case.selection.keep_top_k, case.selection.keep_top_k_of_probabilities):
        with pytest.raises(StoreError, match=r"frame 37: a value is NaN"):
            keep(case.given(values_TC), 2, tiers=plan_tiers(2))


@pytest.mark.parametrize("k", [0, 6])
def test_k_outside_the_classes_is_refused(case: Case, k: int) -> None:
    values_TC = np.full((3, 5), 0.2, np.float32)
    for keep in (case.selection.keep_top_k, case.selection.keep_top_k_of_probabilities):
        with pytest.raises(StoreError, match=f"cannot keep {k} of 5 classes: keep at most 5"):
            keep(case.given(values_TC), k, tiers=plan_tiers(5))


def test_selection_does_not_change_its_input(case: Case) -> None:
    values = case.given(make_logp(11, 7))
    before = values + 0
    case.selection.keep_top_k(values, 3, tiers=plan_tiers(3), temperatures=(2.0,))
    assert (values == before).all()


def is_near_a_boundary(logp: NDArray[np.float64], *, error: float) -> NDArray[np.bool_]:
    """True where an error of `error` nats can change the code of a log-probability."""
    low, high = (np.clip(logp + sign * error, FLOOR, 0.0) for sign in (-1, 1))
    return np.asarray(
        np.rint(STEPS * np.sqrt(low / FLOOR)) != np.rint(STEPS * np.sqrt(high / FLOOR))
    )


@pytest.mark.parametrize("num_classes", [33, 1000, 9001])
@pytest.mark.parametrize("sharpness", [1.0, 4.0, 9.0])
def test_selection_gives_the_same_ids_and_codes_for_arrays_and_tensors(
    case: Case, num_classes: int, sharpness: float
) -> None:
    logp_TC = make_logp(211, num_classes, seed=7, sharpness=sharpness)
    prob_TC, tiers = np.exp(logp_TC), plan_tiers(32)
    pairs = [
        [
            each.selection.keep_top_k(each.given(logp_TC), 32, tiers=tiers, temperatures=(2.0,))
            for each in (CASES[0], case)
        ],
        [
            each.selection.keep_top_k_of_probabilities(each.given(prob_TC), 32, tiers=tiers)
            for each in (CASES[0], case)
        ],
    ]
    for wanted, found in pairs:
        np.testing.assert_array_equal(found.ids_TK, wanted.ids_TK)
        np.testing.assert_allclose(found.log_norm_TH, wanted.log_norm_TH, rtol=1e-6)
        differ_TK = encode_logp(found.logp_TK) != encode_logp(wanted.logp_TK)
        assert is_near_a_boundary(wanted.logp_TK[differ_TK].astype(float), error=1e-6).all()
        differ_TG = encode_prob(found.tail_TG) != encode_prob(wanted.tail_TG)
        tail = np.log(wanted.tail_TG[differ_TG].astype(float))
        assert is_near_a_boundary(tail, error=1e-5).all()
        if case.name != "cuda":
            assert not differ_TK.any()
            assert not differ_TG.any()
