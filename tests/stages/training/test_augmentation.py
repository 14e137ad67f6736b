"""Masks and noise: frames keep their positions, zero is off, the generator is the seed."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from stages.acoustic.models.normalisation import feature_statistics
from stages.training.augmentation import AugmentationSettings, augment

LENGTHS = [23, 5, 1]
MEAN_F = np.arange(7, dtype=np.float32)
STD_F = np.arange(1, 8, dtype=np.float32)


def _features() -> NDArray[np.float32]:
    features = np.random.default_rng(0).normal(size=(3, 23, 7)).astype(np.float32) + 100
    for row, length in enumerate(LENGTHS):
        features[row, length:] = 0
    return features


def _augmented(seed: int = 0, **settings: float) -> NDArray[np.float32]:
    return augment(
        _features(),
        LENGTHS,
        settings=AugmentationSettings.model_validate(settings),
        mean_F=MEAN_F,
        std_F=STD_F,
        rngs=[np.random.default_rng([seed, row]) for row in range(len(LENGTHS))],
    )


def test_augmentation_of_zero_changes_nothing() -> None:
    assert not AugmentationSettings().is_on
    np.testing.assert_array_equal(_augmented(), _features())


def test_time_masks_replace_whole_frames_by_the_mean() -> None:
    changed = 0
    for seed in range(30):
        result = _augmented(seed, time_masks=2, time_mask_frames=4)
        touched_BT = (result != _features()).any(axis=2)
        assert touched_BT.sum(axis=1).max() <= 8
        np.testing.assert_array_equal(
            result[touched_BT], np.broadcast_to(MEAN_F, (int(touched_BT.sum()), 7))
        )
        changed += int(touched_BT.sum())
    assert changed > 100


def test_feature_masks_replace_whole_rows_by_the_mean() -> None:
    widths = set()
    for seed in range(30):
        result = _augmented(seed, feature_masks=1, feature_mask_dims=3)[0]
        touched_F = (result != _features()[0]).any(axis=0)
        widths.add(int(touched_F.sum()))
        assert (result[:, touched_F] == MEAN_F[touched_F]).all()
    assert widths == {0, 1, 2, 3}


def test_noise_has_the_given_size_and_leaves_padding_unchanged() -> None:
    results = np.stack([_augmented(seed, noise=0.5) for seed in range(200)])
    noise = (results - _features())[:, 0]
    np.testing.assert_allclose(noise.std(axis=(0, 1)), 0.5 * STD_F, rtol=0.05)
    assert (results[:, 1, 5:] == 0).all()


def test_augmentation_is_determined_by_the_generator() -> None:
    everything = {"time_masks": 1, "feature_masks": 1, "noise": 0.1}
    np.testing.assert_array_equal(_augmented(3, **everything), _augmented(3, **everything))
    assert (_augmented(3, **everything) != _augmented(4, **everything)).any()


def test_augmentation_refuses_negative_settings() -> None:
    with pytest.raises(ValidationError):
        AugmentationSettings(noise=-0.1)


@pytest.mark.parametrize("sizes", [(7,), (1, 1, 1), (13, 0, 400, 2)])
def test_statistics_do_not_depend_on_blocks(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    # a mean of 10000 deviations: sums of squares in float32 would see no deviation at all
    blocks = [rng.normal(1e4, 1.0, size=(size, 5)).astype(np.float32) for size in sizes]
    mean_F, std_F = feature_statistics(blocks)
    whole_TF = np.concatenate(blocks).astype(np.float64)
    np.testing.assert_allclose(mean_F, whole_TF.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std_F, whole_TF.std(axis=0), rtol=1e-9)


def test_gain_shifts_an_utterance_by_the_same_number_of_deviations_in_each_feature() -> None:
    shifts = []
    for seed in range(40):
        result = _augmented(seed, gain=0.5)
        for row, length in enumerate(LENGTHS):
            moved_TF = (result - _features())[row, :length] / STD_F
            np.testing.assert_allclose(moved_TF, moved_TF[0, 0], atol=1e-4)
            shifts.append(float(moved_TF[0, 0]))
            assert not result[row, length:].any()
    assert 0.4 < max(shifts) <= 0.5
    assert -0.5 <= min(shifts) < -0.4
    assert abs(np.mean(shifts)) < 0.1


@pytest.mark.parametrize("change", [{"gain": -0.1}, {"gain": 4.1}, {"noise": 5.0}])
def test_augmentation_amounts_are_bounded(change: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=r"less than or equal|greater than or equal"):
        AugmentationSettings.model_validate(change)
