"""Tempering: soft labels at another temperature than the stored one, by the stored log norm.

    ln p_T(j) = ln p(j) / T - log_norm,    log_norm = ln of the sum of p^(1/T) over all C classes

Kept classes are as exact at T as they are in the store: the error of ln p_T is that of ln p, over
T. Classes below e^-16, where the value code ends, count as e^-16.

The tail at T is not stored. It is computed as 1 - sum over the kept classes and has their error,
at most the sum of p_T (exp(d / T) - 1), where d = 16 (code + 1/4) / 255^2 nats is half a step of
the code. Measured on acoustic posteriors (C = 600 and 3000; k = 1, 8, 32) at T = 1.5: 5e-4 on
average, 3e-3 at most, 0.4 % of the tail in the median; less at T = 2 and 4. At T < 1 tails are
small, and the result would be mostly error. So the tail is clamped to what its mass m at
temperature 1, in C - k classes of at most p_k each, can become at T:

    equal classes  (C - k) (m / (C - k))^(1/T)     few large classes  m p_k^(1/T - 1)

where k is the number of ranks of the frame: fewer in some frames of a pruned store.

Policy `renormalize` uses neither the tail nor the log norm: with it, k classes are exact at any T.

Shapes: N frames, C classes, K kept classes.
"""

from dataclasses import replace

import torch

from stages.student.loss.definition import SoftTargets
from storage.format.layout import StoreAbout
from storage.format.value_code import FLOOR, STEPS

LARGEST_ERROR = -FLOOR * (STEPS - 0.25) / STEPS**2  # nats: half a step of the coarsest code


def exponent_for(temperature: float, about: StoreAbout) -> float | None:
    """The T that takes stored soft labels to `temperature`; None if the store has none such.

    1 if that is their own temperature. Labels stored at temperature 2 with a log norm for T = 1.5
    give temperature 3 as well.
    """
    given = (1.0, *about.temperatures)
    return next((t for t in given if about.temperature * t == temperature), None)


def temper(
    soft: SoftTargets, log_norm_N: torch.Tensor, *, temperature: float, num_classes: int
) -> SoftTargets:
    """The same classes at `temperature`, relative to the stored one.

    `logp_NK` descends along K, as a store returns it. float32. A frame that keeps all C classes
    has no tail.
    """
    soft = soft.masked()
    tempered_NK = soft.logp_NK / temperature - log_norm_N[:, None]
    num_outside_N = soft.num_outside_N(num_classes=num_classes)
    last_N = soft.logp_NK[:, -1]
    if soft.count_N is not None:
        last_N = soft.logp_NK.gather(1, soft.count_N[:, None].long() - 1)[:, 0]
    complement_N = 1 - tempered_NK.exp().sum(1)
    log_tail_N, power = soft.tail_N.log(), 1 / temperature
    log_outside_N = num_outside_N.double().clamp(min=1).log()
    equal_N = power * log_tail_N + ((1 - power) * log_outside_N).to(log_tail_N.dtype)
    few_N = log_tail_N + (power - 1) * last_N
    # The tail and the last kept class are both coded, so both bounds allow for half a step.
    slack = LARGEST_ERROR * (1 + abs(power - 1))
    least_N = (torch.minimum(equal_N, few_N) - slack - log_norm_N).exp()
    # A tail coded as the floor of the code may be anything below it.
    least_N = torch.where(log_tail_N > FLOOR + LARGEST_ERROR, least_N, 0)
    most_N = (torch.maximum(equal_N, few_N) + slack - log_norm_N).exp()
    tail_N = complement_N.clamp(min=least_N, max=most_N.clamp(max=1))
    tail_N = torch.where(num_outside_N > 0, tail_N, 0)
    return replace(soft, logp_NK=tempered_NK, tail_N=tail_N)
