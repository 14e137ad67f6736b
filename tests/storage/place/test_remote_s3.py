"""Reading over the S3 protocol, through s3fs, from a moto server on this machine."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.errors import StoreCorrupt, StoreIncomplete
from storage.read.reader import SoftLabelStore, open_store
from tests.support.makers.store import fill_store, make_about
from tests.support.servers.processes import run_processes
from tests.support.servers.remote import shorten_outages
from tests.support.servers.servers import s3_server

LENGTHS = (70, 0, 190, 33, 400, 1, 250)
URL = "s3://shelf/deep/a.zarr"
LACKING = [name for name in ("s3fs", "moto", "flask") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {LACKING}: pip install -e .[test]"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # moto's and botocore's own
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("s3") / "a.zarr"
    about = make_about(kept=9, num_classes=61, shard_frames=615, chunk_frames=205)
    fill_store(path, about, LENGTHS)
    return path


@pytest.fixture(scope="module")
def bucket(folder: Path) -> Iterator[Any]:
    """A file system whose bucket `shelf` holds deep/a.zarr. Tests restore what they change."""
    import s3fs

    with s3_server("shelf"), pytest.MonkeyPatch.context() as patch:
        shorten_outages(patch)
        files = s3fs.S3FileSystem()
        files.put(str(folder), "shelf/deep/a.zarr", recursive=True)
        yield files


def assert_same(found: SoftLabelStore, wanted: SoftLabelStore, *, k: int) -> None:
    ids = [row.id for row in wanted.utterances][::-1]
    theirs, ours = found.read(ids, k=k), wanted.read(ids, k=k)
    np.testing.assert_array_equal(theirs.ids_TK, ours.ids_TK)
    np.testing.assert_array_equal(theirs.logp_TK, ours.logp_TK)
    np.testing.assert_array_equal(theirs.tail_T, ours.tail_T)


def test_bucket_reads_as_the_local_store(bucket: Any, folder: Path) -> None:
    store, here = open_store(URL), open_store(folder)
    assert store.digest == here.digest
    for k in (1, 5, 9):
        assert_same(store, here, k=k)
    store.verify()
    store.verify(data=False)


def test_bucket_is_read_by_forked_processes(bucket: Any, folder: Path, tmp_path: Path) -> None:
    run_processes(tmp_path, URL, str(folder), "fork")


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "empty", "remove"])
def test_bucket_damage_is_named(bucket: Any, folder: Path, damage: str) -> None:
    """RELIABILITY 5, 6."""
    name = "val_1/c/0/0"
    content = (folder / name).read_bytes()
    flipped = content[:40] + bytes([content[40] ^ 8]) + content[41:]
    changed = {"flip": flipped, "cut": content[:-1], "grow": content + b"x", "empty": b""}
    place = f"shelf/deep/a.zarr/{name}"
    store = open_store(URL)
    if damage == "remove":
        bucket.rm_file(place)
    else:
        bucket.pipe_file(place, changed[damage])
    try:
        with pytest.raises(StoreCorrupt, match=f"{URL}/{name}"):
            store.verify()
        if damage != "flip":
            with pytest.raises(StoreCorrupt, match=f"{URL}/{name}"):
                store.verify(data=False)
        if damage != "grow":  # reading never reaches a byte after the last chunk
            with pytest.raises(StoreCorrupt, match=f"{URL}/{name}"):
                store.read(range(store.num_frames), k=9)
    finally:
        bucket.pipe_file(place, content)


def test_absent_store_or_bucket_is_incomplete(bucket: Any) -> None:
    with pytest.raises(StoreIncomplete, match=r"s3://shelf/absent\.zarr has no HEAD"):
        open_store("s3://shelf/absent.zarr")
    with pytest.raises(StoreIncomplete, match="has no HEAD"):
        open_store("s3://nobucket/a.zarr")
