"""WithSoftLabels: the items of a map-style dataset, each with the soft labels of its utterance."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch.utils.data import Dataset, default_collate

from stages.student.foreign.batch import SoftLabelBatch, join_batches
from stages.student.foreign.source import SoftLabelSource

SOFT_LABELS = "soft_labels"  # their key in an item that is a mapping

Key = str | int | Callable[[Any], Any]  # a key of each item, or a function of it


class MapStyle(Protocol):
    """What is wrapped: items by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


class WithSoftLabels(Dataset[Any]):
    """A dataset whose items have soft labels, for `SoftLabelCollate`.

    An item that is a mapping gets a key more, "soft_labels"; another one becomes a pair (item,
    soft labels). A DataLoader reads those of a batch in one call.

    Args:
        dataset: any map-style dataset.
        source: where the soft labels come from.
        key: of the utterance's id in an item, or a function that returns it.
        num_frames: likewise, of the number of frames of the student's output. Without it the
            store's is taken, and an utterance without soft labels has no frames.
    """

    def __init__(
        self,
        dataset: MapStyle,
        source: SoftLabelSource,
        *,
        key: Key,
        num_frames: Key | None = None,
    ) -> None:
        self._dataset, self._source = dataset, source
        self._key, self._num_frames = key, num_frames

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[Any]) -> list[Any]:
        """The items at these indices; a DataLoader calls this with those of a batch."""
        several = getattr(self._dataset, "__getitems__", None)
        items = several(indices) if several else [self._dataset[index] for index in indices]
        ids = [_value(item, self._key) for item in items]
        lengths = None
        if self._num_frames is not None:
            lengths = [int(_value(item, self._num_frames)) for item in items]
        batch = self._source(ids, lengths)
        return [_with(item, soft) for item, soft in zip(items, batch.split(), strict=True)]


class SoftLabelCollate:
    """Items of `WithSoftLabels` -> a batch: the soft labels padded, the rest by `collate`.

    Mappings give a mapping with the key "soft_labels", other items a pair (batch, soft labels).
    """

    def __init__(self, collate: Callable[[list[Any]], Any] = default_collate) -> None:
        self._collate = collate

    def __call__(self, items: Sequence[Any]) -> Any:
        """The batch."""
        if isinstance(items[0], Mapping):
            soft = join_batches([item[SOFT_LABELS] for item in items])
            rest = [{k: v for k, v in item.items() if k != SOFT_LABELS} for item in items]
            return {**self._collate(rest), SOFT_LABELS: soft}
        return self._collate([item for item, _ in items]), join_batches([s for _, s in items])


def _value(item: Any, key: Key) -> Any:
    return key(item) if callable(key) else item[key]


def _with(item: Any, soft: SoftLabelBatch) -> Any:
    return {**item, SOFT_LABELS: soft} if isinstance(item, Mapping) else (item, soft)
