"""Transfer stores: which stores lie at a path or a URL, and where copies of them go."""

from storage.contents.manifest import holds_other_things, read_head
from storage.errors import StoreError, StoreIncomplete
from storage.place.find_place import find_place, local_path
from storage.place.place import Place
from storage.transfer.local_target import LocalTarget
from storage.transfer.remote_target import RemoteTarget
from storage.transfer.target import Target

SUFFIX = ".zarr"
SPLITS = ("train", "dev", "test")  # requested from a server that cannot list what it has


def find_stores(text: str, splits: tuple[str, ...] = ()) -> dict[str, str]:
    """Name below the destination -> path or URL: one store (its name is empty), or a folder's.

    `splits` chooses among train.zarr, dev.zarr, ... of a folder of stores; empty: all there are.

    Raises:
        StoreError: when there is none, or not that one.
    """
    place = find_place(text)
    if _is_store(place):
        if splits:
            raise StoreError(f"{place} is one store: --splits is for a folder with several")
        return {"": text}
    names = [split + SUFFIX for split in splits or _splits_at(place)]
    if not names:
        raise StoreError(
            f"{place} is no soft-label store, and there is none in it: name a store such as "
            "train.zarr, or a folder that holds some"
        )
    return {name: f"{text.rstrip('/')}/{name}" for name in names}


def _is_store(place: Place) -> bool:
    if place.address.endswith(SUFFIX):
        return True
    if place.can_list:
        entries = place.entries()
        return bool(entries) and not holds_other_things(entries)
    return _has_head(place)


def _splits_at(place: Place) -> list[str]:
    if place.can_list:
        names = sorted(name for name in place.entries() if name.endswith(SUFFIX))
        return [name.removesuffix(SUFFIX) for name in names]
    return [split for split in SPLITS if _has_head(place.below(split + SUFFIX))]


def _has_head(place: Place) -> bool:
    try:
        read_head(place)
    except StoreIncomplete:
        return False
    return True


def find_target(text: str, *, check: bool = False) -> Target:
    """Where a store is copied to. `check`: what was sent to a server is read back.

    Raises:
        StoreError: when nothing can be written there.
    """
    folder = local_path(text)
    if folder is not None:
        return LocalTarget(folder)
    if text.startswith(("http://", "https://")):
        raise StoreError(
            f"{find_place(text)} can only be read: copy the store to the server's folder by "
            "sftp:// or another way, and pull it by this address"
        )
    return RemoteTarget(text, check=check)
