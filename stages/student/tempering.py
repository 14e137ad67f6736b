"""Tempering: soft labels at another temperature than the one they were kept at, by the log norm.

    ln p_T(j) = ln p(j) / T - log_norm,    log_norm = ln of the sum of p^(1/T) over all C classes

The store keeps the log norm. A kept rank is thus as exact at T as it is in the store: the error of
ln p_T is that of ln p over T. Ranks below e^-16, where the value code ends, count as e^-16.

The tail at T is not in the store. It is taken as 1 - sum of the kept ranks and inherits their
error, at most the sum of p_T (exp(d / T) - 1), where d = 16 (code + 1/4) / 255^2 nats is half a
step of the code. Measured with acoustic posteriors (C = 600 and 3000; k = 1, 8, 32) at T = 1.5:
5e-4 on average, 3e-3 at most, 0.4 % of the tail in the median; less at T = 2 and 4. At T < 1 tails
are small and that would be nothing but error: so a tail is held between what its mass m at
temperature 1, in C - k classes of at most p_k each, can have become,

    all alike  (C - k) (m / (C - k))^(1/T)     and few and large  m p_k^(1/T - 1)

Policy `renormalize` does not use the tail, nor the log norm: there k ranks are exact at any T.

Shapes: N frames, K kept ranks.
"""

import math

import torch
from torch import Tensor

from storage.format.layout import StoreAbout
from storage.format.value_code import FLOOR, STEPS

LARGEST_ERROR = -FLOOR * (STEPS - 0.25) / STEPS**2  # nats: half a step of the coarsest code


def exponent_for(temperature: float, about: StoreAbout) -> float | None:
    """The T that takes the store's soft labels to `temperature`: 1 where they are at it.

    None where the store cannot give them. Labels kept at 2 with a log norm for 1.5 give 3 as well.
    """
    given = (1.0, *about.temperatures)
    return next((t for t in given if about.temperature * t == temperature), None)


def temper(
    logp_NK: Tensor, tail_N: Tensor, log_norm_N: Tensor, *, temperature: float, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the kept ranks, and the tail mass, at `temperature`.

    Ranks descend, as a store gives them. Float32 in, float32 out.
    """
    tempered_NK = logp_NK / temperature - log_norm_N[:, None]
    num_others = num_classes - logp_NK.shape[1]
    if not num_others:
        return tempered_NK, torch.zeros_like(tail_N)
    complement_N = 1 - tempered_NK.exp().sum(1)
    log_tail_N = tail_N.log()
    power = 1 / temperature
    alike_N = power * log_tail_N + (1 - power) * math.log(num_others)
    few_N = log_tail_N + (power - 1) * logp_NK[:, -1]
    slack = LARGEST_ERROR * (1 + abs(power - 1))  # of the tail and of the last rank, both coded
    least_N = (torch.minimum(alike_N, few_N) - slack - log_norm_N).exp()
    # At the floor of the code a tail may be anything below.
    least_N = torch.where(log_tail_N > FLOOR + LARGEST_ERROR, least_N, 0)
    most_N = (torch.maximum(alike_N, few_N) + slack - log_norm_N).exp()
    return tempered_NK, complement_N.clamp(min=least_N, max=most_N.clamp(max=1))
