"""ByteCache: the entries that were used last, up to a number of bytes."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Held = bytes | memoryview | NDArray[Any]


class ByteCache:
    """The least recently used entry is dropped first. One larger than the cache is not kept."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, Held] = OrderedDict()
        self.num_bytes = 0

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def get(self, key: Hashable) -> Held | None:
        """The entry under this key, which counts as used now; None if there is none."""
        held = self._entries.get(key)
        if held is not None:
            self._entries.move_to_end(key)
        return held

    def put(self, key: Hashable, held: Held) -> None:
        """Keep an entry, instead of an older one under this key, and drop the least recent ones."""
        before = self._entries.pop(key, None)
        self.num_bytes -= 0 if before is None else _num_bytes(before)
        if _num_bytes(held) > self._max_bytes:
            return
        self._entries[key] = held
        self.num_bytes += _num_bytes(held)
        while self.num_bytes > self._max_bytes:
            self.num_bytes -= _num_bytes(self._entries.popitem(last=False)[1])


def _num_bytes(held: Held) -> int:
    return held.nbytes if isinstance(held, np.ndarray) else len(held)
