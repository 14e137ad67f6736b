"""Transfer stores: which stores lie at a path or a URL, and where copies of them go."""

from pathlib import Path

from storage.contents.manifest import read_head
from storage.errors import StoreError, StoreIncomplete
from storage.place.remote_folder import RemoteFolder, Root, find_root
from storage.transfer.server import RemoteTarget
from storage.transfer.target import LocalTarget, Target, is_store_folder

SUFFIX = ".zarr"
SPLITS = ("train", "dev", "test")  # asked for where a server cannot be asked what it has


def find_stores(place: str, splits: tuple[str, ...] = ()) -> dict[str, str]:
    """Name below the destination -> path or URL: one store (its name is empty), or a folder's.

    `splits` chooses among train.zarr, dev.zarr, ... of a folder of stores; empty: all there are.

    Raises:
        StoreError: when there is none, or not that one.
    """
    root = find_root(place)
    if _is_store(root):
        if splits:
            raise StoreError(f"{root} is one store: --splits is for a folder with several")
        return {"": place}
    names = [split + SUFFIX for split in splits or _splits_at(root)]
    if not names:
        raise StoreError(
            f"{root} is no soft-label store, and there is none in it: name a store such as "
            "train.zarr, or a folder that holds some"
        )
    return {name: f"{place.rstrip('/')}/{name}" for name in names}


def _is_store(root: Root) -> bool:
    if isinstance(root, RemoteFolder):
        return root.url.endswith(SUFFIX) or _has_head(root)
    return root.name.endswith(SUFFIX) or is_store_folder(root)


def _splits_at(root: Root) -> list[str]:
    if isinstance(root, RemoteFolder):
        return [split for split in SPLITS if _has_head(RemoteFolder(f"{root.url}/{split}{SUFFIX}"))]
    return sorted(path.name.removesuffix(SUFFIX) for path in root.glob(f"*{SUFFIX}"))


def _has_head(root: RemoteFolder) -> bool:
    try:
        read_head(root)
    except StoreIncomplete:
        return False
    return True


def find_target(place: str, *, check: bool = False) -> Target:
    """Where a store is copied to. `check`: what was sent to a server is read back.

    Raises:
        StoreError: when nothing can be written there.
    """
    root = find_root(place)
    if isinstance(root, Path):
        return LocalTarget(root)
    if root.url.startswith(("http://", "https://")):
        raise StoreError(
            f"{root} can only be read: copy the store to the server's folder by sftp:// or "
            "another way, and pull it by this address"
        )
    return RemoteTarget(root.url, check=check)
