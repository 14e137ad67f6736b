"""paths -> one array of classes, a description of every utterance, and lines for the terminal.

Shapes: T frames of train.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.contract.ensemble_labels import LabelledUtterance
from stages.labels.parts import NO_PATH, Labelled
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from storage.files.fingerprint import array_digest

NAMED = 3  # utterances without a path that a note names


def assemble(
    found: Mapping[int, Labelled], original_of: Mapping[str, str], corpus: CorpusFile
) -> tuple[NDArray[np.int32], tuple[LabelledUtterance, ...]]:
    """The classes of all frames of train (T,), and how those of each utterance were made.

    A copy in `original_of` takes the classes of its original, which has as many frames.
    """
    classes_T = np.full(corpus.num_frames, NO_LABEL, np.int32)
    described = []
    for index, row in enumerate(corpus.utterances):
        source = corpus.index_of(original_of.get(row.id, row.id))
        empty = Labelled(index=index, made="none", why="no frames", classes_T=NO_PATH)
        path = found.get(source, empty)
        here_T = classes_T[row.first_frame : row.first_frame + row.num_frames]
        if path.made != "none":
            here_T[:] = path.classes_T
        described.append(
            LabelledUtterance(id=row.id, made=path.made, why=path.why, digest=array_digest(here_T))
        )
    return classes_T, tuple(described)


def describe(
    classes_T: NDArray[np.int32], utterances: Sequence[LabelledUtterance], corpus: CorpusFile
) -> Iterator[str]:
    """What was made, how it differs from the given labels, and which utterances have no path."""
    counts = Counter(each.made for each in utterances)
    yield f"labels: {counts['aligned']:,} utterances aligned, {counts['decoded']:,} decoded"
    num_both, num_other = _compare(classes_T, corpus)
    if num_both:
        yield f"labels: other than the given ones in {num_other / num_both:.1%} of aligned frames"
    failed = [each for each in utterances if each.made == "none" and each.why != "no frames"]
    if failed:
        named = "; ".join(f"{each.id!r}: {each.why}" for each in failed[:NAMED])
        more = f"; and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        yield f"labels: {len(failed):,} utterances have no path and are left out: {named}{more}"


def _compare(classes_T: NDArray[np.int32], corpus: CorpusFile) -> tuple[int, int]:
    """Frames with a given label and one of the ensemble, and those where the two differ."""
    num_both = num_other = 0
    for index, row in enumerate(corpus.utterances):
        given_T = corpus.labels(index)
        made_T = classes_T[row.first_frame : row.first_frame + row.num_frames]
        both_T = (given_T != NO_LABEL) & (made_T != NO_LABEL)
        num_both += int(both_T.sum())
        num_other += int((given_T != made_T)[both_T].sum())
    return num_both, num_other
