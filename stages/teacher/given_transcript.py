"""Posteriors given the transcript: the ensemble's, summed over all paths that spell it.

    l_t(c) = scale (ln p(c | x_t) - ln p(c))      gamma_t(c) = P(class c in frame t | x, transcript)

by forward-backward over the transcript's HMM (stages/acoustic/lang/transcript_paths.py). What is
known of the words is then known of the frames. Utterances of train with hard labels have a
transcript; others, and those that no path spells, keep the plain posteriors.

Shapes: T frames of a block or an utterance, C classes, U utterances.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.graph_files import GRAPH_FILE
from stages.acoustic.lang.priors import log_priors
from stages.acoustic.lang.transcript_graph import TranscriptGraphs
from stages.acoustic.lang.transcript_paths import class_posteriors
from stages.members.batches import Piece
from storage.corpus.corpus_file import CorpusFile
from storage.files.fingerprint import file_digest

SPLIT = "train"  # students never know the transcript of dev
SMOOTHING = 1.0  # frames added to the count of each class, for priors; as in the evaluation
MOST_CELLS = 1 << 27  # frames times states of a transcript: 8 bytes each
Logp = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptPlace:
    """What a worker needs for posteriors given the transcript, as plain data."""

    graph_directory: Path
    graph_digest: str  # SHA-256 of the decoding graph
    scale: float

    @classmethod
    def of(cls, graph_directory: Path, *, scale: float) -> Self:
        """The graph in a directory, by its content."""
        return cls(
            graph_directory=graph_directory.absolute(),
            graph_digest=graph_digest(graph_directory),
            scale=scale,
        )


def graph_digest(directory: Path) -> str:
    """Digest of the decoding graph in a directory."""
    path = directory / GRAPH_FILE
    return file_digest(path) if path.is_file() else "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenTranscript:
    """Replaces posteriors of transcribed utterances; notes in `without_path` where it cannot."""

    graphs: TranscriptGraphs
    corpus: CorpusFile
    is_transcribed_U: NDArray[np.bool_]
    log_prior_C: Logp
    scale: float
    without_path: dict[str, str] = field(default_factory=dict)  # utterance id -> why

    @classmethod
    def open(cls, place: TranscriptPlace, corpus: CorpusFile) -> Self:
        """Read the graph.

        Raises:
            BadInput: if it is missing or damaged.
        """
        return cls(
            graphs=TranscriptGraphs.read(place.graph_directory),
            corpus=corpus,
            is_transcribed_U=corpus.labelled_frames() > 0,
            log_prior_C=log_priors(corpus.label_counts(), smoothing=SMOOTHING),
            scale=place.scale,
        )

    def replace(self, logp_TC: Logp, pieces: Sequence[Piece]) -> None:
        """Replace rows of a block, in place. Its pieces are whole utterances, one after another."""
        first = 0
        for index, of_one in groupby(pieces, key=lambda piece: piece.index):
            stop = first + sum(piece.num_frames for piece in of_one)
            if self.is_transcribed_U[index]:
                self._replace_one(logp_TC[first:stop], index)
            first = stop

    def _replace_one(self, logp_TC: Logp, index: int) -> None:
        row = self.corpus.utterances[index]
        graph = self.graphs.of(row.transcript.split())
        if graph is None:
            self.without_path[row.id] = "no path of the graph spells its transcript"
            return
        if graph.num_states * len(logp_TC) > MOST_CELLS:
            self.without_path[row.id] = f"more than {MOST_CELLS} frames times states"
            return
        gamma_TC = class_posteriors(graph, (logp_TC - self.log_prior_C) * self.scale)
        if gamma_TC is None:
            self.without_path[row.id] = f"no path has {len(logp_TC)} frames"
            return
        with np.errstate(divide="ignore"):  # -inf: a class that no path has in this frame
            logp_TC[:] = np.log(gamma_TC)


def whole_utterances(plan: Sequence[tuple[Piece, ...]]) -> Iterator[list[tuple[Piece, ...]]]:
    """Batches, grouped so that all pieces of an utterance are in one group."""
    for _, batches in groupby(plan, key=lambda pieces: pieces[-1].index):
        yield list(batches)
