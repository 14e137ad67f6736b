"""Begin a training run: a new model, or the state of the last checkpoint, on every rank."""

from pathlib import Path

import torch
from safetensors.torch import load, save

from stages.acoustic.models.architectures import build_model
from stages.acoustic.models.normalisation import feature_statistics
from stages.training.checkpoint import Position, read_checkpoint
from stages.training.inputs import TrainingInputs
from stages.training.precision import Precision
from stages.training.ranks import Ranks
from stages.training.run import Run
from stages.training.state import TrainingState
from storage.files.program import program_digest


def begin_run(run: Run, inputs: TrainingInputs, *, start: Path | None) -> TrainingState:
    """The state to go on from, the same on every rank.

    Without a checkpoint of the run it is that of the trunk in `start`; without that, a new model.

    Raises:
        BadInput: when a checkpoint was damaged, or written by other code.
    """
    torch.manual_seed(run.settings.seed)
    about = run.corpus.train.about
    model = build_model(inputs.architecture, about.feature_dim, about.num_classes).to(run.device)
    state = TrainingState(
        model,
        weight_decay=run.settings.weight_decay,
        average_last=run.settings.average_last,
        precision=Precision(run.settings.precision, run.device),
    )
    if run.ranks.is_first:
        _read_or_prepare(run, inputs, state, start=start)
    _share_state(run.ranks, state)
    position = state.position
    where = f"goes on at epoch {position.epoch + 1}, step {position.step + 1}"
    begins = position == Position()
    note, title = inputs.progress.note, inputs.title
    note(f"{title}: {f'seed {run.settings.seed}' if begins else where}")
    if run.ranks.size > 1:
        note(f"{title}: {run.ranks.size} ranks")
    return state


def _read_or_prepare(
    run: Run, inputs: TrainingInputs, state: TrainingState, *, start: Path | None
) -> None:
    kept = read_checkpoint(run.directory, run=run.fingerprint, program=program_digest())
    if kept is None and start is not None:
        kept = read_checkpoint(start, run=inputs.trunk_fingerprint)
        if kept is None:
            inputs.progress.note(f"{inputs.title}: {start.parent} is of another run: not used")
    if kept is not None:
        state.restore(*kept)
        return
    mean_F, std_F = feature_statistics(run.corpus.train.feature_blocks())
    state.model.set_normalisation(torch.from_numpy(mean_F), torch.from_numpy(std_F))


def _share_state(ranks: Ranks, state: TrainingState) -> None:
    """Give every rank the state of the first: only the first reads the checkpoint."""
    if ranks.size == 1:
        return
    position, tensors = state.capture()
    text = ranks.from_first(position.model_dump_json().encode())
    content = ranks.first(lambda: save({name: value.cpu() for name, value in tensors.items()}))
    if not ranks.is_first:
        state.restore(Position.model_validate_json(text), load(content))
