"""Front end, compared with float64 oracles written from the definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.acoustic.features.front_end import Moments, normalise, row_dim, to_row_labels, to_rows
from stages.acoustic.features.front_end_settings import FrontEndSettings

PLAIN = FrontEndSettings(cmvn="none", splice_left=0, splice_right=0, subsample=1)


def make_features(num_frames=17, dim=5, seed=3):
    return np.random.default_rng(seed).normal(2, 3, size=(num_frames, dim)).astype(np.float32)


def oracle_deltas(x_TF, order):
    """Kaldi's add-deltas: slopes over +-2 frames, slopes of slopes for order 2, edges repeated."""
    window = np.arange(-2, 3) / 10
    scales = [np.array([1.0])]
    for _ in range(order):
        scales.append(np.convolve(scales[-1], window))
    blocks = []
    for scale in scales:
        reach = len(scale) // 2
        rows = np.arange(len(x_TF))[:, None] + np.arange(-reach, reach + 1)
        held = x_TF.astype(np.float64)[np.clip(rows, 0, len(x_TF) - 1)]
        blocks.append(np.einsum("twf,w->tf", held, scale))
    return np.concatenate(blocks, axis=1)


@pytest.mark.parametrize("changes", [{}, {"deltas": 1}, {"deltas": 2, "splice_right": 3}])
def test_row_looks_ahead_as_far_as_the_settings_state(changes):
    settings = FrontEndSettings(**{"subsample": 3, **changes})
    features_TF = make_features(40)
    rows_RD = to_rows(features_TF, settings)
    last = 3 * 5 + settings.look_ahead  # frame 3 r + look-ahead belongs to row r = 5
    for frame, is_seen in ((last, True), (last + 1, False)):
        changed_TF = features_TF.copy()
        changed_TF[frame] += 7
        assert (to_rows(changed_TF, settings)[5] != rows_RD[5]).any() == is_seen


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("num_frames", [1, 2, 17])
def test_deltas_are_kaldis(order, num_frames):
    features = make_features(num_frames)
    rows = to_rows(features, PLAIN.model_copy(update={"deltas": order}))
    np.testing.assert_allclose(rows, oracle_deltas(features, order), atol=2e-5)


@given(
    num_frames=st.integers(1, 12),
    left=st.integers(0, 4),
    right=st.integers(0, 4),
    subsample=st.integers(1, 5),
)
def test_rows_are_neighbours_of_every_nth_frame(num_frames, left, right, subsample):
    settings = FrontEndSettings(splice_left=left, splice_right=right, subsample=subsample)
    features = make_features(num_frames)
    rows = to_rows(features, settings)
    taken = range(0, num_frames, subsample)
    wanted = [
        np.concatenate(
            [features[np.clip(t + d, 0, num_frames - 1)] for d in range(-left, right + 1)]
        )
        for t in taken
    ]
    assert rows.dtype == np.float32
    assert rows.shape == (len(taken), row_dim(settings, features.shape[1]))
    np.testing.assert_array_equal(rows, wanted)


def test_row_labels_are_those_of_their_frames():
    settings = FrontEndSettings(splice_left=0, splice_right=0, subsample=3)
    features = np.arange(11, dtype=np.float32)[:, None]
    rows = to_rows(features, settings)
    labels = to_row_labels(np.arange(11, dtype=np.int32), settings)
    np.testing.assert_array_equal(rows[:, 0], labels)


def test_moments_of_parts_add_up_to_the_whole():
    features = make_features(23)
    both = Moments.of(features[:9]) + Moments.of(features[9:])
    whole = Moments.of(features)
    assert both.num_frames == whole.num_frames
    np.testing.assert_allclose(both.squares_F, whole.squares_F, rtol=1e-12)


def test_normalise_gives_mean_0_and_variance_1():
    features = make_features(500) * np.float32(40) + np.float32(1000)
    wide = features.astype(np.float64)
    normal = normalise(features, Moments.of(features), norm_vars=True)
    np.testing.assert_allclose(normal, (wide - wide.mean(axis=0)) / wide.std(axis=0), atol=1e-5)
    centred = normalise(features, Moments.of(features), norm_vars=False)
    np.testing.assert_allclose(centred, wide - wide.mean(axis=0), atol=1e-3)


def test_normalise_makes_a_constant_dimension_zero():
    features = np.full((1, 3), 17.3, dtype=np.float32)
    normal = normalise(features, Moments.of(features), norm_vars=True)
    np.testing.assert_allclose(normal, 0, atol=1e-6)
