"""The plateau schedule: linear warm-up, then halved after every epoch without improvement."""

import pytest

from stages.training.schedule import FINAL_SHARE, learning_rate_at, plateau_rate_at


def _rate(*dev_errors: float, share_done: float = 0.5) -> float:
    return plateau_rate_at(share_done, peak=0.8, warmup=0.1, dev_errors=dev_errors)


def test_plateau_stays_at_the_peak_while_dev_improves() -> None:
    assert _rate() == _rate(0.5) == _rate(0.5, 0.4, 0.3) == 0.8


def test_plateau_halves_the_rate_after_an_epoch_without_a_new_best() -> None:
    assert _rate(0.5, 0.5) == 0.4
    assert _rate(0.5, 0.6, 0.55) == 0.2  # better than the last, not than the best
    assert _rate(0.5, 0.6, 0.4, 0.4) == 0.2
    assert _rate(*[0.5] * 40) == pytest.approx(0.8 * FINAL_SHARE)


def test_plateau_warmup_equals_cosine_warmup() -> None:
    for share in (0.0, 0.03, 0.0999):
        cosine = learning_rate_at(share, peak=0.8, warmup=0.1)
        assert _rate(0.5, 0.6, share_done=share) == cosine
