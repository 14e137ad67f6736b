"""record: the writer's bytes from any order and any batches; errors that name arguments."""

import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage.errors import StoreError, StoreIncomplete, StoreMismatch
from storage.files.fingerprint import array_digest, inventory_digest
from storage.format.layout import StoreUtterance
from storage.format.recorded import NOT_RECORDED, digest_of_id
from storage.read.reader import open_store
from storage.write.recorder import record
from storage.write.top_k import keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.store import make_logp, tree_digest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

NUM_CLASSES, K = 11, 5
LENGTHS = {"b": 7, "a": 3, "ü/..": 0, "c": 12, "d": 1}
LOGP = {
    id: make_logp(length, NUM_CLASSES, seed=at) for at, (id, length) in enumerate(LENGTHS.items())
}


def start(path: Path, **changes: Any) -> Any:
    return record(path, **{"k": K, "num_classes": NUM_CLASSES, **changes})


def record_all(path: Path, ids_of: Iterable[str] = LENGTHS, **changes: Any) -> str:
    """Record these utterances, or those that are missing."""
    with start(path, **changes) as recorder:
        for id in recorder.missing(ids_of):
            recorder.add(id, LOGP[id])
    return str(recorder.digest)


def record_until_stopped(path: Path, id: str) -> None:
    with start(path) as recorder:
        recorder.add(id, LOGP[id])
        raise KeyboardInterrupt


def padded(ids: list[str], *, room: int = 0) -> NDArray[np.float32]:
    longest = max(LENGTHS[id] for id in ids) + room
    batch_BTC = np.full((len(ids), longest, NUM_CLASSES), np.nan, np.float32)
    for row_TC, id in zip(batch_BTC, ids, strict=True):
        row_TC[: LENGTHS[id]] = LOGP[id]
    return batch_BTC


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the store, recorded one by one in the order of the ids."""
    return record_all(tmp_path_factory.mktemp("wanted") / "a.zarr")


def test_store_is_that_of_the_writer(tmp_path: Path) -> None:
    """Of the same frames, kept with all their digits until the writer codes them."""
    digest = record_all(tmp_path / "a.zarr", temperatures=(2.0,), frame_shift_ms=40, split="dev")
    about = open_store(tmp_path / "a.zarr").about
    rows = [
        StoreUtterance(id=id, num_frames=LENGTHS[id], digest=digest_of_id(id))
        for id in sorted(LENGTHS)
    ]
    writer = StoreWriter.create(tmp_path / "b.zarr", about, utterances=rows)
    block = keep_top_k(
        np.concatenate([LOGP[row.id] for row in rows]),
        K,
        tiers=about.tiers,
        temperatures=about.temperatures,
    )
    writer.write_shard(0, block)
    assert writer.seal() == digest
    assert tree_digest(tmp_path / "a.zarr") == tree_digest(tmp_path / "b.zarr")
    assert (about.frame_shift_ms, about.split, about.class_inventory) == (40, "dev", NOT_RECORDED)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_order_batches_and_interruptions_give_the_same_store(
    tmp_path_factory: pytest.TempPathFactory, wanted: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.zarr"
    rest = data.draw(st.permutations(list(LENGTHS)))
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        batch, rest = rest[:size], rest[size:]
        stops = data.draw(st.booleans())
        try:
            with start(path) as recorder:
                room = data.draw(st.integers(0, 2))
                values = padded(batch, room=room).astype(data.draw(st.sampled_from(["f4", "f8"])))
                recorder.add(batch, values, [LENGTHS[id] for id in batch])
                assert recorder.missing(LENGTHS) == [i for i in LENGTHS if i in rest]
                if stops or rest:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            with pytest.raises(StoreIncomplete, match=r"construction by essence.record: run the"):
                open_store(path)
    assert record_all(path) == wanted
    open_store(path).verify()


def test_sealed_store_lacks_nothing_and_takes_nothing(tmp_path: Path, wanted: str) -> None:
    path = tmp_path / "a.zarr"
    record_all(path)
    before = tree_digest(path)
    with start(path) as recorder:
        assert recorder.missing([*LENGTHS, "x"]) == ["x"]
        assert (recorder.digest, len(recorder), "a" in recorder) == (wanted, 5, True)
        with pytest.raises(StoreError, match=r"a.zarr is sealed, and nothing can be added"):
            recorder.add("x", LOGP["a"])
    with pytest.raises(StoreMismatch, match="kept: found 5, wanted 4: give the same arguments"):
        record_all(path, k=4)
    with pytest.raises(StoreError, match="is sealed and lacks 1 utterances of ids: 'x'"):
        record_all(path, ids=["a", "x"])
    assert tree_digest(path) == before


def test_order_of_ids_is_that_of_the_store(tmp_path: Path) -> None:
    ids = ["d", "b", "c", "ü/..", "a"]
    record_all(tmp_path / "a.zarr", ids=ids)
    store = open_store(tmp_path / "a.zarr")
    assert [row.id for row in store.utterances] == ids
    np.testing.assert_array_equal(store.read(["c"], k=1).ids_TK[:, 0], LOGP["c"].argmax(axis=1))


def test_utterances_that_were_not_added_leave_the_store_open(tmp_path: Path, wanted: str) -> None:
    path = tmp_path / "a.zarr"
    with (
        pytest.raises(StoreError, match="not sealed: 2 utterances not added: 'c', 'd'"),
        start(path, ids=LENGTHS) as recorder,
    ):
        recorder.add(["a", "b", "ü/.."], padded(["a", "b", "ü/.."]), [3, 7, 0])
    with (
        pytest.raises(StoreError, match="not sealed: 2 utterances added and not among ids: "),
        start(path, ids=["a"]),
    ):
        pass
    assert record_all(path) == wanted  # without ids: sorted
    with pytest.raises(StoreError, match="not sealed: nothing was added"), start(tmp_path / "b"):
        pass


def test_stop_within_the_assembly_goes_on_also_with_more(
    tmp_path: Path, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> str:
        raise KeyboardInterrupt

    path = tmp_path / "a.zarr"
    for ids in (["a"], ["a", "b"], list(LENGTHS)):
        with monkeypatch.context() as patch:
            patch.setattr(StoreWriter, "seal", stop)
            with pytest.raises(KeyboardInterrupt):
                record_all(path, ids)
        assert (path / "commits").is_dir()
    (path / "notes.txt").write_text("mine")
    assert record_all(path) == wanted
    (path / "notes.txt").unlink()
    open_store(path).verify()


def test_added_twice_alike_is_one_utterance_and_otherwise_an_error(
    tmp_path: Path, wanted: str
) -> None:
    with start(tmp_path / "a.zarr") as recorder:
        recorder.add("a", LOGP["a"])
        recorder.add("a", LOGP["a"])
        recorder.add(["b", "a"], padded(["b", "a"]), [7, 3])
        for other in (LOGP["a"][:2], LOGP["a"][::-1]):
            with pytest.raises(StoreError, match="'a' was added before, with other values"):
                recorder.add("a", other)
        with pytest.raises(StoreError, match="'a' was added before, with other values or inputs"):
            recorder.add("a", LOGP["a"], inputs=b"wave")
        for id in recorder.missing(LENGTHS):
            recorder.add(id, LOGP[id])
    assert recorder.digest == wanted


def test_probabilities_and_logits_are_taken_when_named(tmp_path: Path) -> None:
    logits = {id: values * 1 + 3 for id, values in LOGP.items()}
    for values, given_TC in (
        ("log_probs", LOGP),
        ("probs", {id: np.exp(v.astype(np.float64)) for id, v in LOGP.items()}),
        ("logits", logits),
    ):
        with start(tmp_path / values, values=values) as recorder:
            for id, one in given_TC.items():
                recorder.add(id, one)
    stores = [open_store(tmp_path / each) for each in ("log_probs", "probs", "logits")]
    found = [store.read(["c", "b"], k=K) for store in stores]
    for other in found[1:]:
        np.testing.assert_array_equal(other.ids_TK, found[0].ids_TK)
        np.testing.assert_allclose(other.logp_TK, found[0].logp_TK, atol=0.13)  # one code


def test_zero_probabilities_are_kept_as_the_smallest(tmp_path: Path) -> None:
    one_hot = np.eye(NUM_CLASSES)[[3, 0]]
    with start(tmp_path / "a", values="probs") as recorder:
        recorder.add("a", one_hot)
    labels = open_store(tmp_path / "a").read(["a"], k=2)
    assert labels.ids_TK[:, 0].tolist() == [3, 0]
    assert labels.logp_TK.tolist() == [[0, -16], [0, -16]]


BAD_FRAMES = {
    "frame 2: a value is NaN": ("log_probs", np.nan),
    "frame 2: the probabilities of all classes sum to 2.7": ("log_probs", 1.0),
    "frame 2: the probabilities of all classes sum to inf, wanted 1": ("log_probs", np.inf),
    r"frame 2: the probabilities of all classes sum to .*, wanted 1: .* values=\"probs\"": (
        "log_probs",
        300.0,
    ),
    "frame 2: a probability is negative": ("probs", -0.1),
    "frame 2: the probabilities of all classes sum to 1.5": ("probs", 1.5),
}


@pytest.mark.parametrize("message", BAD_FRAMES)
def test_no_distribution_is_refused_by_utterance_and_frame(tmp_path: Path, message: str) -> None:
    """RELIABILITY 39."""
    values, bad = BAD_FRAMES[message]
    batch = np.tile(np.log(np.eye(NUM_CLASSES)[3] + 1e-12), (2, 4, 1))
    if values == "probs":
        batch = np.exp(batch)
    batch[1, 2, 3] = bad
    with start(tmp_path / "a.zarr", values=values) as recorder:
        with pytest.raises(StoreError, match=f"utterance 'v', {message}"):
            recorder.add(["u", "v"], batch)
        assert recorder.missing("uv") == ["u", "v"]  # all or none
        recorder.add("u", batch[0])


@pytest.mark.parametrize("shift", [-0.05, 0.05])
def test_mass_that_is_off_by_more_than_the_bound_is_refused(tmp_path: Path, shift: float) -> None:
    with start(tmp_path / "a.zarr") as recorder:
        recorder.add("a", LOGP["a"])
        for refused in (LOGP["b"] + shift, LOGP["b"] / np.log(10), np.exp(LOGP["b"])):
            with pytest.raises(
                StoreError, match=r"'b', frame \d: the probabilities of all classes"
            ):
                recorder.add("b", refused)


BAD_CALLS: dict[str, tuple[Any, ...]] = {
    "the values have 10 classes, num_classes is 11": ("a", np.zeros((3, 10))),
    r"of utterance 'a' have shape \(1, 3, 11\), wanted \(frames, classes\)": (
        "a",
        np.zeros((1, 3, 11)),
    ),
    r"values of 1 ids have shape \(3, 11\), wanted \(batch": (["a"], np.zeros((3, 11))),
    r"values of 2 ids have shape \(1, 3, 11\)": (["a", "b"], np.zeros((1, 3, 11))),
    "the values have dtype int64, wanted floating point": ("a", np.zeros((3, 11), np.int64)),
    "'a' has length 4, wanted a number of frames up to 3": ("a", LOGP["a"], 4),
    "'a' has length -1, wanted": ("a", LOGP["a"], -1),
    "'a' has length 0.5, wanted": (["a"], LOGP["a"][None], np.array([0.5])),
    "1 ids and 2 lengths": (["a"], LOGP["a"][None], [1, 2]),
    "utterance id 7 is no text": ([7], LOGP["a"][None]),
    "its id holds NUL or is not UTF-8": ("a\0", LOGP["a"]),
    "utterance 'a' comes twice in one call": (["a", "a"], np.stack([LOGP["a"]] * 2)),
}


@pytest.mark.parametrize("message", BAD_CALLS)
def test_call_that_does_not_fit_names_the_argument(tmp_path: Path, message: str) -> None:
    with start(tmp_path / "a.zarr") as recorder:
        recorder.add("x", LOGP["a"])
        with pytest.raises(StoreError, match=message):
            recorder.add(*BAD_CALLS[message])
        with pytest.raises(StoreError, match="1 ids and 2 inputs"):
            recorder.add(["a"], LOGP["a"][None], inputs=[b"", b""])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 12}, "cannot keep 12 of 11 classes: keep at most 11"),
        ({"k": 0}, "cannot keep 0 of 11 classes"),
        ({"values": "scores"}, "values is 'scores': choose one of 'log_probs', 'probs', 'logits'"),
        ({"classes": ["x"]}, "1 classes are named, num_classes is 11"),
        ({"ids": ["a", "a"]}, "ids has 2 utterances, of which 1 differ"),
        ({"temperature": 0}, "temperature 0: wanted"),
        ({"frame_shift_ms": -1}, "frames of -1.0 ms"),
    ],
)
def test_argument_out_of_range_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(StoreError, match=message), start(tmp_path / "a.zarr", **changes):
        pass
    assert not list(tmp_path.iterdir())


def test_utterance_that_is_not_among_the_ids_is_refused(tmp_path: Path) -> None:
    with start(tmp_path / "a.zarr", ids=["a"]) as recorder:
        recorder.add("a", LOGP["a"])
        with pytest.raises(StoreError, match="'b' is not among the 1 ids that the recorder was"):
            recorder.add("b", LOGP["b"])


def test_other_arguments_and_other_stores_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with pytest.raises(KeyboardInterrupt):
        record_until_stopped(path, "a")
    for changes in ({"k": 4}, {"temperatures": [2.0]}, {"classes": map(str, range(11))}):
        with pytest.raises(StoreMismatch, match=r"found .* wanted .*: give the same arguments"):
            record_all(path, **changes)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mail").write_text("x")
    with pytest.raises(StoreError, match="home holds other things"):
        record_all(tmp_path / "home")
    record_all(tmp_path / "whole.zarr")
    about = replace(open_store(tmp_path / "whole.zarr").about, split="other")
    StoreWriter.create(tmp_path / "b.zarr", about, utterances=[])
    with pytest.raises(StoreError, match=r"b.zarr is under construction and is not being recorded"):
        record_all(tmp_path / "b.zarr")


def test_second_recorder_on_a_path_is_refused(tmp_path: Path, wanted: str) -> None:
    path = tmp_path / "a.zarr"
    with start(path) as recorder:
        recorder.add("a", LOGP["a"])
        with pytest.raises(StoreError, match="being recorded by another process, or twice"):
            record_all(path)
    assert record_all(tmp_path / "b.zarr") == wanted


def test_inputs_and_class_names_are_recorded_as_digests(tmp_path: Path) -> None:
    names = [f"senone {n}" for n in range(NUM_CLASSES)]
    wave = np.arange(8, dtype=np.int16)
    with start(tmp_path / "a.zarr", classes=iter(names)) as recorder:
        recorder.add(["a", "b"], padded(["a", "b"]), [3, 7], inputs=[wave, b"bytes"])
        recorder.add("c", LOGP["c"])
    store = open_store(tmp_path / "a.zarr")
    assert store.about.class_inventory == inventory_digest(names)
    digests = [row.digest for row in store.utterances]
    assert digests[0] == array_digest(wave)
    assert digests[2] == digest_of_id("c")
    assert len(set(digests)) == 3


def test_many_shards_and_long_utterances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.format.shard_plan.CHUNK_FRAMES", 4)
    monkeypatch.setattr("storage.write.recording.SHARD_FRAMES", 8)
    monkeypatch.setattr("storage.write.spill.BLOCK_FRAMES", 5)
    record_all(tmp_path / "a.zarr")
    store = open_store(tmp_path / "a.zarr")
    assert (store.about.shard_frames, store.num_shards) == (12, 3)
    for id, logp_TC in LOGP.items():
        wanted = np.argsort(-logp_TC, axis=1)[:, :K]
        np.testing.assert_array_equal(store.read([id], k=K).ids_TK, wanted)


def test_many_ranks_make_smaller_chunks(tmp_path: Path) -> None:
    with record(tmp_path / "a.zarr", k=9000, num_classes=9000) as recorder:
        recorder.add("a", make_logp(2, 9000))
    assert open_store(tmp_path / "a.zarr").about.chunk_frames == 4096


def test_memory_is_that_of_a_batch(tmp_path: Path) -> None:
    """24 utterances of 2000 frames and 400 classes are 77 MB, as codes 2.5 MB."""
    one = make_logp(2000, 400)

    def peak(count: int) -> int:
        tracemalloc.start()
        with record(tmp_path / f"{count}.zarr", k=16, num_classes=400) as recorder:
            for at in range(count):
                recorder.add(f"utt-{at:03}", one)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(6), peak(24)
    assert many < few + (1 << 20)
    assert many < 4 * one.nbytes
