"""Reading over fsspec: one suite for a folder, a counting server in memory, and HTTP."""

import hashlib
import importlib.util
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from storage.care.verify import plan_verify, verify_store
from storage.contents.object_check import Subset
from storage.errors import StoreCorrupt, StoreError, StoreIncomplete, StoreMismatch
from storage.errors import StoreUnreachable as Unreachable
from storage.place.find_place import find_place
from storage.read.reader import SoftLabelStore, open_store
from storage.read.soft_labels import SoftLabels
from tests.support.makers.store import fill_store, make_about
from tests.support.paths import ROOT
from tests.support.servers.processes import run_processes
from tests.support.servers.remote import (
    ObjectFolder,
    Objects,
    ObjectServer,
    Waves,
    counted_server,
    http_server,
    read_objects,
    shorten_outages,
)

LENGTHS = (70, 0, 190, 33, 400, 1, 250, 80, 0, 300)
KEPT = 40
HTML = b"<html><body>Please log in.</body></html>" * 7
NEEDS_AIOHTTP = pytest.mark.skipif(
    importlib.util.find_spec("aiohttp") is None,
    reason="aiohttp is not installed: pip install 'fsspec[http]'",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten utterances in four shards of three chunks. Tests do not change it."""
    path = tmp_path_factory.mktemp("remote") / "a.zarr"
    about = make_about(kept=KEPT, num_classes=61, shard_frames=615, chunk_frames=205)
    fill_store(path, about, LENGTHS)
    return path


@pytest.fixture(scope="module")
def here(folder: Path) -> SoftLabelStore:
    return open_store(folder)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_outages(monkeypatch)


def assert_same(found: SoftLabels, wanted: SoftLabels) -> None:
    np.testing.assert_array_equal(found.ids_TK, wanted.ids_TK)
    np.testing.assert_array_equal(found.logp_TK, wanted.logp_TK)
    np.testing.assert_array_equal(found.tail_T, wanted.tail_T)


def read_all(url: str) -> None:
    """Read all ranks of all frames, then verify."""
    store = open_store(url)
    store.read(range(store.num_frames), k=KEPT)
    store.verify()


class Reading:
    """Contract of reading from any server."""

    every = 1  # of the objects that are damaged, one after the other

    def test_reading_any_utterances_at_any_k_matches_the_disk(
        self, server: ObjectServer, here: SoftLabelStore
    ) -> None:
        store, rng = open_store(server.url), np.random.default_rng(1)
        assert (store.digest, store.about) == (here.digest, here.about)
        ids = [row.id for row in store.utterances]
        for k in (1, 2, 4, 7, 8, 9, 32, KEPT):
            chosen = rng.permutation(ids)[:4].tolist()
            assert_same(store.read(chosen, k=k), here.read(chosen, k=k))
            start = int(rng.integers(0, store.num_frames - 200))
            frames = range(start, start + 200)
            assert_same(store.read(frames, k=k), here.read(frames, k=k))

    def test_verify_passes_a_sound_store(self, server: ObjectServer) -> None:
        open_store(server.url).verify()
        open_store(server.url).verify(data=False)

    @pytest.mark.parametrize("damage", ["flip", "cut", "grow", "html", "remove"])
    def test_damaged_objects_are_named(self, server: ObjectServer, damage: str) -> None:
        whole = dict(server.objects)
        for name in sorted(whole.keys() - {"HEAD"})[:: self.every]:
            server.objects |= whole
            _damage(server.objects, name, damage)
            server.publish()
            with pytest.raises(StoreCorrupt, match=name) as caught:
                read_all(server.url)
            assert server.told in str(caught.value)

    @pytest.mark.parametrize("damage", ["cut", "grow", "html", "remove"])
    def test_verify_of_sizes_finds_objects_that_were_cut_off(
        self, server: ObjectServer, damage: str
    ) -> None:
        name = "ids_1/c/0/0"
        store = open_store(server.url)
        assert name in server.objects
        _damage(server.objects, name, damage)
        server.publish()
        with pytest.raises(StoreCorrupt, match=name):
            store.verify(data=False)

    @pytest.mark.parametrize("name", ["zarr.json", "ids_0/zarr.json", "utterances/zarr.json"])
    def test_metadata_that_differ_from_the_manifest_are_refused(
        self, server: ObjectServer, name: str
    ) -> None:
        server.objects[name] = server.objects[name].replace(b" ", b"\n", 1)  # the same to JSON
        server.publish()
        with pytest.raises(StoreCorrupt, match=f"{name}: sha256 differs"):
            open_store(server.url)

    def test_chunk_of_another_object_is_refused(self, server: ObjectServer) -> None:
        server.objects["ids_1/c/0/0"] = server.objects["ids_1/c/1/0"]
        server.publish()
        with pytest.raises(StoreCorrupt, match="ids_1/c/0/0"):
            open_store(server.url).read(range(9), k=4)

    def test_store_without_head_is_under_construction(self, server: ObjectServer) -> None:
        del server.objects["HEAD"]
        server.publish()
        with pytest.raises(StoreIncomplete, match="HEAD"):
            open_store(server.url)

    @pytest.mark.parametrize("head", [HTML, b"", b"0" * 64, b"0" * 63 + b"\n", b"f" * 64 + b"\n"])
    def test_head_that_is_no_digest_is_corrupt(self, server: ObjectServer, head: bytes) -> None:
        server.objects["HEAD"] = head
        server.publish()
        with pytest.raises(StoreCorrupt):
            open_store(server.url)

    def test_pickled_store_opens_itself_or_refuses_another_store(
        self, server: ObjectServer, here: SoftLabelStore, tmp_path: Path
    ) -> None:
        store = open_store(server.url)
        sent = pickle.dumps(store)
        assert len(sent) < 1000
        assert_same(pickle.loads(sent).read(range(99), k=5), here.read(range(99), k=5))
        fill_store(tmp_path / "b.zarr", make_about(), [30])
        server.objects.clear()
        server.objects |= read_objects(tmp_path / "b.zarr")
        server.publish()
        with pytest.raises(StoreMismatch, match="was replaced while it was in use"):
            pickle.loads(sent)


class RemoteReading(Reading):
    """Additional contract of reading from a server."""

    def test_reading_k_ranks_requests_only_tiers_up_to_k(self, server: ObjectServer) -> None:
        for k, last_tier in ((1, 0), (8, 2), (KEPT, 5)):
            store = open_store(server.url)
            server.asked.clear()
            store.read(range(store.num_frames), k=k)
            arrays = {name.split("/c/")[0] for name, _, _ in server.asked}
            tiers = range(last_tier + 1)
            wanted = {f"{part}_{i}" for i in tiers for part in ("ids", "val")}
            assert arrays == wanted | {f"tail_{last_tier}"}
            opened = list(store.bytes_by_tier().values())[last_tier]
            assert sum(stop - start for _, start, stop in server.asked) <= opened

    def test_opening_requests_small_objects_only(self, server: ObjectServer) -> None:
        open_store(server.url)
        names = [name for name, _, _ in server.asked]
        assert not [
            name for name in names if name.startswith(("ids_", "val_", "tail_")) and "/c/" in name
        ]
        assert set(names) <= server.objects.keys()
        assert max(names.count(name) for name in names) <= 2  # zarr.json

    def test_chunk_is_requested_once(self, server: ObjectServer) -> None:
        store = open_store(server.url)
        store.read(range(50), k=4)
        server.asked.clear()
        store.read(range(50, 90), k=4)
        assert server.asked == []

    @pytest.mark.parametrize("status", [500, 503, 429, 408])
    def test_passing_errors_are_retried(
        self, server: ObjectServer, here: SoftLabelStore, status: int
    ) -> None:
        server.failures = [status, status]
        store = open_store(server.url)
        server.failures = [status, status]
        assert_same(store.read(range(9), k=8), here.read(range(9), k=8))

    def test_lasting_errors_are_raised_with_the_url(self, server: ObjectServer) -> None:
        store = open_store(server.url)
        server.asked.clear()
        server.failures = [503] * 100
        with pytest.raises(Unreachable, match=f"{server.url}/ids_0/.*status 503"):
            store.read(range(9), k=8)
        assert len(server.asked) > 3 * len({name for name, *_ in server.asked})

    @pytest.mark.parametrize("status", [401, 403])
    def test_refusals_are_not_retried(self, server: ObjectServer, status: int) -> None:
        server.failures = [status] * 100
        with pytest.raises(Unreachable, match=f"{server.url}/HEAD .*status {status}"):
            open_store(server.url)
        assert len(server.asked) == 1

    def test_server_without_ranges_is_recognised(self, server: ObjectServer) -> None:
        store = open_store(server.url)
        server.knows_ranges = False
        assert open_store(server.url).digest == store.digest  # small objects are read whole
        with pytest.raises(StoreCorrupt, match="the server gives no byte ranges"):
            store.read(range(9), k=8)
        with pytest.raises(StoreCorrupt, match="the server gives no byte ranges"):
            store.verify(data=False)

    def test_object_of_another_size_is_named_before_it_is_hashed(
        self, server: ObjectServer
    ) -> None:
        folder, size = find_place(server.url), len(server.objects["zarr.json"])
        assert folder.open_objects({}).read("zarr.json", size, 0) == server.objects["zarr.json"]
        with pytest.raises(StoreCorrupt, match=f"ends at byte {size}, wanted"):
            folder.open_objects({}).read("zarr.json", 9, size - 8)
        with pytest.raises(StoreCorrupt, match=f"is more than {size - 1} bytes long, expected"):
            list(folder.read_whole({"zarr.json": size - 1}))
        with pytest.raises(StoreCorrupt, match=f"is {size} bytes long, expected {size + 1}"):
            list(folder.read_whole({"zarr.json": size + 1}))

    def test_unfinished_store_on_a_server_is_refused(self, server: ObjectServer) -> None:
        del server.objects["HEAD"]
        with pytest.raises(StoreIncomplete):
            open_store(server.url, allow_unfinished=True)

    def test_names_that_lead_out_of_the_store_are_never_requested(
        self, server: ObjectServer
    ) -> None:
        """RELIABILITY 22: a manifest is untrusted input; its names must match a pattern."""
        digest = server.objects["HEAD"].decode().strip()
        manifest = json.loads(server.objects[f"manifest-{digest}.json"])
        manifest["objects"]["../secret"] = manifest["objects"].pop("zarr.json")
        content = json.dumps(manifest).encode()
        changed = digest_of(content)
        server.objects |= {"HEAD": f"{changed}\n".encode(), f"manifest-{changed}.json": content}
        with pytest.raises(StoreCorrupt, match="secret"):
            open_store(server.url)
        assert [name for name, _, _ in server.asked] == ["HEAD", f"manifest-{changed}.json"]


class TestFolder(Reading):
    """file://, read like a path."""

    @pytest.fixture
    def server(self, folder: Path, tmp_path: Path) -> ObjectServer:
        server = ObjectFolder(tmp_path / "a ü.zarr")
        server.objects = read_objects(folder)
        server.folder.mkdir()
        server.publish()
        return server


class TestCounted(RemoteReading):
    """A file system that has only `cat_file`."""

    @pytest.fixture
    def server(self, folder: Path) -> ObjectServer:
        server = counted_server()
        server.objects = read_objects(folder)
        return server


@NEEDS_AIOHTTP
class TestHttp(RemoteReading):
    """A server on this machine."""

    every = 7  # a request takes a millisecond

    @pytest.fixture
    def server(self, folder: Path) -> Iterator[ObjectServer]:
        with http_server() as server:
            server.objects = read_objects(folder)
            yield server

    def test_forked_and_spawned_processes_read_the_same(
        self, server: ObjectServer, folder: Path, tmp_path: Path
    ) -> None:
        run_processes(tmp_path, server.url, str(folder), "fork", "spawn")

    def test_opening_takes_three_round_trips(self, server: ObjectServer) -> None:
        """HEAD, the manifest that it names, and all that the manifest names."""
        server.waves = Waves(*opening(server))
        open_store(server.url)
        assert len(server.asked) == sum(opening(server))

    def test_reading_an_utterance_takes_a_round_trip_for_indices_and_one_for_chunks(
        self, server: ObjectServer, here: SoftLabelStore
    ) -> None:
        near, beside, far = (here.utterances[index].id for index in (3, 0, 4))
        for k, objects in ((1, 3), (8, 7), (KEPT, 13)):
            server.waves = None
            store = open_store(server.url)
            server.waves = Waves(objects, objects, objects, objects, objects)
            server.asked.clear()
            assert_same(store.read([near], k=k), here.read([near], k=k))
            assert len(server.asked) == 2 * objects
            assert_same(store.read([beside], k=k), here.read([beside], k=k))
            assert len(server.asked) == 3 * objects  # another chunk of objects whose index is known
            assert_same(store.read([far], k=k), here.read([far], k=k))
            assert len(server.asked) == 5 * objects  # of another shard, two chunks each

    def test_reading_a_block_takes_two_requests_per_object(
        self, server: ObjectServer, here: SoftLabelStore
    ) -> None:
        store, frames = open_store(server.url), range(here.num_frames)
        objects = 7 * here.num_shards
        server.waves = Waves(objects, objects)
        server.asked.clear()
        assert_same(store.read(frames, k=8), here.read(frames, k=8))
        assert len(server.asked) == 2 * objects

    def test_verify_of_sizes_and_bytes_takes_one_round_trip(
        self, server: ObjectServer, here: SoftLabelStore
    ) -> None:
        subset = Subset(2, 3)  # aiohttp has 100 connections, the store more objects
        for data in (False, True):
            server.waves, server.asked = Waves(1, 1), []
            plan = plan_verify(find_place(server.url), subset=subset)
            records = server.objects.keys() - {"HEAD", server.asked[1][0]}
            commits = [here.num_shards] if data else []
            server.waves = Waves(len(subset.choose(records)), opening(server)[-1], *commits)
            verified = verify_store(plan, data=data)
            assert verified.num_checked == len(subset.choose(records))

    def test_missing_server_is_named(self, server: ObjectServer) -> None:
        url = "http://127.0.0.1:9/a.zarr"
        with pytest.raises(Unreachable, match=f"{url}/HEAD cannot be read"):
            open_store(url)


def _damage(objects: Objects, name: str, damage: str) -> None:
    content = objects[name]
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
    changed = {"flip": flipped, "cut": content[:-1], "grow": content + b"\n", "html": HTML}
    if damage == "remove":
        del objects[name]
    else:
        objects[name] = changed[damage]


def opening(server: ObjectServer) -> tuple[int, int, int]:
    """Return the number of objects per round trip: HEAD, the manifest, the small objects."""
    names = [n for n in server.objects if n.endswith("zarr.json") or n.startswith("utterances/")]
    return (1, 1, len(set(names)))


def digest_of(content: bytes) -> str:
    """Return the digest in the name of a manifest."""
    return hashlib.sha256(content).hexdigest()


def test_store_in_fsspecs_memory_is_read_and_verified(folder: Path, here: SoftLabelStore) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "memory://test_remote/a.zarr", recursive=True)
    try:
        store = open_store("memory://test_remote/a.zarr/")
        assert_same(store.read(range(500), k=8), here.read(range(500), k=8))
        store.verify()
    finally:
        memory.rm("memory://test_remote", recursive=True)
    with pytest.raises(StoreIncomplete, match=r"memory://test_remote/a\.zarr has no HEAD"):
        open_store("memory://test_remote/a.zarr")


def test_forked_process_reads_on(folder: Path, tmp_path: Path) -> None:
    run_processes(tmp_path, "memory://a.zarr", str(folder), "fork")


def test_missing_package_is_named() -> None:
    """In a separate interpreter, since fsspec caches the file system of s3://."""
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from storage.read.reader import open_store\n"
        "open_store('s3://bucket/a.zarr')"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    wanted = r"StoreError: s3://bucket/a\.zarr cannot be read here: .*s3fs"
    assert re.search(wanted, run.stderr), run.stderr


def test_urls_without_a_reader_are_refused() -> None:
    with pytest.raises(StoreError, match="nonsense"):
        open_store("nonsense://bucket/a.zarr")
    with pytest.raises(StoreError, match="wanted a plain URL"):
        open_store("https://host/a.zarr?signature=abc")
    with pytest.raises(StoreError, match="wanted a plain URL"):
        open_store("zip://a.zarr::memory://a.zip")
    with pytest.raises(StoreError, match="names another machine"):
        open_store("file://host/a.zarr")


def test_password_is_not_in_messages() -> None:
    folder = find_place("nonsense://me:secret@host/a.zarr/")
    assert str(folder) == folder.address == "nonsense://***@host/a.zarr"
    with pytest.raises(StoreError) as caught:
        open_store("nonsense://me:secret@host/a.zarr")
    assert "secret" not in str(caught.value)


def test_text_without_scheme_is_a_path(folder: Path, here: SoftLabelStore) -> None:
    assert open_store(str(folder)).digest == here.digest
    assert open_store(folder.as_uri()).place.folder == folder
