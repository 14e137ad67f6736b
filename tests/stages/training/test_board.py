"""TensorBoard: the figures of metrics.jsonl, if enabled, outside the artefact."""

import json
from pathlib import Path

import pytest

from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.errors import MissingPart
from stages.training import board
from stages.training.corpus import open_training_corpus
from stages.training.inputs import TrainingInputs
from stages.training.objective import HardLabels
from stages.training.train import train_model
from tests.support.makers.training import RecordingProgress, make_corpus_directory, make_settings


def _train(place: Path, directory: Path) -> None:
    make_corpus_directory(place / "corpus")
    directory.mkdir(parents=True)
    with open_training_corpus(place / "corpus", needs_labels=True) as corpus:
        train_model(
            TrainingInputs(
                settings=make_settings(epochs=2, tensorboard=True),
                title="shown",
                architecture=ArchitectureSettings(hidden=7, layers=1),
                objective=HardLabels(),
                corpus=corpus,
                device="cpu",
                progress=RecordingProgress(),
                facts={},
            ),
            directory=directory,
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("below", ["", "fold-1"])
def test_board_has_every_epoch_next_to_the_artefact(tmp_path: Path, below: str) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    directory = tmp_path / "work" / "member-12ab.partial" / below
    _train(tmp_path, directory)
    metrics = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(tmp_path / "work" / "tensorboard" / "member-12ab" / below))
    events.Reload()
    for tag, key in (("dev/frame error", "dev_frame_error"), ("train/loss", "train_loss")):
        shown = events.Scalars(tag)
        assert [event.step for event in shown] == [1, 2]
        wanted = [pytest.approx(epoch[key], rel=1e-6) for epoch in metrics]
        assert [event.value for event in shown] == wanted
    assert all(event.value > 0 for event in events.Scalars("frames a second"))
    assert len(list(directory.iterdir())) == 3


def test_board_without_tensorboard_names_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "find_spec", lambda _: None)
    with pytest.raises(MissingPart, match="run 'pip install tensorboard'"):
        _train(tmp_path, tmp_path / "model")
