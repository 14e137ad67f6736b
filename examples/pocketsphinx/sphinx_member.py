"""The acoustic model of PyPI's pocketsphinx as a member: a waveform -> log-posteriors of senones.

    PYTHONPATH=examples/pocketsphinx essence run --config examples/pocketsphinx/pocketsphinx.yaml

The decoder writes the scores of all senones of every frame to a log (`senlogdir`, `compallsen`):

    b"s3\\n...\\nn_sen 5126\\nlogbase 1.000100\\nendhdr\\n"
    int32     0x11223344, in the byte order of what follows
    records   int16 n_sen, then int16 scores (n_sen,)

The natural logarithm of a likelihood is -score * 1024 * ln(logbase), up to a constant of the frame;
the best senone of a frame has score 0. With `pl_window` 0 there is one record for each frame; the
phone loop that looks ahead, 5 frames by default, would write each frame a second time.

Shapes: S samples, N frames, C senones.
"""

import math
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pocketsphinx
from numpy.typing import NDArray

MAGIC = 0x11223344
SCORE_UNIT = 1024  # scores are shifted right by 10 bits
FULL_SCALE = 32_768  # samples of a member are between -1 and 1, those of the decoder int16
WIDE = 1e-200  # beams of the alignment: speech that fits badly loses its path in those of decoding
UNIFORM = "uniform"
ANY_WORD = "the"  # scores of senones do not depend on what is searched; one word is fast


def read_senone_log(path: Path) -> NDArray[np.float64]:
    """Log-likelihoods (N, C), natural, up to a constant of each frame.

    Raises:
        ValueError: stating how the file differs from a log of all senones.
    """
    content = path.read_bytes()
    head, mark, body = content.partition(b"endhdr\n")
    pairs = (line.partition(" ") for line in head.decode("latin-1").split("\n"))
    fields = {name: value for name, _, value in pairs}
    if not head.startswith(b"s3\n") or not mark or not {"n_sen", "logbase"} <= set(fields):
        raise ValueError(f"{path} is no senone log: wanted s3, n_sen, logbase and endhdr")
    orders = [o for o in "<>" if len(body) >= 4 and np.frombuffer(body, f"{o}u4", 1)[0] == MAGIC]
    if not orders:
        raise ValueError(f"{path}: wanted {MAGIC:#x} after the head, found {body[:4].hex()}")
    num_senones = int(fields["n_sen"])
    values = np.frombuffer(body[4 : 4 + (len(body) - 4) // 2 * 2], f"{orders[0]}i2")
    if len(body) % 2 or len(values) % (num_senones + 1):
        raise ValueError(f"{path}: {len(body) - 4} bytes are no whole number of records: truncated")
    records = values.reshape(-1, num_senones + 1)
    if (records[:, 0] != num_senones).any():
        raise ValueError(f"{path}: a record lacks senones: set compallsen")
    # Scores above 32767 would be negative; the worst that were seen are below 1000.
    nats = SCORE_UNIT * math.log(float(fields["logbase"]))
    return records[:, 1:].astype(np.float64) * -nats


def log_posteriors(
    loglik_NC: NDArray[np.float64], log_prior_C: NDArray[np.float64], *, scale: float
) -> NDArray[np.float32]:
    """Bayes' rule for each frame: scale * log-likelihood + log prior, normalised."""
    joint_NC = scale * loglik_NC + log_prior_C
    joint_NC -= joint_NC.max(axis=1, keepdims=True)
    joint_NC -= np.log(np.exp(joint_NC).sum(axis=1, keepdims=True))
    return joint_NC.astype(np.float32)


class SenonePosteriors:
    """The member. One utterance at a time; the senone log is deleted after it was read."""

    def __init__(self, *, priors: str, scale: float) -> None:
        # Any constant is uniform: posteriors are normalised.
        prior_C = 1.0 if priors == UNIFORM else np.loadtxt(priors, dtype=np.float64)
        self._log_prior_C = np.log(np.atleast_1d(prior_C) / np.sum(prior_C))
        self._scale = scale
        self._folder = Path(tempfile.mkdtemp(prefix="senones-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._decoder = new_decoder(senlogdir=str(self._folder), compallsen=True)
        self._decoder.set_align_text(ANY_WORD)

    def posteriors(self, samples_S: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-posteriors (N, C) of samples at 16 kHz."""
        scaled_S = np.round(samples_S.astype(np.float64) * FULL_SCALE)
        decode(self._decoder, np.clip(scaled_S, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16))
        (log,) = self._folder.iterdir()
        try:
            loglik_NC = read_senone_log(log)
        finally:
            log.unlink()
        return log_posteriors(loglik_NC, self._log_prior_C, scale=self._scale)


def load(options: dict[str, Any]) -> SenonePosteriors:
    """The factory. Options: `priors`, a file of a count for each senone or "uniform"; `scale`."""
    return SenonePosteriors(priors=options["priors"], scale=float(options.get("scale", 1.0)))


def new_decoder(**settings: Any) -> Any:
    """A decoder without a language model, one record of a senone log for each frame."""
    return pocketsphinx.Decoder(lm=None, pl_window=0, bestpath=False, loglevel="FATAL", **settings)


def decode(decoder: Any, samples_S: NDArray[np.int16]) -> None:
    """Decode one utterance, independently of those before."""
    decoder.reinit_feat()  # or the noise estimate of the utterance before would go on
    decoder.start_utt()
    decoder.process_raw(samples_S.tobytes(), full_utt=True)
    decoder.end_utt()


def align(
    decoder: Any, samples_S: NDArray[np.int16], words: Sequence[str]
) -> list[tuple[str, list[tuple[str, list[tuple[int, int]]]]]]:
    """Words with their phones, of these the states: senone and number of frames.

    Raises:
        RuntimeError: if a word is unknown or no path ends in the last state.
    """
    decoder.set_align_text(" ".join(words))
    decode(decoder, samples_S)
    decoder.set_alignment()  # of the words just found; the second pass finds their states
    decode(decoder, samples_S)
    alignment = decoder.get_alignment()
    if alignment is None:
        raise RuntimeError("no alignment")
    return [
        (word.name, [(p.name, [(int(s.name), s.duration) for s in p]) for p in word])
        for word in alignment.words()
    ]
