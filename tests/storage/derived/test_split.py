"""Splitting: stored values are unchanged, and shards that stay whole keep their bytes."""

import json
import random
import re
from collections.abc import Collection
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.contents.contents import StoreContents
from storage.contents.metadata import StoreMetadata
from storage.derived.split import plan_parts, plan_split
from storage.derived.store import write_derived
from storage.errors import StoreCorrupt, StoreError, StoreMismatch
from storage.format.layout import frame_arrays
from storage.format.shard_plan import plan_shards
from storage.place.local_folder import LocalFolder
from storage.read.reader import open_store
from storage.write.shard_encoder import ShardObject, encode_chunk, shard_values
from tests.support.faults.hostile import reseal
from tests.support.makers.parts import (
    ABOUT,
    LENGTHS,
    ROWS,
    VERSION,
    assert_same_values,
    make_part,
    merge,
    shard_bytes,
    split,
    stored_values,
)
from tests.support.makers.store import make_about, make_block, make_utterances, tree_digest
from tests.support.stores import contents_of, head_of, verified


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of six shards; tests do not change it."""
    return make_part(tmp_path_factory.mktemp("whole") / "w.zarr", ROWS)


def ids_at(rows: Collection[int]) -> list[str]:
    return [ROWS[row].id for row in rows]


@settings(max_examples=25, deadline=None)
@given(rows=st.sets(st.integers(0, len(ROWS) - 1), min_size=1))
def test_split_of_any_subset_has_the_stored_values(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, rows: set[int]
) -> None:
    """Ids, code differences, tail codes, log norms, utterance digests: value by value."""
    path = tmp_path_factory.mktemp("cut") / "s.zarr"
    split(whole, path, ids_at(rows))
    store = open_store(path)
    store.verify()
    assert store.utterances == tuple(ROWS[row] for row in sorted(rows))
    every = stored_values(whole)
    assert_same_values(stored_values(path), {id: every[id] for id in ids_at(rows)})


def test_split_keeps_whole_shards_and_packs_the_others(whole: Path, tmp_path: Path) -> None:
    # 5 20 0 | 30 | 9 | 33 | 4 4 12 1 0 | 17 3: shards 1, 3 whole; one frame of 4 others
    plan = plan_split(contents_of(whole), {0, 3, 4, 5, 6, 7, 11}, program_version=VERSION)
    assert [recipe.whole for recipe in plan.recipes] == [None, 1, 2, 3, None]
    assert plan.num_whole == 3
    split(whole, tmp_path / "s.zarr", ids_at([0, 3, 4, 5, 6, 7, 11]))
    kept = shard_bytes(whole) & shard_bytes(tmp_path / "s.zarr")
    assert len(kept) == 3 * len(frame_arrays(ABOUT))


def test_split_of_everything_differs_in_its_attributes_only(whole: Path, tmp_path: Path) -> None:
    split(whole, tmp_path / "s.zarr", ids_at(range(len(ROWS))))
    differing = {
        path.relative_to(whole).as_posix()
        for path in whole.rglob("*")
        if path.is_file()
        and path.name[:8] != "manifest"
        and path.read_bytes() != (tmp_path / "s.zarr" / path.relative_to(whole)).read_bytes()
    }
    assert differing == {"HEAD", "zarr.json"}


def test_split_store_names_its_origin(whole: Path, tmp_path: Path) -> None:
    split(whole, tmp_path / "s.zarr", ids_at([0, 3]))
    about = open_store(tmp_path / "s.zarr").about
    assert about.origin is not None
    assert (about.origin.made_by, about.origin.stores) == ("split", (head_of(whole),))
    assert about.origin.corpora == ("c" * 64,)
    assert about.corpus_fingerprint == "c" * 64
    assert (about.left_out, about.program_version) == (("utt-7",), VERSION)
    assert about.shard_frames == ABOUT.shard_frames


def test_origins_are_kept_through_generations(whole: Path, tmp_path: Path) -> None:
    """A store split from a merged one names all corpora and its parent."""
    other = make_part(
        tmp_path / "o.zarr", make_utterances([7] * 20)[13:], corpus_fingerprint="e" * 64
    )
    merged = merge(tmp_path / "m.zarr", whole, other)
    split(tmp_path / "m.zarr", tmp_path / "s.zarr", ids_at([1]))
    split(tmp_path / "m.zarr", tmp_path / "t.zarr", ids_at([3]))
    merge(tmp_path / "n.zarr", tmp_path / "s.zarr", tmp_path / "t.zarr")
    first, last = (open_store(tmp_path / name).about for name in ("m.zarr", "n.zarr"))
    cut = open_store(tmp_path / "s.zarr").about
    assert cut.origin is not None
    assert last.origin is not None
    assert cut.origin.stores == (merged,)
    assert cut.origin.corpora == last.origin.corpora == ("c" * 64, "e" * 64)
    assert first.corpus_fingerprint == cut.corpus_fingerprint == last.corpus_fingerprint


def test_split_ignores_order_and_repetition_of_the_list(whole: Path, tmp_path: Path) -> None:
    ids = ids_at([9, 2, 5, 0, 12])
    first = split(whole, tmp_path / "s.zarr", ids)
    before = tree_digest(tmp_path / "s.zarr")
    random.Random(7).shuffle(ids)
    assert split(whole, tmp_path / "s.zarr", [*ids, *ids]) == first
    assert tree_digest(tmp_path / "s.zarr") == before
    with pytest.raises(StoreMismatch, match="utterance table"):
        split(whole, tmp_path / "s.zarr", ids[1:])


def test_split_names_and_counts_unknown_ids(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"1 of the 2 utterances: 'nobody': take them off") as e:
        split(whole, tmp_path / "s.zarr", ["nobody", ROWS[0].id])
    assert "left out" not in str(e.value)
    many = [f"n-{index}" for index in range(9)]
    with pytest.raises(StoreError, match=r"10 of the 10 .*'n-4' and 5 more \(1 of them were left"):
        split(whole, tmp_path / "s.zarr", [*many, "utt-7"])
    with pytest.raises(StoreError, match="nothing would be left"):
        split(whole, tmp_path / "s.zarr", [])
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize("num_parts", [2, 3, 5, 6, 7, 13])
def test_parts_are_disjoint_and_merge_to_the_whole(
    whole: Path, tmp_path: Path, num_parts: int
) -> None:
    source = contents_of(whole)
    parts = plan_parts(source, num_parts)
    assert [row for part in parts for row in part] == list(range(len(ROWS)))
    assert len(parts) == num_parts
    assert all(parts)
    paths = []
    for number, rows in enumerate(parts):
        paths.append(tmp_path / f"{number}.zarr")
        plan = plan_split(source, rows, program_version=VERSION)
        write_derived(paths[-1], plan, [source])
        if num_parts <= 6:  # shards enough
            assert plan.num_whole == len(plan.recipes)
    merge(tmp_path / "m.zarr", *paths)
    assert_same_values(stored_values(tmp_path / "m.zarr"), stored_values(whole))
    if num_parts <= 6:
        assert shard_bytes(tmp_path / "m.zarr") == shard_bytes(whole)
    with pytest.raises(StoreError, match="holds 13 utterances, asked 14 parts"):
        plan_parts(source, 14)


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(0, 33), min_size=1, max_size=40), num_parts=st.integers(2, 9))
@example(lengths=[0, 0, 33], num_parts=3)
@example(lengths=[33, 0, 0, 0], num_parts=4)
def test_parts_are_even_as_far_as_utterances_allow(lengths: list[int], num_parts: int) -> None:
    rows = [
        replace(row, num_frames=length)
        for row, length in zip(make_utterances(lengths), lengths, strict=True)
    ]
    metadata = StoreMetadata(
        about=ABOUT, utterances=tuple(rows), plan=plan_shards(lengths, ABOUT.shard_frames)
    )
    place = LocalFolder(Path("s.zarr"))
    source = StoreContents(place=place, digest="0" * 64, records={}, metadata=metadata)
    if len(lengths) < num_parts:
        with pytest.raises(StoreError, match="ask for fewer"):
            plan_parts(source, num_parts)
        return
    parts = plan_parts(source, num_parts)
    assert [row for part in parts for row in part] == list(range(len(lengths)))
    assert all(parts)
    if metadata.plan.num_shards >= num_parts:
        starts = {metadata.plan.utterances(shard).start for shard in range(99)}
        assert {part.start for part in parts} <= starts
    ends = np.cumsum(lengths)
    if metadata.plan.num_shards > 3 * num_parts:  # room to choose: no cut is off by over a shard
        for part, (cut, _) in enumerate(pairwise([p.stop for p in parts]), start=1):
            assert abs(int(ends[cut - 1]) - ends[-1] * part / num_parts) <= 2 * 33


@pytest.mark.parametrize(
    ("array", "frame", "value", "message"),
    [
        ("ids_0", 21, 23, "a class id is fill or out of range"),
        ("ids_2", 3, 65535, "a class id is fill or out of range"),
        ("val_1", 11, 255, "probabilities do not descend"),
        ("log_norm_2.0", 7, np.nan, "log_norm_2.0 is not finite"),
        ("log_norm_0.5", 0, np.inf, "log_norm_0.5 is not finite"),
    ],
)
def test_split_refuses_values_that_a_reader_refuses(
    tmp_path: Path, array: str, frame: int, value: float, message: str
) -> None:
    """RELIABILITY 17, 24: all checksums agree, and the values are no soft labels."""
    path = make_part(tmp_path / "w.zarr", ROWS[:3])
    about = make_about(temperatures=(2.0, 0.5))
    values = shard_values(about, make_block(about, 25, seed=0))
    for spec in frame_arrays(about):
        if spec.name == array:
            values[array][frame, ...] = value
            made = ShardObject()
            for start in (0, 11, 22):
                made.chunks.append(encode_chunk(spec, values[array][start : start + 11], 11))
            chunks = [int.from_bytes(chunk[-4:], "little") for chunk in made.chunks]
            reseal(path, spec.object_name(0), made.to_bytes(3), chunks)
    assert verified(path, data=True).problems == ()
    utterance, at = (0, frame) if frame < LENGTHS[0] else (1, frame - LENGTHS[0])
    where = rf"w\.zarr, shard 0, utterance '{re.escape(ROWS[utterance].id)}', frame {at}: {message}"
    with pytest.raises(StoreCorrupt, match=where):
        split(path, tmp_path / "s.zarr", ids_at([0, 1]))
    assert not (tmp_path / "s.zarr/HEAD").exists()


def test_split_names_the_utterance_of_a_bad_frame(tmp_path: Path) -> None:
    """Also if the frame is in the second of two ranges that are read."""
    path = make_part(tmp_path / "w.zarr", ROWS[6:11])  # 4 4 12 1 0
    values = shard_values(ABOUT, make_block(ABOUT, 21, seed=0))["ids_0"]
    values[4 + 4 + 7] = 23
    spec, made = frame_arrays(ABOUT)[0], ShardObject()
    made.chunks = [encode_chunk(spec, values[start : start + 11], 11) for start in (0, 11)]
    chunks = [*(int.from_bytes(chunk[-4:], "little") for chunk in made.chunks), None]
    reseal(path, spec.object_name(0), made.to_bytes(3), chunks)
    with pytest.raises(
        StoreCorrupt, match=f"utterance '{re.escape(ROWS[8].id)}', frame 7: a class"
    ):
        split(path, tmp_path / "s.zarr", ids_at([6, 8]))
    split(path, tmp_path / "t.zarr", ids_at([6, 7, 9]))


def test_split_of_damaged_shards_is_refused(tmp_path: Path) -> None:
    """RELIABILITY 5."""
    path = make_part(tmp_path / "w.zarr", ROWS)
    file = path / "tail_1/c/4"
    content = bytearray(file.read_bytes())
    content[30] ^= 1
    file.write_bytes(content)
    with pytest.raises(StoreCorrupt, match=r"w\.zarr/tail_1/c/4, chunk"):
        split(path, tmp_path / "s.zarr", ids_at([6, 8]))
    split(path, tmp_path / "t.zarr", ids_at([0, 3, 5]))  # what is not concerned
    assert verified(tmp_path / "t.zarr", data=True).problems == ()


def test_manifest_of_a_part_is_canonical(whole: Path, tmp_path: Path) -> None:
    digest = split(whole, tmp_path / "s.zarr", ids_at([0, 3]))
    content = (tmp_path / f"s.zarr/manifest-{digest}.json").read_bytes()
    again = json.dumps(json.loads(content), sort_keys=True, separators=(",", ":")) + "\n"
    assert content == again.encode()
