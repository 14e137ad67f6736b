"""Survey of a source: every frame checked, every utterance listed, before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from storage.corpus.utterance import Utterance
from storage.errors import StoreError
from storage.exchange.frames import Advance, DenseFrames, Frames, Source, SourceUtterance
from storage.files.fingerprint import fingerprint
from storage.format.layout import StoreUtterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a source holds. `rows` have the digests of its values."""

    rows: tuple[StoreUtterance, ...]
    num_classes: int
    is_dense: bool
    most_pairs: int  # of a sparse frame
    mass: float  # of all frames of a sparse source together

    @property
    def digest(self) -> str:
        """Identity of all values, in order."""
        return fingerprint([[row.id, row.num_frames, row.digest] for row in self.rows])

    @property
    def num_frames(self) -> int:
        """Frames of all utterances."""
        return sum(row.num_frames for row in self.rows)


def survey(
    source: Source,
    *,
    num_classes: int | None = None,
    normalise: bool = False,
    corpus: Mapping[str, Utterance] | None = None,
    advance: Advance = lambda _: None,
) -> Survey:
    """Read the source once. `corpus`: the utterances of its corpus file, if there is one.

    Raises:
        StoreError: when a frame is no distribution, an id comes twice, the corpus has no such
            utterance or another length, the form changes, or the number of classes is unknown.
    """
    counts = _Counts(num_classes)
    rows: dict[str, StoreUtterance] = {}
    for utterance in source.utterances(advance):
        id, frames = utterance.id, utterance.frames
        where = f"{utterance.where}, utterance {id!r}"
        if id in rows:
            raise StoreError(f"{where}: the id comes twice: keep one of the two")
        if corpus is not None:
            _refuse_other_length(utterance, corpus, where)
        counts.add(frames, where)
        if frames.num_frames:
            frames.check(num_classes=counts.num_classes or 0, normalise=normalise, where=where)
        rows[id] = StoreUtterance(id=id, num_frames=frames.num_frames, digest=frames.digest)
    if counts.num_classes is None or counts.is_dense is None:
        raise StoreError(f"{source.name} holds no frame: nothing would be imported")
    return Survey(
        rows=tuple(rows.values()),
        num_classes=counts.num_classes,
        is_dense=counts.is_dense,
        most_pairs=counts.most_pairs,
        mass=counts.mass,
    )


class _Counts:
    """What the utterances have in common, and sums over them."""

    def __init__(self, num_classes: int | None) -> None:
        self.num_classes = num_classes
        self.is_dense: bool | None = None
        self.most_pairs = 0
        self.mass = 0.0

    def add(self, frames: Frames, where: str) -> None:
        is_dense = isinstance(frames, DenseFrames)
        if self.is_dense not in (None, is_dense):
            raise StoreError(f"{where}: matrices and pairs in one source: import them separately")
        self.is_dense = is_dense
        if isinstance(frames, DenseFrames):
            if frames.num_frames and self.num_classes is None:
                self.num_classes = frames.logp_TC.shape[1]
            return
        if self.num_classes is None:
            raise StoreError(
                f"{where}: pairs of class and probability do not state the number of classes: "
                "add --num-classes, or --corpus"
            )
        self.most_pairs = max(self.most_pairs, frames.most_pairs)
        self.mass += float(frames.prob_P.sum(dtype=np.float64))


def _refuse_other_length(
    utterance: SourceUtterance, corpus: Mapping[str, Utterance], where: str
) -> None:
    if utterance.id not in corpus:
        raise StoreError(f"{where}: the corpus has no such utterance: is it of another split?")
    found, wanted = utterance.frames.num_frames, corpus[utterance.id].num_frames
    if found != wanted:
        raise StoreError(
            f"{where}: {found} frames, the corpus has {wanted}: wanted one for each of its rows"
        )
