"""corpus, store, student -> Example: posteriors of teacher and student for one utterance.

Shapes: T frames, F feature dims, C classes, K kept ranks, R classes shown.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.graph_files import holds_kaldi_graph
from stages.acoustic.lang.lang import Lang, read_lang
from stages.acoustic.lang.token_lang import TokenLang, holds_token_lang, read_token_lang
from stages.acoustic.lang.word_spans import Spellings
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
MOST_UNITS = 2  # of a class that several units share: named, before "..."


@dataclass(frozen=True, slots=True)
class WordSpan:
    """A word of the transcript from frame `start` to the one before `end`, by the hard labels."""

    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One utterance over its most active classes, in order of time.

    `teacher_TR` is 0 for classes that the store did not keep. `labels_T` holds row numbers, -1 if
    the hard label is unknown or not among the R classes. `student_TR` is None without a student.
    `names_R` has unit and state of each class, or its number; `words` is empty without a lexicon,
    or if the hard labels do not spell the transcript.
    """

    utterance: str
    transcript: str
    seconds_per_frame: float
    features_TF: NDArray[np.float32]
    classes_R: NDArray[np.int64]
    names_R: tuple[str, ...]
    words: tuple[WordSpan, ...]
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
        lang = _read_lang(inputs.corpus_directory / "lang")
        return Example(
            utterance=row.id,
            transcript=row.transcript,
            seconds_per_frame=corpus.about.frame_shift_ms / 1000,
            features_TF=corpus.features(index),
            classes_R=classes_R,
            names_R=tuple(class_names(lang, classes_R.tolist())),
            words=word_spans(lang, row.transcript, corpus.labels(index)),
            labels_T=_rows_of(corpus.labels(index), classes_R),
            teacher_TR=teacher_TC[:, classes_R],
            student_TR=None if prob_TC is None else prob_TC[:, classes_R],
            student=student.system.name if student else None,
        )


def _read_lang(directory: Path) -> Lang | TokenLang | None:
    """None for a graph of Kaldi, which is large and names neither units nor pronunciations."""
    if not directory.is_dir():
        return None
    if holds_token_lang(directory):
        return read_token_lang(directory)
    return None if holds_kaldi_graph(directory) else read_lang(directory)


def class_names(lang: Lang | TokenLang | None, classes: Iterable[int]) -> Iterator[str]:
    """`AE-N.2 (17)`: a unit, the number of its state, and the class; without names the class.

    A token: `th (17)`.
    """
    if isinstance(lang, TokenLang):
        yield from (f"{lang.tokens[number]} ({number})" for number in classes)
        return
    units: dict[int, list[str]] = {}
    for unit, states in lang.units.items() if lang else ():
        for number, state in enumerate(states, 1):
            units.setdefault(state, []).append(f"{unit}.{number}")
    for number in classes:
        found = units.get(number, [])
        more = "..." if len(found) > MOST_UNITS else ""
        name = " ".join([*found[:MOST_UNITS], *([more] if more else [])])
        yield f"{name} ({number})" if name else str(number)


def word_spans(
    lang: Lang | TokenLang | None, transcript: str, labels_T: NDArray[np.int32]
) -> tuple[WordSpan, ...]:
    """The words of a transcript that the hard labels spell, or nothing."""
    spellings = Spellings.of(lang) if lang else None
    words = transcript.split()
    spans = spellings.spans(words, labels_T.tolist()) if spellings else None
    return tuple(WordSpan(word, *span) for word, span in zip(words, spans or (), strict=False))


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
    prob_TK = np.where(soft.is_absent_TK, 0, np.exp(soft.logp_TK))
    np.put_along_axis(prob_TC, soft.ids_TK.astype(np.int64), prob_TK, axis=1)
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
