"""The contract of `Place`: for a local folder, memory, HTTP, and a cache of a server."""

import importlib.util
import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import fsspec
import pytest

from storage.errors import StoreCorrupt, StoreError
from storage.format.records import Records, record_of
from storage.place import byte_ranges, local_folder, remote_folder
from storage.place.byte_ranges import ByteRange
from storage.place.cached_ranges import CachedRanges
from storage.place.find_place import find_place, local_path
from storage.place.object_cache import ObjectCache
from storage.place.place import Place
from storage.place.remote_folder import RemoteFolder
from tests.support.servers.remote import http_server, shorten_outages

CONTENTS = {
    "HEAD": b"0123456789\n",
    "empty": b"",
    "a ü/c/0": bytes(range(256)) * 3,
    "a ü/c/1": b"x",
    "large": bytes(range(251)) * 40,  # of several pieces, and more than one request
}
RECORDS: Records = {name: record_of(content) for name, content in CONTENTS.items()}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_outages(monkeypatch)
    monkeypatch.setattr(byte_ranges, "REQUEST_BYTES", 3000)
    monkeypatch.setattr("storage.place.remote_check.REQUEST_BYTES", 3000)
    for module in (local_folder, remote_folder):
        monkeypatch.setattr(module, "PIECE_BYTES", 4099)


class PlaceContract:
    """The contract of every place. A subclass has a fixture `place` that holds CONTENTS.

    `change` replaces the content of an object there, or removes it.
    """

    def change(self, place: Place, name: str, content: bytes | None) -> None:
        raise NotImplementedError

    def test_capabilities_are_consistent(self, place: Place) -> None:
        assert (place.folder is None) == place.is_remote
        assert place.can_list or not place.may_be_incomplete

    def test_where_and_below_begin_with_the_place(self, place: Place) -> None:
        assert place.where("a ü/c/0") == f"{place}/a ü/c/0"
        assert str(place.below("a ü")) == place.where("a ü")

    def test_address_opens_the_same_objects(self, place: Place) -> None:
        again = find_place(place.address)
        assert list(again.read_whole({"large": None})) == [CONTENTS["large"]]

    def test_below_is_a_place_of_the_subfolder(self, place: Place) -> None:
        below = place.below("a ü")
        assert list(below.read_whole({"c/1": 1, "c/0": None})) == [b"x", CONTENTS["a ü/c/0"]]

    @pytest.mark.parametrize("name", CONTENTS)
    def test_peek_returns_the_first_bytes(self, place: Place, name: str) -> None:
        content = CONTENTS[name]
        assert place.peek(name, 7) == content[:7]
        assert place.peek(name, 1 << 20) == content

    def test_peek_of_an_absent_object_is_none(self, place: Place) -> None:
        assert place.peek("absent", 7) is None
        assert place.peek("HEAD/below a file", 7) is None
        assert place.below("absent").peek("HEAD", 7) is None

    def test_read_whole_keeps_the_requested_order(self, place: Place) -> None:
        sizes = {name: len(CONTENTS[name]) for name in reversed(CONTENTS)}
        assert list(place.read_whole(sizes)) == [CONTENTS[name] for name in sizes]
        assert list(place.read_whole(dict.fromkeys(CONTENTS))) == list(CONTENTS.values())
        assert list(place.read_whole({})) == []

    @pytest.mark.parametrize(("change", "found"), [(-1, "more than 767"), (1, "768")])
    def test_read_whole_names_an_object_of_another_size(
        self, place: Place, change: int, found: str
    ) -> None:
        found = "768" if not place.is_remote else found
        message = f"{place}/a ü/c/0 is {found} bytes long, expected {768 + change}"
        with pytest.raises(StoreCorrupt, match=message):
            list(place.read_whole({"a ü/c/1": 1, "a ü/c/0": 768 + change}))

    def test_read_whole_names_a_missing_object(self, place: Place) -> None:
        with pytest.raises(StoreCorrupt, match=f"{place}/absent cannot be read"):
            list(place.read_whole({"HEAD": None, "absent": None}))

    @pytest.mark.parametrize("name", CONTENTS)
    def test_pieces_join_to_the_whole_object(self, place: Place, name: str) -> None:
        pieces = list(place.pieces(name, len(CONTENTS[name])))
        assert b"".join(pieces) == CONTENTS[name]
        assert len(pieces) == 3 or name != "large"

    @pytest.mark.parametrize("num_bytes", [10_039, 10_041, 4099, 0])
    def test_pieces_refuse_an_object_of_another_size(self, place: Place, num_bytes: int) -> None:
        came = []
        with pytest.raises(StoreCorrupt, match=f"{place}/large .*expected {num_bytes}"):
            came.extend(place.pieces("large", num_bytes))
        assert b"".join(came) == CONTENTS["large"][: sum(map(len, came))]
        assert sum(map(len, came)) <= num_bytes

    def test_pieces_refuse_a_missing_object(self, place: Place) -> None:
        with pytest.raises(StoreCorrupt, match=f"{place}/absent cannot be read"):
            list(place.pieces("absent", 3))

    @pytest.mark.parametrize("data", [False, True])
    def test_check_passes_sound_objects(self, place: Place, data: bool) -> None:
        assert dict(place.check(RECORDS, data=data)) == dict.fromkeys(RECORDS)

    @pytest.mark.parametrize("data", [False, True])
    @pytest.mark.parametrize("name", CONTENTS)
    def test_check_finds_damage(self, place: Place, name: str, data: bool) -> None:
        content = CONTENTS[name]
        flipped = bytes(255 - value for value in content)
        changes = {"longer": content + b"!", "shorter": content[:-1], "absent": None}
        for what, changed in ({"flipped": flipped} | changes).items():
            self.change(place, name, changed)
            found = dict(place.check(RECORDS, data=data))
            is_seen = changed != content and (data or what != "flipped")
            assert (found.pop(name) is not None) == is_seen, what
            assert found == dict.fromkeys(found)

    def test_check_names_object_and_sizes(self, place: Place) -> None:
        self.change(place, "a ü/c/1", b"xy")
        ((name, text),) = place.check({"a ü/c/1": RECORDS["a ü/c/1"]}, data=False)
        assert name == "a ü/c/1"
        assert text is not None
        assert text.startswith(f"{place}/a ü/c/1 is ")
        assert text.endswith(" bytes long, expected 1")

    def test_object_reader_reads_any_range(self, place: Place) -> None:
        reader = place.open_objects(RECORDS)
        for name, start, stop in (("large", 0, 10_040), ("large", 77, 99), ("a ü/c/0", 767, 768)):
            assert reader.read(name, stop - start, start) == CONTENTS[name][start:stop]

    def test_object_reader_reads_the_same_with_any_expected_ranges(self, place: Place) -> None:
        reader = place.open_objects(RECORDS)
        expected = [
            ByteRange("large", 10, 20),
            ByteRange("large", 20, 5000),
            ByteRange("a ü/c/0", 3, 4),
        ]
        reader.expect(expected)
        for name, start, stop in (*expected, ByteRange("large", 15, 25)):
            assert reader.read(name, stop - start, start) == CONTENTS[name][start:stop]
        reader.expect([])
        assert reader.read("large", 10, 10) == CONTENTS["large"][10:20]

    def test_object_reader_names_a_missing_object(self, place: Place) -> None:
        reader = place.open_objects(RECORDS | {"absent": record_of(b"abc")})
        with pytest.raises(StoreCorrupt, match=f"{place}/absent cannot be read"):
            reader.read("absent", 3, 0)

    def test_object_reader_refuses_a_truncated_object(self, place: Place) -> None:
        self.change(place, "large", CONTENTS["large"][:-1])
        with pytest.raises(StoreCorrupt, match=f"{place}/large"):
            place.open_objects(RECORDS).read("large", 40, 10_000)

    def test_pickled_place_reads_the_same(self, place: Place) -> None:
        again = pickle.loads(pickle.dumps(place))
        assert str(again) == str(place)
        assert list(again.read_whole({"large": None})) == [CONTENTS["large"]]

    def test_find_place_returns_a_place_unchanged(self, place: Place) -> None:
        assert find_place(place) is place

    def test_listing_is_complete_or_refused(self, place: Place) -> None:
        if not place.can_list:
            with pytest.raises(StoreError, match="not listed"):
                place.entries()
            with pytest.raises(StoreError, match="not listed"):
                place.sizes()
            return
        assert place.entries() == {"HEAD", "empty", "a ü", "large"}
        assert place.entries("a ü/c") == {"0", "1"}
        assert place.entries("absent") == set()
        assert place.sizes() == {name: len(content) for name, content in CONTENTS.items()}


class TestLocalFolder(PlaceContract):
    """A folder on this machine."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        for name, content in CONTENTS.items():
            path = tmp_path / "a.zarr" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return find_place(tmp_path / "a.zarr")

    def change(self, place: Place, name: str, content: bytes | None) -> None:
        assert place.folder
        if content is None:
            (place.folder / name).unlink()
        else:
            (place.folder / name).write_bytes(content)

    def test_symlinks_are_not_followed(self, place: Place, tmp_path: Path) -> None:
        assert place.folder
        (place.folder / "large").rename(tmp_path / "large")
        (place.folder / "large").symlink_to(tmp_path / "large")
        assert place.sizes()["large"] == local_folder.NO_PLAIN_FILE
        (found,) = place.check({"large": RECORDS["large"]}, data=False)
        assert found[1] is not None
        for read in (
            lambda: place.peek("large", 3),
            lambda: list(place.read_whole({"large": None})),
            lambda: list(place.pieces("large", 10_040)),
            lambda: place.open_objects(RECORDS).read("large", 3, 0),
        ):
            with pytest.raises(StoreCorrupt, match=f"{place}/large cannot be read"):
                read()

    def test_sizes_exclude_the_stage(self, place: Place) -> None:
        assert place.folder
        (place.folder / "_stage").mkdir()
        (place.folder / "_stage" / "b").write_bytes(b"b")
        assert place.entries() == {"HEAD", "empty", "a ü", "large", "_stage"}
        assert place.sizes().keys() == CONTENTS.keys()

    def test_listing_of_an_absent_folder_is_refused(self, place: Place) -> None:
        with pytest.raises(StoreError, match="is not there"):
            place.below("absent").entries()
        with pytest.raises(StoreError, match="name a folder"):
            place.below("HEAD").entries()

    def test_path_and_file_url_name_the_same_folder(self, tmp_path: Path) -> None:
        folder = tmp_path / "a ü.zarr"
        named = {local_path(folder), local_path(str(folder)), local_path(folder.as_uri())}
        assert named == {folder}
        assert find_place(folder.as_uri()) == find_place(folder)
        assert local_path("s3://bucket/a.zarr") is None

    def test_object_reader_refuses_an_object_of_another_size(self, place: Place) -> None:
        self.change(place, "large", CONTENTS["large"] + b"!")
        with pytest.raises(StoreCorrupt, match="is 10041 bytes long, expected 10040"):
            place.open_objects(RECORDS).read("large", 3, 0)


class TestMemory(PlaceContract):
    """fsspec's memory file system, which has no HTTP status codes."""

    url = "memory://contract/a.zarr"

    @pytest.fixture
    def place(self) -> Iterator[Place]:
        memory = fsspec.filesystem("memory")
        for name, content in CONTENTS.items():
            memory.pipe(f"{self.url}/{name}", content)
        yield find_place(self.url)
        memory.rm("memory://contract", recursive=True)

    def change(self, place: Place, name: str, content: bytes | None) -> None:
        memory = fsspec.filesystem("memory")
        if content is None:
            memory.rm(f"{self.url}/{name}")
        else:
            memory.pipe(f"{self.url}/{name}", content)


class TestCached(TestMemory):
    """The same behind a cache on disk that has the records, as after reading the manifest."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        memory = fsspec.filesystem("memory")
        for name, content in CONTENTS.items():
            memory.pipe(f"{self.url}/{name}", content)
        cache = ObjectCache(tmp_path / "cache", max_bytes=1 << 20)
        yield RemoteFolder(CachedRanges(self.url, cache, dict(RECORDS)))
        memory.rm("memory://contract", recursive=True)


@pytest.mark.skipif(importlib.util.find_spec("aiohttp") is None, reason="pip install aiohttp")
class TestHttp(PlaceContract):
    """A server on this machine, with byte ranges."""

    @pytest.fixture
    def place(self) -> Iterator[Place]:
        with ExitStack() as stack:
            self.server = stack.enter_context(http_server())
            self.server.objects = dict(CONTENTS)
            yield find_place(self.server.url)

    def change(self, place: Place, name: str, content: bytes | None) -> None:
        if content is None:
            del self.server.objects[name]
        else:
            self.server.objects[name] = content

    def test_peek_reads_no_more_from_a_server_without_ranges(self, place: Place) -> None:
        self.server.knows_ranges = False
        assert place.peek("large", 7) == CONTENTS["large"][:7]
