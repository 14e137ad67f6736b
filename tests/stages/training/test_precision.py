"""Precision: half products, weights and loss in float32; the fp16 loss scale is resumed."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.errors import StageError
from stages.training import precision, train
from stages.training.corpus import open_training_corpus
from stages.training.inputs import TrainingInputs
from stages.training.objective import BatchLoss, HardLabels
from stages.training.precision import Precision, refuse_precision
from stages.training.state import TrainingState
from stages.training.train import train_model
from tests.support.makers.training import RecordingProgress, make_corpus_directory, make_settings


@pytest.fixture(scope="module")
def corpus_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def fp16_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow fp16 on the CPU, enough for a TDNN; the scale grows until gradients overflow."""
    monkeypatch.setattr(train, "refuse_precision", lambda *_: None)
    monkeypatch.setattr(precision, "GROWTH_STEPS", 3)


class Watched(HardLabels):
    """Records the dtypes of its computation."""

    def __init__(self) -> None:
        self.seen: set[torch.dtype] = set()
        self.totals: set[torch.dtype] = set()

    def loss(
        self, hidden_NH: Tensor, output: nn.Module, labels_N: Tensor, targets: tuple[Tensor, ...]
    ) -> BatchLoss:
        self.seen.add(output(hidden_NH).dtype)
        loss = super().loss(hidden_NH, output, labels_N, targets)
        self.totals.add(loss.total.dtype)
        return loss


def _train(
    corpus_directory: Path, directory: Path, *, stop_at: int = 0, **settings: Any
) -> tuple[RecordingProgress, Watched]:
    def at(step: int) -> None:
        if step == stop_at:
            signal.raise_signal(signal.SIGINT)

    directory.mkdir(exist_ok=True)
    progress, objective = RecordingProgress(at), Watched()
    with open_training_corpus(corpus_directory, needs_labels=True) as corpus:
        train_model(
            TrainingInputs(
                settings=make_settings(epochs=4, **settings),
                title="half",
                architecture=ArchitectureSettings(hidden=9, layers=2, dropout=0.2),
                objective=objective,
                corpus=corpus,
                device="cpu",
                progress=progress,
                facts={},
            ),
            directory=directory,
        )
    return progress, objective


def _weights(directory: Path) -> bytes:
    return (directory / "model.safetensors").read_bytes()


@pytest.mark.usefixtures("fp16_anywhere")
@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_half_precision_learns_with_a_float32_loss_and_resumes_exactly(
    corpus_directory: Path, tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    whole, objective = _train(corpus_directory, tmp_path / "whole", precision=name)
    assert objective.seen == {dtype}
    assert objective.totals == {torch.float32}
    assert whole.losses[-1] < 0.5 * whole.losses[0]
    with pytest.raises(KeyboardInterrupt):
        _train(corpus_directory, tmp_path / "r", precision=name, stop_at=29)
    rest, _ = _train(corpus_directory, tmp_path / "r", precision=name)
    assert rest.losses == whole.losses[29:]
    assert _weights(tmp_path / "r") == _weights(tmp_path / "whole")


@pytest.mark.usefixtures("fp16_anywhere")
@pytest.mark.parametrize("piece", ["loss_scale", "good_steps"])
def test_loss_scale_state_is_complete(
    corpus_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: str
) -> None:
    """RELIABILITY 27."""
    whole, _ = _train(corpus_directory, tmp_path / "whole", precision="fp16")
    with pytest.raises(KeyboardInterrupt):
        _train(corpus_directory, tmp_path / "r", precision="fp16", stop_at=29)
    restore = TrainingState.restore

    def forgetful(state: TrainingState, position: Any, tensors: Any) -> None:
        fresh = type(position)()
        changed = {piece: getattr(fresh, piece)}
        assert getattr(position, piece) != changed[piece]
        restore(state, position.model_copy(update=changed), tensors)

    monkeypatch.setattr(TrainingState, "restore", forgetful)
    rest, _ = _train(corpus_directory, tmp_path / "r", precision="fp16")
    assert rest.losses != whole.losses[29:]


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("fp16", "cpu", "fp16 on cpu: .* take bf16, or fp32"),
        ("fp16", "mps", "fp16 on mps"),
        ("bf16", "mps", "wanted cpu or cuda: take fp32"),
    ],
)
def test_precision_that_the_device_lacks_is_refused(name: Any, device: str, message: str) -> None:
    with pytest.raises(StageError, match=message):
        refuse_precision(name, device)
    refuse_precision("fp32", device)
    refuse_precision("bf16", "cpu")


def test_gradient_overflow_skips_the_step_and_halves_the_scale() -> None:
    layer = nn.Linear(3, 1)
    before = layer.weight.detach().clone()
    optimiser = torch.optim.AdamW(layer.parameters())
    half = Precision("fp16", "cpu")
    half.backward(layer(torch.ones(3)).sum() * 1e35)  # times 65536 it is infinite
    half.update(optimiser, layer, clip=1.0)
    assert torch.equal(layer.weight, before)
    assert half.state == (32768.0, 0)
    optimiser.zero_grad()
    half.backward(layer(torch.ones(3)).sum())
    half.update(optimiser, layer, clip=1.0)
    assert not torch.equal(layer.weight, before)
    assert half.state == (32768.0, 1)


def test_full_precision_gradients_are_not_scaled() -> None:
    layer = nn.Linear(3, 1)
    full = Precision("fp32", "cpu")
    full.backward(layer(torch.ones(3)).sum())
    assert torch.equal(layer.weight.grad, torch.ones(1, 3))  # type: ignore[arg-type]
    full.restore(8.0, 3)
    assert full.state == (65536.0, 0)
