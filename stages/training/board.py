"""Board: TensorBoard's files of a run, beside the artefacts and no part of any.

work/tensorboard/student-3f9c0a71b2d4/events...       tensorboard --logdir work/tensorboard
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from stages.contract.errors import MissingPart
from stages.contract.results import EpochMetrics

Show = Callable[[EpochMetrics, float], None]  # an epoch, and how many frames a second it trained


@contextmanager
def opened_board(directory: Path, *, is_wanted: bool, epochs_done: int) -> Iterator[Show]:
    """Where every epoch's figures are shown; nowhere, unless that is wanted.

    Raises:
        MissingPart: when tensorboard is not installed.
    """
    if not is_wanted:
        yield lambda _metrics, _pace: None
        return
    if find_spec("tensorboard") is None:
        raise MissingPart(
            "training.tensorboard is true and tensorboard is not installed: "
            "run 'pip install tensorboard', or set it to false"
        )
    # Here, not at the top: it is an extra, and slow to load.
    from torch.utils.tensorboard.writer import SummaryWriter

    writer = SummaryWriter(str(_place(directory)), purge_step=epochs_done + 1)

    def show(metrics: EpochMetrics, frames_per_second: float) -> None:
        for name, value in (*_scalars(metrics), ("frames a second", frames_per_second)):
            writer.add_scalar(name, value, metrics.epoch)
        writer.flush()

    try:
        yield show
    finally:
        writer.close()


def _place(directory: Path) -> Path:
    """Beside the artefact that is being made, under its name; of a fold, below that."""
    whole = next((p for p in (directory, *directory.parents) if p.suffix == ".partial"), directory)
    below = directory.relative_to(whole)
    return whole.parent / "tensorboard" / whole.name.removesuffix(".partial") / below


def _scalars(metrics: EpochMetrics) -> Iterator[tuple[str, float]]:
    yield "train/loss", metrics.train_loss
    for name, value in metrics.train_parts.items():
        yield f"train/{name}", value
    yield "dev/frame error", metrics.dev_frame_error
    yield "dev/cross-entropy", metrics.dev_cross_entropy
    yield "learning rate", metrics.learning_rate
