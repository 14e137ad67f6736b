"""Checkpoint: the previous one is valid until the new one is complete."""

from pathlib import Path

import pytest
import torch

from stages.contract.errors import BadInput
from stages.contract.results import EpochMetrics
from stages.training import checkpoint
from stages.training.checkpoint import (
    Position,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from storage.files.publish import publish_file

AWKWARD = 0.1 + 0.2  # 0.30000000000000004: every digit must survive


def _position(step: int) -> Position:
    metrics = EpochMetrics(
        epoch=1,
        train_loss=AWKWARD,
        dev_frame_error=1 / 3,
        dev_cross_entropy=1e-17,
        learning_rate=2e-3 / 7,
    )
    return Position(epoch=1, step=step, epoch_loss=AWKWARD * 1e9, metrics=(metrics,))


def _tensors(step: int) -> dict[str, torch.Tensor]:
    return {"model/w": torch.full((3, 5), step / 7), "optimiser w/step": torch.tensor(float(step))}


def test_read_checkpoint_returns_what_was_written(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path, run="r") is None
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, _position(step), _tensors(step), run="r")
    kept = read_checkpoint(tmp_path, run="r")
    assert kept is not None
    assert kept[0] == _position(3)
    assert all(torch.equal(kept[1][name], value) for name, value in _tensors(3).items())
    assert len(list(tmp_path.iterdir())) == 2
    assert read_checkpoint(tmp_path, run="another") is None
    remove_checkpoint(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails_at", ["checkpoint-1.safetensors", "checkpoint.json"])
def test_failed_write_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    """RELIABILITY 28."""
    write_checkpoint(tmp_path, _position(1), _tensors(1), run="r")

    def full_disk(path: Path, content: bytes) -> None:
        if path.name == fails_at:
            raise OSError(28, "No space left on device")
        publish_file(path, content)

    monkeypatch.setattr(checkpoint, "publish_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(tmp_path, _position(2), _tensors(2), run="r")
    kept = read_checkpoint(tmp_path, run="r")
    assert kept is not None
    assert kept[0] == _position(1)
    monkeypatch.undo()
    write_checkpoint(tmp_path, _position(2), _tensors(2), run="r")
    kept = read_checkpoint(tmp_path, run="r")
    assert kept is not None
    assert kept[0] == _position(2)
    assert len(list(tmp_path.iterdir())) == 2


def test_checkpoint_with_missing_tensors_or_a_pickle_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, _position(1), _tensors(1), run="r")
    (tensors,) = tmp_path.glob("*.safetensors")
    tensors.unlink()
    with pytest.raises(BadInput, match=r"checkpoint-0\.safetensors is not .* \(found nothing"):
        read_checkpoint(tmp_path, run="r")
    (tmp_path / "checkpoint.json").write_bytes(b"\x80\x04cposix\nsystem\n(S'true'\ntR.")
    with pytest.raises(BadInput, match=r"checkpoint\.json is not the checkpoint"):
        read_checkpoint(tmp_path, run="r")
