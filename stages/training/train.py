"""corpus -> model: train on batches, watch dev, keep the best weights, survive an interruption.

What the loss is, the caller says (`Objective`). A run that is stopped anywhere and started again
takes the same steps, bit for bit, on the same device and number of threads: whatever is random
in a step is drawn from (seed, epoch, step), so that no generator's state has to be kept.

Several ranks take the same steps together (ranks.py). All hold the whole state; the first one
alone writes files.
"""

import hashlib
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from stages.acoustic.models.architectures import ArchitectureSettings, build_model
from stages.acoustic.models.normalisation import feature_statistics
from stages.acoustic.models.own_architecture import source_digest
from stages.contract.errors import StageError
from stages.contract.progress import Progress, Task
from stages.contract.results import EpochMetrics
from stages.training.board import Show, opened_board
from stages.training.checkpoint import (
    Pace,
    Position,
    read_checkpoint,
    remove_checkpoint,
    remove_leftovers,
    write_checkpoint,
)
from stages.training.corpus import TrainingCorpus
from stages.training.dev_score import score_model
from stages.training.finished_run import finish_run, is_finished
from stages.training.interrupts import Interrupt, noticed_interrupts
from stages.training.objective import Objective
from stages.training.precision import Precision, refuse_precision
from stages.training.ranks import ALONE, Ranks
from stages.training.schedule import learning_rate_at, plateau_rate_at
from stages.training.settings import TrainingSettings
from stages.training.shares import read_shares
from stages.training.state import TrainingState
from stages.training.step import Step, StepLoss
from storage.files.fingerprint import fingerprint
from storage.files.publish import publish_file

METRICS_FILE = "metrics.jsonl"


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
    ranks: Ranks


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
    ranks: Ranks = ALONE,
) -> None:
    """Train, or go on training, until `directory` holds the model and metrics.jsonl.

    `facts` say what the objective is: with the settings and the corpus they are the identity of
    the run, and they are kept in model.json. How many ranks there are is no part of it: a run may
    go on with another number of them.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after a checkpoint: the next call goes on from there.
        BadInput: when a checkpoint was damaged.
        StageError: when the loss is no longer finite.
    """
    if architecture.is_own:
        facts = {**facts, "architecture_source": source_digest(architecture.kind)}
    identity = {
        "training": settings.identity(),
        "architecture": architecture.model_dump(mode="json"),
        "corpus": [corpus.train.fingerprint, corpus.dev.fingerprint, sorted(corpus.left_out)],
        "facts": facts,
    }
    refuse_precision(settings.precision, device)
    run_fingerprint = fingerprint(identity)
    if ranks.first(lambda: _tidied(directory, run=run_fingerprint)) == b"finished":
        return
    devices = [torch.device(device).index or 0] if device.startswith("cuda") else []
    for number in devices:
        torch.cuda.set_device(number)  # nccl and the generator of dropout go by it
    with (
        torch.random.fork_rng(devices),
        noticed_interrupts(is_alone=ranks.size == 1) as interrupt,
    ):
        run = _Run(
            settings=settings,
            objective=objective,
            corpus=corpus,
            directory=directory,
            device=device,
            fingerprint=run_fingerprint,
            interrupt=interrupt,
            pace=Pace(settings.checkpoint_minutes),
            ranks=ranks,
        )
        state = _begin(run, architecture, title=title, progress=progress)
        left = settings.epochs * corpus.num_frames - state.position.frames_seen
        with (
            progress.task(title, total=left, unit="frames") as task,
            opened_board(
                directory,
                is_wanted=settings.tensorboard and ranks.is_first,
                epochs_done=state.position.epoch,
            ) as show,
        ):
            _train(run, state, task, show)
        finished = finish_run(
            state,
            corpus=corpus,
            directory=directory,
            batch_frames=settings.batch_frames,
            chunk_frames=settings.chunk_frames,
            device=device,
            ranks=ranks,
            interrupt=interrupt,
            facts={**facts, "run": run_fingerprint, "training": identity["training"]},
        )
    if not finished:
        raise KeyboardInterrupt
    if ranks.is_first:
        remove_checkpoint(directory)


def _tidied(directory: Path, *, run: str) -> bytes:
    """Whether the run is finished; what a kill has left lying about is gone afterwards."""
    remove_leftovers(directory)
    if not is_finished(directory, run=run):
        return b"to do"
    remove_checkpoint(directory)
    return b"finished"


def _begin(
    run: _Run, architecture: ArchitectureSettings, *, title: str, progress: Progress
) -> TrainingState:
    torch.manual_seed(run.settings.seed)
    about = run.corpus.train.about
    model = build_model(architecture, about.feature_dim, about.num_classes).to(run.device)
    state = TrainingState(
        model,
        weight_decay=run.settings.weight_decay,
        average_last=run.settings.average_last,
        precision=Precision(run.settings.precision, run.device),
    )
    if run.ranks.is_first:
        _read_or_prepare(run, state)
    _share_state(run.ranks, state)
    position = state.position
    where = f"goes on at epoch {position.epoch + 1}, step {position.step + 1}"
    begins = position == Position()
    progress.note(f"{title}: {f'seed {run.settings.seed}' if begins else where}")
    if run.ranks.size > 1:
        progress.note(f"{title}: {run.ranks.size} ranks")
    return state


def _read_or_prepare(run: _Run, state: TrainingState) -> None:
    kept = read_checkpoint(run.directory, run=run.fingerprint)
    if kept is not None:
        state.restore(*kept)
        return
    mean_F, std_F = feature_statistics(run.corpus.train.feature_blocks())
    state.model.set_normalisation(torch.from_numpy(mean_F), torch.from_numpy(std_F))


def _share_state(ranks: Ranks, state: TrainingState) -> None:
    """Give every rank the first one's state: nobody else needs to see the checkpoint."""
    if ranks.size == 1:
        return
    position, tensors = state.capture()
    text = ranks.from_first(position.model_dump_json().encode())
    content = ranks.first(lambda: save({name: value.cpu() for name, value in tensors.items()}))
    if not ranks.is_first:
        state.restore(Position.model_validate_json(text), load(content))


def _train(run: _Run, state: TrainingState, task: Task, show: Show) -> None:
    try:
        while not _is_over(run.settings, state.position.metrics):
            pace = _train_epoch(run, state, task)
            _end_epoch(run, state, task)
            show(state.position.metrics[-1], pace)
            _save(run, state)
            _stop_if_asked(run)
    except _Stopped as cause:
        run.ranks.first(lambda: _save(run, state))  # torchrun ends the first when another has ended
        raise KeyboardInterrupt from cause


def _save(run: _Run, state: TrainingState) -> bytes:
    if run.ranks.is_first:
        position, tensors = state.capture()
        write_checkpoint(run.directory, position, tensors, run=run.fingerprint)
        run.pace.begin()
    return b"saved"


def _stop_if_asked(run: _Run) -> None:
    if run.ranks.must_stop(is_asked=run.interrupt.is_asked):
        raise _Stopped


def _is_over(settings: TrainingSettings, metrics: tuple[EpochMetrics, ...]) -> bool:
    if not metrics:
        return False
    best = min(metrics, key=lambda epoch: epoch.dev_frame_error)  # the first of equals
    stale = metrics[-1].epoch - best.epoch
    return len(metrics) >= settings.epochs or stale >= settings.patience


def _train_epoch(run: _Run, state: TrainingState, task: Task) -> float:
    """Take the steps of an epoch that are left; how many frames a second that went."""
    began, seen = time.perf_counter(), state.position.frames_seen
    settings, model = run.settings, state.model
    step = Step(
        run.objective,
        ranks=run.ranks,
        device=run.device,
        seed=settings.seed,
        clip=settings.clip,
    )
    shares = read_shares(
        settings,
        corpus=run.corpus,
        objective=run.objective,
        ranks=run.ranks,
        epoch=state.position.epoch,
        steps_done=state.position.step,
        mean_F=model.feature_mean,
        std_F=model.feature_std,
    )
    metrics = state.position.metrics
    last_dev = {"dev_error": metrics[-1].dev_frame_error} if metrics else {}
    with closing(shares):
        for share in shares:
            _stop_if_asked(run)
            state.set_rate(_rate(run, state.position, share.num_frames))
            loss = step.take(state, share, is_asked=run.interrupt.is_asked)
            state.position = position = _after(state.position, share.num_frames, loss)
            loss_mean, parts = position.means()
            task.advance(
                share.num_frames, epoch=position.epoch + 1, loss=loss_mean, **parts, **last_dev
            )
            if run.pace.is_due():
                _save(run, state)
    _stop_if_asked(run)
    return (state.position.frames_seen - seen) / max(1e-9, time.perf_counter() - began)


def _after(position: Position, num_frames: int, loss: StepLoss) -> Position:
    """Where a run stands one step later."""
    sums, counts = position.epoch_parts, position.epoch_part_frames
    return position.model_copy(
        update={
            "step": position.step + 1,
            "frames_seen": position.frames_seen + num_frames,
            "epoch_frames": position.epoch_frames + loss.num_frames,
            "epoch_loss": position.epoch_loss + loss.total,
            "epoch_parts": {name: sums.get(name, 0.0) + part for name, part in loss.parts.items()},
            "epoch_part_frames": {
                name: counts.get(name, position.epoch_frames) + frames
                for name, frames in loss.part_frames.items()
            },
        }
    )


def _rate(run: _Run, position: Position, num_frames: int = 0) -> float:
    """The rate of a step that goes on by so many frames."""
    settings = run.settings
    share_done = (position.frames_seen + num_frames) / (settings.epochs * run.corpus.num_frames)
    peak, warmup = settings.learning_rate, settings.warmup
    if settings.schedule == "cosine":
        return learning_rate_at(share_done, peak=peak, warmup=warmup)
    errors = [epoch.dev_frame_error for epoch in position.metrics]
    return plateau_rate_at(share_done, peak=peak, warmup=warmup, dev_errors=errors)


def _end_epoch(run: _Run, state: TrainingState, task: Task) -> None:
    score = score_model(
        state.model,
        run.corpus.dev,
        batch_frames=run.settings.batch_frames,
        chunk_frames=run.settings.chunk_frames,
        device=run.device,
        ranks=run.ranks,
        interrupt=run.interrupt,
    )
    if score is None:
        raise _Stopped
    position = state.position
    train_loss, train_parts = position.means()
    metrics = EpochMetrics(
        epoch=position.epoch + 1,
        train_loss=train_loss,
        dev_frame_error=score.frame_error,
        dev_cross_entropy=score.cross_entropy,
        learning_rate=_rate(run, position),
        train_parts=train_parts,
    )
    best_before = min((epoch.dev_frame_error for epoch in position.metrics), default=float("inf"))
    state.keep_epoch(is_best=metrics.dev_frame_error < best_before)
    _refuse_drift(run.ranks, state)
    state.position = position.model_copy(
        update={
            "epoch": position.epoch + 1,
            "step": 0,
            "epoch_frames": 0,
            "epoch_loss": 0.0,
            "epoch_parts": {},
            "epoch_part_frames": {},
            "metrics": (*position.metrics, metrics),
        }
    )
    if run.ranks.is_first:
        lines = "".join(f"{epoch.model_dump_json()}\n" for epoch in state.position.metrics)
        publish_file(run.directory / METRICS_FILE, lines.encode())
    task.advance(0, frame_error=score.frame_error, dev_loss=score.cross_entropy)


def _refuse_drift(ranks: Ranks, state: TrainingState) -> None:
    """All ranks have the same weights, to the bit, or something is wrong with their machines."""
    if ranks.size == 1:
        return
    digest = hashlib.sha256()
    for values in state.recent[-1].values():
        digest.update(values.numpy().tobytes())
    own = float(int.from_bytes(digest.digest()[:5]))  # 40 bits: sums of them are exact
    (whole,) = ranks.exchange([own])
    if whole != own * ranks.size:
        raise StageError(
            f"rank {ranks.rank} has other weights than the rest at the end of epoch "
            f"{state.position.epoch + 1}: run again from the last checkpoint, on equal machines"
        )
