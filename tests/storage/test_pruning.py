"""Pruned stores keep fewer ranks where a frame is sure; every reader gets the same distribution.

Shapes: T frames, C classes, K ranks.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage.errors import StoreCorrupt, StoreError
from storage.format.layout import COUNT
from storage.format.pruning import Pruning, count_ranks, read_pruning
from storage.format.value_code import PROB_OF_CODE, encode_logp, encode_prob
from storage.read.reader import open_store
from storage.read.soft_labels import SoftLabels
from storage.transfer.plan import Selection
from storage.write.top_k import keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.parts import assert_same_values, merge, split
from tests.support.makers.parts import stored_values as stored
from tests.support.makers.store import make_about, make_logp, make_utterances, tree_digest
from tests.support.makers.transfer import copy

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


def make_pruned(path: Path, pruning: Pruning | None, **changes: Any) -> Path:
    about = make_about(**({"num_classes": 61, "kept": 20, "pruning": pruning} | changes))
    writer = StoreWriter.create(path, about, utterances=make_utterances(LENGTHS))
    for shard in writer.missing_shards():
        frames = sum(writer.utterances[row].num_frames for row in writer.shard(shard))
        logp_TC = logp_of(about, frames, shard)
        writer.write_shard(shard, keep_top_k(logp_TC, about.kept, tiers=about.tiers))
    writer.seal()
    return path


def count_by_loop(prob_K: NDArray[np.float64], pruning: Pruning) -> int:
    """The rule as docs/store-format.md states it, rank by rank."""
    count, mass = 1, prob_K[0]
    for prob in prob_K[1:]:
        if encode_prob(np.float32(prob)) == 255:
            break
        if pruning.mass is not None and mass >= pruning.mass:
            break
        if pruning.min_prob is not None and prob < pruning.min_prob:
            break
        count, mass = count + 1, mass + prob
    return count


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
                assert (codes.ids_TK[row, inside:] == codes.ids_TK[row, 0]).all()
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
    from storage.write import shard_encoder

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
