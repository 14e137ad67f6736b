"""corpus -> model: train on batches, score on dev, keep the best weights, survive an interruption.

The caller chooses the loss (`Objective`). A run that is stopped anywhere and started again takes
the same steps, bit for bit, on the same device and number of threads: everything random in a step
is drawn from (seed, epoch, step), so that no generator's state has to be saved.

Several ranks take the same steps together (ranks.py). All hold the whole state; only the first
one writes files.

Runs of several lengths on one trunk (`schedule: trunk`) take the same steps until they decay.
`train_trunk` stops there and keeps the state, from which `train_model` or a longer trunk goes on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from stages.contract.progress import Task
from stages.contract.results import EpochMetrics
from stages.training.begin import begin_run
from stages.training.board import Show, opened_board
from stages.training.checkpoint import (
    Pace,
    checkpoint_threads,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from stages.training.epoch import end_epoch, train_epoch
from stages.training.finished_run import finish_run, is_finished
from stages.training.inputs import TrainingInputs
from stages.training.interrupts import noticed_interrupts
from stages.training.precision import refuse_precision
from stages.training.run import Run, Stopped, TrunkEnds, save_checkpoint, stop_if_asked
from stages.training.settings import TrainingSettings
from stages.training.state import TrainingState
from stages.training.torch_threads import fixed_threads
from storage.files.leftovers import remove_leftovers

STATE_FOLDER = "state"  # of a finished trunk


def train_model(inputs: TrainingInputs, *, directory: Path, start: Path | None = None) -> None:
    """Train, or continue, until `directory` holds the model and metrics.jsonl.

    `start` is the directory of a trunk of this run, where one is there: its steps are not repeated.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after a checkpoint: the next call continues from there.
        BadInput: when a checkpoint was damaged.
        StageError: when the loss is no longer finite.
    """
    run_fingerprint = inputs.run_fingerprint

    def is_done() -> bool:
        return is_finished(directory, run=run_fingerprint)

    if _tidied(inputs, directory, is_done):
        return
    with _opened(inputs, directory, run=run_fingerprint, start=start, until=None) as (run, state):
        _train(run, state, inputs)
        finished = finish_run(
            state,
            corpus=inputs.corpus,
            directory=directory,
            batch_frames=inputs.settings.batch_frames,
            chunk_frames=inputs.settings.chunk_frames,
            device=inputs.device,
            ranks=inputs.ranks,
            interrupt=run.interrupt,
            facts={
                **inputs.all_facts,
                "run": run_fingerprint,
                "training": inputs.settings.identity(),
            },
        )
    if not finished:
        raise KeyboardInterrupt
    if inputs.ranks.is_first:
        remove_checkpoint(directory)


def train_trunk(inputs: TrainingInputs, *, directory: Path, start: Path | None = None) -> None:
    """Train, or continue, until the rate would decay; `directory` then holds the whole state.

    `start` is the directory of a shorter trunk. The state is the same, to the bit, whether or not
    there is one, and for every length that decays from here.

    Raises:
        KeyboardInterrupt, BadInput, StageError: as `train_model`.
    """
    run_fingerprint, state_folder = inputs.trunk_fingerprint, directory / STATE_FOLDER

    def is_done() -> bool:
        return read_checkpoint(state_folder, run=run_fingerprint) is not None

    if _tidied(inputs, directory, is_done):
        return
    until = inputs.settings.decays_from
    with _opened(inputs, directory, run=run_fingerprint, start=start, until=until) as (run, state):
        _train(run, state, inputs)
        if inputs.ranks.is_first:
            # A folder of its own: the number of a checkpoint depends on how often one was written.
            state_folder.mkdir(exist_ok=True)
            remove_checkpoint(state_folder)
            write_checkpoint(state_folder, *state.capture(), run=run_fingerprint)
    if inputs.ranks.is_first:
        remove_checkpoint(directory)


def _threads(inputs: TrainingInputs, directory: Path, *, run: str, start: Path | None) -> int:
    """The threads that the run began with: other threads would move the last bits of its steps."""
    here = torch.get_num_threads()
    if inputs.ranks.size > 1:  # torchrun sets them for all ranks, on every machine
        return here
    began = checkpoint_threads(directory, run=run)
    if not began and start is not None:
        began = checkpoint_threads(start, run=inputs.trunk_fingerprint)
    if began and began != here:
        inputs.progress.note(f"{inputs.title}: {began} threads, as it began, not {here}")
    return began or here


@contextmanager
def _opened(
    inputs: TrainingInputs,
    directory: Path,
    *,
    run: str,
    start: Path | None,
    until: float | None,
) -> Iterator[tuple[Run, TrainingState]]:
    """The run with the fingerprint `run`, as its last checkpoint or `start` has left it."""
    refuse_precision(inputs.settings.precision, inputs.device)
    is_cuda = inputs.device.startswith("cuda")
    devices = [torch.device(inputs.device).index or 0] if is_cuda else []
    for number in devices:
        torch.cuda.set_device(number)  # nccl and the generator of dropout use it
    with (
        fixed_threads(_threads(inputs, directory, run=run, start=start)),
        torch.random.fork_rng(devices),
        noticed_interrupts(is_alone=inputs.ranks.size == 1) as interrupt,
    ):
        opened = Run(
            settings=inputs.settings,
            objective=inputs.objective,
            corpus=inputs.corpus,
            directory=directory,
            device=inputs.device,
            fingerprint=run,
            interrupt=interrupt,
            pace=Pace(inputs.settings.checkpoint_minutes),
            ranks=inputs.ranks,
            until=until,
        )
        yield opened, begin_run(opened, inputs, start=start and start / STATE_FOLDER)


def _tidied(inputs: TrainingInputs, directory: Path, is_done: Callable[[], bool]) -> bool:
    """Whether nothing is left to do. Removes what a killed run has left."""

    def tidy() -> bytes:
        remove_leftovers(directory)
        if not is_done():
            return b"to do"
        remove_checkpoint(directory)
        return b"done"

    return inputs.ranks.first(tidy) == b"done"


def _train(run: Run, state: TrainingState, inputs: TrainingInputs) -> None:
    last = run.settings.epochs if run.until is None else run.until
    left = last * run.corpus.num_frames - state.position.frames_seen
    with (
        inputs.progress.task(inputs.title, total=left, unit="frames") as task,
        opened_board(
            run.directory,
            is_wanted=run.settings.tensorboard and run.ranks.is_first,
            epochs_done=state.position.epoch,
        ) as show,
    ):
        try:
            _take_epochs(run, state, task, show)
        except TrunkEnds:
            return
        except Stopped as cause:
            run.ranks.first(
                lambda: save_checkpoint(run, state)
            )  # torchrun ends the first when another has ended
            raise KeyboardInterrupt from cause


def _take_epochs(run: Run, state: TrainingState, task: Task, show: Show) -> None:
    while not _is_over(run.settings, state.position.metrics):
        pace = train_epoch(run, state, task)
        end_epoch(run, state, task)
        show(state.position.metrics[-1], pace)
        save_checkpoint(run, state)
        stop_if_asked(run)


def _is_over(settings: TrainingSettings, metrics: tuple[EpochMetrics, ...]) -> bool:
    if not metrics:
        return False
    best = min(metrics, key=lambda epoch: epoch.dev_frame_error)  # the first of equals
    stale = metrics[-1].epoch - best.epoch
    may_stop_early = settings.schedule != "trunk"  # its length is what is studied
    return len(metrics) >= settings.epochs or (may_stop_early and stale >= settings.patience)
