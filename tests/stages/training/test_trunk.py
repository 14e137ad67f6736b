"""Trunk: runs of several lengths share their steps, and each ends as it would have done alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.errors import BadInput
from stages.training.corpus import open_training_corpus
from stages.training.inputs import TrainingInputs
from stages.training.objective import HardLabels
from stages.training.schedule import trunk_rate_at
from stages.training.settings import TrainingSettings
from stages.training.train import train_model, train_trunk
from tests.support.makers.ranks import train_together
from tests.support.makers.training import (
    RecordingProgress,
    ctrl_c_at,
    make_corpus_directory,
    make_settings,
)

SMALL = ArchitectureSettings(kind="tdnn", hidden=9, layers=2, dropout=0.2)
RICH = {
    "average_last": 3,
    "patience": 1,  # has no effect
    "augmentation": {"noise": 0.1, "time_masks": 1, "time_mask_frames": 5},
}


@pytest.fixture(scope="module")
def corpus_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


def _settings(epochs: int, **changes: object) -> TrainingSettings:
    return make_settings(epochs=epochs, schedule="trunk", **{"trunk": {}, **changes})


def _train(
    corpus_directory: Path,
    directory: Path,
    settings: TrainingSettings,
    *,
    is_trunk: bool = False,
    start: Path | None = None,
    progress: RecordingProgress | None = None,
    facts: dict[str, str] | None = None,
) -> RecordingProgress:
    directory.mkdir(exist_ok=True)
    progress = progress or RecordingProgress()
    with open_training_corpus(corpus_directory, needs_labels=True) as corpus:
        inputs = TrainingInputs(
            settings=settings,
            title="small",
            architecture=SMALL,
            objective=HardLabels(),
            corpus=corpus,
            device="cpu",
            progress=progress,
            facts=facts or {},
        )
        (train_trunk if is_trunk else train_model)(inputs, directory=directory, start=start)
    return progress


def _files(directory: Path) -> dict[str, bytes]:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


CASES = {
    "middle of an epoch": ((2, 3, 5), {}),
    "end of an epoch": ((2, 4), {"trunk": {"decay_share": 0.5}}),
    "within the warm-up": ((1, 4), {"trunk": {"warmup_epochs": 2.5}}),
    "no warm-up, all of the state": ((2, 5), {"trunk": {"warmup_epochs": 0.0}, **RICH}),
}


@pytest.mark.parametrize("case", CASES)
def test_branch_of_a_shared_trunk_equals_a_run_in_one_go(
    corpus_directory: Path, tmp_path: Path, case: str
) -> None:
    lengths, changes = CASES[case]
    trunk, shared_steps, steps_alone = None, 0, 0
    for epochs in lengths:
        settings = _settings(epochs, **changes)
        alone = _train(corpus_directory, tmp_path / f"alone {epochs}", settings)
        longer = tmp_path / f"trunk {epochs}"
        of_trunk = _train(corpus_directory, longer, settings, is_trunk=True, start=trunk)
        branch = tmp_path / f"branch {epochs}"
        of_branch = _train(corpus_directory, branch, settings, start=longer)
        assert _files(branch) == _files(tmp_path / f"alone {epochs}")
        assert of_branch.losses == alone.losses[-len(of_branch.losses) :]
        assert len(of_branch.losses) < len(alone.losses)
        trunk = longer
        shared_steps += len(of_trunk.losses) + len(of_branch.losses)
        steps_alone += len(alone.losses)
    assert shared_steps < steps_alone


def test_trunk_has_the_same_bytes_whatever_it_starts_from(
    corpus_directory: Path, tmp_path: Path
) -> None:
    short, long = _settings(2, **RICH), _settings(5, **RICH)
    _train(corpus_directory, tmp_path / "short", short, is_trunk=True)
    _train(corpus_directory, tmp_path / "chained", long, is_trunk=True, start=tmp_path / "short")
    _train(corpus_directory, tmp_path / "whole", long, is_trunk=True)
    assert _files(tmp_path / "chained") == _files(tmp_path / "whole")
    # The same place in the trunk, reached by another length.
    other = _settings(8, **RICH, trunk={"decay_share": 0.5})
    assert other.decays_from == long.decays_from == 4.0
    _train(corpus_directory, tmp_path / "other", other, is_trunk=True)
    assert _files(tmp_path / "other") == _files(tmp_path / "whole")


@pytest.mark.parametrize("is_trunk", [True, False])
@pytest.mark.parametrize("stops", [(1,), (3, 2), (-1,)])
def test_interrupted_trunk_and_branch_resume_exactly(
    corpus_directory: Path, tmp_path: Path, is_trunk: bool, stops: tuple[int, ...]
) -> None:
    """RELIABILITY 27."""
    settings, start = _settings(3, **RICH), tmp_path / "start"
    _train(corpus_directory, start, _settings(2 if is_trunk else 3, **RICH), is_trunk=True)
    given = {"is_trunk": is_trunk, "start": start}
    whole = _train(corpus_directory, tmp_path / "whole", settings, **given)
    losses = []
    for stop in stops:
        progress = ctrl_c_at(stop % (len(whole.losses) + 1))
        with pytest.raises(KeyboardInterrupt):
            _train(corpus_directory, tmp_path / "part", settings, progress=progress, **given)
        losses += progress.losses
    losses += _train(corpus_directory, tmp_path / "part", settings, **given).losses
    assert losses == whole.losses
    assert _files(tmp_path / "part") == _files(tmp_path / "whole")


def test_begun_branch_and_finished_trunk_need_no_start(
    corpus_directory: Path, tmp_path: Path
) -> None:
    settings = _settings(3)
    _train(corpus_directory, tmp_path / "alone", settings)
    _train(corpus_directory, tmp_path / "trunk", settings, is_trunk=True)
    assert _train(corpus_directory, tmp_path / "trunk", settings, is_trunk=True).losses == []
    with pytest.raises(KeyboardInterrupt):
        _train(
            corpus_directory,
            tmp_path / "branch",
            settings,
            start=tmp_path / "trunk",
            progress=ctrl_c_at(2),
        )
    _train(corpus_directory, tmp_path / "branch", settings)
    assert _files(tmp_path / "branch") == _files(tmp_path / "alone")


def test_trunk_of_another_run_is_noted_and_not_used(corpus_directory: Path, tmp_path: Path) -> None:
    settings = _settings(2)
    _train(corpus_directory, tmp_path / "trunk", settings, is_trunk=True, facts={"store": "a"})
    found = _train(
        corpus_directory, tmp_path / "b", settings, start=tmp_path / "trunk", facts={"store": "b"}
    )
    _train(corpus_directory, tmp_path / "alone", settings, facts={"store": "b"})
    assert _files(tmp_path / "b") == _files(tmp_path / "alone")
    assert any("another run" in note for note in found.notes)


def test_changed_byte_of_a_trunk_is_named(corpus_directory: Path, tmp_path: Path) -> None:
    settings = _settings(2)
    _train(corpus_directory, tmp_path / "trunk", settings, is_trunk=True)
    path = tmp_path / "trunk" / "state" / "checkpoint-0.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match="not the checkpoint that was written"):
        _train(corpus_directory, tmp_path / "branch", settings, start=tmp_path / "trunk")


def test_ranks_share_a_trunk_as_one_does(corpus_directory: Path, tmp_path: Path) -> None:
    settings = {"schedule": "trunk", "epochs": 3}
    job = {"settings": settings, "corpus": str(corpus_directory)}
    _, other = train_together(
        2,
        tmp_path,
        [
            {**job, "directory": str(tmp_path / "alone")},
            {**job, "directory": str(tmp_path / "trunk"), "is_trunk": True},
            {**job, "directory": str(tmp_path / "branch"), "start": str(tmp_path / "trunk")},
        ],
    )
    assert all("error" not in outcome for outcome in other)
    assert _files(tmp_path / "branch") == _files(tmp_path / "alone")
    assert len(other[2]["losses"]) < len(other[0]["losses"])


RATES = {"peak": 0.3, "warmup_epochs": 1.5}


@given(st.floats(0.01, 8.0), st.integers(1, 30), st.integers(1, 30))
def test_rate_before_both_decay_does_not_depend_on_the_length(
    done: float, one: int, other: int
) -> None:
    branches = {epochs: round(0.8 * epochs, 6) for epochs in (one, other)}
    rates = {
        trunk_rate_at(done, decays_from=branch, epochs=epochs, **RATES)
        for epochs, branch in branches.items()
        if done <= branch
    }
    assert len(rates) <= 1


def test_rate_rises_stays_and_falls_in_lines() -> None:
    rates = [
        trunk_rate_at(done, decays_from=8.0, epochs=10, **RATES)
        for done in (0.0, 0.75, 1.5, 5.0, 8.0, 8.5, 9.0, 10.0)
    ]
    assert rates == pytest.approx([0.0, 0.15, 0.3, 0.3, 0.3, 0.225, 0.15, 0.0])


def test_settings_that_do_not_count_on_a_trunk_are_no_part_of_its_identity() -> None:
    settings = _settings(6)
    for change in ({"warmup": 0.3}, {"patience": 2}):
        assert settings.model_copy(update=change).identity() == settings.identity()
    plain = make_settings(epochs=6)
    other = plain.model_copy(
        update={"trunk": settings.trunk.model_copy(update={"decay_share": 0.4})}
    )
    assert other.identity() == plain.identity()
    assert "trunk" not in plain.identity()
