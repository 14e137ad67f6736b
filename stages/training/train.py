"""corpus -> model: train on batches, score on dev, keep the best weights, survive an interruption.

The caller chooses the loss (`Objective`). A run that is stopped anywhere and started again takes
the same steps, bit for bit, on the same device and number of threads: everything random in a step
is drawn from (seed, epoch, step), so that no generator's state has to be saved.

Several ranks take the same steps together (ranks.py). All hold the whole state; only the first
one writes files.
"""

from pathlib import Path
from typing import Any

import torch

from stages.acoustic.models.architectures import ArchitectureSettings
from stages.acoustic.models.own_architecture import source_digest
from stages.contract.progress import Progress, Task
from stages.contract.results import EpochMetrics
from stages.training.begin import begin_run
from stages.training.board import Show, opened_board
from stages.training.checkpoint import Pace, remove_checkpoint
from stages.training.corpus import TrainingCorpus
from stages.training.epoch import end_epoch, train_epoch
from stages.training.finished_run import finish_run, is_finished
from stages.training.interrupts import noticed_interrupts
from stages.training.objective import Objective
from stages.training.precision import refuse_precision
from stages.training.ranks import ALONE, Ranks
from stages.training.run import Run, Stopped, save_checkpoint, stop_if_asked
from stages.training.settings import TrainingSettings
from stages.training.state import TrainingState
from storage.files.fingerprint import fingerprint
from storage.files.leftovers import remove_leftovers


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
    """Train, or continue, until `directory` holds the model and metrics.jsonl.

    `facts` describe the objective: with the settings and the corpus they are the identity of the
    run, and they are kept in model.json. The number of ranks is no part of it: a run may continue
    with another number.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after a checkpoint: the next call continues from there.
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
        torch.cuda.set_device(number)  # nccl and the generator of dropout use it
    with (
        torch.random.fork_rng(devices),
        noticed_interrupts(is_alone=ranks.size == 1) as interrupt,
    ):
        run = Run(
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
        state = begin_run(run, architecture, title=title, progress=progress)
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
    """Whether the run is finished. Removes what a killed run has left."""
    remove_leftovers(directory)
    if not is_finished(directory, run=run):
        return b"to do"
    remove_checkpoint(directory)
    return b"finished"


def _train(run: Run, state: TrainingState, task: Task, show: Show) -> None:
    try:
        while not _is_over(run.settings, state.position.metrics):
            pace = train_epoch(run, state, task)
            end_epoch(run, state, task)
            show(state.position.metrics[-1], pace)
            save_checkpoint(run, state)
            stop_if_asked(run)
    except Stopped as cause:
        run.ranks.first(
            lambda: save_checkpoint(run, state)
        )  # torchrun ends the first when another has ended
        raise KeyboardInterrupt from cause


def _is_over(settings: TrainingSettings, metrics: tuple[EpochMetrics, ...]) -> bool:
    if not metrics:
        return False
    best = min(metrics, key=lambda epoch: epoch.dev_frame_error)  # the first of equals
    stale = metrics[-1].epoch - best.epoch
    return len(metrics) >= settings.epochs or stale >= settings.patience
