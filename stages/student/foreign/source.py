"""SoftLabelSource: ids of utterances, and their lengths -> the soft labels of a padded batch.

Shapes: B utterances, T frames of the longest one, K kept classes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.student.foreign.batch import PaddedCodes, SoftLabelBatch
from stages.student.foreign.match import SourceMatch, match_source
from stages.student.tempering import exponent_for
from storage.contents.frame_map import Span
from storage.errors import StoreError, StoreMismatch
from storage.format.recorded import Input
from storage.format.temperatures import temperatures_given
from storage.format.tiers import refuse_more_ranks
from storage.place.place import Place
from storage.read.reader import CACHE_BYTES, open_store

Rule = Callable[[str], str | None]


class SoftLabelSource:
    """Soft labels of a store, for a trainer. May be pickled, and used on both sides of a fork.

    Args:
        place: a path, a URL (https://, s3://, ...), or another place where a store lies.
        k: ranks of each frame; None for all that the store keeps.
        temperature: of the soft labels: that of the store, or one that it has a log norm for.
        rule: asked for ids that the store does not hold: the id whose soft labels are right for
            the utterance, frame by frame, or None. A function of a module, where processes are
            spawned.
        tolerance: frames by which a batch and the store may differ in an utterance. Frames that
            only the batch has are without soft labels.
        cache_bytes: bound of what each thread keeps decompressed.

    Raises:
        StoreError: when the store cannot be read, or lacks the ranks or the temperature.
    """

    def __init__(
        self,
        place: Place | Path | str,
        *,
        k: int | None = None,
        temperature: float | None = None,
        rule: Rule | None = None,
        tolerance: int = 0,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.store = open_store(place, cache_bytes=cache_bytes)
        about = self.store.about
        self.k = about.kept if k is None else k
        self.temperature = about.temperature if temperature is None else temperature
        self._rule, self._tolerance = rule, tolerance
        refuse_more_ranks(str(self.store.place), k=self.k, kept=about.kept)
        exponent = exponent_for(self.temperature, about)
        if exponent is None:
            given = temperatures_given(about.temperature, about.temperatures)
            listed = ", ".join(f"{t:g}" for t in given)
            raise StoreError(
                f"{self.store.place} holds soft labels at temperature {listed}, asked "
                f"temperature={self.temperature:g}: ask for one of them"
            )
        self._exponent = exponent

    @property
    def num_classes(self) -> int:
        """C: classes of the store, as many as the student's."""
        return self.store.about.num_classes

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._held(id) is not None

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Those of the ids that have no soft labels, also by the rule, in order."""
        return [id for id in ids if id not in self]

    def __call__(
        self, ids: Sequence[str | Span], lengths: Sequence[int] | torch.Tensor | None = None
    ) -> SoftLabelBatch:
        """Soft labels of utterances or parts of them, padded at the end, on the CPU.

        `lengths` counts the frames of the student's output. Without it the store's own are taken,
        and an utterance that the store does not hold has none.

        Raises:
            StoreMismatch: when an utterance has another number of frames in the store, by more
                than `tolerance`.
            StoreError: when arguments do not fit, or what is asked for cannot be read.
        """
        spans = [self._span(one) for one in _listed(ids)]
        lengths_B = self._lengths(ids, spans, lengths)
        pairs = [*zip(spans, lengths_B, strict=True)]
        wanted = [_cut(span, length) for span, length in pairs if span is not None]
        labels = self.store.read_codes(wanted, k=self.k)
        longest, tempered = max(lengths_B, default=0), self._exponent != 1
        padded = PaddedCodes.empty(
            len(ids),
            longest,
            self.k,
            dtype=labels.ids_TK.dtype,
            tempered=tempered,
            pruned=labels.count_T is not None,
        )
        soft_lengths_B = np.array([_size(span, length) for span, length in pairs], np.int64)
        # True in the order of the frames that were read: utterance after utterance.
        has_soft_BT = np.arange(longest) < soft_lengths_B[:, None]
        values = (labels.ids_TK, labels.codes_TK, labels.tail_T)
        padded.put(has_soft_BT, *values, self._log_norms(wanted), labels.count_T)
        return SoftLabelBatch(
            **padded.tensors(),
            lengths_B=torch.tensor(lengths_B, dtype=torch.int64),
            soft_lengths_B=torch.from_numpy(soft_lengths_B),
            ids=tuple(map(_id, ids)),
            is_held=tuple(span is not None for span in spans),
            num_classes=self.num_classes,
            temperature=self.temperature,
            exponent=self._exponent,
            where=str(self.store.place),
        )

    def match(
        self,
        *,
        num_classes: int | None = None,
        classes: Iterable[str] | None = None,
        frame_shift_ms: float | None = None,
        ids: Iterable[str] | None = None,
        inputs: Mapping[str, Input] | None = None,
    ) -> SourceMatch:
        """Make sure that the store was made for these classes, frames and utterances.

        Only what is given is compared. Class names, frame shift and inputs may be absent from a
        store: the result states it.

        Args:
            num_classes: of the student.
            classes: their names, in order.
            frame_shift_ms: step of the student's output.
            ids: utterances of the trainer; the result lists those without soft labels.
            inputs: what utterances were made of, as it was given to `essence.record`: bytes,
                an array or a tensor for each id.

        Raises:
            StoreMismatch: when anything differs that both have, or no id is shared.
        """
        inputs = inputs or {}
        return match_source(
            self.store,
            num_classes=num_classes,
            classes=None if classes is None else list(classes),
            frame_shift_ms=frame_shift_ms,
            held={id: self._held(id) for id in (*(ids or ()), *inputs)},
            inputs=inputs,
        )

    def _held(self, id: str) -> str | None:
        """The id in the store; None if it has no soft labels for this one."""
        if id in self.store or self._rule is None:
            return id if id in self.store else None
        original = self._rule(id)
        return original if original in self.store else None

    def _span(self, one: str | Span) -> Span | None:
        held = self._held(_id(one))
        if held is None:
            return None
        if isinstance(one, Span):
            return one._replace(id=held)
        return Span(held, 0, len(self.store.utterance_frames(held)))

    def _lengths(
        self, ids: Sequence[str | Span], spans: Sequence[Span | None], lengths: Any
    ) -> list[int]:
        if lengths is None:
            return [0 if span is None else span.stop - span.start for span in spans]
        given = lengths.tolist() if hasattr(lengths, "tolist") else list(lengths)
        if len(given) != len(ids):
            raise StoreError(f"{len(ids)} ids and {len(given)} lengths: give one for each id")
        for one, span, length in zip(ids, spans, given, strict=True):
            if not isinstance(length, int) or length < 0:
                raise StoreError(
                    f"utterance {_id(one)!r} has length {length!r}, wanted a number of frames"
                )
            if span and abs(span.stop - span.start - length) > self._tolerance:
                self._refuse_length(one, span, length)
        return given

    def _refuse_length(self, one: str | Span, span: Span, length: int) -> None:
        read_as = "" if span.id == _id(one) else f" (read as {span.id!r})"
        allowed = f", and tolerance={self._tolerance}" if self._tolerance else ""
        raise StoreMismatch(
            f"utterance {_id(one)!r}{read_as} has {length} frames in the batch, "
            f"{span.stop - span.start} in {self.store.place}{allowed}: the frames of the student's "
            "output must be those of the store: compare subsampling and padding, or give a larger "
            "tolerance"
        )

    def _log_norms(self, wanted: Sequence[Span]) -> Any:
        if self._exponent == 1:
            return None
        parts = [
            self.store.read_log_norm(span.id, temperature=self._exponent)[span.start : span.stop]
            for span in wanted
        ]
        return np.concatenate([np.empty(0, np.float32), *parts])


def _listed(ids: Sequence[str | Span]) -> Sequence[str | Span]:
    if isinstance(ids, str | Span):
        raise StoreError(f"asked one utterance {ids!r}: give a list of ids")
    return ids


def _id(one: str | Span) -> str:
    return one.id if isinstance(one, Span) else one


def _size(span: Span | None, length: int) -> int:
    """How many of an utterance's frames have soft labels."""
    return 0 if span is None else min(span.stop - span.start, length)


def _cut(span: Span, length: int) -> Span:
    return span._replace(stop=span.start + _size(span, length))
