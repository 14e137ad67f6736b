"""Checkpoint: where a training run stands, on disk, whole or not at all.

    checkpoint.json              the position, the run it belongs to, SHA-256 of the tensors
    checkpoint-<n>.safetensors   weights, optimiser, best weights

The tensors are written first, under a new name; then checkpoint.json is replaced, which is the
moment it counts; then the tensors before them go. Knows nothing of models.
"""

import time
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from safetensors.torch import load, save
from torch import Tensor

from stages.contract.errors import BadInput
from stages.contract.results import EpochMetrics
from stages.contract.settings import Settings
from stages.training.precision import FIRST_SCALE
from storage.files.fingerprint import file_digest, fingerprint
from storage.files.publish import publish_file

HEAD_FILE = "checkpoint.json"
TENSORS_PATTERN = "checkpoint-*.safetensors"


class Position(Settings):
    """How far a run has come. Everything random in it follows from seed, epoch and step."""

    epoch: int = 0  # epochs that are finished, with their evaluation
    step: int = 0  # steps taken since
    frames_seen: int = 0  # in all, for the schedule
    epoch_frames: int = 0  # that gave a loss since the epoch began
    epoch_loss: float = 0.0  # its sum over them
    epoch_parts: dict[str, float] = {}  # the sums of its parts
    epoch_part_frames: dict[str, int] = {}  # over so many frames, where not over all
    metrics: tuple[EpochMetrics, ...] = ()
    loss_scale: float = FIRST_SCALE  # of fp16
    good_steps: int = 0

    def means(self) -> tuple[float, dict[str, float]]:
        """Loss and its parts a frame, since the epoch began."""
        frames = max(1, self.epoch_frames)
        return self.epoch_loss / frames, {
            name: value / max(1, self.epoch_part_frames.get(name, frames))
            for name, value in self.epoch_parts.items()
        }


class Pace:
    """When the next checkpoint within an epoch is due."""

    def __init__(self, minutes: float) -> None:
        self._seconds = minutes * 60
        self.begin()

    def begin(self) -> None:
        """One has been written, or training begins."""
        self._began = time.monotonic()

    def is_due(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() - self._began >= self._seconds


class _Head(Settings):
    format: Literal["essence checkpoint 1"] = "essence checkpoint 1"
    run: str
    number: int
    tensors: str
    position: Position
    program: str = ""  # that wrote it; empty in a finished state, which other code may read
    threads: int = 0  # of torch in each process; 0 in heads from before that field was there
    digest: str = ""

    def digest_of_rest(self) -> str:
        # Heads of before that field was there have the digest of one without it.
        absent = set() if self.position.epoch_part_frames else {"epoch_part_frames"}
        rest = self.model_dump(mode="json", exclude={"digest": True, "position": absent})
        for younger in ("program", "threads"):
            if not getattr(self, younger):
                del rest[younger]  # as above
        return fingerprint(rest)


def write_checkpoint(
    directory: Path,
    position: Position,
    tensors: dict[str, Tensor],
    *,
    run: str,
    program: str = "",
) -> None:
    """Replace the checkpoint in `directory`; the one before stays until this one is whole."""
    head_path = directory / HEAD_FILE
    number = _read_head(head_path).number + 1 if head_path.is_file() else 0
    path = directory / f"checkpoint-{number}.safetensors"
    publish_file(path, save({name: value.cpu() for name, value in tensors.items()}))
    head = _Head(
        run=run,
        number=number,
        tensors=file_digest(path),
        position=position,
        program=program,
        threads=torch.get_num_threads(),
    )
    head = head.model_copy(update={"digest": head.digest_of_rest()})
    publish_file(head_path, head.model_dump_json(indent=2).encode() + b"\n")
    for stale in directory.glob(TENSORS_PATTERN):
        if stale != path:
            stale.unlink()


def read_checkpoint(
    directory: Path, *, run: str, program: str = ""
) -> tuple[Position, dict[str, Tensor]] | None:
    """The checkpoint of this run, or None where there is none, or one of another run.

    With `program`, a digest of sources, other code than that may not have written it.

    Raises:
        BadInput: naming the file, when a byte of it is not what was written, or other code did.
    """
    head_path = directory / HEAD_FILE
    if not head_path.is_file():
        return None
    head = _read_head(head_path)
    if head.run != run:
        return None
    if program and head.program != program:
        raise BadInput(
            f"{head_path} was written by other code of this program, and the model would be a "
            f"mixture: found the sources {head.program or 'none'}, wanted {program}: finish it "
            f"with that code, or train from the start: rm -r {directory}"
        )
    return head.position, load(_unchanged_tensors(directory, head).read_bytes())


def checkpoint_threads(directory: Path, *, run: str) -> int:
    """How many threads took the steps of this run's checkpoint; 0 if that is not known."""
    head_path = directory / HEAD_FILE
    head = _read_head(head_path) if head_path.is_file() else None
    return head.threads if head and head.run == run else 0


def check_checkpoint(directory: Path) -> None:
    """Compare a checkpoint with its digests, whichever run it is of.

    Raises:
        BadInput: naming the file, when a byte of it is not what was written.
    """
    _unchanged_tensors(directory, _read_head(directory / HEAD_FILE))


def _unchanged_tensors(directory: Path, head: _Head) -> Path:
    path = directory / f"checkpoint-{head.number}.safetensors"
    found = file_digest(path) if path.is_file() else "nothing"
    if found != head.tensors:
        raise _changed(path, f"found {found[:12]}, {HEAD_FILE} names {head.tensors[:12]}")
    return path


def remove_checkpoint(directory: Path) -> None:
    """Remove all of it: first what makes it count."""
    (directory / HEAD_FILE).unlink(missing_ok=True)
    for path in directory.glob(TENSORS_PATTERN):
        path.unlink()


def _read_head(path: Path) -> _Head:
    try:
        head = _Head.model_validate_json(path.read_bytes())
    except ValidationError as cause:
        raise _changed(path, cause.errors()[0]["msg"]) from cause
    if head.digest != head.digest_of_rest():
        raise _changed(path, "its digest does not match")
    return head


def _changed(path: Path, how: str) -> BadInput:
    return BadInput(
        f"{path} is not the checkpoint that was written ({how}): "
        f"remove {path.parent} to train from the start"
    )
