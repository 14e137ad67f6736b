"""Training: it learns, is deterministic, and an interruption changes nothing."""

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stages.acoustic.models.model_file import load_model, read_model_about
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.errors import BadInput, StageError
from stages.training import interrupts
from stages.training.checkpoint import Position
from stages.training.corpus import open_training_corpus
from stages.training.inputs import TrainingInputs
from stages.training.objective import BatchLoss, HardLabels
from stages.training.settings import TrainingSettings
from stages.training.state import TrainingState
from stages.training.step import Step
from stages.training.torch_threads import fixed_threads
from stages.training.train import train_model
from tests.support.makers.training import (
    LENGTHS,
    RecordingProgress,
    ctrl_c_at,
    make_corpus,
    make_corpus_directory,
    make_settings,
)

SMALL = ArchitectureSettings(kind="tdnn", hidden=9, layers=2, dropout=0.2)


@pytest.fixture(scope="module")
def corpus_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


class WithParts(HardLabels):
    """An objective that returns the parts of its loss."""

    def loss(self, *given: Any) -> BatchLoss:
        loss = super().loss(*given)
        parts = {"hard": 0.75 * float(loss.total.detach()), "odd": 0.5 * float(loss.total.detach())}
        return replace(loss, parts=parts, part_frames={"odd": loss.num_frames // 3})


def _train(
    corpus_directory: Path,
    directory: Path,
    settings: TrainingSettings | None = None,
    *,
    progress: RecordingProgress | None = None,
    architecture: ArchitectureSettings = SMALL,
    objective: HardLabels | None = None,
) -> RecordingProgress:
    directory.mkdir(exist_ok=True)
    progress = progress or RecordingProgress()
    with open_training_corpus(corpus_directory, needs_labels=True) as corpus:
        train_model(
            TrainingInputs(
                settings=settings or make_settings(),
                title="small",
                architecture=architecture,
                objective=objective or WithParts(),
                corpus=corpus,
                device="cpu",
                progress=progress,
                facts={},
            ),
            directory=directory,
        )
    return progress


def _weights(directory: Path) -> bytes:
    return (directory / "model.safetensors").read_bytes()


def _metrics(directory: Path) -> list[dict[str, float]]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    metrics: list[dict[str, float]] = [json.loads(line) for line in lines]
    return metrics


@pytest.mark.parametrize("kind", ["tdnn", "gru", "lstm", "conv"])
def test_training_of_every_architecture_learns(
    corpus_directory: Path, tmp_path: Path, kind: str
) -> None:
    architecture = ArchitectureSettings.model_validate(
        {"kind": kind, "hidden": 13, "layers": 2, "dropout": 0.1}
    )
    progress = _train(corpus_directory, tmp_path, architecture=architecture)
    metrics = _metrics(tmp_path)
    assert len(metrics) == 5
    assert min(epoch["dev_frame_error"] for epoch in metrics) < 0.15  # chance is 0.8
    assert metrics[-1]["train_loss"] < 0.5 * metrics[0]["train_loss"]
    assert progress.done == progress.total == 5 * 3 * sum(LENGTHS)
    assert any("seed 5" in note for note in progress.notes)
    _, about = load_model(tmp_path, "cpu")
    assert about.facts["training"]["seed"] == 5
    assert about.facts["dev_frame_error"] == min(epoch["dev_frame_error"] for epoch in metrics)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
    ]


def test_features_are_normalised_with_statistics_of_the_training_split(
    corpus_directory: Path, tmp_path: Path
) -> None:
    _train(corpus_directory, tmp_path, make_settings(epochs=1))
    model, _ = load_model(tmp_path, "cpu")
    with open_training_corpus(corpus_directory, needs_labels=True) as corpus:
        all_TF = np.concatenate(list(corpus.train.feature_blocks())).astype(np.float64)
    np.testing.assert_allclose(model.feature_mean.numpy(), all_TF.mean(0), rtol=1e-6)
    np.testing.assert_allclose(model.feature_std.numpy(), all_TF.std(0), rtol=1e-6)


def test_training_is_determined_by_its_seed(corpus_directory: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    first = _train(corpus_directory, tmp_path / "a")
    second = _train(corpus_directory, tmp_path / "b")
    assert torch.equal(before, torch.get_rng_state())
    assert first.losses == second.losses
    assert _weights(tmp_path / "a") == _weights(tmp_path / "b")
    assert _metrics(tmp_path / "a") == _metrics(tmp_path / "b")
    other = _train(corpus_directory, tmp_path / "c", make_settings(seed=6))
    assert other.losses != first.losses


Whole = Callable[[TrainingSettings], tuple[Path, list[float]]]


@pytest.fixture(scope="module")
def whole(corpus_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Return the directory and the losses of an undisturbed run, trained once per settings."""

    @cache
    def run(settings: TrainingSettings) -> tuple[Path, list[float]]:
        directory = tmp_path_factory.mktemp("whole")
        return directory, _train(corpus_directory, directory, settings).losses

    return run


@pytest.mark.parametrize(
    "change",
    [
        {"batch_frames": 71},
        {"chunk_frames": 20},
        {"learning_rate": 0.03},
        {"warmup": 0.5},
        {"weight_decay": 0.3},
        {"clip": 0.01},
        {"augmentation": {"noise": 0.1}},
        {"precision": "bf16"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_training_settings_each_change_the_losses(
    corpus_directory: Path, tmp_path: Path, whole: Whole, change: dict[str, object]
) -> None:
    base = {"epochs": 1, **change}
    changed = _train(corpus_directory, tmp_path, make_settings(**base))
    assert changed.losses != whole(make_settings(epochs=1))[1]


RICH = make_settings(
    average_last=3,
    augmentation={"time_masks": 1, "time_mask_frames": 5, "feature_masks": 1, "noise": 0.1},
)
# The rate is so high that an early epoch stays the best one.
WILD = make_settings(epochs=4, average_last=4, patience=4, learning_rate=0.05)


@pytest.mark.parametrize("stops", [(1,), (5,), (13, 3), (14, 1, 1), (-1,)])
def test_interrupted_training_resumes_exactly(
    corpus_directory: Path, tmp_path: Path, whole: Whole, stops: tuple[int, ...]
) -> None:
    whole_directory, whole_losses = whole(RICH)
    stops = tuple(stop % len(whole_losses) for stop in stops)
    losses: list[float] = []
    for stop in stops:
        progress = ctrl_c_at(stop)
        with pytest.raises(KeyboardInterrupt):
            _train(corpus_directory, tmp_path / "resumed", RICH, progress=progress)
        assert not (tmp_path / "resumed" / "model.json").exists()
        losses += progress.losses
    rest = _train(corpus_directory, tmp_path / "resumed", RICH)
    assert rest.done == rest.total
    assert len(losses) == sum(stops)
    assert losses + rest.losses == whole_losses
    assert any("goes on" in note for note in rest.notes)
    assert _weights(tmp_path / "resumed") == _weights(whole_directory)
    assert _metrics(tmp_path / "resumed") == _metrics(whole_directory)


GROUPS = ("best", "recent", "optimiser")  # of a checkpoint's tensors, in addition to the model
MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # of the optimiser, for every weight
OF_FP16 = {"loss_scale", "good_steps"}  # test_precision.py leaves them out
EVERY_MOMENT = [f"every {moment}" for moment in MOMENTS]


def test_dropout_without_a_seed_per_step_breaks_resuming(
    corpus_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without seeding per step a resumed run differs, so the tests of resuming can fail."""
    monkeypatch.setattr(Step, "_seed_dropout", lambda *_: None)
    whole = _train(corpus_directory, tmp_path / "whole").losses
    with pytest.raises(KeyboardInterrupt):
        _train(corpus_directory, tmp_path / "r", progress=ctrl_c_at(20))
    assert _train(corpus_directory, tmp_path / "r").losses != whole[20:]


def _forget(name: str) -> Callable[[TrainingState, Position, dict[str, Tensor]], None]:
    """Return a `restore` that omits one piece of the state."""
    restore = TrainingState.restore

    def forgetful(state: TrainingState, position: Position, tensors: dict[str, Tensor]) -> None:
        kept = {key: value for key, value in tensors.items() if not key.startswith(name)}
        changed = {name: getattr(Position(), name)} if name in Position.model_fields else {}
        if name.startswith("model"):
            fresh = {f"model/{key}": value for key, value in state.weights().items()}
            kept = fresh | kept
        if name.startswith("every "):
            kept = {
                key: torch.zeros_like(value) if key.endswith(name.replace("every ", "/")) else value
                for key, value in tensors.items()
            }
        restore(state, position.model_copy(update=changed), kept)

    return forgetful


@pytest.mark.parametrize(
    "piece",
    [
        "",
        "model/output",
        "model/feature_mean",
        *GROUPS,
        *EVERY_MOMENT,
        *sorted(Position.model_fields.keys() - OF_FP16),
    ],
)
def test_training_state_is_complete(
    corpus_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: Whole,
    piece: str,
) -> None:
    """RELIABILITY 27."""
    whole_directory, whole_losses = whole(WILD)
    with pytest.raises(KeyboardInterrupt):
        _train(corpus_directory, tmp_path, WILD, progress=ctrl_c_at(35))
    (tensors,) = tmp_path.glob("*.safetensors")
    names = [name.split("/") for name in load_file(tensors)]
    assert {name[0].split()[0] for name in names} == {"model", *GROUPS}
    assert {name[1] for name in names if name[0].startswith("optimiser")} == set(MOMENTS)
    if piece:
        monkeypatch.setattr(TrainingState, "restore", _forget(piece))
    try:
        rest = _train(corpus_directory, tmp_path, WILD)
    except (KeyError, RuntimeError, ValueError):
        return  # so badly broken that it shows at once
    same = (
        rest.losses == whole_losses[35:]
        and _weights(tmp_path) == _weights(whole_directory)
        and _metrics(tmp_path) == _metrics(whole_directory)
    )
    assert same == (not piece)


class _ThenBroken(HardLabels):
    """Learns for some steps, then returns a NaN loss or crashes, as if killed."""

    def __init__(self, steps: int, *, crash: bool) -> None:
        self._steps = steps
        self._crash = crash

    def loss(
        self, hidden_NH: Tensor, output: nn.Module, labels_N: Tensor, targets: tuple[Tensor, ...]
    ) -> BatchLoss:
        self._steps -= 1
        if self._steps < 0 and self._crash:
            raise MemoryError
        loss = super().loss(hidden_NH, output, labels_N, targets)
        factor = float("nan") if self._steps < 0 else 1.0
        return BatchLoss(total=loss.total * factor, num_frames=loss.num_frames)


def test_crash_costs_at_most_one_epoch(corpus_directory: Path, tmp_path: Path) -> None:
    whole = _train(corpus_directory, tmp_path / "whole")
    steps_an_epoch = len(whole.losses) / 5
    with pytest.raises(MemoryError):
        _train(corpus_directory, tmp_path / "r", objective=_ThenBroken(40, crash=True))
    rest = _train(corpus_directory, tmp_path / "r")
    assert len(whole.losses) - 40 <= len(rest.losses) <= len(whole.losses) - 40 + steps_an_epoch
    assert rest.losses == whole.losses[-len(rest.losses) :]
    assert _weights(tmp_path / "r") == _weights(tmp_path / "whole")


class _SeenThreads(HardLabels):
    """Notes torch's number of threads at each step."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def loss(
        self, hidden_NH: Tensor, output: nn.Module, labels_N: Tensor, targets: tuple[Tensor, ...]
    ) -> BatchLoss:
        self.seen.add(torch.get_num_threads())
        return super().loss(hidden_NH, output, labels_N, targets)


def test_resumed_run_has_the_threads_that_it_began_with(
    corpus_directory: Path, tmp_path: Path
) -> None:
    """Another number would move the last bits of the steps that are left."""
    with fixed_threads(3), pytest.raises(KeyboardInterrupt):
        _train(corpus_directory, tmp_path, progress=ctrl_c_at(20), objective=_SeenThreads())
    objective, progress = _SeenThreads(), RecordingProgress()
    with fixed_threads(2):
        _train(corpus_directory, tmp_path, progress=progress, objective=objective)
        assert torch.get_num_threads() == 2
    assert objective.seen == {3}
    assert "small: 3 threads, as it began, not 2" in progress.notes


def test_nan_loss_is_named_with_epoch_and_step(corpus_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"loss is nan at epoch 1, step 4.*learning_rate"):
        _train(corpus_directory, tmp_path, objective=_ThenBroken(3, crash=False))


def test_divergence_at_the_last_step_of_an_epoch_is_named(
    corpus_directory: Path, tmp_path: Path
) -> None:
    """The loss is that before the step, so that dev is the first to show it."""
    settings = make_settings(learning_rate=1e30, warmup=0.0, batch_frames=1_000_000)
    with pytest.raises(StageError, match=r"loss on dev is \S+ after epoch 1: lower training"):
        _train(corpus_directory, tmp_path, settings)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_files_left_by_a_kill_are_removed(corpus_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(corpus_directory, tmp_path, progress=ctrl_c_at(20))
    checkpoint = {path: path.read_bytes() for path in tmp_path.glob("checkpoint*")}
    half_written = tmp_path / ".checkpoint-7.safetensors.4711.partial"
    half_written.write_bytes(b"half")
    _train(corpus_directory, tmp_path)
    wanted = ["metrics.jsonl", "model.json", "model.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == wanted
    for path, content in checkpoint.items():  # killed when the model had just been written
        path.write_bytes(content)
    assert _train(corpus_directory, tmp_path).losses == []
    assert sorted(path.name for path in tmp_path.iterdir()) == wanted


def test_finished_training_is_not_repeated(corpus_directory: Path, tmp_path: Path) -> None:
    _train(corpus_directory, tmp_path)
    again = _train(corpus_directory, tmp_path)
    assert again.losses == []
    other = _train(corpus_directory, tmp_path, make_settings(seed=8))
    assert other.losses != []


def test_checkpoint_of_another_run_is_ignored(corpus_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(corpus_directory, tmp_path / "a", progress=ctrl_c_at(20))
    other = _train(corpus_directory, tmp_path / "a", make_settings(seed=8))
    clean = _train(corpus_directory, tmp_path / "b", make_settings(seed=8))
    assert other.losses == clean.losses
    assert not list((tmp_path / "a").glob("checkpoint*"))


def _same_numbers(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["checkpoint.json", "checkpoint-*.safetensors"])
def test_changed_byte_of_a_checkpoint_is_named(
    corpus_directory: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(corpus_directory, tmp_path, progress=ctrl_c_at(20))
    (path,) = tmp_path.glob(name)
    whole = path.read_bytes()
    places = np.random.default_rng(0).integers(len(whole) - 1, size=25)
    for place in (0, *places.tolist()):
        changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        if _same_numbers(changed, whole):
            continue  # the 17th digit of a double may be another and the number the same
        path.write_bytes(changed)
        with pytest.raises(BadInput, match=r"checkpoint.*remove .* to train from the start"):
            _train(corpus_directory, tmp_path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="not the checkpoint that was written"):
        _train(corpus_directory, tmp_path)


def test_training_stops_after_patience_without_improvement_on_dev(
    corpus_directory: Path, tmp_path: Path
) -> None:
    _train(corpus_directory, tmp_path, make_settings(epochs=40, patience=2))
    metrics = _metrics(tmp_path)
    errors = [epoch["dev_frame_error"] for epoch in metrics]
    best = errors.index(min(errors))
    assert len(metrics) == best + 1 + 2 < 40
    about = read_model_about(tmp_path)
    assert about.facts["weights"] == f"epoch {best + 1}"


def test_mean_of_the_last_epochs_is_kept_only_if_it_has_fewer_errors(
    corpus_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(average_last=2)
    _train(corpus_directory, tmp_path / "a", settings)
    errors = [epoch["dev_frame_error"] for epoch in _metrics(tmp_path / "a")]
    facts = read_model_about(tmp_path / "a").facts
    assert facts["dev_frame_error"] <= min(errors)
    assert facts["weights"].startswith("mean") == (facts["dev_frame_error"] < min(errors))


def test_training_in_pieces_covers_every_frame_and_learns(
    corpus_directory: Path, tmp_path: Path
) -> None:
    progress = _train(corpus_directory, tmp_path, make_settings(chunk_frames=10))
    assert progress.done == progress.total
    assert _metrics(tmp_path)[-1]["dev_frame_error"] < 0.3


def test_dev_split_without_labels_or_of_another_inventory_is_refused(tmp_path: Path) -> None:
    make_corpus_directory(tmp_path)
    make_corpus(tmp_path / "dev.h5", unlabelled_frames=99)
    with (
        pytest.raises(BadInput, match=r"dev\.h5 has no hard labels"),
        open_training_corpus(tmp_path, needs_labels=False),
    ):
        pass
    make_corpus(tmp_path / "dev.h5", num_classes=6)
    with (
        pytest.raises(BadInput, match=r"num_classes 6, .*train\.h5 has 5"),
        open_training_corpus(tmp_path, needs_labels=True),
    ):
        pass
    make_corpus(tmp_path / "dev.h5", lengths=(0, 0))
    with (
        pytest.raises(BadInput, match="holds no frame"),
        open_training_corpus(tmp_path, needs_labels=True),
    ):
        pass


def test_second_interrupt_is_raised_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)  # a shell's background jobs ignore it
    with interrupts.noticed_interrupts() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.is_asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
