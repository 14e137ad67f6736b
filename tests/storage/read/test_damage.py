"""Damage to any object of a store is detected and named: on reading, and by verify."""

import json
import re
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from numcodecs import blosc, zstd

from storage.errors import StoreCorrupt, StoreError, StoreIncomplete
from storage.files.fingerprint import canonical_json
from storage.format.codec import CodecName
from storage.format.records import record_of
from storage.format.shard_object import check_crc, decompress, read_index
from storage.read.reader import open_store
from storage.transfer.source import open_source
from storage.write.shard_commit import write_shard
from tests.support.makers.codings import STORE_FORMS
from tests.support.makers.store import fill_store, make_about
from tests.support.stores import head_of, verified

LENGTHS = (3, 0, 4, 9)
READ_ONLY_BY_VERIFY = "commits/"  # a reader of labels has no business with commit records


MOST_BYTES = 40_000  # of the store in which every byte is flipped
LONGEST_FLIP = 0.1  # seconds: the store is read and verified, on a machine with other work
SIZES = {"num_classes": 9, "kept": 3, "shard_frames": 10, "chunk_frames": 5}


@pytest.fixture(scope="module", params=STORE_FORMS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sealed store of two shards and two tiers; tests do not change it."""
    path = tmp_path_factory.mktemp("whole") / "a.zarr"
    about = make_about(**SIZES, temperatures=(2.0,), **STORE_FORMS[request.param])
    fill_store(path, about, LENGTHS)
    return path


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """A copy for a test to damage."""
    return Path(shutil.copytree(whole, tmp_path / "a.zarr"))


def files_of(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def read_everything(path: Path) -> None:
    store = open_store(path)
    store.read([row.id for row in store.utterances], k=store.about.kept)
    store.read([row.id for row in store.utterances], k=1)
    for row in store.utterances:
        store.read_log_norm(row.id, temperature=2.0)


def assert_named(path: Path, name: str) -> None:
    """Assert that reading and verifying both name this object (HEAD is read first)."""
    if not name.startswith(READ_ONLY_BY_VERIFY):
        with pytest.raises(StoreError) as error:
            read_everything(path)
        assert name in str(error.value) or name.startswith("manifest-") or name == "HEAD"
    with pytest.raises(StoreError) as error:
        open_store(path).verify()
    assert name in str(error.value) or name.startswith("manifest-") or name == "HEAD"


def test_undamaged_store_passes(whole: Path) -> None:
    read_everything(whole)
    open_store(whole).verify()


def test_truncated_objects_are_named(copied: Path) -> None:
    """RELIABILITY 6."""
    for name in files_of(copied):
        content = (copied / name).read_bytes()
        for size in {0, len(content) // 2, len(content) - 1}:
            (copied / name).write_bytes(content[:size])
            assert_named(copied, name)
        (copied / name).write_bytes(content + b"\0")
        assert_named(copied, name)
        (copied / name).write_bytes(content)
    open_store(copied).verify()


def test_missing_objects_are_named(copied: Path) -> None:
    """RELIABILITY 6."""
    for name in files_of(copied):
        content = (copied / name).read_bytes()
        (copied / name).unlink()
        assert_named(copied, name)
        (copied / name).write_bytes(content)


def test_objects_replaced_by_others_are_named(copied: Path) -> None:
    """RELIABILITY 6: also if both are sound: another shard's object, or another store's."""
    other = copied.with_name("other.zarr")
    fill_store(other, open_store(copied).about, (9, 3, 4))
    names = files_of(copied)
    for name in names:
        content = (copied / name).read_bytes()
        twins = [copied / name.replace("c/0", "c/1"), copied / name.replace("/0", "/1", 1)]
        for twin in [*twins, other / name]:
            if twin.is_file() and twin.read_bytes() != content:
                (copied / name).write_bytes(twin.read_bytes())
                assert_named(copied, name)
        (copied / name).write_bytes(content)


def test_swapped_objects_of_the_same_size_are_named(copied: Path) -> None:
    """RELIABILITY 6: neither sizes nor the checksums inside the objects reveal the swap."""
    names = [f"tail_0/c/{shard}" for shard in (0, 1)]
    contents = [(copied / name).read_bytes() for name in names]
    assert len(contents[0]) == len(contents[1])
    assert contents[0] != contents[1]
    for name, content in zip(names, reversed(contents), strict=True):
        (copied / name).write_bytes(content)
    with pytest.raises(StoreCorrupt, match=r"tail_0/c/0, chunk 0: crc32c is not the manifest's"):
        open_store(copied).read_shard(0, 1)


def flip_bytes(path: Path, *, step: int) -> int:
    """Flip one bit of every `step`th byte of every object. Returns how many."""
    flipped = 0
    for name in files_of(path):
        content = bytearray((path / name).read_bytes())
        for place in range(flipped % step, len(content), step):
            bit = 1 << place % 8
            content[place] ^= bit
            (path / name).write_bytes(content)
            assert_named(path, name)
            content[place] ^= bit
            flipped += 1
        (path / name).write_bytes(content)
    read_everything(path)
    return flipped


def test_flipped_bits_are_named(copied: Path) -> None:
    """RELIABILITY 5."""
    assert flip_bytes(copied, step=61) > 200


@pytest.mark.slow
@pytest.mark.timeout(MOST_BYTES * LONGEST_FLIP)
def test_flipped_bit_in_every_byte_is_named(copied: Path) -> None:
    """RELIABILITY 5."""
    size = sum((copied / name).stat().st_size for name in files_of(copied))
    assert size <= MOST_BYTES
    assert flip_bytes(copied, step=1) == size


def test_verify_without_data_compares_sizes_only(copied: Path) -> None:
    place = copied / "val_1" / "c" / "0" / "0"
    content = bytearray(place.read_bytes())
    content[3] ^= 1
    place.write_bytes(content)
    open_store(copied).verify(data=False)
    place.write_bytes(content[:-1])
    with pytest.raises(StoreCorrupt, match=r"val_1/c/0/0 is \d+ bytes long, expected \d+"):
        open_store(copied).verify(data=False)


def test_unlisted_file_is_named(copied: Path) -> None:
    (copied / "ids_0" / "c" / "7").mkdir()
    (copied / "ids_0" / "c" / "7" / "0").write_bytes(b"x")
    with pytest.raises(StoreCorrupt, match="ids_0/c/7/0 is not in the manifest"):
        open_store(copied).verify()


def test_links_are_not_followed(copied: Path) -> None:
    """RELIABILITY 22."""
    place = copied / "ids_0" / "c" / "0" / "0"
    outside = copied.with_name("outside")
    place.rename(outside)
    place.symlink_to(outside)
    with pytest.raises(StoreCorrupt, match=r"ids_0/c/0/0 cannot be read"):
        open_store(copied).read_shard(0, 1)
    with pytest.raises(StoreCorrupt, match="ids_0/c/0/0"):
        open_store(copied).verify()


def reseal(path: Path, name: str, content: bytes) -> None:
    """Make a store that is consistent and wrong, as a defective writer would."""
    (path / name).write_bytes(content)
    manifest_path = path / f"manifest-{head_of(path)}.json"
    manifest = json.loads(manifest_path.read_bytes())
    record = record_of(content)
    manifest["objects"][name] |= {"bytes": record.num_bytes, "sha256": record.sha256}
    encoded = (canonical_json(manifest) + "\n").encode()
    digest = record_of(encoded).sha256
    manifest_path.unlink()
    (path / f"manifest-{digest}.json").write_bytes(encoded)
    (path / "HEAD").write_text(f"{digest}\n")


def test_fill_inside_an_utterance_is_named_with_its_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that lost rows leaves fill values, which must not read as class 65535."""
    encode = write_shard.__globals__["encode_shard"]

    def encode_with_a_hole(about, blocks, *, shard):  # type: ignore[no-untyped-def]
        (kept,) = blocks
        kept.ids_TK[4:6] = 65535
        return encode(about, [kept], shard=shard)

    monkeypatch.setattr("storage.write.shard_commit.encode_shard", encode_with_a_hole)
    fill_store(tmp_path / "a.zarr", make_about(), [3, 8])
    with pytest.raises(StoreCorrupt, match=r"shard 0, utterance '../ütt/1', frame 1: a class id"):
        open_store(tmp_path / "a.zarr").read_shard(0, 2)


def test_newer_format_is_refused(copied: Path) -> None:
    metadata = json.loads((copied / "zarr.json").read_bytes())
    metadata["attributes"]["format_version"] = 3
    reseal(copied, "zarr.json", json.dumps(metadata).encode())
    with pytest.raises(StoreError, match="version 3, wanted 'essence soft labels' version 1 or 2"):
        open_store(copied)


def test_versions_of_manifest_and_attributes_are_compared(copied: Path) -> None:
    metadata = json.loads((copied / "zarr.json").read_bytes())
    version = metadata["attributes"]["format_version"]
    metadata["attributes"]["format_version"] = 3 - version
    reseal(copied, "zarr.json", json.dumps(metadata).encode())
    # Attributes of format 1 that name a pruning contradict themselves first.
    is_pruned = metadata["attributes"].get("pruning") is not None
    message = f"zarr.json states format version {3 - version}, the manifest {version}"
    wanted = "in format 1 without pruning" if is_pruned and version == 2 else message
    for act in (open_store, open_source, partial(verified, data=False)):
        with pytest.raises(StoreError, match=wanted):
            act(copied)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pruning", {"min_p": 0.1}),
        ("pruning", {"mass": 0.5}),
        ("pruning", {"mass": None, "min_prob": 1}),
        ("value_code", "other"),
        ("tiers", [[1, 3]]),
        ("kept", 300),
        ("kept", True),
        ("kept", "3"),
        ("kept", None),
        ("members", "abc"),
        ("members", [3]),
        ("temperatures", None),
        ("num_utterances", 1 << 40),
        ("num_utterances", 2),
        ("num_shards", 1),
        ("num_frames", 15),
        ("shard_frames", 5),
        ("chunk_frames", 1 << 40),
    ],
)
def test_invalid_attributes_are_refused(copied: Path, field: str, value: object) -> None:
    metadata = json.loads((copied / "zarr.json").read_bytes())
    metadata["attributes"][field] = value
    reseal(copied, "zarr.json", json.dumps(metadata).encode())
    with pytest.raises(StoreError):
        open_store(copied)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"attributes": 3}']
)
def test_malformed_metadata_are_refused(copied: Path, content: bytes) -> None:
    reseal(copied, "zarr.json", content)
    with pytest.raises(StoreCorrupt, match=r"zarr\.json is not the metadata of a store"):
        open_store(copied)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../b", "a//b", ".hidden", ""])
def test_manifest_that_leads_out_of_the_store_is_refused(copied: Path, name: str) -> None:
    manifest_path = copied / f"manifest-{head_of(copied)}.json"
    manifest = json.loads(manifest_path.read_bytes())
    manifest["objects"][name] = {"bytes": 1, "sha256": "0" * 64}
    encoded = canonical_json(manifest).encode()
    digest = record_of(encoded).sha256
    (copied / f"manifest-{digest}.json").write_bytes(encoded)
    (copied / "HEAD").write_text(f"{digest}\n")
    with pytest.raises(StoreCorrupt, match="not a list of objects"):
        open_store(copied)


def test_head_must_be_a_digest_and_a_line_end(copied: Path) -> None:
    digest = head_of(copied)
    for text in (digest, digest + "\n\n", digest.upper() + "\n", "../x\n", ""):
        (copied / "HEAD").write_text(text)
        with pytest.raises(StoreCorrupt, match="wanted 64 hex digits"):
            open_store(copied)
    (copied / "HEAD").unlink()
    with pytest.raises(StoreIncomplete, match="2 shards are done"):
        open_store(copied)


def test_chunk_that_declares_too_much_is_refused_before_memory_is_allocated() -> None:
    """RELIABILITY 23."""
    bomb = bytes([2, 1, 0, 1]) + (8 << 28).to_bytes(4, "little") + bytes(4) + bytes([16, 0, 0, 0])
    with pytest.raises(StoreCorrupt, match=re.escape(f"declares {8 << 28} bytes, wanted 55")):
        decompress(bomb, "blosc", num_bytes=55, where="here")
    zstd_bomb = bytes.fromhex("28b52ffd") + bytes([0b11_1_000_00]) + (1 << 33).to_bytes(8, "little")
    with pytest.raises(StoreCorrupt, match=f"declares {1 << 33} bytes, wanted 55"):
        decompress(zstd_bomb, "zstd", num_bytes=55, where="here")


@pytest.mark.parametrize("codec", ["zstd", "blosc"])
def test_mutated_chunks_raise_no_other_error_than_store_corrupt(codec: CodecName) -> None:
    """RELIABILITY 24."""
    rng = np.random.default_rng(7)
    rows = rng.integers(0, 9, size=501).astype(np.uint8)
    sound = zstd.compress(rows, 1) if codec == "zstd" else blosc.compress(rows, b"zstd", 1, 2)
    for _ in range(500):
        body = bytearray(sound)
        for place in rng.integers(0, len(body), size=rng.integers(1, 4)):
            body[place] = rng.integers(0, 256)
        cut = bytes(body[: rng.integers(0, len(body) + 1)]) if rng.random() < 0.3 else bytes(body)
        with suppress(StoreCorrupt):  # what is not found here, the checksum has found before
            decompress(cut, codec, num_bytes=501, where="here")


def test_index_that_points_outside_is_refused() -> None:
    for entry in ((90, 20), (1 << 63, 1 << 63), (0, 101)):
        body = np.array([entry, (0, 10)], dtype="<u8").tobytes()
        raw = body + google_crc32c.value(body).to_bytes(4, "little")
        with pytest.raises(StoreCorrupt, match="lies outside"):
            read_index(raw, object_bytes=100 + len(raw), where="here")


def test_objects_too_short_for_a_checksum_are_refused() -> None:
    for raw in (b"", b"\0\0\0\0", b"abc"):
        with pytest.raises(StoreCorrupt):
            check_crc(raw, where="here")


@pytest.mark.parametrize("head_first", [False, True])
def test_truncated_copy_never_looks_whole(whole: Path, tmp_path: Path, head_first: bool) -> None:
    """RELIABILITY 14: after any number of objects, the last one cut in half; copying resumes."""
    names = sorted(files_of(whole), key=lambda name: (name == "HEAD") != head_first)
    copy = tmp_path / "copy.zarr"
    copy.mkdir()
    for name in names:
        place, content = copy / name, (whole / name).read_bytes()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content[: len(content) // 2])
        with pytest.raises(StoreError):
            open_store(copy).verify(data=False)
        place.write_bytes(content)
        if name != names[-1]:
            with pytest.raises(StoreError):
                open_store(copy).verify(data=False)
    open_store(copy).verify()
