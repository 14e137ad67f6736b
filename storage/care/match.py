"""Corpus match: which utterances of a store are those of a corpus file, by id and content.

A store may hold more or fewer utterances than the corpus: parts are labelled, merged and cut out.
Utterances that both hold must have the same content, and the same classes. The digest of an
utterance covers its features and its hard labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from storage.corpus.corpus_file import CorpusFile
from storage.errors import StoreMismatch
from storage.format.layout import differences
from storage.read.reader import SoftLabelStore

NAMED = 3  # utterances that a message spells out
# Fields that a store and a corpus file both have, and that give frames and classes their meaning.
SHARED_FIELDS = ("class_inventory", "num_classes", "frame_shift_ms", "subsampling")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusMatch:
    """`without_soft_labels` are those of the corpus that the store lacks."""

    store: str
    num_shared: int
    num_in_store: int
    num_in_corpus: int
    without_soft_labels: frozenset[str]

    @property
    def is_whole(self) -> bool:
        """Do both hold the same utterances?"""
        return self.num_shared == self.num_in_store == self.num_in_corpus

    def __str__(self) -> str:
        """uses 812 of 948 utterances of ..., for 812 of 815 of the corpus; ..."""
        text = f"uses {self.num_shared} of {self.num_in_store} utterances of {self.store}"
        if not self.without_soft_labels:
            return text
        return (
            f"{text}; {len(self.without_soft_labels)} of the corpus's {self.num_in_corpus} "
            f"have no soft labels and are left out: {_named(sorted(self.without_soft_labels))}"
        )


def match_corpus(store: SoftLabelStore, corpus: CorpusFile) -> CorpusMatch:
    """Which utterances of a corpus the store has; it may hold more, or fewer.

    Raises:
        StoreMismatch: when classes, frame shift or subsampling differ, or the content of an
            utterance that both hold does, field by field; or when they have none in common.
    """
    lines = differences(
        {name: getattr(store.about, name) for name in SHARED_FIELDS},
        {name: getattr(corpus.about, name) for name in SHARED_FIELDS},
    )
    lines += _utterance_differences(store, corpus)
    if lines:
        found, wanted = store.about.corpus_fingerprint, corpus.fingerprint
        lines += differences({"corpus_fingerprint": found}, {"corpus_fingerprint": wanted})
        raise StoreMismatch(
            f"{store.place} was not made from {corpus.path}: {'; '.join(lines)}: "
            "name a store of this corpus, or run 'essence teacher' on it"
        )
    shared = [row for row in store.utterances if row.id in corpus]
    without = frozenset(row.id for row in corpus.utterances if row.id not in store)
    if not any(row.num_frames for row in shared):
        theirs, ours = ([row.id for row in held.utterances] for held in (store, corpus))
        raise StoreMismatch(
            f"{store.place} holds no frame of the {len(ours)} utterances of {corpus.path}: its own "
            f"are {_named(theirs)}, those of the corpus {_named(ours)}: name a store of this corpus"
        )
    return CorpusMatch(
        store=str(store.place),
        num_shared=len(shared),
        num_in_store=len(store.utterances),
        num_in_corpus=len(corpus.utterances),
        without_soft_labels=without,
    )


def _utterance_differences(store: SoftLabelStore, corpus: CorpusFile) -> Iterator[str]:
    """Frame counts and contents, each as one line."""
    counts: list[str] = []
    contents: list[str] = []
    for row in store.utterances:
        if row.id not in corpus:
            continue
        ours: Any = corpus.utterances[corpus.index_of(row.id)]
        if row.num_frames != ours.num_frames:
            counts.append(f"{row.id!r} ({row.num_frames} found, {ours.num_frames} wanted)")
        elif row.digest != ours.digest:
            contents.append(repr(row.id))
    if counts:
        yield f"frame counts of {len(counts)} utterances: {_listed(counts)}"
    if contents:
        yield f"features or hard labels (alignment) of {len(contents)} utterances: " + _listed(
            contents
        )


def _named(ids: Sequence[str]) -> str:
    return _listed([repr(id) for id in ids])


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more
