"""SoftLabelSource: what the store holds, padded; lengths, classes and inputs compared."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.student.foreign.batch import SoftLabelBatch, join_batches
from stages.student.foreign.source import SoftLabelSource
from storage.contents.frame_map import Span
from storage.errors import StoreError, StoreMismatch
from storage.files.fingerprint import inventory_digest
from storage.format.recorded import NOT_RECORDED, digest_of_input
from storage.format.value_code import LOGP_OF_CODE
from storage.read.reader import open_store
from tests.support.makers.foreign import LENGTHS, NUM_CLASSES, store_of_utterances

K = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of_utterances(tmp_path_factory.mktemp("store") / "train.zarr")


def without_prefix(id: str) -> str | None:
    return id.removeprefix("noisy-") if id.startswith("noisy-") else None


def assert_holds(batch: SoftLabelBatch, place: Path) -> None:
    """Each utterance's frames are those of the store; all others have no mass, distinct ids."""
    store = open_store(place)
    ids_BTK, codes_BTK = batch.ids_BTK.numpy(), batch.codes_BTK.numpy()
    assert batch.tail_BT.shape[1] == max(batch.lengths_B.tolist(), default=0)
    for b, id in enumerate(batch.ids):
        length = int(batch.soft_lengths_B[b])
        if length:
            wanted = store.read([Span(id.removeprefix("noisy-"), 0, length)], k=batch.k)
            np.testing.assert_array_equal(ids_BTK[b, :length], wanted.ids_TK)
            np.testing.assert_array_equal(LOGP_OF_CODE[codes_BTK[b, :length]], wanted.logp_TK)
            np.testing.assert_array_equal(batch.tail_BT[b, :length].numpy(), wanted.tail_T)
        assert (codes_BTK[b, length:] == 255).all()
        assert not batch.tail_BT[b, length:].any()
    assert all(len(set(frame)) == batch.k for frame in ids_BTK.reshape(-1, batch.k).tolist())


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_batch_holds_what_the_store_holds(place: Path, data: st.DataObject) -> None:
    names = [*LENGTHS, "unknown", *(f"noisy-{id}" for id in LENGTHS), "noisy-unknown"]
    ids = data.draw(st.lists(st.sampled_from(names), max_size=6))
    k, tolerance = data.draw(st.integers(1, 7)), data.draw(st.integers(0, 2))
    real = [LENGTHS.get(id.removeprefix("noisy-"), 5) for id in ids]
    off = st.lists(st.integers(-tolerance, tolerance), min_size=len(ids), max_size=len(ids))
    lengths = [max(0, n + change) for n, change in zip(real, data.draw(off), strict=True)]
    source = SoftLabelSource(place, k=k, rule=without_prefix, tolerance=tolerance)
    batch = source(ids, torch.tensor(lengths, dtype=torch.int32))
    assert_holds(batch, place)
    assert batch.ids == tuple(ids)
    assert batch.lengths_B.tolist() == lengths
    assert batch.missing == tuple(id for id in ids if id.endswith("unknown"))
    held = [0 if id.endswith("unknown") else n for id, n in zip(ids, real, strict=True)]
    assert batch.soft_lengths_B.tolist() == [*map(min, held, lengths)]
    if ids:
        again = join_batches(batch.split())
        for name in ("ids_BTK", "codes_BTK", "tail_BT", "lengths_B", "soft_lengths_B"):
            assert torch.equal(getattr(again, name), getattr(batch, name))
        assert (again.ids, again.is_held) == (batch.ids, batch.is_held)


def test_lengths_default_to_those_of_the_store(place: Path) -> None:
    batch = SoftLabelSource(place, k=K)([*LENGTHS, "unknown"])
    assert batch.lengths_B.tolist() == [*LENGTHS.values(), 0]
    assert (batch.is_complete, batch.missing, len(batch)) == (True, ("unknown",), 5)


def test_span_gives_a_part(place: Path) -> None:
    source = SoftLabelSource(place, k=K, rule=without_prefix)
    whole = source(["utt-d"])
    part = source([Span("noisy-utt-d", 3, 8), Span("unknown", 0, 2)], [5, 2])
    assert torch.equal(part.ids_BTK[0], whole.ids_BTK[0, 3:8])
    assert torch.equal(part.tail_BT[0], whole.tail_BT[0, 3:8])
    assert part.missing == ("unknown",)
    with pytest.raises(StoreError, match=r"has 13 frames in .*, asked 3 to 14"):
        source([Span("utt-d", 3, 14)])


def test_length_that_differs_is_refused_with_both(place: Path) -> None:
    source = SoftLabelSource(place, k=K, rule=without_prefix)
    with pytest.raises(
        StoreMismatch,
        match=r"'noisy-utt-a' \(read as 'utt-a'\) has 10 frames in the batch, 9 in .*zarr: the",
    ):
        source(["utt-b", "noisy-utt-a"], [4, 10])
    source = SoftLabelSource(place, k=K, tolerance=2)
    with pytest.raises(StoreMismatch, match=r"has 6 frames in the batch, 9 in .*, and tolerance=2"):
        source(["utt-a"], [6])


@pytest.mark.parametrize(
    ("ids", "lengths", "message"),
    [
        ("utt-a", None, "asked one utterance 'utt-a': give a list of ids"),
        (Span("utt-a", 0, 1), None, "asked one utterance Span"),
        (["utt-a"], [9, 4], "1 ids and 2 lengths: give one for each id"),
        (["utt-a"], [-1], "'utt-a' has length -1, wanted a number of frames"),
        (["utt-a"], torch.tensor([1.0]), "'utt-a' has length 1.0, wanted a number of frames"),
    ],
)
def test_call_names_the_bad_argument(
    place: Path, ids: list[str], lengths: list[int], message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        SoftLabelSource(place, k=K)(ids, lengths)


def test_ranks_and_temperatures_that_the_store_lacks_are_refused(place: Path) -> None:
    assert SoftLabelSource(place).k == 7
    with pytest.raises(StoreError, match="holds K=7, asked k=8: ask for fewer"):
        SoftLabelSource(place, k=8)
    with pytest.raises(StoreError, match="at temperature 1, asked temperature=2"):
        SoftLabelSource(place, temperature=2)


def test_missing_lists_what_has_no_soft_labels(place: Path) -> None:
    source = SoftLabelSource(place, k=K, rule=without_prefix)
    asked = ["x", "utt-a", "noisy-utt-b", "noisy-x", "y"]
    assert source.missing(asked) == ["x", "noisy-x", "y"]
    assert "noisy-utt-b" in source
    assert "x" not in source
    assert 7 not in source


def test_pickled_source_reads_the_same(place: Path) -> None:
    source = SoftLabelSource(place, k=K, rule=without_prefix, tolerance=1)
    again = pickle.loads(pickle.dumps(source))
    assert torch.equal(again(["noisy-utt-a"], [8]).codes_BTK, source(["utt-a"], [8]).codes_BTK)


def test_batch_moves_and_keeps_lengths_on_the_cpu(place: Path) -> None:
    batch = SoftLabelSource(place, k=K)(["utt-a", "utt-b"])
    moved = batch.to("meta", non_blocking=True)
    assert {moved.ids_BTK.device.type, moved.tail_BT.device.type} == {"meta"}
    assert moved.lengths_B.device.type == "cpu"
    assert repr(batch).startswith("SoftLabelBatch(2 utterances of up to 9 frames, k=4, 0 without")


def test_many_classes_have_four_bytes(tmp_path: Path) -> None:
    place = store_of_utterances(tmp_path / "a.zarr", {"a": 3}, num_classes=70_000, kept=3)
    batch = SoftLabelSource(place)(["a", "b"], [3, 4])
    assert batch.ids_BTK.dtype == torch.uint32
    assert torch.equal(batch.targets(None).ids_NK[:3], batch.ids_BTK[0, :3].long())


def test_match_of_a_store_without_names_states_it(tmp_path: Path) -> None:
    place = store_of_utterances(tmp_path / "a.zarr", class_inventory=NOT_RECORDED)
    source = SoftLabelSource(place, rule=without_prefix)
    match = source.match(
        num_classes=NUM_CLASSES,
        classes=map(str, range(NUM_CLASSES)),
        ids=["utt-a", "noisy-utt-b", "x"],
        inputs={"utt-a": b"wave"},
    )
    assert match.equal == ("number of classes",)
    assert match.not_recorded == ("class names (digest)", "inputs of 1 utterances")
    assert match.without_soft_labels == ("x",)
    assert str(match).endswith(
        "a.zarr: equal: number of classes; not recorded: class names (digest), inputs of 1 "
        "utterances; 2 of 3 utterances have soft labels"
    )
    assert str(source.match()).endswith("a.zarr: nothing compared")


def test_match_refuses_other_classes_with_both(tmp_path: Path) -> None:
    names = [f"senone {n}" for n in range(NUM_CLASSES)]
    place = store_of_utterances(tmp_path / "a.zarr", class_inventory=inventory_digest(names))
    source = SoftLabelSource(place)
    assert source.match(classes=names, frame_shift_ms=30).equal == (
        "number of classes",
        "class names (digest)",
        "frame shift in ms",
    )
    with pytest.raises(StoreMismatch, match=r"class names \(digest\): .* in the store, .* given"):
        source.match(classes=names[::-1])
    with pytest.raises(StoreMismatch, match="number of classes: 23 in the store, 24 given; class"):
        source.match(classes=[*names, "x"])
    with pytest.raises(StoreMismatch, match=r"frame shift in ms: 30.0 in the store, 10 given"):
        source.match(frame_shift_ms=10)
    with pytest.raises(StoreMismatch, match="none of 2 utterances is in the store: 'x', 'y'"):
        source.match(ids=["x", "y"])


def test_match_compares_inputs_by_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = np.arange(5, dtype=np.float32)
    monkeypatch.setattr(
        "tests.support.makers.foreign.digest_of_id", lambda _: digest_of_input(wave)
    )
    source = SoftLabelSource(store_of_utterances(tmp_path / "a.zarr"))
    assert source.match(inputs={"utt-a": torch.from_numpy(wave)}).equal == (
        "inputs of 1 utterances",
    )
    with pytest.raises(StoreMismatch, match="inputs of 1 utterances differ: 'utt-b'"):
        source.match(inputs={"utt-a": wave, "utt-b": wave + 1})
