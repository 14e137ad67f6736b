"""Soft labels at other temperatures: kept classes exact, tails within the documented bound."""

import numpy as np
import pytest
import torch

from stages.student.loss.definition import SoftTargets
from stages.student.tempering import exponent_for, temper
from storage.format.temperatures import temperatures_given
from storage.format.value_code import LOGP_OF_CODE, STEPS, encode_logp, encode_prob
from tests.support.makers.store import make_about

NUM_FRAMES, NUM_CLASSES = 211, 37


def make_teacher(sharpness: float, seed: int = 0) -> np.ndarray:
    """Sorted log-posteriors (N, C), float64."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(NUM_FRAMES, NUM_CLASSES))
    logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return -np.sort(-logp, axis=1)


def from_store(logp_NC: np.ndarray, k: int, temperature: float) -> tuple[torch.Tensor, ...]:
    """(logp_NK, tail_N, log_norm_N) as a store returns them: coded and decoded."""
    logp_NK = LOGP_OF_CODE[encode_logp(logp_NC[:, :k])]
    tail_N = np.exp(LOGP_OF_CODE[encode_prob(np.exp(logp_NC[:, k:]).sum(1))])
    log_norm_N = np.log(np.exp(logp_NC / temperature).sum(1)).astype(np.float32)
    return tuple(map(torch.from_numpy, (logp_NK, tail_N, log_norm_N)))


def tempered(
    stored: tuple[torch.Tensor, ...], temperature: float, *, num_classes: int = NUM_CLASSES
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the kept classes and the tail, at `temperature`."""
    logp_NK, tail_N, log_norm_N = stored
    ids_NK = torch.arange(logp_NK.shape[1]).expand(logp_NK.shape)
    soft = SoftTargets(ids_NK=ids_NK, logp_NK=logp_NK, tail_N=tail_N)
    found = temper(soft, log_norm_N, temperature=temperature, num_classes=num_classes)
    assert torch.equal(found.ids_NK, ids_NK)
    return found.logp_NK, found.tail_N


@pytest.mark.parametrize("sharpness", [0.7, 1.5, 2.5])
@pytest.mark.parametrize("temperature", [0.4, 0.8, 1.5, 2.0, 6.0])
@pytest.mark.parametrize("k", [1, 5, 36])
def test_temper_is_as_exact_as_the_store_and_its_tail_is_within_the_bound(
    sharpness: float, temperature: float, k: int
) -> None:
    logp_NC = make_teacher(sharpness)
    assert logp_NC[:, :k].min() > -16  # above the floor of the code
    exact_NC = logp_NC / temperature
    exact_NC -= np.log(np.exp(exact_NC).sum(1, keepdims=True))
    stored = from_store(logp_NC, k, temperature)
    found_NK, tail_N = tempered(stored, temperature)
    half_step_NK = 16 * (encode_logp(logp_NC[:, :k]) + 0.25) / STEPS**2
    error_NK = np.abs(found_NK.numpy() - exact_NC[:, :k])
    assert (error_NK <= half_step_NK / temperature + 1e-5).all()
    exact_N = np.exp(exact_NC[:, k:]).sum(1)
    bound_N = (np.exp(found_NK.numpy()) * np.expm1(half_step_NK / temperature)).sum(1) + 1e-5
    assert (np.abs(tail_N.numpy() - exact_N) <= bound_N).all()
    assert (tail_N > 0).all()
    if temperature > 1.2 and k < 36:
        assert np.median(np.abs(tail_N.numpy() - exact_N) / exact_N) < 0.01


@pytest.mark.parametrize("k", [1, 5])
def test_temper_of_a_small_tail_is_better_than_one_minus_the_sum(k: int) -> None:
    logp_NC = make_teacher(2.5)
    logp_NC[:, 0] += 6.0
    logp_NC -= np.log(np.exp(logp_NC).sum(1, keepdims=True))
    exact_NC = np.exp(logp_NC / 0.4)
    exact_N = exact_NC[:, k:].sum(1) / exact_NC.sum(1)
    assert np.median(exact_N) < 1e-3
    stored = from_store(logp_NC, k, 0.4)
    kept_NK, tail_N = tempered(stored, 0.4)
    complement_N = 1 - np.exp(kept_NK.double().numpy()).sum(1)
    assert (complement_N < 0).mean() > 0.2
    error_N = np.abs(tail_N.numpy() - exact_N)
    of_complement_N = np.abs(complement_N - exact_N)
    assert (error_N <= of_complement_N + 1e-6).all()
    assert (error_N < 0.1 * of_complement_N).mean() > 0.2
    assert (tail_N > 0).all()
    last_N, mass_N, norm_N = stored[0][:, -1].exp(), stored[1], stored[2].exp()
    few_N = mass_N * last_N**1.5 / norm_N
    equal_N = (NUM_CLASSES - k) * (mass_N / (NUM_CLASSES - k)) ** 2.5 / norm_N
    assert (tail_N <= 1.2 * few_N).all()
    assert (tail_N >= equal_N / 1.2).all()


def test_temper_bounds_allow_for_the_code_of_the_tail() -> None:
    # The first rank has no coding error and the rest are equal: 1 - sum is right, the bound tight.
    logp_N1 = LOGP_OF_CODE[20:121, None].astype(np.float64)
    others = np.log(-np.expm1(logp_N1) / 36).repeat(36, axis=1)
    logp_NC = np.concatenate([logp_N1, others], axis=1)
    exact_N = np.exp(others / 0.4).sum(1) / np.exp(logp_NC / 0.4).sum(1)
    _, tail_N = tempered(from_store(logp_NC, 1, 0.4), 0.4)
    assert np.abs(tail_N.numpy() - exact_N).max() < 1e-6


def test_temper_of_a_tail_at_the_floor_has_no_lower_bound() -> None:
    logp_NC = np.log(np.array([[1 - 36e-12, *[1e-12] * 36]]))
    stored = from_store(logp_NC, 1, 2.0)
    _, tail_N = tempered(stored, 2.0)
    exact = 36e-6 / (1 + 36e-6)
    assert abs(float(tail_N) - exact) < 1e-6
    stored = from_store(np.log(np.array([[1 - 2e-12, 1e-12, 1e-12]])), 2, 2.0)
    _, tail_N = tempered(stored, 2.0, num_classes=3)
    assert abs(float(tail_N) - 1e-6) < 1e-5


def test_temper_with_all_classes_kept_has_no_tail() -> None:
    stored = from_store(make_teacher(1.0), NUM_CLASSES, 3.0)
    _, tail_N = tempered(stored, 3.0)
    assert not tail_N.any()


def test_temperatures_of_a_store_are_multiples_of_its_own() -> None:
    about = make_about(temperature=2.0, temperatures=(1.5, 0.5))
    assert temperatures_given(about.temperature, about.temperatures) == (2.0, 3.0, 1.0)
    assert [exponent_for(t, about) for t in (2.0, 3.0, 1.0, 1.5, 4.0)] == [
        1.0,
        1.5,
        0.5,
        None,
        None,
    ]
