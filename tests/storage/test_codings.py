"""Stores of every coding behave alike: read, audited, repaired, copied, cut and merged."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.care.audit import audit_store
from storage.care.repair import plan_repair, repair
from storage.derived.recode import plan_recode
from storage.derived.shard import ShardRecoder
from storage.derived.store import write_derived
from storage.errors import StoreCorrupt, StoreError, StoreMismatch
from storage.format.codec import CODINGS, CodecChoice, Coding
from storage.format.layout import FrameArray
from storage.read.reader import open_store
from storage.transfer.plan import Selection
from storage.write.writer import StoreWriter
from tests.support.makers.codings import STORE_CODINGS
from tests.support.makers.parts import (
    ROWS,
    assert_same_values,
    make_part,
    merge,
    shard_bytes,
    split,
)
from tests.support.makers.parts import stored_values as stored
from tests.support.makers.store import tree_digest
from tests.support.makers.transfer import copy
from tests.support.stores import contents_of, verified

NAMES = list(STORE_CODINGS)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same labels in every coding; tests do not change them."""
    folder = tmp_path_factory.mktemp("codings")
    return {
        name: make_part(folder / f"{name}.zarr", ROWS, coding=coding, chunk_frames=3)
        for name, coding in STORE_CODINGS.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_coding_changes_no_value(stores: dict[str, Path], name: str) -> None:
    store, reference = open_store(stores[name]), open_store(stores["format 1"])
    assert str(store.about.coding) in str(STORE_CODINGS[name]) or name == "mixed"
    assert_same_values(stored(stores[name]), stored(stores["format 1"]))
    everything = range(store.num_frames)
    for k in range(1, store.about.kept + 1):
        found, wanted = store.read(everything, k=k), reference.read(everything, k=k)
        np.testing.assert_array_equal(found.ids_TK, wanted.ids_TK)
        np.testing.assert_array_equal(found.logp_TK, wanted.logp_TK)
        np.testing.assert_array_equal(found.tail_T, wanted.tail_T)
    found_audit, wanted_audit = audit_store(store), audit_store(reference)
    same = {"digest": "", "bytes_per_frame": {}}
    assert replace(found_audit, **same) == replace(wanted_audit, **same)  # type: ignore[arg-type]
    assert verified(stores[name], data=True).problems == ()


@pytest.mark.parametrize("name", NAMES)
def test_coding_stays_in_copies_and_parts(
    stores: dict[str, Path], tmp_path: Path, name: str
) -> None:
    copy(stores[name], tmp_path / "a.zarr", Selection(ks=(2,), shards=((1, 2),)))
    part, whole = open_store(tmp_path / "a.zarr"), open_store(stores[name])
    assert part.about.coding == whole.about.coding
    for k in (2, 3, 4):
        found, wanted = part.read_shard(1, k), whole.read_shard(1, k)
        np.testing.assert_array_equal(found.ids_TK, wanted.ids_TK)
        np.testing.assert_array_equal(found.tail_T, wanted.tail_T)
    assert verified(tmp_path / "a.zarr", data=True).problems == ()
    copy(stores[name], tmp_path / "a.zarr")
    assert tree_digest(tmp_path / "a.zarr") == tree_digest(stores[name])


@pytest.mark.parametrize("name", NAMES)
def test_coding_stays_where_a_store_is_cut_and_joined(
    stores: dict[str, Path], tmp_path: Path, name: str
) -> None:
    ids = [row.id for row in ROWS]
    split(stores[name], tmp_path / "a.zarr", ids[:4])
    split(stores[name], tmp_path / "b.zarr", ids[4:])
    merge(tmp_path / "m.zarr", tmp_path / "a.zarr", tmp_path / "b.zarr")
    for each in "abm":
        about = open_store(tmp_path / f"{each}.zarr").about
        assert about.coding == open_store(stores[name]).about.coding
    assert_same_values(stored(tmp_path / "m.zarr"), stored(stores[name]))


@pytest.mark.parametrize(("first", "second"), [*itertools.permutations(NAMES, 2)])
def test_stores_of_two_codings_are_merged_by_recoding_only(
    tmp_path: Path, first: str, second: str
) -> None:
    """The newest format is that of the merged store, and each value is as it was stored."""
    parts = [
        make_part(tmp_path / f"{number}.zarr", rows, coding=STORE_CODINGS[name])
        for number, (name, rows) in enumerate(((first, ROWS[:5]), (second, ROWS[5:])))
    ]
    with pytest.raises(StoreMismatch, match=r"coding: found 'format \d, .*: add --recode"):
        merge(tmp_path / "m.zarr", *parts)
    merge(tmp_path / "m.zarr", *parts, recode=True)
    merged, abouts = open_store(tmp_path / "m.zarr"), [open_store(part).about for part in parts]
    assert merged.about.coding == abouts[first == "format 1"].coding
    merged.verify()
    assert_same_values(stored(tmp_path / "m.zarr"), stored(parts[0]) | stored(parts[1]))


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 2
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["format 1", *CODINGS])
def test_coding_is_restored_where_metadata_of_an_array_are_damaged(
    stores: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """RELIABILITY 8: the codec follows from those of the other arrays; the manifest confirms it."""
    for number, place in enumerate(sorted(stores[name].glob("*_*/zarr.json"))):
        path = Path(shutil.copytree(stores[name], tmp_path / f"{number}.zarr"))
        damaged = path / place.relative_to(stores[name])
        for act in (spoil, Path.unlink):
            act(damaged)
            plan = plan_repair(path)
            assert plan.rewrite.keys() == {f"{damaged.parent.name}/zarr.json"}
            repair(path, plan)
            assert tree_digest(path) == tree_digest(stores[name])


def test_codec_that_does_not_follow_from_the_others_is_not_guessed(
    stores: dict[str, Path], tmp_path: Path
) -> None:
    """RELIABILITY 8: repair never invents."""
    path = Path(shutil.copytree(stores["mixed"], tmp_path / "a.zarr"))
    (path / "ids_1/zarr.json").unlink()
    with pytest.raises(StoreCorrupt, match=r"ids_1/zarr\.json cannot be repaired"):
        plan_repair(path)


@pytest.mark.parametrize("name", NAMES)
def test_coding_is_kept_by_a_writer_that_resumes(tmp_path: Path, name: str) -> None:
    coding: Coding = STORE_CODINGS[name]
    path = make_part(tmp_path / "a.zarr", ROWS, coding=coding)
    digest = open_store(path).digest
    writer = StoreWriter.open(path)
    assert [writer.about.coding.codec_of(n) for n in ("ids_0", "val_1", "tail_0")] == [
        coding.codec_of(n) for n in ("ids_0", "val_1", "tail_0")
    ]
    assert writer.missing_shards() == []
    assert writer.seal() == digest


@pytest.mark.parametrize("codec", CODINGS)
@pytest.mark.parametrize("name", NAMES)
def test_recoding_changes_the_coding_and_no_value(
    stores: dict[str, Path], tmp_path: Path, name: str, codec: CodecChoice
) -> None:
    source = contents_of(stores[name])
    if name == codec:
        with pytest.raises(StoreError, match=r"is in format 2, .* already"):
            plan_recode(source, codec, program_version="1")
        return
    plan = plan_recode(source, codec, program_version="1")
    digest = write_derived(tmp_path / "a.zarr", plan, [source])
    recoded = open_store(tmp_path / "a.zarr")
    recoded.verify()
    assert recoded.digest == digest != source.digest
    assert recoded.about.coding == CODINGS[codec]
    assert recoded.about.origin is not None
    assert (recoded.about.origin.made_by, recoded.about.origin.stores) == (
        "recode",
        (source.digest,),
    )
    assert recoded.num_shards == source.metadata.plan.num_shards
    assert_same_values(stored(tmp_path / "a.zarr"), stored(stores[name]))
    kept = {"coding": source.metadata.about.coding, "origin": None, "program_version": "0.1.0"}
    assert replace(recoded.about, **kept) == source.metadata.about


def test_recoding_there_and_back_gives_the_same_objects(
    stores: dict[str, Path], tmp_path: Path
) -> None:
    for source, target, codec in (("lz4", "a", "zstd"), ("a", "b", "lz4")):
        contents = contents_of(stores.get(source, tmp_path / source))
        plan = plan_recode(contents, cast(CodecChoice, codec), program_version="1")
        write_derived(tmp_path / target, plan, [contents])
    assert shard_bytes(tmp_path / "b") == shard_bytes(stores["lz4"])
    assert shard_bytes(tmp_path / "a") == shard_bytes(stores["zstd"])


def test_recoding_refuses_a_chunk_that_does_not_come_back(
    stores: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compressor that loses a bit is found before the commit."""
    encode = ShardRecoder.objects.__globals__["encode_chunk"]

    def wrong(spec: FrameArray, values: NDArray[Any], chunk_frames: int) -> bytes:
        changed = values.copy()
        changed[-1] ^= 1
        return bytes(encode(spec, changed, chunk_frames))

    monkeypatch.setattr("storage.derived.shard.encode_chunk", wrong)
    source = contents_of(stores["format 1"])
    plan = plan_recode(source, "lz4", program_version="1")
    with pytest.raises(StoreCorrupt, match="ids_0 does not return what was stored"):
        write_derived(tmp_path / "a.zarr", plan, [source])
    assert not list((tmp_path / "a.zarr").glob("commits/*"))
