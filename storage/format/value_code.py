"""Value code: a probability in one byte, finest where it matters.

    q = round(255 sqrt(-ln p / 16))        p = exp(-16 (q / 255)^2)

Code 0 is p = 1, code 255 is p = e^-16 and all below. A larger code is a smaller probability.
KL(p || decoded) is about 4.1e-5 times the entropy of p in nats: 2e-5 to 5e-5 on average for
acoustic models, never above 5e-4.

Shapes: ... any.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME = "sqrt-neglog-16"
FLOOR = -16.0  # nats; the smallest log-probability with its own code
STEPS = 255

LOGP_OF_CODE: NDArray[np.float32] = (
    FLOOR * np.square(np.arange(STEPS + 1, dtype=np.float64) / STEPS) + 0.0
).astype(np.float32)
PROB_OF_CODE: NDArray[np.float32] = np.exp(LOGP_OF_CODE.astype(np.float64)).astype(np.float32)


def encode_logp(logp: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Codes of log-probabilities in nats. Above 0 counts as 0, below -16 (or -inf) as -16."""
    bounded = np.clip(np.asarray(logp, dtype=np.float32), FLOOR, 0.0)
    steps: NDArray[np.float32] = np.rint(STEPS * np.sqrt(bounded / FLOOR))
    return steps.astype(np.uint8)


def encode_prob(prob: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Codes of probabilities; 0 has the code of e^-16."""
    with np.errstate(divide="ignore"):
        return encode_logp(np.log(prob))


def decode_logp(codes: NDArray[np.uint8], *, out: NDArray[np.float32]) -> None:
    """LOGP_OF_CODE[codes], bit for bit, at twice the speed of looking it up."""
    np.copyto(out, codes)
    np.multiply(out, out, out=out)  # exact, as is the divisor: one rounding
    np.divide(out, np.float32(STEPS**2 / -FLOOR), out=out)
    np.subtract(np.float32(0.0), out, out=out)  # and not -0.0


def rank_differences(codes_TK: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Code minus the code of the rank before, mod 256; the first rank stays as it is."""
    differences_TK = codes_TK.copy()
    differences_TK[:, 1:] -= codes_TK[:, :-1]
    return differences_TK


def sum_differences(differences_TK: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The codes again: inverse of `rank_differences`."""
    return np.cumsum(differences_TK, axis=1, dtype=np.uint8)
