"""Written values are read back unchanged, by our reader and by zarr-python."""

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage.errors import (
    StoreError,
    StoreIncomplete,
    StoreMismatch,
)
from storage.format.layout import StoreAbout, StoreUtterance
from storage.format.shard_plan import fit_shard_frames
from storage.format.value_code import LOGP_OF_CODE, PROB_OF_CODE, encode_logp, encode_prob
from storage.read.reader import SoftLabelStore, open_store
from storage.write.shard_encoder import shard_values
from storage.write.top_k import KeptBlock, keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.store import (
    fill_store,
    make_about,
    make_block,
    make_logp,
    make_utterances,
    shard_block,
    tree_digest,
)

LENGTHS = (5, 0, 20, 33, 1, 10, 14, 0)


@pytest.fixture
def store(tmp_path: Path) -> SoftLabelStore:
    """Eight utterances in three shards, 7 of 23 classes, two more temperatures."""
    fill_store(tmp_path / "a.zarr", make_about(temperatures=(2.0, 0.5)), LENGTHS)
    return open_store(tmp_path / "a.zarr")


def expected_labels(kept: KeptBlock, about: StoreAbout, k: int) -> dict[str, Any]:
    """An oracle that does not share the reader's code path."""
    tier = next(index for index, tier in enumerate(about.tiers) if k <= tier.last)
    last = about.tiers[tier].last
    prob_TK = PROB_OF_CODE[encode_logp(kept.logp_TK)].astype(np.float64)
    tail_T = PROB_OF_CODE[encode_prob(kept.tail_TG[:, tier])].astype(np.float64)
    if last == about.num_classes:
        tail_T = np.zeros_like(tail_T)
    return {
        "ids_TK": kept.ids_TK[:, :k],
        "logp_TK": LOGP_OF_CODE[encode_logp(kept.logp_TK)][:, :k],
        "tail_T": np.minimum(tail_T + prob_TK[:, k:last].sum(axis=1), 1.0),
    }


@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=9),
    num_classes=st.integers(1, 41),
    chunk_frames=st.integers(1, 17),
    wanted=st.integers(1, 60),
    data=st.data(),
)
def test_store_reads_what_was_written(
    lengths: list[int], num_classes: int, chunk_frames: int, wanted: int, data: st.DataObject
) -> None:
    """RELIABILITY 20."""
    kept = data.draw(st.integers(1, num_classes))
    k = data.draw(st.integers(1, kept))
    about = make_about(
        num_classes=num_classes,
        kept=kept,
        chunk_frames=chunk_frames,
        shard_frames=fit_shard_frames(lengths, wanted=wanted, chunk_frames=chunk_frames),
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s.zarr"
        fill_store(path, about, lengths)
        opened = open_store(path)
        assert opened.about == about
        assert list(opened.utterances) == make_utterances(lengths)
        assert opened.num_frames == sum(lengths)
        writer = StoreWriter.open(path)
        for shard in range(opened.num_shards):
            found = opened.read_shard(shard, k)
            assert (found.num_frames, found.k) == found.ids_TK.shape
            wanted_labels = expected_labels(shard_block(writer, shard), about, k)
            np.testing.assert_array_equal(found.ids_TK, wanted_labels["ids_TK"])
            np.testing.assert_array_equal(found.logp_TK, wanted_labels["logp_TK"])
            np.testing.assert_allclose(found.tail_T, wanted_labels["tail_T"], rtol=1e-5)
            pieces = [
                opened.read_utterance(opened.utterances[i].id, k) for i in writer.shard(shard)
            ]
            for name in ("ids_TK", "logp_TK", "tail_T"):
                joined = np.concatenate(
                    [getattr(found, name)[:0]] + [getattr(p, name) for p in pieces]
                )
                np.testing.assert_array_equal(joined, getattr(found, name))
        opened.verify()


def test_soft_labels_have_the_promised_types_and_shapes(store: SoftLabelStore) -> None:
    labels = store.read_utterance(store.utterances[2].id, 3)
    assert (labels.ids_TK.dtype, labels.logp_TK.dtype) == (np.uint32, np.float32)
    assert labels.tail_T.dtype == np.float32
    assert labels.ids_TK.shape == labels.logp_TK.shape == (20, 3)
    assert np.isfinite(labels.logp_TK).all()
    assert (np.diff(labels.logp_TK, axis=1) <= 0).all()
    assert not store.place.folder.joinpath("_stage").exists()


def test_utterances_come_in_the_order_asked(store: SoftLabelStore) -> None:
    ids = [store.utterances[index].id for index in (6, 1, 0, 6)]
    labels = store.read(ids, k=7)
    parts = [store.read_utterance(id, 7) for id in ids]
    assert labels.num_frames == 14 + 0 + 5 + 14
    np.testing.assert_array_equal(labels.ids_TK, np.concatenate([part.ids_TK for part in parts]))
    assert store.read([], k=2).ids_TK.shape == (0, 2)


@pytest.mark.parametrize(("k", "tiers"), [(1, 1), (2, 2), (4, 2), (5, 3), (7, 3)])
def test_reader_of_k_ranks_opens_the_first_tiers_only(
    store: SoftLabelStore, k: int, tiers: int
) -> None:
    whole = store.read_shard(0, k)
    for tier in range(3):
        for array in ("ids", "val", "tail"):
            needed = tier < tiers and (array != "tail" or tier == tiers - 1)
            if not needed:
                shutil.rmtree(store.place.folder / f"{array}_{tier}" / "c")
    for temperature in (2.0, 0.5):
        shutil.rmtree(store.place.folder / f"log_norm_{temperature}" / "c")
    reopened = open_store(store.place.folder)
    np.testing.assert_array_equal(reopened.read_shard(0, k).ids_TK, whole.ids_TK)
    opened = sum(
        path.stat().st_size for path in store.place.folder.glob("*_[0-9]/c/**/*") if path.is_file()
    )
    assert reopened.bytes_by_tier()[[1, 4, 7][tiers - 1]] == opened


def test_tail_is_the_mass_outside_of_k(store: SoftLabelStore) -> None:
    """Within the error of the codes, ranks and tail sum to one for every k."""
    for k in range(1, 8):
        labels = store.read_shard(0, k)
        mass_T = np.exp(labels.logp_TK).sum(axis=1) + labels.tail_T
        np.testing.assert_allclose(mass_T, 1.0, atol=0.03)


def test_tail_is_zero_if_all_classes_are_kept(tmp_path: Path) -> None:
    fill_store(tmp_path / "a.zarr", make_about(num_classes=5, kept=5), [7])
    assert (open_store(tmp_path / "a.zarr").read_shard(0, 5).tail_T == 0.0).all()
    assert (open_store(tmp_path / "a.zarr").read_shard(0, 4).tail_T > 0.0).all()


def test_log_norms_come_back_as_float32(store: SoftLabelStore) -> None:
    writer = StoreWriter.open(store.place.folder)
    kept = shard_block(writer, 0)
    found = [store.read_log_norm(store.utterances[i].id, temperature=0.5) for i in store.shard(0)]
    np.testing.assert_array_equal(np.concatenate(found), kept.log_norm_TH[:, 1])


def test_unknown_temperature_is_refused_with_those_stored(store: SoftLabelStore) -> None:
    with pytest.raises(StoreError, match=r"holds temperatures \(2.0, 0.5\), asked 3.0"):
        store.read_log_norm(store.utterances[0].id, temperature=3.0)


def test_zarr_python_agrees_on_every_value(store: SoftLabelStore) -> None:
    group = zarr.open_group(str(store.place.folder), mode="r")
    assert group.attrs["corpus_fingerprint"] == "c" * 64
    writer = StoreWriter.open(store.place.folder)
    for shard in range(store.num_shards):
        kept = shard_block(writer, shard)
        start = shard * store.about.shard_frames
        for name, values in shard_values(store.about, kept).items():
            array = group[name]
            assert isinstance(array, zarr.Array)
            np.testing.assert_array_equal(array[start : start + len(values)], values)
            rest = np.asarray(array[start + len(values) : start + store.about.shard_frames])
            filled = np.isnan(rest) if rest.dtype.kind == "f" else rest == array.fill_value
            assert filled.all()
    blob = np.asarray(group["utterances/id_bytes"]).tobytes()
    offsets = np.asarray(group["utterances/id_offsets"]).tolist()
    ids = [blob[a:b].decode() for a, b in pairwise(offsets)]
    assert ids == [row.id for row in store.utterances]
    assert np.asarray(group["utterances/length"]).tolist() == list(LENGTHS)
    digests = np.asarray(group["utterances/digest"])
    assert [bytes(digest).hex() for digest in digests] == [row.digest for row in store.utterances]


def test_arrays_are_those_of_the_format(store: SoftLabelStore) -> None:
    """Other programs rely on this layout; the format is final."""
    metadata = json.loads((store.place.folder / "ids_1" / "zarr.json").read_text())
    (sharding,) = metadata["codecs"]
    assert sharding["name"] == "sharding_indexed"
    assert sharding["configuration"]["chunk_shape"] == [11, 3]
    assert [codec["name"] for codec in sharding["configuration"]["codecs"]] == [
        "bytes",
        "blosc",
        "crc32c",
    ]
    blosc = sharding["configuration"]["codecs"][1]["configuration"]
    assert (blosc["cname"], blosc["clevel"], blosc["shuffle"]) == ("lz4", 9, "bitshuffle")
    assert blosc["typesize"] == 2
    assert metadata["shape"] == [99, 3]
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [33, 3]
    assert (metadata["data_type"], metadata["fill_value"]) == ("uint16", 65535)
    first = json.loads((store.place.folder / "ids_0" / "zarr.json").read_text())
    assert first["codecs"][0]["configuration"]["codecs"][1]["name"] == "zstd"
    assert "consolidated_metadata" not in json.loads((store.place.folder / "zarr.json").read_text())


def test_class_ids_above_65535_are_stored_as_uint32(tmp_path: Path) -> None:
    about = make_about(num_classes=70_001, kept=3)
    path = tmp_path / "wide.zarr"
    writer = StoreWriter.create(path, about, utterances=make_utterances([3]))
    logp_TC = make_logp(3, 70_001)
    logp_TC = np.full_like(logp_TC, -60.0)
    logp_TC[:, 70_000] = 0.0
    writer.write_shard(0, keep_top_k(logp_TC, 3, tiers=about.tiers))
    writer.seal()
    assert open_store(path).read_shard(0, 1).ids_TK.tolist() == [[70_000]] * 3


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first = fill_store(tmp_path / "a.zarr", make_about(), LENGTHS)
    writer = StoreWriter.create(
        tmp_path / "b.zarr", make_about(), utterances=make_utterances(LENGTHS)
    )
    for shard in reversed(writer.missing_shards()):
        writer.write_shard(shard, shard_block(writer, shard))
    assert writer.seal() == first
    assert tree_digest(tmp_path / "a.zarr") == tree_digest(tmp_path / "b.zarr")
    assert fill_store(tmp_path / "c.zarr", make_about(split="dev"), LENGTHS) != first


def test_reading_more_ranks_than_kept_is_refused_with_both_numbers(store: SoftLabelStore) -> None:
    with pytest.raises(StoreError, match=r"a\.zarr holds K=7, asked k=8: ask for fewer"):
        store.read_utterance(store.utterances[0].id, 8)
    with pytest.raises(StoreError, match="holds no utterance 'nobody'"):
        store.read_utterance("nobody", 1)
    assert "nobody" not in store
    assert store.utterances[0].id in store


def test_keeping_more_than_all_classes_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot keep 24 of 23 classes: keep at most 23"):
        make_about(kept=24)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shard_frames": 34}, "multiple"),
        ({"temperatures": (1.0,)}, "none that is 1"),
        ({"temperatures": (2.0, 2.0)}, "wanted each once"),
        ({"temperature": 0.0}, "temperature 0: wanted 0.001 to 1000"),
        ({"temperature": 1e16}, "temperature 1e\\+16: wanted 0.001 to 1000"),
        ({"temperatures": (2.0, 1e-5)}, "temperature 1e-05: wanted 0.001 to 1000"),
        ({"chunk_frames": 1 << 25, "shard_frames": 1 << 25}, "too large"),
    ],
)
def test_about_with_invalid_fields_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        make_about(**changes)


def test_store_without_head_is_under_construction(tmp_path: Path) -> None:
    """RELIABILITY 7."""
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, make_about(), utterances=make_utterances(LENGTHS))
    writer.write_shard(1, shard_block(writer, 1))
    with pytest.raises(StoreIncomplete, match=r"under construction \(1 shards are done"):
        open_store(path)
    with pytest.raises(StoreError, match="2 shards are missing, first 0"):
        writer.seal()
    with pytest.raises(StoreError, match="is not there: name a store that is"):
        open_store(tmp_path / "none.zarr")


def test_check_matches_names_each_field_that_differs(store: SoftLabelStore) -> None:
    """RELIABILITY 18."""
    store.check_matches(corpus_fingerprint="c" * 64, class_inventory="d" * 64)
    with pytest.raises(
        StoreMismatch, match=r"corpus_fingerprint: found 'c{12}', wanted 'e{12}'"
    ) as e:
        store.check_matches(corpus_fingerprint="e" * 64, class_inventory="d" * 64)
    assert "class_inventory" not in str(e.value)
    with pytest.raises(StoreMismatch, match="class_inventory"):
        store.check_matches(corpus_fingerprint="c" * 64, class_inventory="e" * 64)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("split", "dev"),
        ("corpus_fingerprint", "e" * 64),
        ("class_inventory", "e" * 64),
        ("num_classes", 24),
        ("kept", 8),
        ("members", ("b" * 64, "a" * 64)),
        ("weights", (0.25, 0.75)),
        ("combine", "geometric"),
        ("temperature", 2.0),
        ("temperatures", (2.0,)),
        ("shard_frames", 44),
        ("chunk_frames", 3),
        ("frame_shift_ms", 10.0),
        ("subsampling", 1),
        ("left_out", ("utt-7",)),
        ("program_version", "0.2.0"),
    ],
)
def test_writer_does_not_resume_another_store(tmp_path: Path, field: str, value: Any) -> None:
    """RELIABILITY 18."""
    path = tmp_path / "a.zarr"
    StoreWriter.create(path, make_about(), utterances=make_utterances(LENGTHS))
    other = make_about(**{field: value})
    with pytest.raises(StoreMismatch, match=f"{field}: found .*, wanted") as error:
        StoreWriter.create(path, other, utterances=make_utterances(LENGTHS))
    assert str(error.value).count("found") == 1


def test_writer_does_not_resume_other_utterances(tmp_path: Path) -> None:
    """RELIABILITY 18."""
    path = tmp_path / "a.zarr"
    StoreWriter.create(path, make_about(), utterances=make_utterances([5, 7]))
    with pytest.raises(StoreMismatch, match=r"ütt/1: found \(7, .*wanted \(8"):
        StoreWriter.create(path, make_about(), utterances=make_utterances([5, 8]))
    with pytest.raises(StoreError, match="another order"):
        StoreWriter.create(path, make_about(), utterances=make_utterances([5, 7])[::-1])


@pytest.mark.parametrize("id", ["a\0b", "\ud800"])
def test_utterance_id_that_is_not_valid_text_is_refused(tmp_path: Path, id: str) -> None:
    """RELIABILITY 20."""
    row = StoreUtterance(id=id, num_frames=3, digest="0" * 64)
    with pytest.raises(StoreError, match="NUL or is not UTF-8"):
        StoreWriter.create(tmp_path / "a.zarr", make_about(), utterances=[row])
    assert not (tmp_path / "a.zarr").exists()


def test_duplicate_utterance_id_is_refused(tmp_path: Path) -> None:
    """RELIABILITY 20."""
    rows = make_utterances([3]) * 2
    with pytest.raises(StoreError, match="comes twice"):
        StoreWriter.create(tmp_path / "a.zarr", make_about(), utterances=rows)


def spoil(kept: KeptBlock, what: str) -> KeptBlock:
    arrays = {name: getattr(kept, name).copy() for name in KeptBlock.__slots__}
    if what == "range":
        arrays["ids_TK"][3, 2] = 23
    if what == "twice":
        arrays["ids_TK"][3, 2] = arrays["ids_TK"][3, 1]
    if what == "NaN":
        arrays["logp_TK"][3, 6] = np.nan
    if what == "descend":
        arrays["logp_TK"][3, 6] = 0.0
    if what == "tail":
        arrays["tail_TG"][3, 0] = -1e-7
    if what == "shape":
        arrays = {name: array[:-1] for name, array in arrays.items()}
    return KeptBlock(**arrays)


@pytest.mark.parametrize(
    ("changed", "mass"),
    [
        (lambda logp_TC: logp_TC / np.log(2), r"0\."),  # logarithms to base 2
        (lambda logp_TC: logp_TC / np.log(10), r"\d"),  # to base 10
        (lambda logp_TC: logp_TC - 100, r"3.\d*e-44"),  # scores that nothing normalised
        (lambda logp_TC: logp_TC + 1, "2.718"),
        (np.exp, r"\d"),  # probabilities
    ],
)
def test_frame_that_is_no_distribution_is_refused(
    tmp_path: Path, changed: Callable[[NDArray[np.float32]], NDArray[np.float32]], mass: str
) -> None:
    """RELIABILITY 39."""
    about = make_about()
    logp_TC = changed(make_logp(about.shard_frames, about.num_classes)).astype(np.float32)
    writer = StoreWriter.create(tmp_path / "a.zarr", about, utterances=make_utterances(LENGTHS))
    frames = sum(writer.utterances[row].num_frames for row in writer.shard(0))
    kept = keep_top_k(
        logp_TC[:frames], about.kept, tiers=about.tiers, temperatures=about.temperatures
    )
    message = rf"shard 0, frame 0: .* sum to {mass}.*, wanted 1: are they natural logarithms"
    with pytest.raises(StoreError, match=message):
        writer.write_shard(0, kept)
    assert not list((tmp_path / "a.zarr" / "commits").glob("*"))


@pytest.mark.parametrize("what", ["range", "twice", "NaN", "descend", "tail", "shape"])
def test_bad_block_is_refused_with_shard_and_frame(tmp_path: Path, what: str) -> None:
    """RELIABILITY 17."""
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, make_about(), utterances=make_utterances([5]))
    with pytest.raises(StoreError, match="shard 0" + ("" if what == "shape" else ", frame 3")) as e:
        writer.write_shard(0, spoil(make_block(make_about(), 5, seed=0), what))
    assert what in str(e.value)
    assert writer.missing_shards() == [0]
