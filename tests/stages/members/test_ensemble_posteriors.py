"""The mean of an ensemble compared with a float64 oracle."""

import numpy as np
import pytest

from stages.contract.errors import BadInput
from stages.members.ensemble_posteriors import (
    Combine,
    add_member,
    average_log_posteriors,
    normalise_weights,
    raise_to_floor,
    restore_small_means,
    soften,
)
from tests.support.makers.store import make_logp

MEMBERS = [make_logp(31, 17, seed=seed) for seed in range(3)]
WEIGHTS = (1.0, 2.0, 0.5)


def test_arithmetic_mean_averages_probabilities() -> None:
    found = average_log_posteriors(MEMBERS, WEIGHTS, "arithmetic")
    shares = np.array(WEIGHTS) / sum(WEIGHTS)
    mean = sum(s * np.exp(m.astype(np.float64)) for s, m in zip(shares, MEMBERS, strict=True))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.log(mean), atol=2e-6, rtol=2e-6)


def test_geometric_mean_averages_logarithms_and_renormalises() -> None:
    found = average_log_posteriors(MEMBERS, WEIGHTS, "geometric")
    shares = np.array(WEIGHTS) / sum(WEIGHTS)
    mean = sum(s * m.astype(np.float64) for s, m in zip(shares, MEMBERS, strict=True))
    mean -= np.log(np.exp(mean).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, mean, atol=5e-6, rtol=2e-6)


@pytest.mark.parametrize("combine", ["arithmetic", "geometric"])
def test_mean_of_one_member_is_that_member(combine: Combine) -> None:
    found = average_log_posteriors(MEMBERS[:1], (3.0,), combine)
    np.testing.assert_allclose(found, MEMBERS[0], atol=2e-6, rtol=2e-6)


def test_averaging_does_not_change_its_inputs() -> None:
    before = [member.copy() for member in MEMBERS]
    for combine in ("arithmetic", "geometric"):
        average_log_posteriors(MEMBERS, WEIGHTS, combine)  # type: ignore[arg-type]
    for member, copy in zip(MEMBERS, before, strict=True):
        np.testing.assert_array_equal(member, copy)


def test_mean_of_excluded_classes_is_finite() -> None:
    logp_TC = np.array([[0.0, -300.0]], np.float32)
    found = average_log_posteriors([logp_TC, logp_TC], (1.0, 1.0), "arithmetic")
    assert np.isfinite(found).all()
    assert found[0, 1] < -80


def test_small_means_are_restored_from_logarithms() -> None:
    rng = np.random.default_rng(2)
    scales = rng.choice([1, 40, 200], size=(31, 17))
    members = [(member * scales).astype(np.float32) for member in MEMBERS]
    found = average_log_posteriors(members, WEIGHTS, "arithmetic")
    plain = found.copy()
    restore_small_means(found, members, WEIGHTS)
    shares = np.log(np.array(WEIGHTS) / sum(WEIGHTS))
    terms = [member.astype(np.float64) + s for s, member in zip(shares, members, strict=True)]
    wanted = np.logaddexp.reduce(terms)
    assert 50 < (wanted < -88).sum() < wanted.size - 50
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-5)
    np.testing.assert_array_equal(found[wanted > -87], plain[wanted > -87])


def test_floor_raises_what_is_below_and_keeps_nan() -> None:
    logp_TC = np.array([[-300.0, -80.0, np.nan]], np.float32)
    np.testing.assert_array_equal(raise_to_floor(logp_TC, floor=-87.5)[0], [-87.5, -80, np.nan])
    assert raise_to_floor(logp_TC, floor=-np.inf) is logp_TC


def test_mean_of_no_frames_is_empty() -> None:
    empty = np.zeros((0, 5), np.float32)
    for combine in ("arithmetic", "geometric"):
        assert average_log_posteriors([empty], (1.0,), combine).shape == (0, 5)  # type: ignore[arg-type]


def test_normalised_weights_sum_to_one_and_match_the_members() -> None:
    assert normalise_weights(None, 4) == (0.25,) * 4
    assert normalise_weights((1.0, 3.0), 2) == (0.25, 0.75)
    for weights in ((1.0,), (1.0, 0.0), (1.0, -1.0)):
        with pytest.raises(BadInput, match="for 2 members: give one positive weight for each"):
            normalise_weights(weights, 2)
    with pytest.raises(BadInput, match="no members"):
        average_log_posteriors([], (), "arithmetic")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_soften_matches_the_float64_power_of_probabilities(temperature: float) -> None:
    p_TC = np.exp(MEMBERS[0].astype(np.float64)) ** (1 / temperature)
    p_TC /= p_TC.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(soften(MEMBERS[0], temperature), np.log(p_TC), atol=5e-6, rtol=5e-6)


@pytest.mark.parametrize("combine", ["arithmetic", "geometric"])
@pytest.mark.parametrize(
    ("value", "is_sound"),
    [(None, True), (np.nan, False), (np.inf, False), (-np.inf, False), (0.0, False)],
)
def test_add_member_returns_whether_its_input_is_a_distribution(
    combine: Combine, value: float | None, is_sound: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 16: at every frame, in every block of rows."""
    monkeypatch.setattr("stages.members.ensemble_posteriors.BLOCK_VALUES", 5 * 17)
    for frame in (0, 4, 5, 30):
        logp_TC = MEMBERS[0].copy()
        if value is not None:
            logp_TC[frame, 9] = value
        total_TC = np.zeros_like(logp_TC)
        assert add_member(total_TC, logp_TC, weight=0.5, combine=combine) is is_sound


def test_add_member_reports_probabilities_that_do_not_sum_to_one() -> None:
    for shift, is_sound in ((1e-4, True), (1e-2, False), (-1e-2, False)):
        logp_TC = MEMBERS[0] + np.float32(shift)
        total_TC = np.zeros_like(logp_TC)
        assert add_member(total_TC, logp_TC, weight=1.0, combine="arithmetic") is is_sound
