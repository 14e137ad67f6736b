"""Match: does a store fit a trainer that has no corpus file: classes, frame shift, inputs?

A store may lack the names of its classes, its frame shift and digests of its inputs: it was
recorded without them. Then they are not compared, and the result states it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from storage.errors import StoreMismatch
from storage.files.fingerprint import SHORT, inventory_digest
from storage.format.recorded import NOT_RECORDED, Input, digest_of_id, digest_of_input
from storage.read.reader import SoftLabelStore

NAMED = 3  # utterances that a message lists


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMatch:
    """What was compared and is equal; what the store does not contain.

    `without_soft_labels` are the ids given that the store does not hold.
    """

    store: str
    equal: tuple[str, ...]
    not_recorded: tuple[str, ...]
    num_utterances: int
    without_soft_labels: tuple[str, ...]

    def __str__(self) -> str:
        """train.zarr: class names equal; not recorded: frame shift; 3 of 5 utterances ..."""
        parts = [f"equal: {', '.join(self.equal)}"] if self.equal else []
        parts += [f"not recorded: {', '.join(self.not_recorded)}"] if self.not_recorded else []
        if self.num_utterances:
            held = self.num_utterances - len(self.without_soft_labels)
            parts.append(f"{held} of {self.num_utterances} utterances have soft labels")
        return f"{self.store}: {'; '.join(parts) or 'nothing compared'}"


def match_source(
    store: SoftLabelStore,
    *,
    num_classes: int | None,
    classes: Sequence[str] | None,
    frame_shift_ms: float | None,
    held: Mapping[str, str | None],
    inputs: Mapping[str, Input],
) -> SourceMatch:
    """Compare what is given; `held` has the store's id for each id of the trainer.

    Raises:
        StoreMismatch: with everything that differs.
    """
    about, compared = store.about, _Comparison([], [], [])
    for count in {num_classes, None if classes is None else len(classes)} - {None}:
        compared.add("number of classes", about.num_classes, count)
    if classes is not None:
        found = about.class_inventory[:SHORT]
        wanted = inventory_digest(classes)[:SHORT]
        is_recorded = about.class_inventory != NOT_RECORDED
        compared.add("class names (digest)", found, wanted, is_recorded=is_recorded)
    if frame_shift_ms is not None:
        shift = about.frame_shift_ms
        compared.add("frame shift in ms", shift, frame_shift_ms, is_recorded=shift > 0)
    if inputs:
        _compare_inputs(store, held, inputs, compared)
    without = tuple(id for id, found_id in held.items() if found_id is None)
    if held and len(without) == len(held):
        compared.wrong.append(f"none of {len(held)} utterances is in the store: {_named(without)}")
    if compared.wrong:
        raise StoreMismatch(
            f"{store.place} was made for other classes or utterances: {'; '.join(compared.wrong)}: "
            "give those that it was recorded with, or another store"
        )
    return SourceMatch(
        store=str(store.place),
        equal=tuple(dict.fromkeys(compared.equal)),
        not_recorded=tuple(compared.absent),
        num_utterances=len(held),
        without_soft_labels=without,
    )


class _Comparison(NamedTuple):
    """Names of what is equal and of what the store lacks; a line for each difference."""

    equal: list[str]
    absent: list[str]
    wrong: list[str]

    def add(self, name: str, found: object, wanted: object, *, is_recorded: bool = True) -> None:
        if not is_recorded:
            self.absent.append(name)
        elif found == wanted:
            self.equal.append(name)
        else:
            self.wrong.append(f"{name}: {found} in the store, {wanted} given")


def _compare_inputs(
    store: SoftLabelStore,
    held: Mapping[str, str | None],
    inputs: Mapping[str, Input],
    compared: _Comparison,
) -> None:
    """By digest, of the utterances that the store holds."""
    digests = {row.id: row.digest for row in store.utterances}
    differing, absent, equal = [], [], []
    for id, value in inputs.items():
        at = held.get(id)
        if at is None:
            continue
        if digests[at] == digest_of_id(at):
            absent.append(id)
        elif digests[at] == digest_of_input(value):
            equal.append(id)
        else:
            differing.append(id)
    if differing:
        compared.wrong.append(f"inputs of {len(differing)} utterances differ: {_named(differing)}")
    if absent:
        compared.absent.append(f"inputs of {len(absent)} utterances")
    if equal:
        compared.equal.append(f"inputs of {len(equal)} utterances")


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(map(repr, ids[:NAMED])) + more
