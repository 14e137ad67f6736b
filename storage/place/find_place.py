"""find_place: the place that a path or a URL names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage.errors import StoreError
from storage.place.address import shown
from storage.place.cached_ranges import CachedRanges
from storage.place.local_folder import LocalFolder
from storage.place.object_cache import ObjectCache
from storage.place.place import Place
from storage.place.remote_folder import RemoteFolder
from storage.place.remote_ranges import RemoteRanges


def find_place(place: Place | Path | str, *, cache: ObjectCache | None = None) -> Place:
    """A folder of this machine for a path or file://, otherwise the folder behind the URL.

    With `cache`, objects from behind a URL are kept there. A place is returned as it is.

    Raises:
        StoreError: when the URL is of a kind that is not read here.
    """
    if not isinstance(place, Path | str):
        return place
    folder = local_path(place)
    if folder is not None:
        return LocalFolder(folder)
    url = str(place)
    return RemoteFolder(RemoteRanges(url) if cache is None else CachedRanges(url, cache, {}))


def local_path(place: Path | str) -> Path | None:
    """The folder that a path or a file:// URL names; None for any other URL.

    Raises:
        StoreError: when the URL names another machine.
    """
    if isinstance(place, Path) or "://" not in place:
        return Path(place)
    if not place.startswith("file://"):
        return None
    parts = urlsplit(place)
    if parts.netloc not in ("", "localhost"):
        raise StoreError(f"{shown(place)} names another machine: write file:///folder/train.zarr")
    return Path(unquote(parts.path))
