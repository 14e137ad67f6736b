"""Log-priors of the classes, which turn posteriors into scaled likelihoods.

CTC's posteriors are used as they are: their priors are 1, of which the logarithm is 0.

Shapes: C classes.
"""

import numpy as np
from numpy.typing import NDArray

from storage.corpus.corpus_file import CorpusFile


def corpus_log_priors(train: CorpusFile, *, smoothing: float) -> NDArray[np.float32]:
    """The log-priors of a corpus, by the hard labels of its train; zeros for token sequences."""
    if train.has_tokens:
        return np.zeros(train.about.num_classes, np.float32)
    return log_priors(train.label_counts(), smoothing=smoothing)


def log_priors(label_counts_C: NDArray[np.int64], *, smoothing: float) -> NDArray[np.float32]:
    """Natural log of each class's share of frames, with `smoothing` added to each count."""
    smoothed_C = label_counts_C + smoothing
    log_prior_C = np.log(smoothed_C / smoothed_C.sum())
    return np.asarray(log_prior_C, dtype=np.float32)
