"""NamedStores: soft-label stores that settings name by path or URL, read through a cache on disk.

The digest of a store is remembered: what was made from it stays fresh while its server does not
answer, or after the copy was removed.
"""

from pathlib import Path

from pipeline.errors import Changed
from storage.contents.manifest import read_head
from storage.errors import StoreCorrupt, StoreError
from storage.files.fingerprint import SHORT
from storage.place.address import shown
from storage.place.find_place import find_place
from storage.place.object_cache import ObjectCache
from storage.place.place import Place

CACHE = "store-cache"


class NamedStores:
    """`work_dir` holds the cache."""

    def __init__(self, work_dir: Path) -> None:
        self._folder = work_dir / CACHE
        self._digests: dict[str, str] = {}

    def place(self, store: str, *, cache_bytes: int) -> Place:
        """Where to read it: a folder here, or a server behind the cache."""
        return find_place(store, cache=ObjectCache(self._folder, max_bytes=cache_bytes))

    def digest(self, store: str) -> str:
        """The store's digest, read once; if the store cannot be reached, the last one read.

        Raises:
            StoreError: when it cannot be reached and never was, or is no store.
        """
        if store not in self._digests:
            self._digests[store] = self._request(store)
        return self._digests[store]

    def refuse_changed(self, store: str) -> None:
        """Make sure that the store still has the digest that `digest` gave: a run may take days.

        Raises:
            Changed: when another one lies there now.
        """
        found, wanted = self._request(store), self.digest(store)
        if found != wanted:
            raise Changed(
                f"{shown(store)} was replaced while this command ran: found the store "
                f"{found[:SHORT]}, wanted {wanted[:SHORT]}: run the command again "
                "for students of the new one"
            )

    def _request(self, store: str) -> str:
        place = self.place(store, cache_bytes=0)
        if place.is_remote:
            return read_head(place)  # the cache that it is read through remembers it
        memory = ObjectCache(self._folder, max_bytes=0)
        try:
            digest = read_head(place)
        except StoreCorrupt:
            raise
        except StoreError:
            remembered = memory.remembered_head(place.address)
            if remembered is None:
                raise
            return remembered
        memory.remember_head(place.address, digest)
        return digest
