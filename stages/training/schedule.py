"""Schedule: the learning rate rises in a line, then falls.

cosine     as a cosine, over all that is left
plateau    halved after each epoch that is no better on dev
trunk      not at all, until it falls in a line to zero: runs of all lengths are one until then
"""

import math
from collections.abc import Iterable
from typing import Literal

ScheduleName = Literal["cosine", "plateau", "trunk"]
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


def trunk_rate_at(
    epochs_done: float, *, peak: float, warmup_epochs: float, decays_from: float, epochs: int
) -> float:
    """The rate after `epochs_done` epochs of `epochs`; parts of an epoch count.

    Until `decays_from` it does not depend on the length, not even in its last bit.
    """
    rise = min(1.0, epochs_done / warmup_epochs) if warmup_epochs else 1.0
    fall = min(1.0, max(0.0, epochs - epochs_done) / (epochs - decays_from))
    return peak * min(rise, fall)
