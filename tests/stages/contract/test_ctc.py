"""CTC's paths: collapsing, the shortest path of a sequence, and edit distances."""

from itertools import groupby, product

import kaldialign
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.contract.ctc import BLANK, collapse, edit_distance, frames_needed

sequences = st.lists(st.integers(0, 3), max_size=9)


@given(sequences)
def test_collapse_merges_runs_and_leaves_blanks_out(classes: list[int]) -> None:
    wanted = [token for token, _ in groupby(classes) if token != BLANK]
    assert collapse(np.array(classes, np.int64)).tolist() == wanted


@pytest.mark.parametrize("tokens", [[], [1], [1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 1]])
def test_frames_needed_is_the_length_of_the_shortest_path(tokens: list[int]) -> None:
    lengths = (
        length
        for length in range(7)
        for path in product(range(3), repeat=length)
        if collapse(np.array(path, np.int64)).tolist() == tokens
    )
    assert frames_needed(np.array(tokens, np.int64)) == next(lengths)


@given(sequences, sequences)
def test_edit_distance_equals_kaldialigns(reference: list[int], found: list[int]) -> None:
    wanted = kaldialign.edit_distance([*map(str, reference)], [*map(str, found)])["total"]
    assert edit_distance(reference, found) == wanted
