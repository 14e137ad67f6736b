"""Streaming: a remote store read through a bounded cache on the local disk."""

import importlib.util
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from storage.errors import StoreCorrupt, StoreUnreachable
from storage.format.records import HEAD
from storage.place.find_place import find_place
from storage.place.object_cache import ObjectCache
from storage.read.reader import SoftLabelStore, open_store
from storage.read.soft_labels import SoftLabels
from tests.support.makers.transfer import make_store
from tests.support.paths import ROOT
from tests.support.servers.remote import ObjectServer, http_server, read_objects, shorten_outages

MIB = 1 << 20
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("aiohttp") is None, reason="pip install aiohttp"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed store on disk; tests do not change it."""
    path = tmp_path_factory.mktemp("far") / "a.zarr"
    make_store(path)
    return path


@pytest.fixture(scope="module")
def here(folder: Path) -> SoftLabelStore:
    return open_store(folder)


@pytest.fixture
def server(folder: Path) -> Iterator[ObjectServer]:
    with http_server() as server:
        server.objects = read_objects(folder)
        yield server


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_outages(monkeypatch)


def open_far(
    server: ObjectServer, cache: Path, *, max_bytes: int = MIB, held: int = 0
) -> SoftLabelStore:
    """Open the store through the cache; `held` bytes are kept decompressed."""
    far = find_place(server.url, cache=ObjectCache(cache, max_bytes=max_bytes))
    return open_store(far, cache_bytes=held)


def read_epoch(store: SoftLabelStore, *, seed: int, k: int = 8) -> list[SoftLabels]:
    """Read all utterances in a random order."""
    ids = [row.id for row in store.utterances]
    random.Random(seed).shuffle(ids)
    return [store.read([id], k=k) for id in ids]


def assert_same(found: list[SoftLabels], wanted: list[SoftLabels]) -> None:
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine.ids_TK, theirs.ids_TK)
        np.testing.assert_array_equal(mine.logp_TK, theirs.logp_TK)
        np.testing.assert_array_equal(mine.tail_T, theirs.tail_T)


def bytes_in(cache: Path) -> int:
    """Return the bytes of all cached objects, including unfinished ones."""
    return sum(path.stat().st_size for path in cache.iterdir() if len(path.name) >= 64)


def test_cached_store_reads_a_second_epoch_without_network(
    server: ObjectServer, here: SoftLabelStore, tmp_path: Path
) -> None:
    store = open_far(server, tmp_path / "cache")
    assert_same(read_epoch(store, seed=1), read_epoch(here, seed=1))
    counts = Counter(name for name, _, _ in server.asked)
    assert max(counts.values()) == 1
    arrays = {name.split("/c/")[0] for name in counts if name.startswith(("ids", "val", "tail"))}
    assert {name for name in arrays if "zarr" not in name} == {
        *(f"{part}_{tier}" for part in ("ids", "val") for tier in range(3)),
        "tail_2",
    }
    server.asked.clear()
    assert_same(read_epoch(store, seed=2), read_epoch(here, seed=2))
    assert server.asked == []


def test_cached_store_requests_only_head_in_another_process(
    server: ObjectServer, here: SoftLabelStore, tmp_path: Path
) -> None:
    read_epoch(open_far(server, tmp_path / "cache"), seed=1)
    server.asked.clear()
    assert_same(read_epoch(open_far(server, tmp_path / "cache"), seed=2), read_epoch(here, seed=2))
    assert [name for name, _, _ in server.asked] == [HEAD]


def test_cached_store_is_read_while_the_server_is_away(
    server: ObjectServer, here: SoftLabelStore, tmp_path: Path
) -> None:
    read_epoch(open_far(server, tmp_path / "cache"), seed=1)
    server.failures = [503] * 1000
    store = open_far(server, tmp_path / "cache")
    assert_same(read_epoch(store, seed=2), read_epoch(here, seed=2))
    with pytest.raises(StoreUnreachable, match="status 503"):
        store.read(range(9), k=9)
    with pytest.raises(StoreUnreachable, match="status 503"):
        open_far(server, tmp_path / "another")


@pytest.mark.parametrize("max_bytes", [0, 3_000, 20_000])
def test_object_cache_never_exceeds_its_size(
    server: ObjectServer, here: SoftLabelStore, tmp_path: Path, max_bytes: int
) -> None:
    store, cache = open_far(server, tmp_path / "cache", max_bytes=max_bytes), tmp_path / "cache"
    for seed in range(3):
        for id in random.Random(seed).sample([row.id for row in store.utterances], 5):
            assert_same([store.read([id], k=40)], [here.read([id], k=40)])
            assert not cache.exists() or bytes_in(cache) <= max_bytes
    assert bool(max_bytes) == (cache.exists() and bytes_in(cache) > 0)


def test_object_cache_drops_the_least_recently_used_first(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, max_bytes=30)
    names = [f"{number:064x}" for number in range(4)]
    cache._seen.update(names)  # as if verified
    for number, name in enumerate(names[:3]):
        cache.put(name, bytes(10))
        os.utime(tmp_path / name, ns=(number, number))
    handle = cache.open(names[0], 10)
    assert handle is not None
    os.close(handle)
    cache.put(names[3], bytes(10))
    assert [name for name in names if (tmp_path / name).exists()] == [names[0], names[2], names[3]]


def test_damaged_cache_objects_are_fetched_again(
    server: ObjectServer, here: SoftLabelStore, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    read_epoch(open_far(server, cache), seed=1)
    objects = sorted(path for path in cache.iterdir() if len(path.name) == 64)
    for path, wrong in zip(objects, (b"", b"x", None), strict=False):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if wrong is None else wrong)
    server.asked.clear()
    assert_same(read_epoch(open_far(server, cache), seed=2), read_epoch(here, seed=2))
    assert 1 <= len(server.asked) - 1 <= 3


def test_wrong_bytes_never_enter_the_cache(server: ObjectServer, tmp_path: Path) -> None:
    name = "ids_1/c/1/0"
    server.objects[name] = bytes(len(server.objects[name]))
    store = open_far(server, tmp_path / "cache")
    with pytest.raises(StoreCorrupt, match=f"{name}: sha256 differs"):
        read_epoch(store, seed=1)
    digests = {path.name for path in (tmp_path / "cache").iterdir()}
    assert store.contents.records[name].sha256 not in digests


def test_replaced_store_is_opened_as_the_new_one(
    server: ObjectServer, folder: Path, tmp_path: Path
) -> None:
    first = open_far(server, tmp_path / "cache")
    make_store(tmp_path / "b.zarr", split="dev")
    server.objects = read_objects(tmp_path / "b.zarr")
    second = open_far(server, tmp_path / "cache")
    assert (first.about.split, second.about.split) == ("train", "dev")
    read_epoch(second, seed=1)


def test_pickled_cached_store_uses_the_same_cache(
    server: ObjectServer, here: SoftLabelStore, tmp_path: Path
) -> None:
    store = open_far(server, tmp_path / "cache")
    read_epoch(store, seed=1)
    again = pickle.loads(pickle.dumps(store))
    server.asked.clear()
    assert_same(read_epoch(again, seed=2), read_epoch(here, seed=2))
    assert server.asked == []


CODE = """
import random, sys
from pathlib import Path
from storage.place.find_place import find_place
from storage.place.object_cache import ObjectCache
from storage.read.reader import open_store
url, cache, folder, max_bytes, seed = sys.argv[1:]
cache = ObjectCache(Path(cache), max_bytes=int(max_bytes))
store = open_store(find_place(url, cache=cache), cache_bytes=0)
here = open_store(folder)
ids = [row.id for row in store.utterances] * 3
random.Random(int(seed)).shuffle(ids)
print("begun", flush=True)
for id in ids:
    assert (store.read([id], k=9).ids_TK == here.read([id], k=9).ids_TK).all(), id
print("same")
"""


def start(
    server: ObjectServer, folder: Path, cache: Path, max_bytes: int, seed: int
) -> subprocess.Popen[str]:
    """Start a process that reads through the cache and compares with the local store."""
    words = [server.url, str(cache), str(folder), str(max_bytes), str(seed)]
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_several_processes_share_the_cache_and_fetch_each_object_once(
    server: ObjectServer, folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    running = [start(server, folder, cache, MIB, seed) for seed in range(2)]
    assert [process.communicate(timeout=60)[0] for process in running] == ["begun\nsame\n"] * 2
    counts = Counter(name for name, _, _ in server.asked if name.startswith(("ids", "val", "tail")))
    assert max(counts.values()) == 1


def test_killed_processes_leave_a_sound_cache(
    server: ObjectServer, folder: Path, tmp_path: Path
) -> None:
    cache, rng = tmp_path / "cache", random.Random(3)
    for seed in range(3):
        process = start(server, folder, cache, 20_000, seed)
        assert process.stdout
        process.stdout.readline()
        time.sleep(rng.random() / 20)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if cache.exists():
            assert bytes_in(cache) <= 20_000
    (cache / f".{'0' * 64}.17.partial").write_bytes(b"of a dead process")
    process = start(server, folder, cache, 20_000, 9)
    assert process.communicate(timeout=60)[0] == "begun\nsame\n"
    assert not list(cache.glob(".*.partial"))
    shutil.rmtree(cache)
