"""Path check: nothing is written into a sealed store, or among other things."""

from pathlib import Path

from storage.contents.manifest import holds_other_things
from storage.errors import StoreError
from storage.format.records import GROUP, HEAD


def refuse_other_place(path: Path) -> None:
    """Make sure that a store may be made, or continued, at `path`.

    Raises:
        StoreError: when it lies in a store, or holds other things.
    """
    for folder in path.resolve().parents:
        if (folder / GROUP).is_file() and (folder / HEAD).is_file():
            raise StoreError(f"{path} lies in the store {folder}: name another place")
    if path.is_dir() and holds_other_things({entry.name for entry in path.iterdir()}):
        raise StoreError(f"{path} holds other things: name a folder that is not there yet")
