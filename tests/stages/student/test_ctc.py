"""The student's loss on token sequences: equal to its definition, with every blank policy."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.acoustic.models.model_file import read_model_about
from stages.contract.ctc import collapse
from stages.contract.errors import BadInput
from stages.student.ctc import EssenceCtc
from stages.student.essence import Essence
from stages.student.loss.ctc_definition import ctc_nats_by_definition, dense_ctc_loss
from stages.student.loss.definition import SoftTargets
from stages.student.loss.options import LossOptions
from stages.student.settings import BlankWeight, StudentSettings
from stages.student.token_check import misfits_of_targets
from stages.student.train import train_student
from stages.training.objective import BatchLoss
from storage.corpus.corpus_file import CorpusFile
from storage.place.find_place import find_place
from tests.support.makers.loss import make_frames
from tests.support.makers.tokens import make_token_directory, make_token_store
from tests.support.makers.training import RecordingProgress, make_corpus_directory, make_settings

LENGTHS = (6, 3, 8)
TOKENS: tuple[list[int], ...] = ([1, 1], [], [3, 2, 2])
NUM_CLASSES = 6
POLICIES: list[Any] = ["keep", "drop", BlankWeight(weight=0.1)]


class Planted:
    """Stands for Essence: soft targets that a test has made."""

    def __init__(self, settings: StudentSettings, soft: SoftTargets) -> None:
        self.settings = settings
        self._soft = soft

    def soft_targets(self, stored: tuple[Tensor, ...]) -> SoftTargets:
        assert not stored
        return self._soft


class _Once(torch.autograd.Function):
    """A loss whose gradient is computed at once: gradcheck goes backward twice, the loss once."""

    @staticmethod
    def forward(ctx: Any, logits_NC: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            leaf = logits_NC.detach().requires_grad_()
            total = loss(leaf)
            (gradient_NC,) = torch.autograd.grad(total, leaf)
        ctx.save_for_backward(gradient_NC)
        return total.detach()

    @staticmethod
    def backward(ctx: Any, gradient_of_total: Tensor) -> tuple[Tensor, None]:
        return gradient_of_total * ctx.saved_tensors[0], None


def _soft() -> tuple[Tensor, SoftTargets]:
    frames = make_frames(num_frames=sum(LENGTHS), num_classes=NUM_CLASSES, k=3, seed=4)
    assert 0 < int((frames.soft.ids_NK[:, 0] == 0).sum()) < sum(LENGTHS)
    return frames.logits_NC, frames.soft


def _loss(logits_NC: Tensor, settings: StudentSettings, soft: SoftTargets) -> BatchLoss:
    flat = torch.tensor([token for several in TOKENS for token in several])
    counts = torch.tensor([len(several) for several in TOKENS])
    objective = EssenceCtc(cast(Essence, Planted(settings, soft)), cast(CorpusFile, None))
    targets = (torch.tensor(LENGTHS), flat, counts)
    labels_N = torch.full((len(logits_NC),), -1)
    return objective.loss(logits_NC, nn.Identity(), labels_N, targets)


@pytest.mark.parametrize("blank", POLICIES)
@pytest.mark.parametrize("tail", ["renormalize", "bucket", "uniform", "drop"])
@pytest.mark.parametrize("hard_weight", [0.0, 0.3])
def test_loss_and_gradient_are_those_of_the_definition(
    blank: Any, tail: Any, hard_weight: float
) -> None:
    logits_NC, soft = _soft()
    settings = StudentSettings(
        k=3, hard_weight=hard_weight, tail=tail, blank=blank, temperature=1.5
    )
    options = LossOptions(hard_weight=hard_weight, tail=tail, temperature=1.5)
    own, dense = (logits_NC.clone().requires_grad_() for _ in range(2))
    found = _loss(own, settings, soft)
    wanted = dense_ctc_loss(
        dense, LENGTHS, TOKENS, soft, options, blank_weight=settings.blank_weight
    )
    found.total.backward()  # type: ignore[no-untyped-call]
    wanted.total.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found.total, wanted.total)
    torch.testing.assert_close(own.grad, dense.grad)
    assert found.num_frames == wanted.num_frames == sum(LENGTHS)
    assert found.parts["soft"] == pytest.approx(float(wanted.soft))
    if hard_weight:
        assert found.parts["hard"] == pytest.approx(float(wanted.hard))


@pytest.mark.parametrize("blank", POLICIES)
def test_gradient_passes_gradcheck(blank: Any) -> None:
    logits_NC, soft = _soft()
    settings = StudentSettings(k=3, hard_weight=0.3, blank=blank)
    leaf = logits_NC.clone().requires_grad_()
    loss = lambda z: _loss(z, settings, soft).total  # noqa: E731
    assert torch.autograd.gradcheck(lambda z: _Once.apply(z, loss), leaf)


def test_definition_is_the_sum_over_all_paths() -> None:
    """By enumeration: 3 classes, 4 frames, 81 paths."""
    logp_TC = torch.randn(4, 3, dtype=torch.float64).log_softmax(1)
    for tokens in ([1], [1, 1], [2, 1], [1, 2, 1]):
        paths = [p for p in product(range(3), repeat=4) if collapse(np.array(p)).tolist() == tokens]
        sums = torch.stack([logp_TC[torch.arange(4), torch.tensor(p)].sum() for p in paths])
        torch.testing.assert_close(ctc_nats_by_definition(logp_TC, tokens), -sums.logsumexp(0))


def test_batch_of_many_ranks_adds_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    logits_NC, soft = _soft()
    settings = StudentSettings(k=3, hard_weight=0.3, blank="drop")
    whole = _loss(logits_NC, settings, soft)
    total = 0.0
    bounds = (0, 6, 9, 17)
    for number in range(3):
        part = slice(bounds[number], bounds[number + 1])
        share = SoftTargets(
            ids_NK=soft.ids_NK[part], logp_NK=soft.logp_NK[part], tail_N=soft.tail_N[part]
        )
        monkeypatch.setattr(f"{__name__}.TOKENS", (TOKENS[number],))
        monkeypatch.setattr(f"{__name__}.LENGTHS", (LENGTHS[number],))
        loss = _loss(logits_NC[part], settings, share)
        monkeypatch.undo()
        total += float(loss.total) * loss.num_frames
    assert total / whole.num_frames == pytest.approx(float(whole.total))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_token_directory(tmp_path_factory.mktemp("corpus"))


def _train(directory: Path, store: Path | None, place: Path, **changes: Any) -> dict[str, Any]:
    place.mkdir()
    training = make_settings(epochs=2).model_dump()
    fields = {"k": 2, "hard_weight": 0.5, "training": training}
    fields["architecture"] = {"hidden": 9, "layers": 2}
    train_student(
        StudentSettings.model_validate(fields | changes),
        corpus_directory=directory,
        store=None if store is None else find_place(store),
        directory=place,
        device="cpu",
        progress=RecordingProgress(),
    )
    return read_model_about(place).facts


def test_student_learns_from_tokens_and_store(directory: Path, tmp_path: Path) -> None:
    store = make_token_store(tmp_path / "train.zarr", directory / "train.h5")
    facts = _train(directory, store, tmp_path / "both", blank="drop")
    assert (facts["objective"], facts["blank"]) == ("essence and ctc", "drop")
    facts = _train(directory, store, tmp_path / "kept")
    assert "blank" not in facts
    weights = {(tmp_path / each / "model.safetensors").read_bytes() for each in ("both", "kept")}
    assert len(weights) == 2
    facts = _train(directory, None, tmp_path / "hard", hard_weight=1.0)
    assert facts["objective"] == "ctc"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"trust": "where_right"}, "trust"),
        ({"tail": "truth"}, "tail"),
        ({"labels": {"transcribed": "realigned"}}, "labels"),
        ({"hard_weight": 1.0, "label_smoothing": 0.1}, "label_smoothing"),
    ],
)
def test_settings_that_need_classes_of_frames_are_refused(
    directory: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadInput, match=rf"student.{named} .*corpus.targets is tokens"):
        _train(directory, None, tmp_path / "s", **changes)


def test_blank_is_refused_for_labels_of_frames(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"student.blank .*corpus.targets is frames"):
        _train(make_corpus_directory(tmp_path), None, tmp_path / "s", blank="drop")
    alone = StudentSettings(hard_weight=1.0, blank="drop")  # where it does not count
    assert not list(misfits_of_targets(alone, has_tokens=False))


def test_blank_counts_for_the_identity_of_taught_students_alone() -> None:
    assert "blank" not in StudentSettings().identity()
    assert StudentSettings(blank="drop").identity()["blank"] == "drop"
    weighted = StudentSettings(blank=BlankWeight(weight=0.1)).identity()
    assert weighted["blank"] == {"weight": 0.1}
    assert "blank" not in StudentSettings(hard_weight=1.0, blank="drop").identity()
