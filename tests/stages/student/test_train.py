"""The student: trained from store and labels, matched by id; stores that differ are named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.acoustic.models.model_file import read_model_about
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.errors import MissingPart
from stages.student.codes import decode
from stages.student.essence import Essence
from stages.student.loss.chunked import essence_linear_loss
from stages.student.loss.definition import LossParts, SoftTargets
from stages.student.loss.fused import essence_loss
from stages.student.loss.options import LossOptions, TailPolicy
from stages.student.settings import StudentSettings
from stages.student.train import train_student
from stages.training.batches import Piece, read_batch
from storage.contents.frame_map import Span
from storage.corpus.corpus_file import CorpusFile
from storage.errors import StoreError, StoreIncomplete
from storage.format.layout import StoreUtterance
from storage.format.value_code import decode_logp
from storage.read.reader import SoftLabelStore, open_store
from storage.read.soft_labels import SoftLabelCodes
from storage.write.top_k import KeptBlock, join_blocks, keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.parts import merge, split
from tests.support.makers.store import make_about
from tests.support.makers.training import (
    INVENTORY,
    NUM_CLASSES,
    RecordingProgress,
    make_corpus,
    make_corpus_directory,
    make_settings,
)
from tests.support.stores import contents_of

KEPT = 4
SMALL = ArchitectureSettings(hidden=9, layers=2, dropout=0.1)


def _logp(corpus: CorpusFile, index: int) -> np.ndarray:
    """A mostly correct teacher whose posteriors depend on the utterance only."""
    labels = corpus.labels(index)
    rng = np.random.default_rng(len(labels))
    logits = rng.normal(size=(len(labels), NUM_CLASSES))
    logits[np.arange(len(labels)), labels] += 4.0
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def _kept(corpus: CorpusFile, index: int, about: Any) -> KeptBlock:
    logp = _logp(corpus, index).astype(np.float32)
    return keep_top_k(logp, KEPT, tiers=about.tiers, temperatures=about.temperatures)


def _make_store(
    path: Path, corpus_path: Path, *, seal: bool = True, skip: int = 0, **changes: Any
) -> Path:
    """A store with the utterances of a corpus file in reverse order."""
    with CorpusFile(corpus_path) as corpus:
        fields = {
            "corpus_fingerprint": corpus.fingerprint,
            "class_inventory": INVENTORY,
            "num_classes": NUM_CLASSES,
            "kept": KEPT,
            "shard_frames": 99,
            "chunk_frames": 11,
            "frame_shift_ms": 10.0,
            "subsampling": 1,
        }
        about = make_about(**(fields | changes))
        order = list(range(len(corpus.utterances)))[::-1][skip:]
        rows = [corpus.utterances[index] for index in order]
        writer = StoreWriter.create(
            path,
            about,
            utterances=[
                StoreUtterance(id=row.id, num_frames=row.num_frames, digest=row.digest)
                for row in rows
            ],
        )
        for shard in writer.missing_shards():
            kept = [_kept(corpus, order[row], about) for row in writer.shard(shard)]
            writer.write_shard(shard, join_blocks(kept))
        if seal:
            writer.seal()
    return path


@pytest.fixture(scope="module")
def corpus_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def store(corpus_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make_store(tmp_path_factory.mktemp("t") / "train.zarr", corpus_directory / "train.h5")


def _settings(**changes: Any) -> StudentSettings:
    training = make_settings(epochs=4)
    fields = {"k": 3, "hard_weight": 0.5, "architecture": SMALL, "training": training}
    return StudentSettings.model_validate(fields | changes)


def _train(
    corpus_directory: Path, store: Path | None, directory: Path, **changes: Any
) -> RecordingProgress:
    directory.mkdir(exist_ok=True)
    progress = RecordingProgress()
    train_student(
        _settings(**changes),
        corpus_directory=corpus_directory,
        store=store,
        directory=directory,
        device="cpu",
        progress=progress,
    )
    return progress


def _best_error(directory: Path) -> float:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return min(float(json.loads(line)["dev_frame_error"]) for line in lines)


@pytest.mark.parametrize("tail", ["renormalize", "bucket", "uniform", "truth", "drop"])
def test_student_learns_with_every_tail_policy(
    corpus_directory: Path, store: Path, tmp_path: Path, tail: str
) -> None:
    progress = _train(corpus_directory, store, tmp_path, tail=tail)
    assert _best_error(tmp_path) < 0.2  # chance is 0.8
    assert progress.done == progress.total
    facts = read_model_about(tmp_path).facts
    assert facts["store"] == open_store(store).digest
    assert (facts["k"], facts["hard_weight"], facts["tail"]) == (3, 0.5, tail)


@pytest.mark.parametrize("tail", ["renormalize", "bucket"])
def test_student_learns_in_half_precision(
    corpus_directory: Path, store: Path, tmp_path: Path, tail: str
) -> None:
    training = make_settings(epochs=4, precision="bf16")
    half = _train(corpus_directory, store, tmp_path / "half", tail=tail, training=training)
    whole = _train(corpus_directory, store, tmp_path / "whole", tail=tail)
    assert half.losses != whole.losses
    np.testing.assert_allclose(half.losses, whole.losses, rtol=0.1)
    assert _best_error(tmp_path / "half") < 0.2


def test_student_learns_from_soft_labels_only(
    store: Path, corpus_directory: Path, tmp_path: Path
) -> None:
    _train(corpus_directory, store, tmp_path, hard_weight=0.0)
    assert _best_error(tmp_path) < 0.2


def test_student_on_hard_labels_needs_no_store_and_ignores_k(
    corpus_directory: Path, tmp_path: Path
) -> None:
    first = _train(corpus_directory, None, tmp_path / "a", hard_weight=1.0, k=2)
    second = _train(corpus_directory, Path("/nowhere"), tmp_path / "b", hard_weight=1.0, k=7)
    assert first.losses == second.losses
    with pytest.raises(MissingPart, match=r"hard_weight 0\.5 needs soft labels"):
        _train(corpus_directory, None, tmp_path / "c")


def test_label_smoothing_is_a_separate_baseline_without_a_teacher(
    corpus_directory: Path, tmp_path: Path
) -> None:
    plain = _train(corpus_directory, None, tmp_path / "a", hard_weight=1.0)
    smooth = _train(corpus_directory, None, tmp_path / "b", hard_weight=1.0, label_smoothing=0.3)
    assert min(smooth.losses) > min(plain.losses)  # the smoothed target has an entropy
    assert read_model_about(tmp_path / "b").facts["label_smoothing"] == 0.3
    with pytest.raises(ValueError, match=r"label_smoothing 0\.3 is a baseline without a teacher"):
        _settings(hard_weight=0.5, label_smoothing=0.3)


def test_student_with_the_same_seed_has_the_same_bytes(
    corpus_directory: Path, store: Path, tmp_path: Path
) -> None:
    _train(corpus_directory, store, tmp_path / "a")
    _train(corpus_directory, store, tmp_path / "b")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_store_of_split_and_merged_parts_gives_the_same_student(
    corpus_directory: Path, store: Path, tmp_path: Path
) -> None:
    """Another order and other shards give the same weights."""
    ids = [row.id for row in open_store(store).utterances]
    for number in range(3):
        split(store, tmp_path / f"{number}.zarr", ids[number::3])
    parts = [tmp_path / f"{number}.zarr" for number in (2, 0, 1)]
    merge(tmp_path / "m.zarr", *parts)
    _train(corpus_directory, store, tmp_path / "a")
    _train(corpus_directory, tmp_path / "m.zarr", tmp_path / "b")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_soft_labels_are_read_by_id_for_the_frames_of_a_piece(
    corpus_directory: Path, store: Path
) -> None:
    with CorpusFile(corpus_directory / "train.h5") as corpus:
        labels = open_store(store)
        pieces = [
            Piece(index=11, start=7, num_frames=19),
            Piece(index=0, start=0, num_frames=31),
            Piece(index=5, start=0, num_frames=1),
        ]
        ids, codes, tail = Essence(_settings(k=3), labels).read(read_batch(corpus, pieces))
        logp = decode(codes)
        assert ids.shape == logp.shape == (51, 3)
        row = 0
        for piece in pieces:
            wanted = _kept(corpus, piece.index, labels.about)
            frames = slice(piece.start, piece.start + piece.num_frames)
            here = slice(row, row + piece.num_frames)
            np.testing.assert_array_equal(ids[here].numpy(), wanted.ids_TK[frames, :3])
            np.testing.assert_allclose(
                logp[here].exp().numpy(), np.exp(wanted.logp_TK[frames, :3]), atol=0.02
            )
            row += piece.num_frames
        outside = 1 - logp.exp().sum(1)
        np.testing.assert_allclose(tail.numpy(), outside.numpy(), atol=0.03)


def test_batch_is_read_in_one_call_without_frames_outside_its_pieces(
    corpus_directory: Path, store: Path
) -> None:
    asked: list[tuple[list[Span], int]] = []

    class Counting(SoftLabelStore):
        def read_codes(self, wanted: Any, *, k: int) -> SoftLabelCodes:
            asked.append((list(wanted), k))
            return super().read_codes(wanted, k=k)

    labels = Counting(contents_of(store), cache_bytes=1 << 20)
    pieces = [Piece(index=3, start=20, num_frames=9), Piece(index=0, start=0, num_frames=31)]
    with CorpusFile(corpus_directory / "train.h5") as corpus:
        targets = Essence(_settings(k=2), labels).read(read_batch(corpus, pieces))
    assert asked == [([Span("train-3", 20, 29), Span("train-0", 0, 31)], 2)]
    assert [values.dtype for values in targets] == [torch.uint16, torch.uint8, torch.float32]


@pytest.mark.parametrize(
    "rival",
    [
        {"trust": "where_right"},
        {"ranks": "permuted"},
        {"ranks": "redrawn"},
        {"trust": "where_right", "k": 1},
    ],
)
def test_rivals_train_and_are_recorded(
    corpus_directory: Path, store: Path, tmp_path: Path, rival: dict[str, Any]
) -> None:
    usual = _train(corpus_directory, store, tmp_path / "usual")
    other = _train(corpus_directory, store, tmp_path / "other", **rival)
    assert other.losses != usual.losses
    assert _best_error(tmp_path / "other") < 0.2
    facts = [read_model_about(tmp_path / name).facts for name in ("usual", "other")]
    assert not {"trust", "ranks"} & facts[0].keys()
    assert rival.items() <= facts[1].items()


@pytest.mark.parametrize("ranks", ["permuted", "redrawn"])
def test_null_ranks_do_not_depend_on_how_batches_are_shared(
    corpus_directory: Path, store: Path, ranks: str
) -> None:
    essence = Essence(_settings(k=3, ranks=ranks), open_store(store))
    pieces = [
        Piece(index=11, start=7, num_frames=19),
        Piece(index=0, start=0, num_frames=31),
        Piece(index=3, start=0, num_frames=44),
    ]
    with CorpusFile(corpus_directory / "train.h5") as corpus:
        whole, *_ = essence.read(read_batch(corpus, pieces))
        shares = [essence.read(read_batch(corpus, pieces[rank::2]))[0] for rank in range(2)]
        stored, *_ = Essence(_settings(k=3), open_store(store)).read(read_batch(corpus, pieces))
    first, second, third = torch.split(whole, [19, 31, 44])
    assert torch.equal(torch.cat([first, third]), shares[0])
    assert torch.equal(second, shares[1])
    assert torch.equal(whole[:, 0], stored[:, 0])
    assert (whole[:, 1:].int() != stored[:, 1:].int()).any()


def test_codes_are_decoded_on_the_device_as_by_the_store() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(64, 4)
    wanted = np.empty(codes.shape, np.float32)
    decode_logp(codes, out=wanted)
    np.testing.assert_array_equal(decode(torch.from_numpy(codes)).numpy(), wanted)


def test_utterance_shorter_than_its_features_is_named_with_both_counts(
    corpus_directory: Path, tmp_path: Path
) -> None:
    """RELIABILITY 19: also if the utterance tables were not compared before."""
    other = make_corpus(tmp_path / "train.h5", lengths=(31, 0, 16))
    labels = open_store(_make_store(tmp_path / "t.zarr", other))
    with CorpusFile(corpus_directory / "train.h5") as corpus:
        batch = read_batch(corpus, [Piece(index=2, start=0, num_frames=17)])
    with pytest.raises(StoreError, match=r"'train-2' has 16 frames in .*t\.zarr, asked 0 to 17"):
        Essence(_settings(), labels).read(batch)


@pytest.mark.parametrize("tail", ["renormalize", "bucket", "uniform", "truth", "drop"])
@pytest.mark.parametrize("hard_weight", [0.0, 0.3])
def test_objective_passes_the_settings_to_the_loss(
    corpus_directory: Path, store: Path, tail: TailPolicy, hard_weight: float
) -> None:
    settings = _settings(tail=tail, hard_weight=hard_weight)
    objective = Essence(settings, open_store(store))
    with CorpusFile(corpus_directory / "train.h5") as corpus:
        batch = read_batch(corpus, [Piece(index=2, start=0, num_frames=17)])
    ids, codes, mass = objective.read(batch)
    logits = torch.randn(17, NUM_CLASSES, generator=torch.Generator().manual_seed(0))
    found = objective.loss(
        logits.clone(), torch.nn.Identity(), batch.labels_BT[0], (ids, codes, mass)
    )
    soft = SoftTargets(ids_NK=ids, logp_NK=decode(codes), tail_N=mass)
    options = LossOptions(hard_weight=hard_weight, tail=tail)
    wanted = essence_loss(logits, batch.labels_BT[0], soft, options)
    assert found.total == wanted.total
    assert found.parts == {"hard": float(wanted.hard), "soft": float(wanted.soft)}
    assert found.num_frames == 17


@pytest.mark.parametrize("tail", ["renormalize", "bucket", "uniform", "truth", "drop"])
def test_stored_temperature_softens_the_teacher(
    corpus_directory: Path, tmp_path: Path, tail: TailPolicy
) -> None:
    path = corpus_directory / "train.h5"
    store = _make_store(tmp_path / "t.zarr", path, temperatures=(1.5, 2.5))
    hot = _make_store(tmp_path / "hot.zarr", path, temperature=2.0, temperatures=(1.25,))
    with CorpusFile(path) as corpus:
        pieces = [Piece(index=2, start=3, num_frames=9), Piece(index=0, start=0, num_frames=31)]
        batch = read_batch(corpus, pieces)
        exact = np.concatenate(
            [_logp(corpus, p.index)[p.start : p.start + p.num_frames] for p in pieces]
        )
    labels = batch.labels_BT[batch.live_BT]
    logits = torch.randn(40, NUM_CLASSES, generator=torch.Generator().manual_seed(0))
    logits[torch.arange(40), labels] += (
        8.0  # agrees with the labels, so that the temperature matters
    )
    for there, temperature, exponent in ((store, 2.5, 2.5), (hot, 2.5, 1.25)):
        settings = _settings(k=2, tail=tail, temperature=temperature)
        objective = Essence(settings, open_store(there))
        found = objective.loss(logits.clone(), torch.nn.Identity(), labels, objective.read(batch))
        wanted, untempered = (
            _loss_by_dense_teacher(logits, labels, exact / power, tail, temperature)
            for power in (exponent, 1.0)
        )
        torch.testing.assert_close(found.total, wanted, rtol=4e-3, atol=0)
        assert abs(untempered / wanted - 1) > 1e-2  # or the comparison sees nothing


def _loss_by_dense_teacher(
    logits: Tensor, labels: Tensor, teacher: np.ndarray, tail: TailPolicy, temperature: float
) -> Tensor:
    logp = torch.from_numpy(teacher).log_softmax(1).float()
    top, ids = logp.topk(2)
    mass = logp.exp().scatter(1, ids, 0.0).sum(1)
    soft = SoftTargets(ids_NK=ids, logp_NK=top, tail_N=mass)
    options = LossOptions(hard_weight=0.5, tail=tail, temperature=temperature)
    return essence_loss(logits, labels, soft, options).total


def test_student_learns_at_another_temperature(corpus_directory: Path, tmp_path: Path) -> None:
    path = corpus_directory / "train.h5"
    store = _make_store(tmp_path / "t.zarr", path, temperatures=(2.5,))
    _train(corpus_directory, store, tmp_path / "s", temperature=2.5, k=2, tail="bucket")
    assert _best_error(tmp_path / "s") < 0.1


def test_chunked_loss_is_used_above_the_size_in_the_settings(
    corpus_directory: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CorpusFile(corpus_directory / "train.h5") as corpus:
        batch = read_batch(corpus, [Piece(index=2, start=0, num_frames=17)])
    hidden = torch.randn(17, 3, generator=torch.Generator().manual_seed(0))
    output = torch.nn.Linear(3, NUM_CLASSES)
    calls = []

    def noted(*args: Any, **how: Any) -> LossParts:
        calls.append(how)
        return essence_linear_loss(*args, **how)

    monkeypatch.setattr("stages.student.essence.essence_linear_loss", noted)
    totals = []
    for most in (17 * NUM_CLASSES, 17 * NUM_CLASSES - 1):
        objective = Essence(_settings(chunk_above=most), open_store(store))
        loss = objective.loss(hidden, output, batch.labels_BT[0], objective.read(batch))
        totals.append(loss.total)
    assert len(calls) == 1
    torch.testing.assert_close(*totals)


def test_unfinished_store_is_refused(corpus_directory: Path, tmp_path: Path) -> None:
    """RELIABILITY 7."""
    store = _make_store(tmp_path / "t.zarr", corpus_directory / "train.h5", seal=False)
    with pytest.raises(StoreIncomplete):
        _train(corpus_directory, store, tmp_path / "student")


def test_utterances_skipped_by_the_teacher_are_left_out(
    corpus_directory: Path, tmp_path: Path
) -> None:
    train = corpus_directory / "train.h5"
    store = _make_store(tmp_path / "t.zarr", train, skip=3)
    progress = _train(corpus_directory, store, tmp_path / "student")
    assert any(
        "3 of the corpus's 24 have no soft labels and are left out" in note
        for note in progress.notes
    )
    with CorpusFile(train) as corpus:
        skipped = sum(row.num_frames for row in corpus.utterances[-3:])
        assert progress.done == progress.total == 4 * (corpus.num_frames - skipped)


def test_frames_without_hard_labels_are_trained_on_soft_labels(tmp_path: Path) -> None:
    corpus_directory = make_corpus_directory(tmp_path / "corpus")
    train = make_corpus(corpus_directory / "train.h5", lengths=(31, 17), unlabelled_frames=5)
    store = _make_store(tmp_path / "t.zarr", train)
    progress = _train(corpus_directory, store, tmp_path / "student")
    assert progress.done == progress.total == 4 * (31 + 17)
    assert all(np.isfinite(progress.losses))
