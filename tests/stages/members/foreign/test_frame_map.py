"""Frames of a model and rows of the corpus: counts as convolutions give them, nearest by search."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.members.foreign.frame_map import expected_frames, nearest_frames

LAYERS = [  # kernel, stride, padding of each convolution; then stride and offset of all together
    ([(3, 1, 1)], 1, 0),
    ([(5, 1, 0)], 1, 2),
    ([(3, 2, 0), (3, 2, 0)], 4, 3),
    ([(3, 3, 0)], 3, 1),
    ([(7, 3, 3)], 3, 0),
    ([(3, 2, 1), (3, 1, 1), (3, 2, 1)], 4, 0),
]


@pytest.mark.parametrize(("layers", "stride", "offset"), LAYERS)
def test_expected_frames_are_those_of_convolutions(
    layers: list[tuple[int, int, int]], stride: int, offset: int
) -> None:
    net = torch.nn.Sequential(
        *(torch.nn.Conv1d(1, 1, kernel, stride=s, padding=p) for kernel, s, p in layers)
    )
    for num_rows in range(7, 60):
        with torch.no_grad():
            found = net(torch.zeros(1, 1, num_rows)).shape[2]
        assert expected_frames(num_rows, stride=stride, offset=offset) == found


@given(st.integers(1, 90), st.integers(1, 40), st.integers(1, 9), st.integers(0, 12))
def test_each_row_has_the_nearest_frame(
    num_rows: int, num_frames: int, stride: int, offset: int
) -> None:
    found = nearest_frames(num_rows, num_frames, stride=stride, offset=offset)
    places = [offset + n * stride for n in range(num_frames)]
    wanted = [min(range(num_frames), key=lambda n: abs(places[n] - row)) for row in range(num_rows)]
    assert found.tolist() == wanted  # `min` takes the earlier of two
    assert (np.diff(found) >= 0).all()


def test_frames_for_every_row_are_the_rows() -> None:
    for num_rows in range(1, 20):
        assert expected_frames(num_rows, stride=1, offset=0) == num_rows
        found = nearest_frames(num_rows, num_rows, stride=1, offset=0)
        assert found.tolist() == list(range(num_rows))


def test_too_few_rows_have_no_frames() -> None:
    for num_rows, offset in itertools.product(range(1, 7), (3, 4)):
        assert expected_frames(num_rows, stride=2, offset=offset) == (num_rows > 2 * offset)
