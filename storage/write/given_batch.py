"""Given batch: the arguments of `Recorder.add` -> one array for each utterance, checked.

Shapes: B utterances, T frames, C classes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreError
from storage.format.recorded import Input, as_array, digest_of_id, digest_of_input
from storage.write.writer import refuse_bad_id


class Given(NamedTuple):
    """One utterance: (T, C) of the kind that the recorder was told."""

    id: str
    digest: str
    values_TC: NDArray[Any]


def given_utterances(
    ids: str | Sequence[str], values: Any, lengths: Any, inputs: Any, *, num_classes: int
) -> list[Given]:
    """The utterances of one call, without padding.

    Raises:
        StoreError: naming the argument that does not fit.
    """
    array = as_array(values)
    if array.dtype.kind != "f":
        raise StoreError(f"the values have dtype {array.dtype}, wanted floating point")
    names = [ids] if isinstance(ids, str) else list(ids)
    if isinstance(ids, str):
        array, lengths, inputs = _single(ids, array), _one(lengths), _one(inputs)
    if array.ndim != 3 or len(array) != len(names):
        raise StoreError(
            f"the values of {len(names)} ids have shape {array.shape}, wanted (batch, frames, "
            "classes), or (frames, classes) for one id that is no list"
        )
    if array.shape[2] != num_classes:
        raise StoreError(f"the values have {array.shape[2]} classes, num_classes is {num_classes}")
    frames = _lengths(names, lengths, array.shape[1])
    _refuse_bad_ids(names)
    digests = _digests(names, inputs)
    rows = zip(names, digests, array, frames, strict=True)
    return [Given(id, digest, values_TC[:length]) for id, digest, values_TC, length in rows]


def _single(id: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim != 2:
        raise StoreError(
            f"the values of utterance {id!r} have shape {array.shape}, wanted (frames, classes); "
            "for a padded batch give a list of ids"
        )
    return array[np.newaxis]


def _one(value: Any) -> Any:
    """Lengths and inputs of one utterance, as of a batch of one."""
    return None if value is None else [value]


def _lengths(ids: Sequence[str], lengths: Any, most: int) -> list[int]:
    if lengths is None:
        return [most] * len(ids)
    given = as_array(lengths).ravel().tolist()
    if len(given) != len(ids):
        raise StoreError(f"{len(ids)} ids and {len(given)} lengths: give one for each id")
    for id, length in zip(ids, given, strict=True):
        if not isinstance(length, int) or not 0 <= length <= most:
            raise StoreError(
                f"utterance {id!r} has length {length}, wanted a number of frames up to {most}, "
                "those of the values"
            )
    return given


def _digests(ids: Sequence[str], inputs: Sequence[Input] | None) -> list[str]:
    if inputs is None:
        return [digest_of_id(id) for id in ids]
    if len(inputs) != len(ids):
        raise StoreError(f"{len(ids)} ids and {len(inputs)} inputs: give one for each id")
    return [digest_of_input(one) for one in inputs]


def _refuse_bad_ids(ids: Sequence[str]) -> None:
    for id in ids:
        if not isinstance(id, str):
            raise StoreError(f"utterance id {id!r} is no text")
        refuse_bad_id(id)
    if len(set(ids)) != len(ids):
        twice = next(id for at, id in enumerate(ids) if id in ids[:at])
        raise StoreError(f"utterance {twice!r} comes twice in one call")
