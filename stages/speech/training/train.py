"""corpus -> model: train on batches, watch dev, keep the best weights, survive an interruption.

What the loss is, the caller says (`Objective`). A run that is stopped anywhere and started again
takes the same steps, bit for bit, on the same device and number of threads: whatever is random
in a step is drawn from (seed, epoch, step), so that no generator's state has to be kept.

Shapes: B utterances, T frames, N real frames of a batch, F feature dims,
H hidden channels.
"""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.errors import StageError
from stages.speech.architectures import ArchitectureSettings, build_model
from stages.speech.batches import Batch, plan_batches, read_ahead, read_batch
from stages.speech.normalisation import feature_statistics
from stages.speech.progress import Progress, Task
from stages.speech.results import EpochMetrics
from stages.speech.training.augmentation import augment
from stages.speech.training.checkpoint import (
    Pace,
    Position,
    read_checkpoint,
    remove_checkpoint,
    remove_leftovers,
    write_checkpoint,
)
from stages.speech.training.corpus import TrainingCorpus
from stages.speech.training.dev_score import score_model
from stages.speech.training.finished_run import finish_run, is_finished
from stages.speech.training.interrupts import Interrupt, noticed_interrupts
from stages.speech.training.objective import BatchLoss, Objective
from stages.speech.training.schedule import learning_rate_at
from stages.speech.training.settings import TrainingSettings
from stages.speech.training.state import TrainingState
from storage.fingerprint import fingerprint
from storage.publish import publish_file

METRICS_FILE = "metrics.jsonl"
AUGMENTATION, DROPOUT = 1, 2  # streams of random numbers; stream 0 is the order of batches


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What does not change while a model is trained."""

    settings: TrainingSettings
    objective: Objective
    corpus: TrainingCorpus
    directory: Path
    device: str
    fingerprint: str
    interrupt: Interrupt
    pace: Pace


class _Stopped(Exception):
    """Somebody asked to stop, and the state is one that can be kept."""


def train_model(
    settings: TrainingSettings,
    *,
    title: str,
    architecture: ArchitectureSettings,
    objective: Objective,
    corpus: TrainingCorpus,
    directory: Path,
    device: str,
    progress: Progress,
    facts: dict[str, Any],
) -> None:
    """Train, or go on training, until `directory` holds the model and metrics.jsonl.

    `facts` say what the objective is: with the settings and the corpus they are the identity of
    the run, and they are kept in model.json.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after a checkpoint: the next call goes on from there.
        BadInput: when a checkpoint was damaged.
        StageError: when the loss is no longer finite.
    """
    identity = {
        "training": settings.identity(),
        "architecture": architecture.model_dump(mode="json"),
        "corpus": [corpus.train.fingerprint, corpus.dev.fingerprint, sorted(corpus.left_out)],
        "facts": facts,
    }
    run_fingerprint = fingerprint(identity)
    remove_leftovers(directory)
    if is_finished(directory, run=run_fingerprint):
        remove_checkpoint(directory)  # a kill may have come between the model and this
        return
    devices = [torch.cuda.current_device()] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices), noticed_interrupts() as interrupt:
        run = _Run(
            settings=settings,
            objective=objective,
            corpus=corpus,
            directory=directory,
            device=device,
            fingerprint=run_fingerprint,
            interrupt=interrupt,
            pace=Pace(settings.checkpoint_minutes),
        )
        state = _begin(run, architecture, title=title, progress=progress)
        total = settings.epochs * corpus.num_frames
        with progress.task(title, total=total, unit="frames") as task:
            task.advance(state.position.frames_seen)
            _train(run, state, task)
        facts = {**facts, "run": run_fingerprint, "training": identity["training"]}
        finish_run(
            state,
            corpus=corpus,
            directory=directory,
            batch_frames=settings.batch_frames,
            chunk_frames=settings.chunk_frames,
            device=device,
            facts=facts,
        )
    remove_checkpoint(directory)


def _begin(
    run: _Run, architecture: ArchitectureSettings, *, title: str, progress: Progress
) -> TrainingState:
    torch.manual_seed(run.settings.seed)
    about = run.corpus.train.about
    model = build_model(architecture, about.feature_dim, about.num_classes).to(run.device)
    state = TrainingState(
        model, weight_decay=run.settings.weight_decay, average_last=run.settings.average_last
    )
    kept = read_checkpoint(run.directory, run=run.fingerprint)
    if kept is not None:
        state.restore(*kept)
        position = state.position
        progress.note(f"{title}: goes on at epoch {position.epoch + 1}, step {position.step + 1}")
        return state
    progress.note(f"{title}: seed {run.settings.seed}")
    mean_F, std_F = feature_statistics(run.corpus.train.feature_blocks())
    model.set_normalisation(torch.from_numpy(mean_F), torch.from_numpy(std_F))
    return state


def _train(run: _Run, state: TrainingState, task: Task) -> None:
    try:
        while not _is_over(run.settings, state.position.metrics):
            _train_epoch(run, state, task)
            _end_epoch(run, state, task)
            _save(run, state)
            _stop_if_asked(run)
    except _Stopped as cause:
        _save(run, state)
        raise KeyboardInterrupt from cause


def _save(run: _Run, state: TrainingState) -> None:
    position, tensors = state.capture()
    write_checkpoint(run.directory, position, tensors, run=run.fingerprint)
    run.pace.begin()


def _stop_if_asked(run: _Run) -> None:
    if run.interrupt.is_asked:
        raise _Stopped


def _is_over(settings: TrainingSettings, metrics: tuple[EpochMetrics, ...]) -> bool:
    if not metrics:
        return False
    best = min(metrics, key=lambda epoch: epoch.dev_frame_error)  # the first of equals
    stale = metrics[-1].epoch - best.epoch
    return len(metrics) >= settings.epochs or stale >= settings.patience


def _train_epoch(run: _Run, state: TrainingState, task: Task) -> None:
    with closing(_batches(run, state)) as batches:
        for batch, targets in batches:
            _stop_if_asked(run)
            loss = _step(run, state, batch, targets)
            state.position = position = _after(state.position, batch, loss)
            loss_mean, parts = position.means()
            task.advance(batch.num_frames, epoch=position.epoch + 1, loss=loss_mean, **parts)
            if run.pace.is_due():
                _save(run, state)
    _stop_if_asked(run)


def _after(position: Position, batch: Batch, loss: BatchLoss) -> Position:
    """Where a run stands one step later."""
    sums = position.epoch_parts
    parts = {
        name: sums.get(name, 0.0) + value * loss.num_frames for name, value in loss.parts.items()
    }
    return position.model_copy(
        update={
            "step": position.step + 1,
            "frames_seen": position.frames_seen + batch.num_frames,
            "epoch_frames": position.epoch_frames + loss.num_frames,
            "epoch_loss": position.epoch_loss + float(loss.total.detach()) * loss.num_frames,
            "epoch_parts": parts,
        }
    )


def _batches(run: _Run, state: TrainingState) -> Generator[tuple[Batch, tuple[Tensor, ...]]]:
    """The batches of this epoch that are still to come, with the objective's targets."""
    settings, corpus, epoch = run.settings, run.corpus, state.position.epoch
    pieces = corpus.pieces(settings.chunk_frames)
    lengths = [piece.num_frames for piece in pieces]
    plan = plan_batches(lengths, settings.batch_frames, settings.seed, epoch)
    mean_F, std_F = (
        values.cpu().numpy() for values in (state.model.feature_mean, state.model.feature_std)
    )

    def read(planned: tuple[int, list[int]]) -> tuple[Batch, tuple[Tensor, ...]]:
        step, chosen = planned
        batch = read_batch(corpus.train, [pieces[i] for i in chosen])
        targets = run.objective.read(batch)
        if settings.augmentation.is_on:
            changed_BTF = augment(
                batch.features_BTF.numpy(),
                batch.lengths_B.tolist(),
                settings=settings.augmentation,
                mean_F=mean_F,
                std_F=std_F,
                rng=np.random.default_rng([settings.seed, epoch, step, AUGMENTATION]),
            )
            batch = replace(batch, features_BTF=torch.from_numpy(changed_BTF))
        return batch, targets

    done = state.position.step
    return read_ahead(list(enumerate(plan))[done:], read)


def _step(run: _Run, state: TrainingState, batch: Batch, targets: tuple[Tensor, ...]) -> BatchLoss:
    settings, position = run.settings, state.position
    _seed_dropout(settings.seed, position.epoch, position.step)
    state.set_rate(_rate(run, position.frames_seen + batch.num_frames))
    state.model.train()
    live_BT = batch.live_BT.to(run.device)
    hidden_NH = state.model.hidden(batch.features_BTF.to(run.device), batch.lengths_B)[live_BT]
    labels_N = batch.labels_BT.to(run.device)[live_BT]
    on_device = tuple(values.to(run.device) for values in targets)
    loss = run.objective.loss(hidden_NH, state.model.output, labels_N, on_device)
    _refuse_non_finite(float(loss.total.detach()), position.epoch, position.step)
    state.optimiser.zero_grad()
    loss.total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), settings.clip)
    state.optimiser.step()
    return loss


def _rate(run: _Run, frames_seen: int) -> float:
    settings = run.settings
    share_done = frames_seen / (settings.epochs * run.corpus.num_frames)
    return learning_rate_at(share_done, peak=settings.learning_rate, warmup=settings.warmup)


def _seed_dropout(seed: int, epoch: int, step: int) -> None:
    words = np.random.SeedSequence([seed, epoch, step, DROPOUT]).generate_state(1, np.uint64)
    torch.manual_seed(int(words[0] >> np.uint64(1)))


def _refuse_non_finite(loss: float, epoch: int, step: int) -> None:
    if not isfinite(loss):
        raise StageError(
            f"the loss is {loss} at epoch {epoch + 1}, step {step + 1}: "
            "lower training.learning_rate or training.clip"
        )


def _end_epoch(run: _Run, state: TrainingState, task: Task) -> None:
    score = score_model(
        state.model,
        run.corpus.dev,
        batch_frames=run.settings.batch_frames,
        chunk_frames=run.settings.chunk_frames,
        device=run.device,
        at_each_batch=lambda: _stop_if_asked(run),
    )
    position = state.position
    train_loss, train_parts = position.means()
    metrics = EpochMetrics(
        epoch=position.epoch + 1,
        train_loss=train_loss,
        dev_frame_error=score.frame_error,
        dev_cross_entropy=score.cross_entropy,
        learning_rate=_rate(run, position.frames_seen),
        train_parts=train_parts,
    )
    best_before = min((epoch.dev_frame_error for epoch in position.metrics), default=float("inf"))
    state.keep_epoch(is_best=metrics.dev_frame_error < best_before)
    state.position = position.model_copy(
        update={
            "epoch": position.epoch + 1,
            "step": 0,
            "epoch_frames": 0,
            "epoch_loss": 0.0,
            "epoch_parts": {},
            "metrics": (*position.metrics, metrics),
        }
    )
    lines = "".join(f"{epoch.model_dump_json()}\n" for epoch in state.position.metrics)
    publish_file(run.directory / METRICS_FILE, lines.encode())
    task.advance(0, frame_error=score.frame_error, dev_loss=score.cross_entropy)
