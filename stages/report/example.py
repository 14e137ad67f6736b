"""corpus file, store, student -> Example: posteriors of teacher and student for one utterance.

Shapes: T frames, F feature dims, C classes, K kept ranks, R classes shown.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadInput
from stages.contract.results import SystemResult
from stages.members.kinds import open_member
from stages.members.run import compute_posteriors
from stages.report.inputs import ReportInputs
from stages.report.settings import ReportSettings
from storage.care.match import match_corpus
from storage.corpus.corpus_file import CorpusFile
from storage.read.reader import SoftLabelStore, open_store
from storage.read.soft_labels import SoftLabels

USUAL_SECONDS = 3.0  # long enough to see words, short enough to see frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One utterance over its most active classes, in order of time.

    `teacher_TR` is 0 for classes that the store did not keep. `labels_T` holds row numbers, -1 if
    the hard label is unknown or not among the R classes. `student_TR` is None without a student.
    """

    utterance: str
    transcript: str
    seconds_per_frame: float
    features_TF: NDArray[np.float32]
    classes_R: NDArray[np.int64]
    labels_T: NDArray[np.int64]
    teacher_TR: NDArray[np.float32]
    student_TR: NDArray[np.float32] | None
    student: str | None


def read_example(
    inputs: ReportInputs, settings: ReportSettings, *, student: SystemResult | None
) -> Example | None:
    """The example of the page; None if there are no soft labels of dev."""
    if inputs.store is None:
        return None
    store = open_store(inputs.store)
    with CorpusFile(inputs.corpus_directory / "dev.h5") as corpus:
        match_corpus(store, corpus)
        index = _choose(corpus, store, settings.utterance)
        if index is None:
            return None
        row = corpus.utterances[index]
        soft = store.read_utterance(row.id, store.about.kept)
        prob_TC = _student_posteriors(student, corpus, index) if student else None
        teacher_TC = _dense(soft, corpus.about.num_classes)
        classes_R = most_active(teacher_TC, prob_TC, num_classes=settings.posteriorgram_classes)
        return Example(
            utterance=row.id,
            transcript=row.transcript,
            seconds_per_frame=corpus.about.frame_shift_ms / 1000,
            features_TF=corpus.features(index),
            classes_R=classes_R,
            labels_T=_rows_of(corpus.labels(index), classes_R),
            teacher_TR=teacher_TC[:, classes_R],
            student_TR=None if prob_TC is None else prob_TC[:, classes_R],
            student=student.system.name if student else None,
        )


def _choose(corpus: CorpusFile, store: SoftLabelStore, wanted: str | None) -> int | None:
    rows = corpus.utterances
    have = [i for i, row in enumerate(rows) if row.id in store and row.num_frames]
    if wanted is not None:
        have = [i for i in have if rows[i].id == wanted]
        if not have:
            raise BadInput(
                f"report.utterance is {wanted!r}, of which {corpus.path} and {store.place} hold no "
                "frame: name another utterance of dev, or none"
            )
    usual = USUAL_SECONDS * 1000 / corpus.about.frame_shift_ms
    return min(have, key=lambda i: (abs(rows[i].num_frames - usual), rows[i].id), default=None)


def _student_posteriors(
    student: SystemResult, corpus: CorpusFile, index: int
) -> NDArray[np.float32]:
    member = open_member(student.system.model_directories[0], device="cpu")
    num_frames = corpus.utterances[index].num_frames
    pieces = compute_posteriors(
        member, corpus, [index], batch_frames=num_frames, device="cpu", name=student.system.name
    )
    logp_TC = np.concatenate([piece_TC for _, piece_TC in pieces])
    return np.asarray(np.exp(logp_TC))


def _dense(soft: SoftLabels, num_classes: int) -> NDArray[np.float32]:
    prob_TC = np.zeros((soft.num_frames, num_classes), np.float32)
    np.put_along_axis(prob_TC, soft.ids_TK.astype(np.int64), np.exp(soft.logp_TK), axis=1)
    return prob_TC


def most_active(
    teacher_TC: NDArray[np.float32], student_TC: NDArray[np.float32] | None, *, num_classes: int
) -> NDArray[np.int64]:
    """The classes with most mass for teacher or student, ordered by their centre in time."""
    either_C = teacher_TC.sum(axis=0)
    if student_TC is not None:
        either_C = np.maximum(either_C, student_TC.sum(axis=0))
    chosen = np.argsort(-either_C, kind="stable")[:num_classes]
    mass_TR = teacher_TC[:, chosen] + (0 if student_TC is None else student_TC[:, chosen])
    time_T = np.arange(len(teacher_TC))
    centre_R = (time_T @ mass_TR) / np.maximum(mass_TR.sum(axis=0), np.float32(1e-12))
    return chosen[np.argsort(centre_R, kind="stable")].astype(np.int64)


def _rows_of(labels_T: NDArray[np.int32], classes_R: NDArray[np.int64]) -> NDArray[np.int64]:
    row_of = {int(c): row for row, c in enumerate(classes_R)}
    return np.array([row_of.get(int(label), -1) for label in labels_T], dtype=np.int64)
