"""Imports: what a source holds is in the store, within the bound; what is unsound makes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StoreCorrupt, StoreError, StoreMismatch
from storage.exchange import compare, take_in
from storage.exchange.compare import labels_to_read, largest_error
from storage.exchange.frames import Advance, DenseFrames, Frames, SourceUtterance
from storage.exchange.keep import keep_frames
from storage.exchange.plan import Identity, plan_import
from storage.exchange.survey import survey
from storage.exchange.take_in import TakenIn
from storage.read.reader import open_store
from tests.support.makers.exchange import MadeSource, Pairs, make_pairs, sparse
from tests.support.makers.store import make_about, make_logp

C = 23
IDENTITY = Identity(split="train", frame_shift_ms=10.0, num_classes=C)


def run(
    path: Path, source: MadeSource, *, k: int | None = None, normalise: bool = False
) -> TakenIn:
    """Import with small shards."""
    found = survey(source, num_classes=C, normalise=normalise)
    plan = plan_import(found, IDENTITY, k=k, normalise=normalise, program_version="0.1.0")
    plan = replace(plan, about=replace(plan.about, shard_frames=33, chunk_frames=11))
    return take_in.take_in(path, plan, source)


def oracle(pairs: Pairs, *, k: int) -> tuple[list[list[int]], list[list[float]], list[float]]:
    """Ids, probabilities and tail of each frame, by the rules of docs/exchange.md, one by one."""
    ids, probs, tails = [], [], []
    for frame in pairs:
        best = sorted(frame, key=lambda pair: -pair[1])
        outside = max(0.0, 1 - sum(p for _, p in frame)) + sum(p for _, p in best[k:])
        kept = best[:k]
        others = (c for c in range(C) if c not in {id for id, _ in kept})
        kept += [(next(others), 0.0) for _ in range(k - len(kept))]
        ids.append([id for id, _ in kept])
        probs.append([p for _, p in kept])
        tails.append(outside)
    return ids, probs, tails


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(1, 12), st.integers(1, C), st.integers(0, 1 << 30))
def test_pairs_are_kept_as_the_oracle_keeps_them(
    num_frames: int, most: int, k: int, seed: int
) -> None:
    pairs = make_pairs(num_frames, C, most=most, seed=seed)
    about = make_about(num_classes=C, kept=k)
    kept = keep_frames(sparse(pairs), about, normalise=False)
    ids, probs, tails = oracle(pairs, k=k)
    np.testing.assert_array_equal(kept.block.ids_TK, np.array(ids).reshape(-1, k))
    np.testing.assert_allclose(np.exp(kept.block.logp_TK), np.array(probs).reshape(-1, k), 1e-6)
    np.testing.assert_allclose(kept.block.tail_TG[:, -1], tails, atol=1e-6)
    assert kept.filled_frames == sum(len(frame) < k for frame in pairs)
    for g, tier in enumerate(about.tiers):  # a tail is what comes after the tier's last rank
        after = np.array(tails) + np.array(probs).reshape(-1, k)[:, tier.last :].sum(axis=1)
        np.testing.assert_allclose(kept.block.tail_TG[:, g], np.minimum(after, 1), atol=1e-6)


def test_store_holds_what_the_pairs_are_within_the_bound(tmp_path: Path) -> None:
    given = {f"u{n}": make_pairs(length, C, most=9, seed=n) for n, length in enumerate((7, 0, 30))}
    source = MadeSource({id: sparse(pairs) for id, pairs in given.items()})
    done = run(tmp_path / "a.zarr", source, k=5)
    store = open_store(tmp_path / "a.zarr")
    assert store.digest == done.digest
    store.verify()
    for id, pairs in given.items():
        labels = store.read([id], k=5)
        ids, probs, tails = oracle(pairs, k=5)
        np.testing.assert_array_equal(labels.ids_TK, np.array(ids).reshape(-1, 5))
        with np.errstate(divide="ignore"):
            logp_TK = np.maximum(np.log(np.array(probs).reshape(-1, 5)), -16)
        assert np.abs(labels.logp_TK - logp_TK).max(initial=0) <= done.largest_error + 1e-5
        np.testing.assert_allclose(labels.tail_T, tails, rtol=0.065, atol=2e-7)
    assert 0 < done.largest_error <= compare.BOUND_NATS
    frames = [frame for pairs in given.values() for frame in pairs]
    assert done.filled_frames == sum(len(frame) < 5 for frame in frames)
    beyond = sum(sum(sorted((p for _, p in frame), reverse=True)[5:]) for frame in frames)
    assert done.dropped_mass == pytest.approx(beyond)


def test_matrices_are_kept_as_a_teacher_keeps_them(tmp_path: Path) -> None:
    given = {f"u{n}": make_logp(length, C, seed=n) for n, length in enumerate((7, 30, 3))}
    given["zeros"] = np.log(
        np.eye(C, dtype="f4")[:3], where=np.eye(C)[:3] > 0, out=np.full((3, C), -np.inf, "f4")
    )
    run(tmp_path / "a.zarr", MadeSource({id: DenseFrames(logp) for id, logp in given.items()}), k=C)
    store = open_store(tmp_path / "a.zarr")
    for id, logp_TC in given.items():
        labels = store.read([id], k=C)
        found_TC = np.empty_like(logp_TC)
        np.put_along_axis(found_TC, labels.ids_TK.astype(int), labels.logp_TK, axis=1)
        assert np.abs(found_TC - np.maximum(logp_TC, -16)).max() <= compare.BOUND_NATS


@pytest.mark.parametrize("scale", [0.01, 7.0])
def test_normalise_gives_the_store_of_what_sums_to_one(tmp_path: Path, scale: float) -> None:
    pairs = [[(id, p / sum(q for _, q in f)) for id, p in f] for f in make_pairs(9, C, most=4)]
    scaled = [[(id, p * scale) for id, p in frame] for frame in pairs]
    run(tmp_path / "a.zarr", MadeSource({"u": sparse(scaled)}), k=4, normalise=True)
    found = open_store(tmp_path / "a.zarr").read(["u"], k=4)
    run(tmp_path / "b.zarr", MadeSource({"u": sparse(pairs)}), k=4)
    wanted = open_store(tmp_path / "b.zarr").read(["u"], k=4)
    np.testing.assert_array_equal(found.ids_TK, wanted.ids_TK)
    np.testing.assert_allclose(found.logp_TK, wanted.logp_TK, atol=2 * compare.BOUND_NATS)
    logits = make_logp(9, C) + np.float32(np.log(scale))
    run(tmp_path / "c.zarr", MadeSource({"u": DenseFrames(logits)}), k=4, normalise=True)


GOOD = sparse([[(1, 0.5), (2, 0.25)]])
NAN = float("nan")
LOGP = make_logp(5, C)


def changed(frame: int, column: int, value: float) -> DenseFrames:
    """A matrix with one odd value."""
    logp_TC = LOGP.copy()
    logp_TC[frame, column] = value
    return DenseFrames(logp_TC)


BAD: dict[str, tuple[Frames, str]] = {
    "class out of range": (sparse([[(1, 0.5)], [(C, 0.5)]]), "frame 1: class 23, wanted 0 to 22"),
    "class below zero": (sparse([[(-1, 0.5)]]), "frame 0: class -1"),
    "class twice": (sparse([[(1, 0.5)], [(3, 0.5), (2, 0.1), (3, 0.1)]]), "frame 1: class 3 comes"),
    "NaN": (sparse([[(1, 0.5)], [(4, NAN)]]), "frame 1: the weight of class 4 is nan"),
    "negative weight": (sparse([[(4, -0.5)]]), "frame 0: the weight of class 4 is -0.5"),
    "mass above one": (sparse([[(4, 0.9), (1, 0.2)]]), "frame 0: .* sum to 1.1, wanted at most 1"),
    "a frame without pairs": (sparse([[(4, 0.9)], []]), "frame 1: no class has a probability"),
    "a NaN in a matrix": (changed(3, 7, NAN), "frame 3: the log-probability of class 7 is nan"),
    "an infinity": (changed(3, 7, np.inf), "frame 3: the log-probability of class 7 is inf"),
    "logits": (DenseFrames(LOGP + np.float32(0.1)), r"frame 0: .* sum to 1\.105"),
    "other classes": (DenseFrames(make_logp(3, 7)), "7 columns, wanted one for each of 23"),
}


@pytest.mark.parametrize("name", BAD)
def test_unsound_frames_are_named_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    frames, message = BAD[name]
    good = GOOD if not isinstance(frames, DenseFrames) else DenseFrames(LOGP)
    with pytest.raises(StoreError, match=f"made, utterance 'bad'.*{message}"):
        run(tmp_path / "a.zarr", MadeSource({"good": good, "bad": frames}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ({}, "holds no frame"),
        ({"a": GOOD, "b": DenseFrames(LOGP)}, "utterance 'b': matrices and pairs in one source"),
    ],
)
def test_odd_sources_are_refused(tmp_path: Path, frames: dict[str, Frames], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        run(tmp_path / "a.zarr", MadeSource(frames))


def test_pairs_need_the_number_of_classes() -> None:
    with pytest.raises(StoreError, match=r"utterance 'a': .* add --num-classes"):
        survey(MadeSource({"a": GOOD}))


def test_id_that_comes_twice_is_refused() -> None:
    @dataclass(frozen=True)
    class Twice(MadeSource):
        def utterances(self, advance: Advance) -> Iterator[SourceUtterance]:
            yield from super().utterances(advance)
            yield from super().utterances(advance)

    with pytest.raises(StoreError, match="utterance 'a': the id comes twice"):
        survey(Twice({"a": GOOD, "b": GOOD}), num_classes=C)


@pytest.mark.parametrize("change", ["value", "length", "more", "less"])
def test_source_that_changes_after_the_survey_is_refused(tmp_path: Path, change: str) -> None:
    source = MadeSource({f"u{n}": sparse(make_pairs(20, C, most=3, seed=n)) for n in range(3)})
    plan = plan_import(
        survey(source, num_classes=C), IDENTITY, k=None, normalise=False, program_version="0.1.0"
    )
    if change in ("value", "length"):
        source.frames["u1"] = sparse(make_pairs(20 + (change == "length"), C, most=3, seed=9))
    elif change == "more":
        source.frames["u3"] = GOOD
    else:
        del source.frames["u2"]
    with pytest.raises(StoreError, match=r"changed since|grown since|shorter since"):
        take_in.take_in(tmp_path / "a.zarr", plan, source)
    assert not (tmp_path / "a.zarr/HEAD").exists()


def test_import_again_is_the_same_store_and_another_is_refused(tmp_path: Path) -> None:
    source = MadeSource({"u": sparse(make_pairs(20, C, most=3))})
    first = run(tmp_path / "a.zarr", source)
    assert run(tmp_path / "a.zarr", source).digest == first.digest
    other = MadeSource({"u": sparse(make_pairs(20, C, most=3, seed=1))})
    with pytest.raises(StoreMismatch, match="members: found"):
        run(tmp_path / "a.zarr", other)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").touch()
    with pytest.raises(StoreError, match="holds other things"):
        run(tmp_path / "folder", source)


def test_store_that_returns_other_values_is_not_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison is with what the disk returns: here one class id is written otherwise."""
    source = MadeSource({f"u{n}": sparse(make_pairs(20, C, most=3, seed=n)) for n in range(3)})
    keep, calls = keep_frames, []

    def keep_wrongly(*args: object, **named: object) -> object:
        kept = keep(*args, **named)  # type: ignore[arg-type]
        calls.append(kept)
        if len(calls) == 2:
            monkeypatch.setattr(take_in, "labels_digest", lambda labels: "0" * 64)
        return kept

    monkeypatch.setattr(take_in, "keep_frames", keep_wrongly)
    with pytest.raises(StoreCorrupt, match="utterance 'u0': what is read is not what the source"):
        run(tmp_path / "a.zarr", source)
    assert not (tmp_path / "a.zarr/HEAD").exists()


def test_difference_beyond_the_bound_is_found() -> None:
    about = make_about(num_classes=C, kept=7)
    block = keep_frames(DenseFrames(make_logp(5, C)), about, normalise=False).block
    labels = labels_to_read(block, about)
    assert largest_error(block, labels, where="here") <= compare.BOUND_NATS
    for rank in (0, 6):
        step = 2 * 16 * np.sqrt(-labels.logp_TK[3, rank] / 16) / 255  # of the code, in nats
        logp_TK = labels.logp_TK.copy()
        logp_TK[3, rank] -= 1.6 * step + 1e-3
        odd = replace(labels, logp_TK=logp_TK)
        with pytest.raises(StoreCorrupt, match=f"here, frame 3, rank {rank + 1}: ln p"):
            largest_error(block, odd, where="here")
    odd = replace(labels, ids_TK=labels.ids_TK[::-1])
    with pytest.raises(StoreCorrupt, match="other classes than in the source"):
        largest_error(block, odd, where="here")
