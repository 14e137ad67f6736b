"""Log-priors of the classes, which turn posteriors into scaled likelihoods.

Shapes: C classes.
"""

import numpy as np
from numpy.typing import NDArray


def log_priors(label_counts_C: NDArray[np.int64], *, smoothing: float) -> NDArray[np.float32]:
    """Natural log of each class's share of frames, with `smoothing` added to each count."""
    smoothed_C = label_counts_C + smoothing
    log_prior_C = np.log(smoothed_C / smoothed_C.sum())
    return np.asarray(log_prior_C, dtype=np.float32)
