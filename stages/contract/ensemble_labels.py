"""EnsembleLabels: hard labels of train by an ensemble, which the labels stage writes.

    classes.npy       int32 (frames of train,): row i is frame i of train.h5, NO_LABEL where none
    utterances.json   what made them; for every utterance how, and the SHA-256 of its classes

Utterances with a transcript and hard labels were aligned along the transcript, all others decoded.
The corpus file keeps its own labels: a student chooses between the two.

Shapes: T frames of train, or of an utterance.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from stages.contract.description import read_description
from stages.contract.errors import BadInput, MissingPart
from stages.contract.settings import Settings
from storage.files.fingerprint import array_digest
from storage.files.publish import publish_file

if TYPE_CHECKING:
    from storage.corpus.corpus_file import CorpusFile

LABELS_FORMAT = 1
CLASSES_FILE = "classes.npy"
UTTERANCES_FILE = "utterances.json"
ADVICE = "remove the labels directory and run 'essence labels' again"

Made = Literal["aligned", "decoded", "none"]


class LabelledUtterance(Settings):
    """One utterance of train; `why` states why it has no classes, where `made` is "none"."""

    id: str
    made: Made
    why: str = ""
    digest: str


class LabelsAbout(Settings):
    """What made the labels. Scale and penalty are those that were chosen on dev."""

    format: Literal["essence labels 1"] = "essence labels 1"
    corpus_fingerprint: str  # of train.h5
    members: tuple[str, ...]
    acoustic_scale: float
    insertion_penalty: float
    utterances: tuple[LabelledUtterance, ...]  # all of train, in its order


@dataclass(frozen=True, slots=True)
class EnsembleLabels:
    """Opened labels, checked against their corpus. The classes are read from the disk."""

    about: LabelsAbout
    classes_T: NDArray[np.int32]
    digest: str

    @classmethod
    def open(cls, directory: Path, corpus: "CorpusFile") -> Self:
        """Open the labels of `corpus` in a directory.

        Raises:
            MissingPart: if they are not there.
            BadInput: if they are damaged, or were made from another corpus file.
        """
        if not (directory / UTTERANCES_FILE).is_file():
            raise MissingPart(f"{directory} holds no {UTTERANCES_FILE}: run 'essence labels' first")
        about = read_description(LabelsAbout, directory / UTTERANCES_FILE, advice=ADVICE)
        if about.corpus_fingerprint != corpus.fingerprint:
            raise BadInput(
                f"{directory} has labels of the corpus {about.corpus_fingerprint[:12]}, "
                f"{corpus.path} is {corpus.fingerprint[:12]}: {ADVICE}"
            )
        classes_T = _read_classes(directory / CLASSES_FILE, num_frames=corpus.num_frames)
        for row, labelled in zip(corpus.utterances, about.utterances, strict=True):
            found = array_digest(classes_T[row.first_frame : row.first_frame + row.num_frames])
            if found != labelled.digest:
                raise BadInput(
                    f"{directory / CLASSES_FILE}: the classes of utterance {row.id!r} differ from "
                    f"those that were written: {ADVICE}"
                )
        return cls(about, classes_T, array_digest(classes_T))


def write_labels(directory: Path, about: LabelsAbout, classes_T: NDArray[np.int32]) -> None:
    """Write both files; the same labels give the same bytes."""
    content = BytesIO()
    np.lib.format.write_array(content, classes_T.astype("<i4"), version=(1, 0), allow_pickle=False)
    publish_file(directory / CLASSES_FILE, content.getvalue())
    publish_file(directory / UTTERANCES_FILE, about.model_dump_json(indent=1).encode() + b"\n")


def _read_classes(path: Path, *, num_frames: int) -> NDArray[np.int32]:
    try:
        classes_T = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as cause:
        raise BadInput(f"{path} cannot be read ({cause}): {ADVICE}") from cause
    if classes_T.dtype != np.dtype("<i4") or classes_T.shape != (num_frames,):
        raise BadInput(
            f"{path} holds {classes_T.dtype} {classes_T.shape}, wanted int32 ({num_frames},): "
            f"{ADVICE}"
        )
    return np.asarray(classes_T)
