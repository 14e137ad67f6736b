"""Stores at a path, looked at in one call."""

from pathlib import Path

from storage.care.verify import Verified, plan_verify, verify_store
from storage.contents.contents import StoreContents, read_contents
from storage.contents.manifest import read_head
from storage.place.find_place import find_place
from storage.place.local_folder import LocalFolder


def head_of(path: Path) -> str:
    """The digest in HEAD."""
    return read_head(LocalFolder(path))


def contents_of(path: Path | str) -> StoreContents:
    """The contents of a sealed store at a path or a URL."""
    return read_contents(find_place(path))


def verified(path: Path, *, data: bool, allow_unfinished: bool = False) -> Verified:
    """The findings about a store in a local folder."""
    plan = plan_verify(LocalFolder(path), allow_unfinished=allow_unfinished)
    return verify_store(plan, data=data)
