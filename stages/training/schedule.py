"""Schedule: the learning rate rises in a line, then falls: as a cosine, or halved on a plateau."""

import math
from collections.abc import Iterable
from typing import Literal

ScheduleName = Literal["cosine", "plateau"]
FINAL_SHARE = 0.01  # of the peak: it never falls lower


def learning_rate_at(share_done: float, *, peak: float, warmup: float) -> float:
    """The rate when `share_done` (0 to 1) of all frames has been seen; `warmup` is a share too."""
    if share_done < warmup:
        return peak * share_done / warmup
    share_left = (1.0 - min(1.0, share_done)) / (1.0 - warmup)
    cosine = 0.5 * (1.0 - math.cos(math.pi * share_left))
    return peak * (FINAL_SHARE + (1.0 - FINAL_SHARE) * cosine)


def plateau_rate_at(
    share_done: float, *, peak: float, warmup: float, dev_errors: Iterable[float]
) -> float:
    """The same rise; then the peak, halved for every epoch that was no better than all before."""
    if share_done < warmup:
        return peak * share_done / warmup
    best, halvings = math.inf, 0
    for error in dev_errors:
        halvings += error >= best
        best = min(best, error)
    return peak * max(FINAL_SHARE, 0.5**halvings)
