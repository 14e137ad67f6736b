"""Calibration, fidelity, gradients and speed compared with dense float64 oracles."""

import itertools
import json
import time
from dataclasses import replace

import numpy as np
import pytest

from stages.acoustic.models.model_file import load_model
from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.contract.results import FrameQuality, Speed, System, SystemFacts
from stages.evaluate.calibration import NUM_BINS, CalibrationTally
from stages.evaluate.fidelity import FidelityTally
from stages.evaluate.frame_quality import measure_frames
from stages.evaluate.speed import real_time_factor
from stages.members.archived_posteriors import ArchiveAbout
from stages.members.folded_member import describe_folds, fold_directory
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from storage.errors import StoreMismatch
from storage.read.reader import open_store
from storage.read.soft_labels import SoftLabels
from tests.support.makers.posteriors import model_posteriors
from tests.support.makers.report import make_dev_corpus, make_dev_store, save_student

CLASSES, KEPT = 7, 3


def make_posteriors(num_frames, seed, sharpness=2.0):
    logits = np.random.default_rng(seed).normal(size=(num_frames, CLASSES)) * sharpness
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def keep(logp_TC, kept=KEPT):
    """Soft labels without the rounding of the store."""
    ids_TK = np.argsort(-logp_TC, axis=1, kind="stable")[:, :kept]
    logp_TK = np.take_along_axis(logp_TC, ids_TK, axis=1)
    tail_T = 1 - np.exp(logp_TK).sum(axis=1)
    return SoftLabels(
        ids_TK=ids_TK.astype(np.uint32), logp_TK=logp_TK, tail_T=np.maximum(tail_T, 0)
    )


def tally(ours_TC, theirs_TC, labels_T, *, kept=KEPT, ranks=(1, 2, KEPT), temperature=1.0):
    found = FidelityTally(ranks=ranks, temperature=temperature)
    for rows in (slice(0, 5), slice(5, None)):  # as two utterances
        found.count(ours_TC[rows].astype(np.float32), keep(theirs_TC[rows], kept), labels_T[rows])
    return found.result("digest")


def dense_targets(theirs_TC, ours_TC, k):
    """Targets of k ranks, and of all kept ranks with the tail spread like `ours`."""
    prob_TC, own_TC = np.exp(theirs_TC), np.exp(ours_TC)
    top_TC, full_TC = np.zeros_like(prob_TC), np.zeros_like(prob_TC)
    for t, row in enumerate(prob_TC):
        order = np.argsort(-row, kind="stable")
        top_TC[t, order[:k]] = row[order[:k]] / row[order[:k]].sum()
        inside, outside = order[:KEPT], order[KEPT:]
        full_TC[t, inside] = row[inside]
        full_TC[t, outside] = row[outside].sum() * own_TC[t, outside] / own_TC[t, outside].sum()
    return top_TC, full_TC


def cosines(one_TC, other_TC):
    dot_T = (one_TC * other_TC).sum(axis=1)
    norms_T = np.linalg.norm(one_TC, axis=1) * np.linalg.norm(other_TC, axis=1)
    overall = (one_TC * other_TC).sum() / np.linalg.norm(one_TC) / np.linalg.norm(other_TC)
    return overall, (dot_T / norms_T).mean()


@pytest.fixture(scope="module")
def frames():
    labels_T = np.random.default_rng(3).integers(CLASSES, size=23).astype(np.int32)
    labels_T[[2, 20]] = NO_LABEL
    return make_posteriors(23, 1), make_posteriors(23, 2), labels_T


def test_fidelity_to_fewer_ranks_is_that_of_a_store_with_as_many(frames):
    """Ranks after the count are classes like all others: whatever stands there is not read."""
    ours_TC, theirs_TC, labels_T = frames
    for count in (1, 2):
        found, wanted = (FidelityTally(ranks=(1, count), temperature=1.5) for _ in range(2))
        few, many = keep(theirs_TC, count), keep(theirs_TC, KEPT)
        filled = replace(
            many,
            ids_TK=np.concatenate([few.ids_TK, many.ids_TK[:, count:]], axis=1),
            tail_T=few.tail_T,
            count_T=np.full(len(ours_TC), count, np.uint16),
        )
        found.count(ours_TC.astype(np.float32), filled, labels_T)
        wanted.count(ours_TC.astype(np.float32), few, labels_T)
        found, wanted = (each.result("digest") for each in (found, wanted))
        assert found.divergence == pytest.approx(wanted.divergence, rel=1e-12)
        for one, other in zip(
            (*found.by_rank.values(), found.hard_labels),
            (*wanted.by_rank.values(), wanted.hard_labels),
            strict=True,
        ):
            assert one.model_dump() == pytest.approx(other.model_dump(), rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_gradients_of_ranks_match_dense_targets(frames, k):
    ours_TC, theirs_TC, _ = frames
    top_TC, full_TC = dense_targets(theirs_TC, ours_TC, k)
    own_TC = np.exp(ours_TC)
    overall, mean = cosines(own_TC - top_TC, own_TC - full_TC)
    found = tally(*frames).by_rank[k]
    assert found.overall == pytest.approx(overall, rel=1e-5)
    assert found.mean == pytest.approx(mean, rel=1e-5)


def test_gradients_of_hard_labels_match_dense_targets(frames):
    ours_TC, theirs_TC, labels_T = frames
    known = labels_T != NO_LABEL
    _, full_TC = dense_targets(theirs_TC, ours_TC, 1)
    own_TC, one_hot_TC = np.exp(ours_TC), np.eye(CLASSES)[labels_T]
    overall, mean = cosines((own_TC - one_hot_TC)[known], (own_TC - full_TC)[known])
    found = tally(*frames).hard_labels
    assert found.overall == pytest.approx(overall, rel=1e-5)
    assert found.mean == pytest.approx(mean, rel=1e-5)


def test_divergence_is_over_kept_classes_and_the_tail_as_one(frames):
    ours_TC, theirs_TC, _ = frames
    nats = []
    for ours, theirs in zip(np.exp(ours_TC), np.exp(theirs_TC), strict=True):
        order = np.argsort(-theirs)
        inside, outside = order[:KEPT], order[KEPT:]
        p, q = ([*v[inside], v[outside].sum()] for v in (theirs, ours))
        nats.append(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True)))
    found = tally(*frames)
    assert found.divergence == pytest.approx(np.mean(nats), rel=1e-5)
    whole = (np.exp(theirs_TC) * (theirs_TC - ours_TC)).sum(axis=1).mean()
    assert found.divergence < whole
    everything = tally(*frames, kept=CLASSES)
    assert everything.divergence == pytest.approx(whole, rel=1e-5)


def test_agreement_is_of_the_most_probable_classes(frames):
    ours_TC, theirs_TC, _ = frames
    found = tally(*frames)
    assert found.num_frames == 23
    assert found.agreement == (ours_TC.argmax(axis=1) == theirs_TC.argmax(axis=1)).mean()


def test_fidelity_of_the_teacher_to_itself_is_perfect(frames):
    _, theirs_TC, labels_T = frames
    found = tally(theirs_TC, theirs_TC, labels_T)
    assert found.agreement == 1
    assert found.divergence == pytest.approx(0, abs=1e-6)


def test_system_is_softened_to_the_temperature_of_the_labels(frames):
    _, theirs_TC, labels_T = frames
    soft_TC = theirs_TC / 2 - np.log(np.exp(theirs_TC / 2).sum(axis=1, keepdims=True))
    assert tally(theirs_TC, soft_TC, labels_T, temperature=2.0).divergence < 1e-6
    assert tally(theirs_TC, soft_TC, labels_T).divergence > 0.05


def test_fidelity_without_hard_labels_compares_soft_ones(frames):
    ours_TC, theirs_TC, labels_T = frames
    found = tally(ours_TC, theirs_TC, np.full_like(labels_T, NO_LABEL))
    assert found.hard_labels is None
    assert found.by_rank == tally(*frames).by_rank


def test_fidelity_of_no_frames_is_none():
    assert FidelityTally(ranks=(1,), temperature=1.0).result("d") is None


def test_confidence_and_accuracy_fall_into_bins():
    confidences = [0.62, 0.64, 0.97, 0.99, 1.0]
    right = [True, True, True, True, False]
    rows = [np.log([c, *[(1 - c + 1e-12) / 3] * 3]) for c in confidences]
    labels = np.array([0 if ok else 2 for ok in right], np.int32)
    # In bin 9 of too little confidence, in bin 14 of too much: the two must not cancel.
    found = CalibrationTally()
    found.count(np.array(rows[:2], np.float32), labels[:2])
    found.count(np.array([*rows[2:], rows[0]], np.float32), np.array([*labels[2:], NO_LABEL]))
    result = found.result()
    assert len(result.bins) == NUM_BINS
    filled = {i: part for i, part in enumerate(result.bins) if part.num_frames}
    assert {i: part.num_frames for i, part in filled.items()} == {9: 2, 14: 3}
    assert filled[9].confidence == pytest.approx(0.63)
    assert filled[9].accuracy == 1
    assert filled[14].accuracy == pytest.approx(2 / 3)
    wanted = 2 / 5 * (1 - 0.63) + 3 / 5 * (2.96 / 3 - 2 / 3)
    assert result.expected_error == pytest.approx(wanted, rel=1e-6)


def test_calibrated_posteriors_have_no_calibration_error():
    rng = np.random.default_rng(5)
    logp_TC = make_posteriors(60_000, 6, sharpness=1.0)
    drawn = (rng.random((60_000, 1)) > np.exp(logp_TC).cumsum(axis=1)).sum(axis=1)
    found = CalibrationTally()
    found.count(logp_TC.astype(np.float32), np.minimum(drawn, CLASSES - 1).astype(np.int32))
    assert found.result().expected_error < 0.01


def test_calibration_without_hard_labels_is_none():
    found = CalibrationTally()
    found.count(np.zeros((0, 3), np.float32), np.zeros(0, np.int32))
    found.count(make_posteriors(4, 1).astype(np.float32), np.full(4, NO_LABEL, np.int32))
    assert found.result() is None


@pytest.fixture
def house(tmp_path):
    with make_dev_corpus(tmp_path) as corpus:
        make_dev_store(tmp_path / "dev.zarr", corpus)
    save_student(tmp_path / "model")
    (tmp_path / "out").mkdir()
    return tmp_path


def measure(house, store="dev.zarr", **facts):
    system = System(
        name="a student",
        kind="student",
        fingerprint="f",
        model_directories=(house / "model",),
        weights=(1.0,),
        facts=SystemFacts(**facts),
    )
    return measure_frames(
        system,
        corpus_directory=house,
        store=house / store if store else None,
        directory=house / "out",
        batch_frames=100,
        device="cpu",
        progress=SilentProgress(),
    )


def test_frame_quality_matches_the_posteriors_of_dev(house):
    found = measure(house, k=2)
    model, _ = load_model(house / "model", "cpu")
    store = open_store(house / "dev.zarr")
    with CorpusFile(house / "dev.h5") as corpus:
        blocks = list(model_posteriors(model, corpus, batch_frames=100).items())
        fidelity = FidelityTally(ranks=(1, 2, 3), temperature=1.0)
        calibration = CalibrationTally()
        for index, logp_TC in blocks:
            calibration.count(logp_TC, corpus.labels(index))
            if len(logp_TC):
                soft = store.read_utterance(corpus.utterances[index].id, 3)
                fidelity.count(logp_TC, soft, corpus.labels(index))
    wanted = fidelity.result(store.digest)
    assert found.fidelity.num_frames == wanted.num_frames == sum(len(b) for _, b in blocks)
    assert found.fidelity.agreement == wanted.agreement
    assert found.fidelity.divergence == pytest.approx(wanted.divergence, rel=1e-4)
    assert found.fidelity.by_rank.keys() == {1, 2, 3}
    assert found.calibration.expected_error == pytest.approx(
        calibration.result().expected_error, rel=1e-4
    )
    speed = Speed.model_validate_json((house / "out" / "speed.json").read_bytes())
    assert 0 < speed.real_time_factor < 10
    written = FrameQuality.model_validate_json((house / "out" / "frames.json").read_bytes())
    assert written == found
    assert {path.name for path in (house / "out").iterdir()} == {"frames.json", "speed.json"}


def test_frame_quality_without_a_store_has_the_rest(house):
    found = measure(house, store=None)
    assert found.fidelity is None
    assert found.calibration is not None
    document = json.loads((house / "out" / "frames.json").read_text())
    assert document["fidelity"] is None


def test_ranks_above_those_stored_are_left_out(house):
    assert measure(house, k=50).fidelity.by_rank.keys() == {1, 2, 3}


def test_model_of_another_feature_dimension_is_refused(house):
    make_dev_corpus(house, feature_dim=9).close()
    with pytest.raises(BadInput):
        measure(house, store=None)


def test_k_of_the_student_is_compared_too(house):
    with CorpusFile(house / "dev.h5") as corpus:
        make_dev_store(house / "wide.zarr", corpus, kept=5)
    assert measure(house, store="wide.zarr", k=3).fidelity.by_rank.keys() == {1, 2, 3, 4, 5}


def test_soft_labels_of_another_corpus_are_refused(house):
    make_dev_corpus(house, seconds=1.7).close()
    with pytest.raises(StoreMismatch):
        measure(house)


def test_speed_is_thread_seconds_per_second_of_speech(house, tmp_path, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: float(next(ticks)))  # each pass takes 1 s
    with CorpusFile(house / "dev.h5") as corpus:
        about = ArchiveAbout(
            path=tmp_path,
            posteriors_are="log",
            num_classes=corpus.about.num_classes,
            class_inventory=corpus.about.class_inventory,
            fingerprint="a" * 64,
            splits={},
        )
        (tmp_path / "member.json").write_text(about.model_dump_json())
        speech = corpus.num_frames * 0.03
        assert real_time_factor([house / "model"], corpus) == pytest.approx(1 / speech)
        assert real_time_factor([house / "model"] * 2, corpus) == pytest.approx(2 / speech)
        assert real_time_factor([house / "model", tmp_path], corpus) is None


def test_speed_of_a_folded_member_is_that_of_all_its_models(house, monkeypatch):
    for fold in (0, 1):
        save_student(fold_directory(house / "folded", fold))
    describe_folds(house / "folded", {"anna": 0, "bert": 1})
    ticks = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: float(next(ticks)))
    with CorpusFile(house / "dev.h5") as corpus:
        speech = corpus.num_frames * 0.03
        assert real_time_factor([house / "folded"], corpus) == pytest.approx(1 / speech)
