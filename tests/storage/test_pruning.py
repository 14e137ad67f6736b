"""Pruned stores keep fewer ranks where a frame is sure; every reader gets the same distribution.

Shapes: T frames, C classes, K ranks.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage.derived.recode import plan_recode
from storage.derived.store import write_derived
from storage.errors import StoreCorrupt, StoreError, StoreMismatch
from storage.exchange.plan import Identity, plan_import
from storage.exchange.survey import survey
from storage.exchange.take_in import take_in
from storage.format.codec import CODINGS
from storage.format.layout import COUNT
from storage.format.pruning import Pruning, count_ranks, read_pruning
from storage.format.value_code import PROB_OF_CODE, encode_logp, encode_prob
from storage.read.reader import open_store
from storage.read.soft_labels import SoftLabels
from storage.transfer.plan import Selection
from storage.write import shard_encoder
from storage.write.recorder import record
from storage.write.top_k import keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.exchange import MadeSource, make_pairs, sparse
from tests.support.makers.parts import assert_same_values, merge, split
from tests.support.makers.parts import stored_values as stored
from tests.support.makers.store import make_about, make_logp, make_utterances, tree_digest
from tests.support.makers.transfer import copy
from tests.support.oracles.pruning import count_by_loop
from tests.support.stores import contents_of

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

LENGTHS = (5, 20, 0, 30, 9, 33, 4)
PRUNINGS = [
    Pruning(mass=0.9),
    Pruning(min_prob=0.01),
    Pruning(mass=0.999, min_prob=1e-4),
]


def assert_same_labels(found: SoftLabels, wanted: SoftLabels) -> None:
    for field in fields(SoftLabels):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(wanted, field.name))


def logp_of(about: Any, num_frames: int, shard: int) -> NDArray[np.float32]:
    return make_logp(num_frames, about.num_classes, seed=shard, sharpness=6.0)


def make_pruned(
    path: Path, pruning: Pruning | None, *, lengths: Sequence[int] = LENGTHS, **changes: Any
) -> Path:
    about = make_about(**({"num_classes": 61, "kept": 20, "pruning": pruning} | changes))
    writer = StoreWriter.create(path, about, utterances=make_utterances(lengths))
    for shard in writer.missing_shards():
        frames = sum(writer.utterances[row].num_frames for row in writer.shard(shard))
        logp_TC = logp_of(about, frames, shard)
        writer.write_shard(shard, keep_top_k(logp_TC, about.kept, tiers=about.tiers))
    writer.seal()
    return path


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sharpness=st.floats(0.1, 20),
    mass=st.none() | st.floats(0.01, 0.9999),
    min_prob=st.none() | st.floats(1e-7, 0.9),
)
def test_count_of_ranks_is_that_of_a_loop(
    seed: int, sharpness: float, mass: float | None, min_prob: float | None
) -> None:
    if mass is None and min_prob is None:
        return
    pruning = Pruning(mass=mass, min_prob=min_prob)
    logp_TC = -np.sort(-make_logp(7, 11, seed=seed, sharpness=sharpness), axis=1)
    prob_TC = np.exp(logp_TC.astype(np.float64))
    assert count_ranks(logp_TC, pruning).tolist() == [count_by_loop(p, pruning) for p in prob_TC]


@pytest.mark.parametrize("pruning", PRUNINGS)
def test_pruned_store_returns_the_ranks_within_the_count_and_exact_tails(
    tmp_path: Path, pruning: Pruning
) -> None:
    store = open_store(make_pruned(tmp_path / "a.zarr", pruning))
    about = store.about
    assert about.pruning == pruning
    for shard in range(store.num_shards):
        frames = store.shard_frames(shard)
        logp_TC = logp_of(about, len(frames), shard)
        order_TC = np.lexsort((np.broadcast_to(np.arange(61), logp_TC.shape), -logp_TC), axis=1)
        prob_TC = np.exp(np.take_along_axis(logp_TC, order_TC, axis=1).astype(np.float64))
        count_T = np.minimum([count_by_loop(p, pruning) for p in prob_TC], about.kept)
        assert len(set(count_T.tolist())) > 1
        for k in range(1, about.kept + 1):
            found, codes = store.read(frames, k=k), store.read_codes(frames, k=k)
            assert_same_labels(codes.decode(), found)
            assert all(len(set(ids)) == k for ids in found.ids_TK.tolist())
            assert int(found.ids_TK.max()) < 61
            for row, count in enumerate(count_T):
                inside = min(count, k)
                assert found.ids_TK[row, :inside].tolist() == order_TC[row, :inside].tolist()
                wanted_codes = encode_logp(np.log(prob_TC[row, :inside]).astype(np.float32))
                found_codes = codes.codes_TK[row, :inside].astype(int)
                assert np.abs(found_codes - wanted_codes).max() <= 1
                assert not codes.ids_TK[row, inside:].any()
                assert found.count_T is not None
                assert found.count_T[row] == inside
                assert (found.logp_TK[row, inside:] == -16).all()
                wanted = prob_TC[row, inside:].sum()
                assert abs(found.tail_T[row] - wanted) <= 0.07 * wanted + 2e-6


@pytest.mark.parametrize("pruning", PRUNINGS)
def test_pruned_store_is_copied_cut_and_merged(tmp_path: Path, pruning: Pruning) -> None:
    path = make_pruned(tmp_path / "a.zarr", pruning)
    ids = [row.id for row in open_store(path).utterances]
    copy(path, tmp_path / "c.zarr", Selection(ks=(4,), shards=((1, 1),)))
    part, whole = (
        open_store(tmp_path / "c.zarr").read_shard(1, 3),
        open_store(path).read_shard(1, 3),
    )
    np.testing.assert_array_equal(part.ids_TK, whole.ids_TK)
    np.testing.assert_array_equal(part.tail_T, whole.tail_T)
    copy(path, tmp_path / "c.zarr")
    assert tree_digest(tmp_path / "c.zarr") == tree_digest(path)
    split(path, tmp_path / "1.zarr", [ids[0], ids[3]])
    split(path, tmp_path / "2.zarr", [id for id in ids if id not in (ids[0], ids[3])])
    for recode in (False, True):
        merged = tmp_path / f"m{recode}.zarr"
        merge(merged, tmp_path / "1.zarr", tmp_path / "2.zarr", recode=recode)
        assert_same_values(stored(merged), stored(path))


def test_pruned_store_is_smaller(tmp_path: Path) -> None:
    sizes = []
    for number, pruning in enumerate((None, Pruning(mass=0.9))):
        fields = {"shard_frames": 600, "chunk_frames": 300, "pruning": pruning}
        about = make_about(num_classes=61, kept=20, **fields)
        path = tmp_path / f"{number}.zarr"
        writer = StoreWriter.create(path, about, utterances=make_utterances([600]))
        writer.write_shard(0, keep_top_k(logp_of(about, 600, 0), 20, tiers=about.tiers))
        writer.seal()
        sizes.append(open_store(path).bytes_by_tier()[20])
    assert sizes[1] < 0.6 * sizes[0]


def spoil_values(values: dict[str, NDArray[Any]], what: str) -> dict[str, NDArray[Any]]:
    """The arrays of a shard as a defective writer would leave them, in the first tiers."""
    count_T = values[COUNT] = values[COUNT].copy()
    row = int(np.argmax((count_T > 1) & (count_T < 4)))
    if what == "fill within the count":
        values["ids_0"][row] = 65535
    elif what == "count too large":
        count_T[row] += 1
    elif what == "count too small":
        count_T[row] -= 1
    elif what == "no rank":
        count_T[row] = 0
    elif what == "more than K":
        count_T[row] = 21
    elif what == "class after the count":
        values["ids_1"][row, -1] = 3
    else:
        values["val_1"][row, -1] = 1
    return values


@pytest.mark.parametrize(
    "what",
    [
        "fill within the count",
        "count too large",
        "count too small",
        "no rank",
        "more than K",
        "class after the count",
        "probability after the count",
    ],
)
def test_counts_that_do_not_fit_the_ranks_are_corruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """RELIABILITY 17: for every reader of k ranks, and where a store is cut or merged."""
    values = shard_encoder.shard_values
    monkeypatch.setattr(shard_encoder, "shard_values", lambda *a: spoil_values(values(*a), what))
    path = make_pruned(tmp_path / "a.zarr", PRUNINGS[1])
    store = open_store(path)
    for k in (4, store.about.kept):
        with pytest.raises(StoreCorrupt, match=r"utterance .*, frame \d+: found count \d+, wanted"):
            store.read_shard(0, k)
    with pytest.raises(StoreCorrupt, match=r"utterance .*, frame \d+: "):
        split(path, tmp_path / "b.zarr", [store.utterances[0].id, store.utterances[1].id])


@pytest.mark.parametrize(
    "value",
    [
        *(1, "x", [], {}, {"mass": 0.5}, {"mass": None, "min_prob": None}),
        *({"mass": bound, "min_prob": None} for bound in (1, 0, True, "0.5", float("nan"))),
        {"mass": 0.5, "min_prob": 0.1, "x": 1},
    ],
)
def test_odd_pruning_is_refused(value: Any) -> None:
    """RELIABILITY 24."""
    with pytest.raises((TypeError, StoreError)):
        read_pruning(value)


def test_count_has_room_for_many_ranks(tmp_path: Path) -> None:
    path = make_pruned(tmp_path / "a.zarr", PRUNINGS[2], num_classes=700, kept=300)
    store = open_store(path)
    assert stored(path)[store.utterances[1].id][COUNT].dtype == np.uint16
    assert store.read_shard(0, 299).ids_TK.shape[1] == 299
    assert encode_prob(PROB_OF_CODE[7:8])[0] == 7


def test_all_classes_may_be_kept(tmp_path: Path) -> None:
    """CTC over characters: K = C, and a frame that keeps all C classes has no tail."""
    pruning = Pruning(min_prob=1e-5)
    store = open_store(make_pruned(tmp_path / "a.zarr", pruning, num_classes=7, kept=7))
    found = store.read_shard(0, 7)
    logp_TC = logp_of(store.about, found.num_frames, 0)
    prob_TC = -np.sort(-np.exp(logp_TC.astype(np.float64)), axis=1)
    count_T = np.array([count_by_loop(prob_C, pruning) for prob_C in prob_TC])
    np.testing.assert_array_equal(found.count_T, count_T)
    assert 0 < (count_T == 7).sum() < len(count_T)
    assert (np.sort(found.ids_TK, axis=1) == np.arange(7)).all()
    for k in range(1, 8):
        tail_T = store.read_shard(0, k).tail_T
        is_inside_TC = np.arange(7) < np.minimum(count_T, k)[:, None]
        np.testing.assert_allclose(tail_T, (prob_TC * ~is_inside_TC).sum(1), rtol=0.1, atol=3e-6)
    assert not found.tail_T[count_T == 7].any()


@pytest.mark.parametrize("temperatures", [(), (2.0,)])
def test_recorded_store_is_pruned(tmp_path: Path, temperatures: tuple[float, ...]) -> None:
    """Counts and tails follow from values that are coded once: steps of the code are allowed."""
    path, logp_TC = tmp_path / "a.zarr", make_logp(200, 61, seed=3, sharpness=6.0)
    arguments = {"k": 20, "num_classes": 61, "keep_mass": 0.95, "temperatures": temperatures}
    with record(path, **arguments) as recorder:
        recorder.add("a", logp_TC)
    with (
        pytest.raises(StoreMismatch, match="pruning"),
        record(path, **arguments | {"keep_mass": 0.9}),
    ):
        pass
    store = open_store(path)
    found = store.read_utterance("a", 20)
    prob_TC = -np.sort(-np.exp(logp_TC.astype(np.float64)), axis=1)
    assert found.count_T is not None
    kept_T = [prob_C[: int(n)].sum() for prob_C, n in zip(prob_TC, found.count_T, strict=True)]
    before_T = [
        prob_C[: int(n) - 1].sum() for prob_C, n in zip(prob_TC, found.count_T, strict=True)
    ]
    assert ((np.array(kept_T) >= 0.94) | (found.count_T == 20)).all()
    assert ((np.array(before_T) <= 0.96) | (found.count_T == 1)).all()
    np.testing.assert_allclose(found.tail_T, 1 - np.array(kept_T), rtol=0.1, atol=2e-5)
    for temperature in temperatures:
        log_norm_T = store.read_log_norm("a", temperature=temperature)
        exact_T = np.log(np.exp(logp_TC.astype(np.float64) / temperature).sum(axis=1))
        np.testing.assert_allclose(log_norm_T, exact_T, atol=1e-5)


def test_imported_pairs_are_the_ranks(tmp_path: Path) -> None:
    """With a bound that nothing is below, a frame has as many ranks as pairs, and no filling."""
    pairs = make_pairs(40, 23, most=9, seed=4)
    source = MadeSource({"a": sparse(pairs)})
    identity = Identity(split="train", frame_shift_ms=10.0, num_classes=23)
    for pruning in (Pruning(min_prob=1e-9), Pruning(mass=0.6)):
        path = tmp_path / f"{pruning.mass}.zarr"
        plan = plan_import(
            survey(source, num_classes=23),
            identity,
            k=9,
            normalise=False,
            program_version="0",
            pruning=pruning,
        )
        done = take_in(path, plan, source)
        found = open_store(path).read_utterance("a", 9)
        assert found.count_T is not None
        dropped = 0.0
        for row, frame in enumerate(pairs):
            best = sorted(frame, key=lambda pair: -pair[1])
            count = count_by_loop(np.array([p for _, p in best]), pruning)
            assert found.count_T[row] == count
            assert found.ids_TK[row, :count].tolist() == [id for id, _ in best[:count]]
            outside = 1 - sum(p for _, p in best[:count])
            np.testing.assert_allclose(found.tail_T[row], outside, rtol=0.1, atol=2e-3)
            dropped += sum(p for _, p in best[count:])
        assert done.filled_frames == 0
        assert done.dropped_mass == pytest.approx(dropped, abs=1e-4)


def test_pruned_and_whole_stores_are_not_merged(tmp_path: Path) -> None:
    """Soft labels of one store follow one rule: what differs is named, and what to do."""
    make_pruned(tmp_path / "a.zarr", PRUNINGS[0])
    for number, other in enumerate((None, PRUNINGS[1])):
        make_pruned(tmp_path / f"{number}.zarr", other)
        for recode in (False, True):
            with pytest.raises(StoreMismatch, match="pruning: found"):
                merge(
                    tmp_path / "m.zarr",
                    tmp_path / "a.zarr",
                    tmp_path / f"{number}.zarr",
                    recode=recode,
                )
            assert not (tmp_path / "m.zarr").exists()


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    row=st.integers(0, 8),
    count=st.integers(0, 8),
    k=st.integers(1, 7),
    pruning=st.sampled_from(PRUNINGS),
)
def test_wrong_count_is_found_where_it_would_change_a_value(
    row: int, count: int, k: int, pruning: Pruning
) -> None:
    """RELIABILITY 17: a reader of few ranks that opens none of those in question needs not."""
    values = shard_encoder.shard_values

    def with_another_count(about: Any, kept: Any) -> dict[str, NDArray[Any]]:
        made = values(about, kept)
        made[COUNT] = made[COUNT].copy()
        made[COUNT][row] = count
        return made

    with TemporaryDirectory() as folder:
        path, odd = Path(folder) / "a.zarr", Path(folder) / "odd.zarr"
        small = {"num_classes": 23, "kept": 7, "lengths": (9,)}
        right = open_store(make_pruned(path, pruning, **small)).read_shard(0, k)
        with patch.object(shard_encoder, "shard_values", with_another_count):
            make_pruned(odd, pruning, **small)
        with suppress(StoreCorrupt):
            assert_same_labels(open_store(odd).read_shard(0, k), right)


def test_recoded_pruned_store_has_the_same_values(tmp_path: Path) -> None:
    path = make_pruned(tmp_path / "a.zarr", PRUNINGS[0])
    source = contents_of(path)
    plan = plan_recode(source, "zstd", program_version="0")
    write_derived(tmp_path / "b.zarr", plan, [source])
    assert open_store(tmp_path / "b.zarr").about.coding == CODINGS["zstd"]
    assert_same_values(stored(tmp_path / "b.zarr"), stored(path))
