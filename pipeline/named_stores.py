"""NamedStores: soft-label stores that settings name by path or URL, read through a cache on disk.

A store is known by its manifest's digest, which is remembered: what was made from it stays fresh
with the server away, or the copy removed.
"""

from pathlib import Path

from pipeline.errors import Changed
from storage.contents.manifest import read_head
from storage.errors import StoreCorrupt, StoreError
from storage.place.cached_folder import cached_folder
from storage.place.object_cache import ObjectCache
from storage.place.remote_folder import RemoteFolder, Root, find_root

CACHE = "store-cache"


class NamedStores:
    """`work_dir`: the cache lies in it."""

    def __init__(self, work_dir: Path) -> None:
        self._folder = work_dir / CACHE
        self._digests: dict[str, str] = {}

    def root(self, place: str, *, cache_bytes: int) -> Root:
        """Where to read it: a folder here, or a server behind the cache."""
        root = find_root(place)
        if isinstance(root, RemoteFolder):
            return cached_folder(root.url, self._folder, cache_bytes)
        return root

    def digest(self, place: str) -> str:
        """The store's identity; the one last seen there where it is away. Asked once.

        Raises:
            StoreError: when it is away and was never seen, or is no store.
        """
        if place not in self._digests:
            self._digests[place] = self._ask(place)
        return self._digests[place]

    def refuse_changed(self, place: str) -> None:
        """Make sure that the store is still the one whose digest was told: a run may take days.

        Raises:
            Changed: when another one lies there now.
        """
        found, wanted = self._ask(place), self.digest(place)
        if found != wanted:
            raise Changed(
                f"{place} was replaced while this command ran: found the store {found}, wanted "
                f"{wanted}: run the command again for students of the new one"
            )

    def _ask(self, place: str) -> str:
        root = self.root(place, cache_bytes=0)
        if isinstance(root, RemoteFolder):
            return read_head(root)  # it remembers by itself
        memory, name = ObjectCache(self._folder, max_bytes=0), str(root.absolute())
        try:
            digest = read_head(root)
        except StoreCorrupt:
            raise
        except StoreError:
            remembered = memory.remembered_head(name)
            if remembered is None:
                raise
            return remembered
        memory.remember_head(name, digest)
        return digest
