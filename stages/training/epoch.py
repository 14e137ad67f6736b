"""Epoch: the steps of one epoch, then the score on dev."""

import hashlib
import time
from contextlib import closing

from stages.contract.errors import StageError
from stages.contract.progress import Task
from stages.contract.results import EpochMetrics
from stages.training.checkpoint import Position
from stages.training.dev_score import score_model
from stages.training.ranks import Ranks
from stages.training.run import Run, Stopped, save_checkpoint, stop_if_asked
from stages.training.schedule import learning_rate_at, plateau_rate_at, trunk_rate_at
from stages.training.shares import read_shares
from stages.training.state import TrainingState
from stages.training.step import Step, StepLoss, refuse_diverged
from storage.files.publish import publish_file

METRICS_FILE = "metrics.jsonl"


def train_epoch(run: Run, state: TrainingState, task: Task) -> float:
    """Take the remaining steps of an epoch. Returns the speed in frames a second."""
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
            stop_if_asked(run)
            run.refuse_beyond(state, share.num_frames)
            state.set_rate(_rate(run, state.position, share.num_frames))
            loss = step.take(state, share, is_asked=run.interrupt.is_asked)
            state.position = position = _after(state.position, share.num_frames, loss)
            loss_mean, parts = position.means()
            task.advance(
                share.num_frames, epoch=position.epoch + 1, loss=loss_mean, **parts, **last_dev
            )
            if run.pace.is_due():
                save_checkpoint(run, state)
    stop_if_asked(run)
    return (state.position.frames_seen - seen) / max(1e-9, time.perf_counter() - began)


def _after(position: Position, num_frames: int, loss: StepLoss) -> Position:
    """The position after one more step."""
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


def _rate(run: Run, position: Position, num_frames: int = 0) -> float:
    """The learning rate of a step over `num_frames` frames."""
    settings = run.settings
    frames_seen = position.frames_seen + num_frames
    if settings.schedule == "trunk":
        return trunk_rate_at(
            frames_seen / run.corpus.num_frames,
            peak=settings.learning_rate,
            warmup_epochs=settings.trunk.warmup_epochs,
            decays_from=settings.decays_from,
            epochs=settings.epochs,
        )
    share_done = frames_seen / (settings.epochs * run.corpus.num_frames)
    peak, warmup = settings.learning_rate, settings.warmup
    if settings.schedule == "cosine":
        return learning_rate_at(share_done, peak=peak, warmup=warmup)
    errors = [epoch.dev_frame_error for epoch in position.metrics]
    return plateau_rate_at(share_done, peak=peak, warmup=warmup, dev_errors=errors)


def end_epoch(run: Run, state: TrainingState, task: Task) -> None:
    """Score the model on dev, keep its weights if they are the best, write metrics.jsonl."""
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
        raise Stopped
    position = state.position
    refuse_diverged(score.cross_entropy, what="loss on dev", at=f"after epoch {position.epoch + 1}")
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
    """Compare the weights of all ranks, which must be equal to the bit."""
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
