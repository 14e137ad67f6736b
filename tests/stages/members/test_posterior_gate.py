"""check_posteriors accepts distributions and names everything else."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.contract.errors import BadPosterior
from stages.members.posterior_gate import check_posteriors
from tests.support.makers.store import make_logp


def check(logp_TC: NDArray[np.float32]) -> None:
    check_posteriors(logp_TC, num_frames=11, num_classes=5, member="gru b", utterance="utt-3")


@pytest.mark.parametrize("sharpness", [0.1, 4.0, 30.0])
def test_check_accepts_distributions(sharpness: float) -> None:
    check(make_logp(11, 5, sharpness=sharpness))


def test_check_accepts_no_frames() -> None:
    check_posteriors(
        np.zeros((0, 5), np.float32), num_frames=0, num_classes=5, member="m", utterance="u"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_check_names_a_value_that_is_not_finite(value: float) -> None:
    """RELIABILITY 16."""
    logp_TC = make_logp(11, 5)
    logp_TC[7, 2] = value
    with pytest.raises(
        BadPosterior, match=r"member gru b, utterance 'utt-3', frame 7: .* class 2 is -?(nan|inf)"
    ):
        check(logp_TC)


@pytest.mark.parametrize("factor", [0.99, 1.01, 1.002])
def test_check_names_probabilities_that_do_not_sum_to_one(factor: float) -> None:
    """RELIABILITY 16."""
    logp_TC = make_logp(11, 5)
    logp_TC[4] += np.float32(np.log(factor))
    with pytest.raises(BadPosterior, match=rf"frame 4: the probabilities sum to {factor:g}"):
        check(logp_TC)


def test_check_accepts_rounding_errors() -> None:
    check(make_logp(11, 5) + np.float32(9e-4))


def test_check_names_probabilities_in_place_of_logarithms() -> None:
    with pytest.raises(BadPosterior, match="does the member give log-probabilities"):
        check(np.exp(make_logp(11, 5)))


@pytest.mark.parametrize("shape", [(10, 5), (11, 4), (11,), (1, 11, 5)])
def test_check_names_another_shape_and_the_expected_one(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadPosterior, match=re.escape(f"shape {shape}, wanted (11, 5)")):
        check(np.zeros(shape, np.float32))
