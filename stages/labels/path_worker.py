"""The work of a process that finds paths: log-likelihoods of one utterance -> its classes.

It imports no torch. Graphs cannot be pickled, so each process reads the graph file itself, and only
in the forms that its jobs need.

Shapes: T frames, C classes.
"""

import signal
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import kaldifst
import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.beam_search import SearchLimits, decode_matrix
from stages.acoustic.lang.graph import read_graph
from stages.acoustic.lang.transcript_graph import TranscriptGraphs
from stages.acoustic.lang.transcript_paths import best_classes
from stages.contract.child_process import end_with_parent

# An alignment holds one number for each frame and state of the transcript: 4 bytes.
MOST_CELLS = 1 << 29


@dataclass(frozen=True, slots=True, kw_only=True)
class PathJob:
    """Scaled log-likelihoods (T, C); `words` of the transcript, or None: any words."""

    scaled_TC: NDArray[np.float32]
    words: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPath:
    """The class of every frame (T,); None where there is no path, and `why`."""

    classes_T: NDArray[np.int32] | None
    why: str = ""


class PathFinder:
    """Finds paths through the graph in a directory."""

    def __init__(self, graph_directory: Path, *, limits: SearchLimits, penalty: float) -> None:
        self._directory = graph_directory
        self._limits = limits
        self._penalty = penalty

    @cached_property
    def _transcripts(self) -> TranscriptGraphs:
        return TranscriptGraphs.read(self._directory)

    @cached_property
    def _graph(self) -> kaldifst.StdConstFst:
        return read_graph(self._directory, word_cost=self._penalty)

    def find(self, job: PathJob) -> FoundPath:
        """The best path of a job."""
        if job.words is None:
            return self._decode(job.scaled_TC)
        return self._align(job.scaled_TC, job.words)

    def _align(self, scaled_TC: NDArray[np.float32], words: tuple[str, ...]) -> FoundPath:
        if unknown := self._transcripts.unknown_words(words):
            return FoundPath(classes_T=None, why=f"the graph lacks the word {unknown[0]!r}")
        graph = self._transcripts.of(words)
        if graph is None:
            return FoundPath(classes_T=None, why="no path of the graph spells the transcript")
        if graph.num_states * len(scaled_TC) > MOST_CELLS:
            return FoundPath(
                classes_T=None,
                why=f"{len(scaled_TC)} frames times {graph.num_states} states of the transcript "
                f"are more than {MOST_CELLS}: cut the utterance",
            )
        classes_T = best_classes(graph, scaled_TC)
        why = "" if classes_T is not None else f"no path has {len(scaled_TC)} frames"
        return FoundPath(classes_T=classes_T, why=why)

    def _decode(self, scaled_TC: NDArray[np.float32]) -> FoundPath:
        path = decode_matrix(self._graph, scaled_TC, limits=self._limits)
        if not path.reached_final:
            return FoundPath(classes_T=None, why="the best path does not reach a final state")
        return FoundPath(classes_T=np.array(path.classes, np.int32))


_finder: list[PathFinder] = []  # one, filled when the process starts


def start(graph_directory: Path, limits: SearchLimits, penalty: float) -> None:
    """Prepare this process to find paths through the graph of a directory."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to the parent, too
    end_with_parent()
    _finder[:] = [PathFinder(graph_directory, limits=limits, penalty=penalty)]


def find(job: PathJob) -> FoundPath:
    """The best path of a job, by the graph of this process."""
    return _finder[0].find(job)
