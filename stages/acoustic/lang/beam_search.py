"""Beam search: scaled log-likelihoods of one utterance and a decoding graph -> the best path.

It imports no torch: processes that decode start in a fraction of a second and in little memory.

Shapes: T frames, C classes.
"""

import math
from dataclasses import dataclass

import kaldi_decoder
import kaldifst
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimits:
    """The states that survive a frame: those within `beam` nats of the best one.

    The beam narrows until at most `max_active` states survive, and widens until at least
    `min_active` do, as in Kaldi's decoders.
    """

    beam: float
    max_active: int
    min_active: int  # below max_active


@dataclass(frozen=True, slots=True, kw_only=True)
class BestPath:
    """The words of the best path, its cost in nats, and whether it ends in a final state.

    `classes` has the class of every frame of the path. The cost sums the graph's and the
    scaled acoustic costs; it is inf if no path was found.
    """

    words: tuple[int, ...]
    cost: float
    reached_final: bool
    classes: tuple[int, ...] = ()


def decode_matrix(
    graph: kaldifst.StdConstFst, scaled_TC: NDArray[np.float32], *, limits: SearchLimits
) -> BestPath:
    """Viterbi beam search. If no final state is reached, the best partial path is taken."""
    if not len(scaled_TC):
        return BestPath(words=(), cost=0.0, reached_final=True)
    # The decoder keeps neither graph nor matrix alive: both need a name until it is done.
    loglike_TC = np.ascontiguousarray(scaled_TC, dtype=np.float32)
    decodable = kaldi_decoder.DecodableCtc(loglike_TC)
    options = kaldi_decoder.FasterDecoderOptions(
        beam=limits.beam, max_active=limits.max_active, min_active=limits.min_active
    )
    decoder = kaldi_decoder.FasterDecoder(graph, options)
    decoder.decode(decodable)
    found, path = decoder.get_best_path()
    if not found:
        return BestPath(words=(), cost=math.inf, reached_final=False)
    _, labels, words, weight = kaldifst.get_linear_symbol_sequence(path)
    return BestPath(
        words=tuple(words),
        cost=weight.value1 + weight.value2,  # of the graph, and acoustic
        reached_final=decoder.reached_final(),
        classes=tuple(label - 1 for label in labels),  # input label c + 1 is class c
    )
