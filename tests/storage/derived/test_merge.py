"""Merging: shards are copied byte for byte; stores with different settings are refused."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.errors import StoreCorrupt, StoreError, StoreIncomplete, StoreMismatch
from storage.files.fingerprint import fingerprint
from storage.format.layout import frame_arrays
from storage.read.reader import open_store
from storage.write.claim import claim_new
from storage.write.shard_encoder import encode_chunk
from storage.write.writer import StoreWriter
from tests.support.faults.hostile import checksummed, publish_manifest, reseal
from tests.support.makers.parts import (
    ABOUT,
    ROWS,
    VERSION,
    assert_same_values,
    make_part,
    merge,
    shard_bytes,
    split,
    stored_values,
)
from tests.support.makers.store import fill_store, make_about, make_utterances, tree_digest
from tests.support.stores import head_of, verified


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three parts of one corpus; tests do not change them."""
    folder = tmp_path_factory.mktemp("parts")
    return [
        make_part(folder / "a.zarr", ROWS[:5]),
        make_part(folder / "b.zarr", ROWS[5:6], corpus_fingerprint="e" * 64, left_out=("utt-9",)),
        make_part(folder / "c.zarr", ROWS[6:], program_version="0.0.9"),
    ]


def test_merged_store_has_the_shards_of_all_byte_for_byte(
    parts: list[Path], tmp_path: Path
) -> None:
    digest = merge(tmp_path / "m.zarr", *parts)
    merged = open_store(tmp_path / "m.zarr")
    merged.verify()
    assert merged.digest == digest
    assert [row.id for row in merged.utterances] == [row.id for row in ROWS]
    assert merged.utterances == tuple(ROWS)
    assert shard_bytes(tmp_path / "m.zarr") == set().union(*map(shard_bytes, parts))
    assert merged.num_shards == sum(open_store(part).num_shards for part in parts)
    wanted = {id: found for part in parts for id, found in stored_values(part).items()}
    assert_same_values(stored_values(tmp_path / "m.zarr"), wanted)
    for part in parts:
        held = open_store(part)
        for row in held.utterances:
            ours, theirs = (store.read_utterance(row.id, 7) for store in (merged, held))
            assert (ours.ids_TK == theirs.ids_TK).all()
            assert (ours.logp_TK == theirs.logp_TK).all()
            assert (ours.tail_T == theirs.tail_T).all()


def test_merged_store_names_its_origin(parts: list[Path], tmp_path: Path) -> None:
    merge(tmp_path / "m.zarr", *parts)
    about = open_store(tmp_path / "m.zarr").about
    assert about.origin is not None
    assert about.origin.made_by == "merge"
    assert about.origin.stores == tuple(head_of(part) for part in parts)
    assert about.origin.corpora == ("c" * 64, "e" * 64)
    assert about.corpus_fingerprint == fingerprint(["c" * 64, "e" * 64])
    assert about.left_out == ("utt-7", "utt-9")
    assert about.program_version == VERSION
    kept = replace(
        about,
        origin=None,
        corpus_fingerprint=ABOUT.corpus_fingerprint,
        left_out=ABOUT.left_out,
        program_version=ABOUT.program_version,
    )
    assert kept == ABOUT


def test_merged_parts_of_one_corpus_keep_its_fingerprint(parts: list[Path], tmp_path: Path) -> None:
    merge(tmp_path / "m.zarr", parts[0], parts[2])
    assert open_store(tmp_path / "m.zarr").about.corpus_fingerprint == "c" * 64


def test_merged_left_out_utterances_are_those_labelled_in_no_part(
    parts: list[Path], tmp_path: Path
) -> None:
    other = make_part(tmp_path / "o.zarr", ROWS[5:7], left_out=(ROWS[0].id, "utt-8"))
    merge(tmp_path / "m.zarr", other, parts[0])
    assert open_store(tmp_path / "m.zarr").about.left_out == ("utt-8", "utt-7")


def test_merge_is_deterministic_and_depends_on_order(parts: list[Path], tmp_path: Path) -> None:
    digest = merge(tmp_path / "m.zarr", *parts)
    before = tree_digest(tmp_path / "m.zarr")
    assert merge(tmp_path / "m.zarr", *parts) == digest
    assert tree_digest(tmp_path / "m.zarr") == before
    assert merge(tmp_path / "n.zarr", *parts) == digest
    assert tree_digest(tmp_path / "n.zarr") == before
    assert merge(tmp_path / "o.zarr", *parts[::-1]) != digest
    with pytest.raises(StoreMismatch, match="origin: found"):
        merge(tmp_path / "m.zarr", *parts[::-1])
    assert tree_digest(tmp_path / "m.zarr") == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("split", "dev"),
        ("class_inventory", "e" * 64),
        ("num_classes", 24),
        ("kept", 8),
        ("members", ("b" * 64, "a" * 64)),
        ("weights", (0.25, 0.75)),
        ("combine", "geometric"),
        ("temperature", 2.0),
        ("temperatures", (2.0,)),
        ("temperatures", (0.5, 2.0)),
        ("frame_shift_ms", 10.0),
        ("subsampling", 1),
    ],
)
@pytest.mark.parametrize("recode", [False, True])
def test_merge_refuses_each_field_that_differs(
    parts: list[Path], tmp_path: Path, field: str, value: Any, recode: bool
) -> None:
    """RELIABILITY 18: one field at a time."""
    other = make_part(tmp_path / "o.zarr", ROWS[5:], **{field: value})
    with pytest.raises(StoreMismatch, match=f"{field}: found .*, wanted ") as error:
        merge(tmp_path / "m.zarr", parts[0], other, recode=recode)
    assert str(error.value).count("found") == 1
    assert "--recode" not in str(error.value)
    assert not (tmp_path / "m.zarr").exists()


@pytest.mark.parametrize(
    ("sizes", "merged"),
    [
        ({"shard_frames": 44}, (44, 11)),
        ({"chunk_frames": 3}, (33, 11)),
        ({"shard_frames": 50, "chunk_frames": 25}, (50, 25)),
        ({"shard_frames": 34, "chunk_frames": 2}, (44, 11)),
    ],
)
def test_merge_of_other_shard_sizes_needs_recode_which_changes_no_value(
    parts: list[Path], tmp_path: Path, sizes: dict[str, int], merged: tuple[int, int]
) -> None:
    other = make_part(tmp_path / "o.zarr", ROWS[5:], **sizes)
    with pytest.raises(StoreMismatch, match=r"_frames: found \d+, wanted \d+.*: add --recode"):
        merge(tmp_path / "m.zarr", parts[0], other)
    merge(tmp_path / "m.zarr", parts[0], other, recode=True)
    store = open_store(tmp_path / "m.zarr")
    store.verify()
    assert (store.about.shard_frames, store.about.chunk_frames) == merged
    wanted = stored_values(parts[0]) | stored_values(other)
    assert_same_values(stored_values(tmp_path / "m.zarr"), wanted)
    assert store.num_shards < len(shard_bytes(parts[0])) + len(shard_bytes(other))


def test_recoding_gives_the_bytes_of_labelling_in_one_go(tmp_path: Path) -> None:
    """The encoder is the same: only the attributes of the store differ."""
    whole = make_part(tmp_path / "w.zarr", ROWS)
    first = split(whole, tmp_path / "1.zarr", [row.id for row in ROWS[:4]])
    assert first == head_of(tmp_path / "1.zarr")
    split(whole, tmp_path / "2.zarr", [row.id for row in ROWS[4:]])
    merge(tmp_path / "m.zarr", tmp_path / "1.zarr", tmp_path / "2.zarr", recode=True)
    assert shard_bytes(tmp_path / "m.zarr") == shard_bytes(whole)


def test_merge_refuses_an_utterance_in_two_stores(parts: list[Path], tmp_path: Path) -> None:
    same = make_part(tmp_path / "s.zarr", [*ROWS[5:7], ROWS[3]])
    with pytest.raises(StoreError, match=r"1 utterances are in two stores, with the same content"):
        merge(tmp_path / "m.zarr", parts[0], same)
    with pytest.raises(StoreError, match=re.escape(f"'../ütt/3' of {parts[0]} and {same}")):
        merge(tmp_path / "m.zarr", parts[0], parts[1], same)
    with pytest.raises(StoreError, match="5 utterances are in two stores, with the same content"):
        merge(tmp_path / "m.zarr", parts[0], parts[0])
    other = make_part(tmp_path / "o.zarr", [*ROWS[5:7], replace(ROWS[3], digest="0" * 64)])
    with pytest.raises(StoreMismatch, match=r"1 .* with different content .*'../ütt/3' of"):
        merge(tmp_path / "m.zarr", parts[0], other)
    assert not (tmp_path / "m.zarr").exists()


def test_merge_refuses_a_single_store(parts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="found 1 store, wanted two or more"):
        merge(tmp_path / "m.zarr", parts[0])


def test_merge_takes_stores_without_frames_or_utterances(tmp_path: Path) -> None:
    """RELIABILITY 15: empty stores are valid inputs, and no utterance is lost."""
    empty = tmp_path / "e.zarr"
    writer = StoreWriter.create(empty, ABOUT, utterances=[])
    for shard in writer.missing_shards():
        writer.write_objects(shard, {})
    writer.seal()
    frameless = make_part(tmp_path / "f.zarr", [ROWS[2], ROWS[10]])
    merge(tmp_path / "m.zarr", empty, frameless, make_part(tmp_path / "a.zarr", ROWS[:2]))
    store = open_store(tmp_path / "m.zarr")
    store.verify()
    assert [row.num_frames for row in store.utterances] == [0, 0, 5, 20]
    assert store.num_shards == 2
    assert store.read_utterance(ROWS[1].id, 3).num_frames == 20
    merge(tmp_path / "n.zarr", empty, make_part(tmp_path / "g.zarr", ROWS[2:3]))
    assert open_store(tmp_path / "n.zarr").num_frames == 0
    assert verified(tmp_path / "n.zarr", data=True).problems == ()


def test_merge_names_an_unfinished_or_damaged_part(parts: list[Path], tmp_path: Path) -> None:
    """RELIABILITY 5, 6, 7."""
    unfinished = tmp_path / "u.zarr"
    StoreWriter.create(unfinished, ABOUT, utterances=ROWS[6:])
    with pytest.raises(StoreIncomplete, match=r"u\.zarr is under construction"):
        merge(tmp_path / "m.zarr", parts[0], unfinished)
    assert not (tmp_path / "m.zarr").exists()
    damaged = Path(shutil.copytree(parts[2], tmp_path / "d.zarr"))
    for name in [array.object_name(shard) for array in frame_arrays(ABOUT) for shard in (0, 1)]:
        file = damaged / name
        content = file.read_bytes()
        file.write_bytes(content[:9] + bytes([content[9] ^ 4]) + content[10:])
        with pytest.raises(StoreCorrupt, match=rf"d\.zarr/{name}: sha256 differs"):
            merge(tmp_path / name / "m.zarr", parts[0], damaged)
        assert not (tmp_path / name / "m.zarr/HEAD").exists()
        file.write_bytes(content)
    file.write_bytes(content[:-1])
    with pytest.raises(StoreCorrupt, match=rf"d\.zarr/{name} is \d+ bytes long, expected"):
        merge(tmp_path / name / "m.zarr", parts[0], damaged)
    file.write_bytes(content)
    merge(tmp_path / name / "m.zarr", parts[0], damaged)  # mended: it goes on
    assert verified(tmp_path / name / "m.zarr", data=True).problems == ()


def test_merge_resumes_a_store_under_construction(tmp_path: Path) -> None:
    """Its shard plan differs from that of a labelled store: shards end where the parts end."""
    path = tmp_path / "m.zarr"
    merge(path, make_part(tmp_path / "a.zarr", ROWS[:1]), make_part(tmp_path / "b.zarr", ROWS[1:2]))
    assert open_store(path).num_shards == 2  # both would fit into one
    before = tree_digest(path)
    (path / "HEAD").unlink()
    claim_new(path)
    for file in path.glob("manifest-*"):
        file.unlink()
    writer = StoreWriter.open(path)
    assert writer.missing_shards() == []
    with pytest.raises(StoreError, match=r"shard 1 has objects \['x'\], wanted \['ids_0/c/1/0'"):
        writer.write_objects(1, {"x": b""})
    writer.seal()
    assert tree_digest(path) == before


@pytest.mark.parametrize("place", ["a.zarr", "a.zarr/inner", ".", "../x/a.zarr"])
def test_merge_writes_nothing_into_or_around_a_source(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    part = make_part(folder / "a.zarr", ROWS[:2])
    other = make_part(tmp_path / "b.zarr", ROWS[2:4])
    before = tree_digest(tmp_path)
    with pytest.raises(StoreError, match="lie in one another: name another place"):
        merge(folder / place, part, other)
    assert tree_digest(tmp_path) == before


def test_merge_writes_nothing_into_another_store(parts: list[Path], tmp_path: Path) -> None:
    other = make_part(tmp_path / "other.zarr", ROWS[:2])
    before = tree_digest(tmp_path)
    with pytest.raises(StoreError, match=r"lies in the store .*other\.zarr: name another place"):
        merge(other / "deep/m.zarr", *parts)
    assert tree_digest(tmp_path) == before


def test_merge_refuses_a_folder_of_other_things_and_a_file(
    parts: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "music/song").write_text("la")
    with pytest.raises(StoreError, match="holds other things"):
        merge(tmp_path / "music", *parts)
    with pytest.raises(StoreError, match="cannot be written"):
        merge(tmp_path / "music/song", *parts)
    assert [path.name for path in tmp_path.rglob("*")] == ["music", "song"]


def test_merge_refuses_chunks_that_differ_from_the_manifest(tmp_path: Path) -> None:
    """RELIABILITY 24: objects with the right sha256 and a list of chunks that is wrong."""
    part = make_part(tmp_path / "a.zarr", ROWS[:2])
    other = make_part(tmp_path / "b.zarr", ROWS[2:4])
    manifest = json.loads((part / f"manifest-{head_of(part)}.json").read_bytes())
    manifest["objects"]["val_1/c/0/0"]["chunks"][1] ^= 1
    publish_manifest(part, manifest)
    with pytest.raises(StoreCorrupt, match=r"val_1/c/0/0: the crc32c of its chunks are not"):
        merge(tmp_path / "m.zarr", part, other)


@pytest.mark.parametrize("chunks", [(0,), (1,), (0, 1, 2)])
def test_merge_refuses_chunks_that_are_not_where_rows_are(
    tmp_path: Path, chunks: tuple[int, ...]
) -> None:
    """RELIABILITY 6, 24: a missing chunk, and a chunk after the last row."""
    part = make_part(tmp_path / "a.zarr", ROWS[6:9])  # 20 rows: two chunks of 11
    other = make_part(tmp_path / "b.zarr", ROWS[2:4])
    spec = frame_arrays(ABOUT)[1]
    body = encode_chunk(spec, np.zeros((11, 1), np.uint8), 11)
    index = np.full((3, 2), (1 << 64) - 1, "<u8")
    index[list(chunks)] = [0, len(body)]
    crc = int.from_bytes(body[-4:], "little")
    listed = [crc if chunk in chunks else None for chunk in range(3)]
    reseal(part, spec.object_name(0), body + checksummed(index.tobytes()), listed)
    with pytest.raises(StoreCorrupt, match=r"val_0/c/0/0: wanted the first 2 chunks, no others"):
        merge(tmp_path / "m.zarr", part, other)


def test_merge_of_many_stores_gives_one(tmp_path: Path) -> None:
    stores = []
    for index, row in enumerate(make_utterances(range(3, 26))):
        stores.append(make_part(tmp_path / f"{index}.zarr", [row]))
    merge(tmp_path / "m.zarr", *stores)
    store = open_store(tmp_path / "m.zarr")
    assert store.num_shards == len(stores)
    assert store.about.origin is not None
    assert len(store.about.origin.stores) == len(stores)
    merge(tmp_path / "n.zarr", *stores, recode=True)
    assert open_store(tmp_path / "n.zarr").num_shards < len(stores)
    assert_same_values(stored_values(tmp_path / "n.zarr"), stored_values(tmp_path / "m.zarr"))


def test_labelled_store_has_no_origin_in_its_attributes(tmp_path: Path) -> None:
    fill_store(tmp_path / "a.zarr", make_about(), [3])
    assert "origin" not in json.loads((tmp_path / "a.zarr/zarr.json").read_bytes())["attributes"]
