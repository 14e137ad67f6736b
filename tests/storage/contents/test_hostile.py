"""Malicious stores: bombs, paths out of the store, devices, invalid values in every field."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import blosc

from storage.errors import StoreCorrupt, StoreError
from storage.format.records import decode_records, record_of
from storage.format.shard_object import CRC_BYTES, decompress, index_bytes
from storage.read.reader import open_store
from storage.write.claim import claim_new
from storage.write.writer import StoreWriter
from tests.support.faults.hostile import (
    assert_only_our_errors,
    checksummed,
    publish_manifest,
    reseal,
)
from tests.support.makers.codings import STORE_FORMS
from tests.support.makers.store import fill_store, make_about
from tests.support.paths import ROOT
from tests.support.stores import head_of

LENGTHS = (3, 0, 4, 9)
ABOUT = make_about(num_classes=9, kept=2, shard_frames=10, chunk_frames=5)
GIB = 1 << 30
LIMIT = GIB  # of address space, in the process that opens a bomb
ZSTD_8_GIB = bytes.fromhex("28b52ffd") + bytes([0b11_1_000_00]) + (8 * GIB).to_bytes(8, "little")
BLOSC_4_GIB = bytes([2, 1, 0, 1]) + b"\xff" * 4 + bytes(4) + bytes([16, 0, 0, 0])


OTHER_FORMS = [form for form in STORE_FORMS if form != "lz4"]


@pytest.fixture(
    scope="module",
    params=["lz4", *(pytest.param(form, marks=pytest.mark.slow) for form in OTHER_FORMS)],
)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "a.zarr"
    fill_store(path, replace(ABOUT, **STORE_FORMS[request.param]), LENGTHS)
    return path


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "a.zarr"))


def shard_of(chunk: bytes, *, declared: int | None = None) -> tuple[bytes, list[int]]:
    """A shard of two inner chunks with this content, and their checksums."""
    size = len(chunk) if declared is None else declared
    index = np.array([[0, size], [0, size]], dtype="<u8").tobytes()
    crc = int.from_bytes(chunk[-CRC_BYTES:], "little")
    return chunk + checksummed(index), [crc, crc]


def open_under_a_limit(path: Path, *, codes: str) -> tuple[str, float]:
    """(message, seconds of CPU) of a process that is limited to 1 GiB of address space."""
    code = (
        "import resource, sys, time; from pathlib import Path\n"
        "from storage.errors import StoreError; from storage.read.reader import open_store\n"
        "from tests.support.stores import verified\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({LIMIT}, {LIMIT}))\n"
        "path, began = Path(sys.argv[1]), time.process_time()\n"
        f"try: {codes}\n"
        "except StoreError as error: print(time.process_time() - began, error)\n"
        "else: print(0, 'nothing was found')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    seconds, message = ran.stdout.split(" ", 1)
    return message, float(seconds)


def sparse(path: Path, name: str, num_bytes: int) -> None:
    """A sparse object of zeros, whose record has the same size."""
    with (path / name).open("wb") as file:
        file.truncate(num_bytes)
    manifest = json.loads((path / f"manifest-{head_of(path)}.json").read_bytes())
    manifest["objects"][name]["bytes"] = num_bytes
    publish_manifest(path, manifest)


def make_wide_chunk(path: Path) -> None:
    sparse(path, "ids_0/c/0/0", 8 * GIB)
    index = np.array([[0, 7 * GIB], [0, 7 * GIB]], dtype="<u8").tobytes()
    with (path / "ids_0/c/0/0").open("r+b") as file:
        file.seek(8 * GIB - index_bytes(2))
        file.write(checksummed(index))


def make_many_utterances(path: Path) -> None:
    """2^28 utterances, as 2 GiB of zeros that compress well: the declared size is right."""
    attributes = json.loads((path / "zarr.json").read_bytes())
    attributes["attributes"]["num_utterances"] = (1 << 28) - 1
    reseal(path, "zarr.json", json.dumps(attributes).encode())
    header = bytes([2, 1, 0, 8]) + (GIB * 2 - 1).to_bytes(4, "little") + bytes(4) + b"\x10\0\0\0"
    reseal(path, "utterances/id_offsets/c/0", checksummed(header))


BOMBS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "zstd chunk": (
        lambda path: reseal(path, "ids_0/c/0/0", *shard_of(checksummed(ZSTD_8_GIB))),
        "open_store(path).read_shard(0, 1)",
        f"declares {8 * GIB} bytes, wanted 10",
    ),
    "blosc chunk": (
        lambda path: reseal(path, "ids_1/c/0/0", *shard_of(checksummed(BLOSC_4_GIB))),
        "open_store(path).read_shard(0, 2)",
        f"declares {4 * GIB - 1} bytes, wanted 10",
    ),
    "compressed chunk": (
        make_wide_chunk,
        "open_store(path).read_shard(0, 1)",
        f"declares {7 * GIB} bytes for 10",
    ),
    "metadata": (
        lambda path: sparse(path, "zarr.json", 8 * GIB),
        "open_store(path)",
        f"is {8 * GIB} bytes long, expected",
    ),
    "HEAD": (
        lambda path: os.truncate(path / "HEAD", 8 * GIB),
        "open_store(path)",
        "wanted 64 hex digits and a line end",
    ),
    "manifest": (
        lambda path: os.truncate(path / f"manifest-{head_of(path)}.json", 8 * GIB),
        "open_store(path)",
        f"is {8 * GIB} bytes long, expected",
    ),
    "utterances": (make_many_utterances, "open_store(path)", "id_offsets/c/0"),
}


@pytest.mark.parametrize("what", BOMBS)
def test_decompression_bomb_is_named_before_memory_is_allocated(copied: Path, what: str) -> None:
    """RELIABILITY 23: 8 GiB under a limit of 1 GiB, a named error in 50 ms of CPU."""
    make, codes, message = BOMBS[what]
    make(copied)
    took = []
    for _ in range(3):
        found, seconds = open_under_a_limit(copied, codes=codes)
        assert message in found
        took.append(seconds)
        if seconds < 0.05:
            break
    assert min(took) < 0.05
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shard_frames", 1 << 60),
        ("chunk_frames", 1 << 60),
        ("kept", 1 << 40),
        ("num_classes", 1 << 60),
        ("num_utterances", 1 << 27),
        ("num_shards", 1 << 27),
        ("temperatures", [float(2 + i) for i in range(5000)]),
    ],
)
def test_attributes_that_ask_for_too_much_are_refused_at_once(
    copied: Path, field: str, value: object
) -> None:
    """RELIABILITY 23: no attribute makes a reader use much time or memory."""
    metadata = json.loads((copied / "zarr.json").read_bytes())
    metadata["attributes"][field] = value
    if field in ("kept", "num_classes"):
        metadata["attributes"]["num_classes"] = 1 << 60
    reseal(copied, "zarr.json", json.dumps(metadata).encode())
    began = time.process_time()
    with suppress(StoreError):  # more classes than ids are harmless
        open_store(copied)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("kind", ["link", "link to folder", "pipe", "device", "folder"])
@pytest.mark.parametrize("name", ["ids_0/c/0/0", "zarr.json", "HEAD", "utterances/length/c/0"])
def test_objects_are_opened_only_if_regular_files_below_the_store(
    copied: Path, name: str, kind: str
) -> None:
    """RELIABILITY 22: links are not followed, devices and pipes not opened."""
    place = copied / name
    content = place.read_bytes()
    outside = copied.with_name("outside")
    if kind == "link to folder" and "/" in name:
        place.parent.rename(outside)
        place.parent.symlink_to(outside)
    else:
        place.unlink()
        if kind == "folder":
            place.mkdir()
        elif kind == "pipe":
            os.mkfifo(place)
        elif kind == "device" and os.getuid() == 0:
            os.mknod(place, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
        else:
            outside.write_bytes(content)
            place.symlink_to(outside)
    with pytest.raises(StoreCorrupt, match="cannot be read"):
        open_store(copied).read_shard(0, 2)
    with pytest.raises(StoreCorrupt):
        open_store(copied).verify()


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../b", "a//b", ".x", "", "a/", "a\0b", "a\nb", "ä", "a\\b"]
)
@pytest.mark.parametrize("place", ["manifest", "commit"])
def test_name_that_leads_out_of_the_store_is_refused(copied: Path, name: str, place: str) -> None:
    """RELIABILITY 22: the pattern of object names, in manifests and commit records."""
    record = {"bytes": 1, "sha256": "0" * 64}
    if place == "manifest":
        manifest = json.loads((copied / f"manifest-{head_of(copied)}.json").read_bytes())
        manifest["objects"][name] = record
        publish_manifest(copied, manifest)
        with pytest.raises(StoreCorrupt, match="not a list of objects"):
            open_store(copied)
    else:
        (copied / "HEAD").unlink()
        claim_new(copied)
        commit = json.loads((copied / "commits/00000000.json").read_bytes())
        commit["objects"][name] = record
        (copied / "commits/00000000.json").write_text(json.dumps(commit))
        with pytest.raises(StoreCorrupt, match="not a list of objects"):
            StoreWriter.open(copied)


def test_commit_record_cannot_install_objects_of_other_shards(copied: Path) -> None:
    """RELIABILITY 22: a staged HEAD stays where it is."""
    head = (copied / "HEAD").read_bytes()
    (copied / "HEAD").unlink()
    claim_new(copied)
    (copied / f"_stage/HEAD.{record_of(head).sha256}").write_bytes(head)
    commit = json.loads((copied / "commits/00000000.json").read_bytes())
    commit["objects"]["HEAD"] = {"bytes": len(head), "sha256": record_of(head).sha256}
    (copied / "commits/00000000.json").write_text(json.dumps(commit))
    with pytest.raises(StoreCorrupt, match="does not name the objects of shard 0"):
        StoreWriter.open(copied)
    assert not (copied / "HEAD").exists()


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["0" * 64, "essence soft labels", "sqrt-neglog-16", "../x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """JSON in which one value is replaced or removed."""
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 9)) == 0:
            return {name: held for name, held in value.items() if name != key}
        return value | {key: draw(mutated(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(mutated(value[at])), *value[at + 1 :]]
    return draw(JSON_VALUES)


def in_a_copy(whole: Path, spoil: Callable[[Path], None]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(shutil.copytree(whole, Path(folder) / "a.zarr"))
        spoil(path)
        assert_only_our_errors(path)


def fuzz(examples: int) -> Any:
    return settings(max_examples=examples, deadline=None)


@fuzz(25)
@given(data=st.data())
def test_attributes_that_are_mutated_raise_store_errors_only(
    whole: Path, data: st.DataObject
) -> None:
    """RELIABILITY 24: zarr.json of the store, resealed."""
    metadata = json.loads((whole / "zarr.json").read_bytes())
    attributes = data.draw(mutated(metadata["attributes"]))
    content = json.dumps(metadata | {"attributes": attributes}).encode()
    in_a_copy(whole, lambda path: reseal(path, "zarr.json", content))


@fuzz(20)
@given(data=st.data())
def test_manifests_that_are_mutated_raise_store_errors_only(
    whole: Path, data: st.DataObject
) -> None:
    """RELIABILITY 24: the manifest, with a HEAD that fits."""
    manifest = json.loads((whole / f"manifest-{head_of(whole)}.json").read_bytes())
    changed = json.dumps(data.draw(mutated(manifest))).encode()

    def spoil(path: Path) -> None:
        digest = record_of(changed).sha256
        (path / f"manifest-{digest}.json").write_bytes(changed)
        (path / "HEAD").write_text(f"{digest}\n")

    in_a_copy(whole, spoil)


@fuzz(20)
@given(data=st.data())
def test_commit_records_that_are_mutated_raise_store_errors_only(
    whole: Path, data: st.DataObject
) -> None:
    """RELIABILITY 24: of a store under construction."""
    commit = json.loads((whole / "commits/00000000.json").read_bytes())
    changed = json.dumps(data.draw(mutated(commit))).encode()

    def spoil(path: Path) -> None:
        (path / "HEAD").unlink()
        claim_new(path)
        (path / "commits/00000000.json").write_bytes(changed)

    in_a_copy(whole, spoil)


@fuzz(60)
@given(content=st.binary(max_size=80) | st.text(max_size=70).map(str.encode))
def test_head_of_any_bytes_raises_store_errors_only(whole: Path, content: bytes) -> None:
    """RELIABILITY 24: HEAD of any bytes is a digest or an error."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "HEAD").write_bytes(content)
        with pytest.raises(StoreError):
            open_store(Path(folder))


@fuzz(100)
@given(value=JSON_VALUES, raw=st.binary(max_size=40))
def test_records_of_any_bytes_raise_store_errors_only(value: Any, raw: bytes) -> None:
    """RELIABILITY 24: manifests and commit records of any bytes."""
    for content in (json.dumps(value).encode(), raw):
        with pytest.raises(StoreError):
            decode_records(content, where="here")


@fuzz(25)
@given(data=st.data())
def test_objects_that_are_mutated_raise_store_errors_only(whole: Path, data: st.DataObject) -> None:
    """RELIABILITY 24: any object, any bytes, resealed so that only its own checks are left."""
    names = sorted(p.relative_to(whole).as_posix() for p in whole.rglob("*") if p.is_file())
    names = [name for name in names if not name.startswith(("HEAD", "manifest-"))]
    name = data.draw(st.sampled_from(names))
    content = bytearray((whole / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    chosen = data.draw(st.sampled_from([bytes(content), cut, checksummed(cut)]))
    in_a_copy(whole, lambda path: reseal(path, name, chosen))


def test_blosc_frames_of_other_programs_are_bounded_too() -> None:
    """RELIABILITY 23: a frame that is sound, larger than the chunk, and tiny on the disk."""
    zeros = blosc.compress(np.zeros(1 << 26, np.uint8), b"zstd", 1, 2)
    assert len(zeros) < 1 << 20
    with pytest.raises(StoreCorrupt, match=f"declares {1 << 26} bytes, wanted 10"):
        decompress(zeros, "blosc", num_bytes=10, where="here")
