"""The contract of members: one suite for trained, folded, archived and foreign ones."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stages.acoustic.models import pieces as cutting
from stages.members.batches import Batch, plan_batches, read_batch
from stages.members.kinds import kind_in, open_member, why_not
from stages.members.member import Member
from stages.members.run import compute_posteriors
from stages.members.trained import train_member
from stages.members.trained_settings import TrainedMemberSettings
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.archives import make_archived_member
from tests.support.makers.foreign_members import (
    Net,
    make_foreign,
    write_exported,
    write_module,
    write_onnx,
    write_torchscript,
)
from tests.support.makers.posteriors import posteriors_of
from tests.support.makers.teacher import make_member
from tests.support.makers.training import (
    FEATURE_DIM,
    INVENTORY,
    NUM_CLASSES,
    RecordingProgress,
    make_corpus_directory,
    make_settings,
)

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


FOREIGN = ("onnx", "torchscript", "exported", "python")


def foreign_settings(kind: str, folder: Path) -> dict[str, Any]:
    """Settings of a foreign member whose files are in `folder`."""
    trusted = {"output": "logits", "trust": True}
    if kind == "onnx":
        return {"onnx": write_onnx(folder / "a.onnx", Net()), "output": "logits"}
    if kind == "torchscript":
        return {**trusted, "torchscript": write_torchscript(folder / "a.pt", Net())}
    if kind == "exported":
        return {**trusted, "exported": write_exported(folder / "a.pt2", Net())}
    sys.path.insert(0, str(folder))  # as PYTHONPATH does, for the rest of this process
    factory = write_module(folder, name="contract_model")
    options = {"dim": FEATURE_DIM, "classes": NUM_CLASSES}
    return {**trusted, "python": factory, "version": "1", "options": options}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


def softmax_posteriors(num_frames: int) -> NDArray[np.float32]:
    logits_TC = np.random.default_rng(num_frames).normal(size=(num_frames, NUM_CLASSES))
    return np.asarray(
        logits_TC - np.log(np.exp(logits_TC).sum(axis=1, keepdims=True)), dtype=np.float32
    )


@pytest.fixture(scope="module", params=["trained", "folded", "archived", *FOREIGN])
def directory(
    request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    place = tmp_path_factory.mktemp("members") / str(request.param)
    if request.param == "trained":
        return make_member(place, "gru", seed=3)
    if request.param == "archived":
        return make_archived_member(place, corpus, softmax_posteriors)
    if request.param in FOREIGN:
        return make_foreign(place, corpus, foreign_settings(str(request.param), place.parent))
    place.mkdir()
    settings = TrainedMemberSettings.model_validate(
        {"name": "m", "folds": 3, "training": make_settings(epochs=1)}
    )
    train_member(
        settings,
        corpus_directory=corpus,
        directory=place,
        device="cpu",
        progress=RecordingProgress(),
    )
    return place


@pytest.fixture
def member(directory: Path) -> Member:
    return open_member(directory, device="cpu")


@pytest.fixture
def train(corpus: Path) -> Iterator[CorpusFile]:
    with CorpusFile(corpus / "train.h5") as file:
        yield file


def first_batch(corpus: CorpusFile, *, batch_frames: int = 150) -> Batch:
    plan = plan_batches(corpus.utterances, range(2, 20), batch_frames=batch_frames)
    return read_batch(corpus, next(plan), device="cpu", with_features=True)


def test_member_describes_itself(member: Member, directory: Path, train: CorpusFile) -> None:
    about = member.about
    assert about.title
    assert len(about.fingerprint) == 64
    assert about.num_classes == NUM_CLASSES
    assert about.class_inventory == INVENTORY
    assert about.feature_dim in (train.about.feature_dim, None)
    assert member.num_bytes >= 0
    assert member.num_parameters is None or member.num_parameters > 0
    assert member.averaging_floor <= -87
    assert kind_in(directory) is not None
    assert why_not(directory, ("train", "dev")) is None
    assert open_member(directory, device="cpu").about.fingerprint == about.fingerprint


def test_posteriors_of_a_batch_are_a_tensor_of_distributions(
    member: Member, train: CorpusFile
) -> None:
    batch = first_batch(train)
    assert len(batch.pieces) > 2
    before_BTF = batch.features_BTF.clone()
    logp_BTC = member.load().log_posteriors(batch)
    assert logp_BTC.shape == (*batch.features_BTF.shape[:2], NUM_CLASSES)
    assert logp_BTC.dtype == torch.float32
    assert logp_BTC.device == batch.features_BTF.device
    assert not logp_BTC.requires_grad
    for piece, logp_TC in batch.without_context(logp_BTC):
        assert logp_TC.shape == (piece.num_frames, NUM_CLASSES)
        np.testing.assert_allclose(logp_TC.double().exp().sum(dim=1), 1.0, rtol=1e-5)
    assert torch.equal(batch.features_BTF, before_BTF)


def test_posteriors_of_a_batch_are_deterministic(
    member: Member, directory: Path, train: CorpusFile
) -> None:
    batch, loaded = first_batch(train), member.load()
    first = loaded.log_posteriors(batch)
    loaded.log_posteriors(batch.only([1]))
    again = open_member(directory, device="cpu").load()
    for other in (loaded, again):
        found = other.log_posteriors(batch)
        for (_, wanted_TC), (_, found_TC) in zip(
            batch.without_context(first), batch.without_context(found), strict=True
        ):
            assert torch.equal(found_TC, wanted_TC)


def test_posteriors_do_not_depend_on_the_rest_of_the_batch(
    member: Member, train: CorpusFile
) -> None:
    loaded = member.load()
    alone = posteriors_of(loaded, train, batch_frames=1)
    together = posteriors_of(loaded, train, batch_frames=10**6)
    for index, logp_TC in alone.items():
        np.testing.assert_allclose(together[index], logp_TC, atol=2e-5)


def test_posteriors_in_pieces_have_every_frame_once(
    member: Member, train: CorpusFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "PIECE_FRAMES", 13)
    monkeypatch.setattr(cutting, "CONTEXT_FRAMES", 5)
    options = {"batch_frames": 90, "device": "cpu", "name": "m"}
    indices = range(len(train.utterances))
    found = list(compute_posteriors(member, train, indices, **options))  # type: ignore[arg-type]
    lengths = [row.num_frames for row in train.utterances]
    assert sum(len(logp_TC) for _, logp_TC in found) == sum(lengths)
    assert [piece.index for piece, _ in found] == sorted(piece.index for piece, _ in found)
    assert all(len(logp_TC) == piece.num_frames for piece, logp_TC in found)
