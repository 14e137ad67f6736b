"""Silence at the edges of an utterance, found from loudness alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.corpus.align.edges import louder_in_the_middle, silent_edges

values = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60)


def spoken(lead: int, loud: int, trail: int, *, seed: int) -> np.ndarray:
    """Quiet, loud with a pause of 2 frames, quiet; with noise."""
    level_T = np.repeat([0.0, 10.0, 0.0], [lead, loud, trail])
    level_T[lead + loud // 2 : lead + loud // 2 + 2] = 0.0
    return level_T + np.random.default_rng(seed).normal(size=len(level_T))


@given(
    lead=st.integers(5, 30),
    loud=st.integers(150, 190),
    trail=st.integers(5, 30),
    seed=st.integers(0, 99),
)
def test_edges_are_found_in_noise(lead: int, loud: int, trail: int, seed: int) -> None:
    found = silent_edges(spoken(lead, loud, trail, seed=seed))
    assert found == (pytest.approx(lead, abs=3), pytest.approx(trail, abs=3))


@given(lead=st.integers(20, 60), trail=st.integers(20, 60), seed=st.integers(0, 99))
def test_edges_of_half_an_utterance_are_none(lead: int, trail: int, seed: int) -> None:
    assert silent_edges(spoken(lead, 40, trail, seed=seed)) == (0, 0)


@given(values)
def test_a_frame_at_least_is_between_the_edges(loudness: list[float]) -> None:
    lead, trail = silent_edges(np.array(loudness))
    assert lead >= 0
    assert trail >= 0
    assert lead + trail < len(loudness)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_direction_of_loudness_is_that_of_the_middle(sign: float) -> None:
    speech = [sign * spoken(20, 40 + n, 15, seed=n) for n in range(9)]
    assert louder_in_the_middle(speech) == sign
