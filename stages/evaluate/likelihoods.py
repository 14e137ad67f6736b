"""system, corpus -> a file of scaled log-likelihoods, log p(c|x) - log p(c), for the decoder.

They are written to files, so that memory holds one member and one utterance at a time and each
decoding process reads only the rows of its jobs. Row i belongs to frame i of the corpus file.

Nothing is raised to a floor except where logarithms are averaged: at a small acoustic scale a
floor of -87 nats is inside the beam, and a class that the members exclude would become cheap.

Shapes: T frames, C classes.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.phones import Phones
from stages.contract.errors import StageError
from stages.contract.progress import Progress, Task
from stages.contract.results import System
from stages.evaluate.frames import FrameTally
from stages.evaluate.greedy import GreedyTally
from stages.evaluate.phone_errors import PhoneTally
from stages.members.batches import Piece
from stages.members.ensemble_posteriors import average_without_floor, raise_to_floor
from stages.members.kinds import open_member
from stages.members.run import compute_posteriors, refuse_other_corpus
from storage.corpus.corpus_file import CorpusFile


def run_members(
    system: System,
    corpora: Mapping[str, CorpusFile],
    scratch: Path,
    *,
    batch_frames: int,
    device: str,
    progress: Progress,
) -> int | None:
    """Write each member's log-posteriors of each split; returns their number of parameters.

    None if the number is unknown for one of them.

    Raises:
        MissingPart: if a member has no posteriors of a split.
        BadInput: if a member's classes differ from the corpus's.
        MemberFailed, BadPosterior: naming member and utterance, if an output is no distribution.
    """
    sizes: list[int | None] = []
    total = len(system.model_directories) * sum(c.num_frames for c in corpora.values())
    averages_logarithms = len(system.model_directories) > 1 and system.combine == "geometric"
    with progress.task(f"{system.name}: posteriors", total=total, unit="frames") as task:
        for number, directory in enumerate(system.model_directories):
            member = open_member(directory, device=device)
            sizes.append(member.num_parameters)
            floor = member.averaging_floor if averages_logarithms else -math.inf
            for split, corpus in corpora.items():
                refuse_other_corpus(member.about, corpus, name=str(directory))
                pieces = compute_posteriors(
                    member,
                    corpus,
                    range(len(corpus.utterances)),
                    batch_frames=batch_frames,
                    device=device,
                    name=directory.name,
                )
                rows = (raise_to_floor(logp_TC, floor=floor) for logp_TC in _shown(pieces, task))
                write_rows(_member_file(scratch, split, number), corpus, rows)
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _shown(
    pieces: Iterable[tuple[Piece, NDArray[np.float32]]], task: Task
) -> Iterator[NDArray[np.float32]]:
    for piece, logp_TC in pieces:
        task.advance(piece.num_frames)
        yield logp_TC


def average_members(
    system: System, split: str, corpus: CorpusFile, scratch: Path
) -> Iterator[NDArray[np.float32]]:
    """The system's log-posteriors (T, C) of each utterance: the average of its members' files."""
    members = [
        np.load(_member_file(scratch, split, number), mmap_mode="r")
        for number in range(len(system.model_directories))
    ]
    for row in corpus.utterances:
        rows = slice(row.first_frame, row.first_frame + row.num_frames)
        blocks = [np.asarray(member[rows]) for member in members]
        yield average_without_floor(blocks, system.weights, system.combine)


def write_likelihoods(
    system: System,
    split: str,
    corpus: CorpusFile,
    scratch: Path,
    *,
    log_prior_C: NDArray[np.float32],
    phones: Phones | None,
    greedy: GreedyTally | None = None,
) -> tuple[Path, FrameTally, PhoneTally]:
    """Average the members' files, count frame and phone errors, subtract the log-priors.

    `greedy` counts token errors.
    """
    tally, phone_tally = FrameTally(), PhoneTally(phones)

    def blocks() -> Iterator[NDArray[np.float32]]:
        for index, logp_TC in enumerate(average_members(system, split, corpus, scratch)):
            tally.count(logp_TC, corpus.labels(index))
            phone_tally.count(logp_TC, corpus.utterances[index].transcript)
            if greedy is not None:
                greedy.count(logp_TC, corpus.tokens(index), corpus.utterances[index])
            yield logp_TC - log_prior_C

    path = scratch / f"{split}.npy"
    write_rows(path, corpus, blocks())
    return path, tally, phone_tally


def write_rows(path: Path, corpus: CorpusFile, blocks: Iterable[NDArray[np.float32]]) -> None:
    """Write blocks (T, C), one after the other, into a .npy file of all frames.

    Raises:
        StageError: if the file cannot be written.
    """
    shape = (corpus.num_frames, corpus.about.num_classes)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    try:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block_TC in blocks:
                file.write(np.ascontiguousarray(block_TC, dtype="<f4").tobytes())
    except OSError as cause:
        raise StageError(
            f"{path} cannot be written ({cause}): {4 * shape[0] * shape[1]} bytes are needed"
        ) from cause


def _member_file(scratch: Path, split: str, number: int) -> Path:
    return scratch / f"{split}-member{number}.npy"
