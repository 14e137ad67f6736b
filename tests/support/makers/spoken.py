"""Makers for the spoken corpus: the smallest one that still has all its parts."""

from typing import Any

from stages.corpus.spoken.settings import SpokenSettings


def tiny_spoken(**changes: Any) -> SpokenSettings:
    """About a minute of training speech by 41 voices."""
    settings: dict[str, Any] = {
        "hours": 0.025,
        "dev_minutes": 0.3,
        "test_minutes": 0.35,
        "train_voices": 41,
        "dev_voices": 3,
        "test_voices": 4,
        "lm_sentences": 5_000,
        "num_mel_bins": 23,
        "labelled_share": 1.0,
    }
    return SpokenSettings(**(settings | changes))
