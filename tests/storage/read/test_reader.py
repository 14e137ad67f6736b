"""Reading: any frames in any way give the same labels, from any process, in bounded memory."""

import errno
import gc
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.contents.frame_map import Span
from storage.errors import StoreCorrupt, StoreError, StoreMismatch
from storage.place import object_handles
from storage.read import chunk_bytes, chunk_reader
from storage.read.byte_cache import ByteCache
from storage.read.reader import SoftLabelStore, open_store
from storage.read.soft_labels import SoftLabels
from storage.write.top_k import KeptBlock
from storage.write.writer import StoreWriter
from tests.support.makers.codings import STORE_CODINGS
from tests.support.makers.store import (
    fill_store,
    make_about,
    make_block,
    make_utterances,
    shard_block,
)
from tests.support.paths import ROOT

LENGTHS = (700, 0, 1900, 33, 4000, 1, 2500, 800, 0, 3000)
KEPT = 40


@pytest.fixture(scope="module", params=["lz4", "format 1"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten utterances in four shards; chunks of several blosc blocks. Tests do not change it."""
    path = tmp_path_factory.mktemp("reading") / "a.zarr"
    sizes = {"num_classes": 61, "shard_frames": 6150, "chunk_frames": 3075}
    fill_store(path, make_about(kept=KEPT, coding=STORE_CODINGS[request.param], **sizes), LENGTHS)
    return path


@pytest.fixture
def store(path: Path) -> SoftLabelStore:
    return open_store(path)


@pytest.fixture(scope="module")
def everything(path: Path) -> SoftLabels:
    """All frames at K, computed from the written blocks."""
    writer = StoreWriter.open(path)
    blocks = [shard_block(writer, shard) for shard in range(writer.num_shards)]
    labels = open_store(path).read(range(sum(LENGTHS)), k=KEPT)
    np.testing.assert_array_equal(labels.ids_TK, np.concatenate([b.ids_TK for b in blocks]))
    return labels


def assert_same(found: SoftLabels, everything: SoftLabels, frames: list[int], k: int) -> None:
    np.testing.assert_array_equal(found.ids_TK, everything.ids_TK[frames, :k])
    np.testing.assert_array_equal(found.logp_TK, everything.logp_TK[frames, :k])
    assert found.ids_TK.dtype == np.uint32
    assert found.tail_T.shape == (len(frames),)


@settings(max_examples=40, deadline=None)
@given(
    start=st.integers(0, sum(LENGTHS)),
    num_frames=st.integers(0, 900),
    k=st.integers(1, KEPT),
    cache_bytes=st.sampled_from([0, 5_000, 1 << 20]),
)
def test_reading_any_run_of_frames_matches_the_whole(
    path: Path, everything: SoftLabels, start: int, num_frames: int, k: int, cache_bytes: int
) -> None:
    store = open_store(path, cache_bytes=cache_bytes)
    frames = range(start, min(start + num_frames, store.num_frames))
    for _ in range(3):  # a few blocks, then the whole chunk, then from the cache
        assert_same(store.read(frames, k=k), everything, list(frames), k)


def test_spans_are_read_next_to_whole_utterances(
    store: SoftLabelStore, everything: SoftLabels
) -> None:
    ids = [row.id for row in store.utterances]
    wanted = [Span(ids[4], 17, 3500), ids[3], Span(ids[1], 0, 0), Span(ids[5], 0, 1)]
    wanted += [Span(ids[0], 700, 700), Span(ids[2], 1899, 1900)]
    starts = np.cumsum((0, *LENGTHS)).tolist()
    rows = [*range(starts[4] + 17, starts[4] + 3500), *range(starts[3], starts[4])]
    rows += [starts[5], starts[2] + 1899]
    assert_same(store.read(wanted, k=9), everything, rows, 9)


@pytest.mark.parametrize("span", [(0, 34), (-1, 3), (5, 4), (33, 34)])
def test_span_outside_its_utterance_is_refused(
    store: SoftLabelStore, span: tuple[int, int]
) -> None:
    id = store.utterances[3].id
    with pytest.raises(StoreError, match=f"'{id}' has 33 frames in .*asked {span[0]} to"):
        store.read([Span(id, *span)], k=1)


def test_utterance_reads_as_its_range_of_frames(
    store: SoftLabelStore, everything: SoftLabels
) -> None:
    for round_ in range(3):
        for index in np.random.default_rng(round_).permutation(len(LENGTHS)):
            id = store.utterances[index].id
            frames = store.utterance_frames(id)
            assert len(frames) == LENGTHS[index]
            for k in (1, 5, KEPT):
                assert_same(store.read_utterance(id, k), everything, list(frames), k)


def test_shard_reads_as_its_range_of_frames(store: SoftLabelStore, everything: SoftLabels) -> None:
    assert store.shard_frames(0) == range(2633)
    for shard in range(store.num_shards):
        frames = list(store.shard_frames(shard))
        assert_same(store.read_shard(shard, 8), everything, frames, 8)


def test_codes_decode_to_the_labels(store: SoftLabelStore) -> None:
    codes = store.read_codes(range(100, 3000), k=7)
    labels = store.read(range(100, 3000), k=7)
    assert (codes.ids_TK.dtype, codes.codes_TK.dtype) == (np.uint16, np.uint8)
    for name in ("ids_TK", "logp_TK", "tail_T"):
        np.testing.assert_array_equal(getattr(codes.decode(), name), getattr(labels, name))


@pytest.mark.parametrize(
    "wanted",
    [range(-1, 3), range(0, 9, 2), range(9, 0, -1), range(12_930, 12_935), range(99_999, 100_000)],
)
def test_reading_frames_outside_the_store_is_refused(store: SoftLabelStore, wanted: range) -> None:
    with pytest.raises(StoreError, match="holds frames 0 to 12934, asked range"):
        store.read(wanted, k=1)


def test_single_text_is_refused_as_a_list_of_ids(store: SoftLabelStore) -> None:
    with pytest.raises(StoreError, match="give a list of utterance ids"):
        store.read(store.utterances[0].id, k=1)


def test_sequential_reads_decompress_each_chunk_at_most_twice(
    store: SoftLabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    for name in ("decompress", "_decompress_part"):
        real = getattr(chunk_reader, name)

        def counted(*args, real=real, where, **kwargs):  # type: ignore[no-untyped-def]
            asked[where] += 1
            return real(*args, where=where, **kwargs)

        monkeypatch.setattr(chunk_reader, name, counted)
    for start in range(0, store.num_frames - 50, 50):
        store.read(range(start, start + 50), k=KEPT)
    assert max(asked.values()) == 2
    assert len(asked) == 6 * (2 * 6 + 1)  # chunks times ids, codes of each tier and one tail


def test_index_cache_is_bounded(
    path: Path, everything: SoftLabels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_bytes, "MAX_INDICES", 3)  # ids, codes and tail of tier 0
    store, asked = open_store(path, cache_bytes=0), Counter[str]()
    real = chunk_bytes.read_index
    monkeypatch.setattr(
        chunk_bytes, "read_index", lambda raw, **kw: asked.update([kw["where"]]) or real(raw, **kw)
    )
    for start, times in ((0, {1}), (9, {1}), (3000, {1}), (20, {1, 2})):  # 3000: another shard
        frames = list(range(start, start + 5))
        assert_same(store.read(range(start, start + 5), k=1), everything, frames, 1)
        assert set(asked.values()) == times
    assert len(asked) == 6


def test_tail_is_never_above_one(tmp_path: Path) -> None:
    about = make_about(kept=4, num_classes=9, temperatures=())
    block = make_block(about, 7, seed=1)
    # A tail a little above 1, as rounding may give it: it is stored, and read back as 1.
    unlikely_TK = np.full_like(block.logp_TK, -30.0)
    certain = replace(block, logp_TK=unlikely_TK, tail_TG=np.full((7, 2), 1.0005, "f4"))
    writer = StoreWriter.create(tmp_path / "a.zarr", about, utterances=make_utterances([7]))
    writer.write_shard(0, certain)
    writer.seal()
    store = open_store(tmp_path / "a.zarr")
    for k in (1, 2, 3, 4):
        assert (store.read(range(7), k=k).tail_T == 1).all()


def test_results_may_be_written_to(store: SoftLabelStore) -> None:
    for k in (1, 4, KEPT):
        for _ in range(3):
            codes = store.read_codes(range(10, 40), k=k)
            kept = codes.ids_TK.copy(), codes.codes_TK.copy(), codes.tail_T.copy()
            codes.ids_TK[:], codes.codes_TK[:], codes.tail_T[:] = 0, 0, 0
            again = store.read_codes(range(10, 40), k=k)
            for found, wanted in zip(
                (again.ids_TK, again.codes_TK, again.tail_T), kept, strict=True
            ):
                np.testing.assert_array_equal(found, wanted)


def test_byte_cache_keeps_no_more_than_its_bytes() -> None:
    cache = ByteCache(100)
    for number in range(30):
        cache.put(number, bytes(number))
        assert cache.num_bytes <= 100
        cache.get(25)
    assert cache.get(25) is not None
    assert cache.get(3) is None
    cache.put(25, bytes(7))
    assert cache.get(25) == bytes(7)
    cache.put(24, bytes(8))
    cache.put(25, bytes(101))  # too large to keep: drops its previous value and no other entry
    assert cache.get(25) is None
    assert cache.get(24) == bytes(8)


def test_reader_memory_is_bounded_by_the_request_and_the_cache(path: Path) -> None:
    def peak_bytes(cache_bytes: int) -> int:
        store = open_store(path, cache_bytes=cache_bytes)
        store.read(range(10), k=KEPT)
        tracemalloc.start()
        for start in range(0, store.num_frames - 64, 64):
            store.read_codes(range(start, start + 64), k=KEPT)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    chunk_bytes = 3075 * KEPT * 3
    assert peak_bytes(0) < 3 * chunk_bytes
    assert peak_bytes(2 * chunk_bytes) < 5 * chunk_bytes


def test_few_objects_are_open_at_once(
    path: Path, everything: SoftLabels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_handles, "MAX_OPEN", 3)
    gc.collect()  # stores of earlier tests
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    store = open_store(path, cache_bytes=0)
    for frames in (range(50), range(7000, 7050), range(50)):
        assert_same(store.read(frames, k=KEPT), everything, list(frames), KEPT)
    assert len(os.listdir("/proc/self/fd")) <= before + 3  # noqa: PTH208
    del store
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_stale_handle_is_opened_again(
    path: Path, everything: SoftLabels, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(path, cache_bytes=0)
    store.read(range(9), k=3)
    real, opened = os.pread, os.open
    fresh: set[int] = set()

    def pread(handle: int, num_bytes: int, offset: int) -> bytes:
        if handle not in fresh:
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(handle, num_bytes, offset)

    def open_anew(*args: object, **kwargs: object) -> int:
        fresh.add(handle := opened(*args, **kwargs))  # type: ignore[arg-type]
        return handle

    monkeypatch.setattr("storage.files.object_file.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(os, "open", open_anew)
    monkeypatch.setattr(os, "pread", pread)
    assert_same(store.read(range(9), k=3), everything, list(range(9)), 3)


def test_object_that_shrinks_while_open_is_named(tmp_path: Path) -> None:
    fill_store(tmp_path / "a.zarr", make_about(), [30])
    store = open_store(tmp_path / "a.zarr", cache_bytes=0)
    store.read(range(9), k=1)
    os.truncate(tmp_path / "a.zarr" / "val_0" / "c" / "0" / "0", 10)
    with pytest.raises(StoreCorrupt, match="val_0/c/0/0 has shrunk"):
        store.read(range(9), k=1)


def test_threads_share_a_store(store: SoftLabelStore, everything: SoftLabels) -> None:
    wrong: list[object] = []

    def read_much(seed: int) -> None:
        try:
            for start in np.random.default_rng(seed).integers(0, 12_000, size=60).tolist():
                frames = range(start, start + 100)
                assert_same(store.read(frames, k=9), everything, list(frames), 9)
        except BaseException as error:  # noqa: BLE001
            wrong.append(error)

    threads = [threading.Thread(target=read_much, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_pickled_store_opens_itself_or_refuses_another_store(tmp_path: Path) -> None:
    about = make_about()
    fill_store(tmp_path / "a.zarr", about, [30])
    store = open_store(tmp_path / "a.zarr", cache_bytes=123)
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    np.testing.assert_array_equal(
        pickle.loads(sent).read(range(9), k=2).ids_TK,
        store.read(range(9), k=2).ids_TK,
    )
    (tmp_path / "a.zarr").rename(tmp_path / "b.zarr")
    fill_store(tmp_path / "a.zarr", make_about(split="dev"), [30])
    with pytest.raises(StoreMismatch, match="was replaced while it was in use"):
        pickle.loads(sent)


PROCESSES = """
import multiprocessing, sys
from pathlib import Path
from storage.read.reader import open_store

def checksum(store, seed):
    total = 0
    for start in range(seed, 12000, 997):
        labels = store.read(range(start, start + 60), k=9)
        total += int(labels.ids_TK.sum()) + int(labels.logp_TK.sum())
    return total

if __name__ == "__main__":
    store = open_store(Path(sys.argv[1]))
    wanted = [checksum(store, seed) for seed in range(4)]  # files are open, chunks are cached
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            found = pool.starmap(checksum, [(store, seed) for seed in range(4)])
            assert [checksum(store, seed) for seed in range(4)] == wanted
            assert found == wanted, (method, found, wanted)
    print("same")
"""


def test_forked_and_spawned_processes_read_the_same(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "processes.py"
    script.write_text(PROCESSES)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=100,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("same\n", 0), done.stderr


def test_probabilities_that_do_not_descend_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = make_about()
    writer = StoreWriter.create(tmp_path / "a.zarr", about, utterances=make_utterances([8, 0, 20]))
    block = make_block(about, 28, seed=1)
    block.logp_TK[11, 2] = -15.0
    monkeypatch.setattr(
        "storage.write.shard_commit.checked",
        lambda about, blocks, **kwargs: list[KeptBlock](blocks),
    )
    writer.write_shard(0, block)
    writer.seal()
    store = open_store(tmp_path / "a.zarr")
    with pytest.raises(StoreCorrupt, match=r"utterance '../ütt/2', frame 3: probabilities do not"):
        store.read(range(10, 20), k=4)
    store.read(range(12, 28), k=7)
