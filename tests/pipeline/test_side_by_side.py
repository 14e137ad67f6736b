"""Members and students side by side: the bytes of one process, failures, interrupts, the plan."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner

from pipeline import flow, side_by_side
from pipeline.cli import main
from pipeline.errors import ModelsFailed, NotMadeYet, SettingsError
from pipeline.job import Job
from pipeline.settings.read import read_settings
from pipeline.shelf.contents import read_json
from pipeline.side_by_side import WORTH_FRAMES
from pipeline.terminal.options import of_ranks
from stages.contract.results import CorpusSummary
from tests.support.makers.kaldi import make_kaldi_directory
from tests.support.makers.pipeline import TINY, tree_digests
from tests.support.makers.training import RecordingProgress

BASE: dict[str, Any] = dict(TINY)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kaldi_directory(tmp_path_factory.mktemp("kaldi") / "data", sentences=24)


@pytest.fixture(autouse=True)
def _other_threads() -> Iterator[None]:
    """The number of threads of the process that starts the others must not count."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def job(directory: Path, data: Path, *changes: str, num_jobs: int | None = 1) -> Job:
    settings = BASE | {
        "corpus": {"source": "kaldi", "path": str(data), "features": {"subsample": 1}},
        "teacher": {"kept": 3, "shard_frames": 300, "chunk_frames": 100},
        "student": BASE["student"] | {"k": 2},
        "evaluate": BASE["evaluate"] | {"processes": 1},
    }
    directory.mkdir(exist_ok=True)
    (directory / "pipeline.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    changes = (f"work_dir={directory / 'work'}", *changes)
    settings_read = read_settings(directory / "pipeline.yaml", list(changes))
    return Job(settings_read, RecordingProgress(), num_jobs=num_jobs)


def notes_of(job: Job) -> list[str]:
    assert isinstance(job.progress, RecordingProgress)
    return job.progress.notes


def models(directory: Path) -> dict[str, str]:
    """Digests of what training wrote, by stage and recipe."""
    digests = tree_digests(directory / "work")
    kept = (".safetensors", "metrics.jsonl", "model.json")
    return {path: digest for path, digest in digests.items() if path.endswith(kept)}


def test_models_made_side_by_side_have_the_bytes_of_those_made_in_turn(
    tmp_path: Path, data: Path
) -> None:
    in_turn, together = job(tmp_path / "a", data), job(tmp_path / "b", data, num_jobs=2)
    flow.run(in_turn)
    flow.run(together)
    assert models(tmp_path / "a") == models(tmp_path / "b")
    assert len(models(tmp_path / "a")) == 3 * (2 + 3)  # members, students
    shown = [note for note in notes_of(together) if "frame error" in note]
    for name in ("member wide", "member deep", "student k=2", "student k=1"):
        assert sum(note.startswith(f"{name}: ") for note in shown) == 1, shown


def test_number_of_threads_is_that_of_the_settings(tmp_path: Path, data: Path) -> None:
    seen = set()

    def look(_: int) -> None:
        seen.add(torch.get_num_threads())

    made = job(tmp_path, data, "threads=2")
    flow.corpus(made)
    assert isinstance(made.progress, RecordingProgress)
    made.progress._at = look
    flow.ensemble(made)
    assert seen == {2}
    assert torch.get_num_threads() == 3


def test_failed_member_is_named_and_the_others_are_kept(tmp_path: Path, data: Path) -> None:
    made = job(tmp_path, data, num_jobs=2)
    flow.corpus(made)
    wide, deep = map(made.shelf.place, made.recipes.members)
    wide.mkdir()  # without its record: it cannot be made
    with pytest.raises(ModelsFailed, match=r"1 of 2 models failed") as failed:
        flow.ensemble(made)
    assert f"member wide: {wide}" in str(failed.value)
    assert "exists without its made.json" in str(failed.value)
    kept = tree_digests(deep)
    assert "model.safetensors" in kept
    wide.rmdir()
    again = job(tmp_path, data, num_jobs=2)
    assert flow.ensemble(again) == [wide, deep]
    assert tree_digests(deep) == kept


def test_command_prints_why_a_model_failed_and_ends_with_1(tmp_path: Path, data: Path) -> None:
    made = job(tmp_path, data)
    flow.corpus(made)
    made.shelf.place(made.recipes.members[0]).mkdir()
    words = ["--config", str(tmp_path / "pipeline.yaml"), "--set", f"work_dir={tmp_path / 'work'}"]
    ran = CliRunner().invoke(main, ["ensemble", *words, "--jobs", "2"])
    assert ran.exit_code == 1
    assert "essence: 1 of 2 models failed; the others are kept:" in ran.stderr
    assert ran.stdout == ""


def test_jobs_are_refused_under_torchrun() -> None:
    with pytest.raises(SettingsError, match="--jobs 2: under torchrun"):
        of_ranks(2)
    assert of_ranks(None) == of_ranks(1) == 1


def test_fresh_members_need_no_corpus(tmp_path: Path, data: Path) -> None:
    made = job(tmp_path, data)
    with pytest.raises(NotMadeYet, match="run 'essence corpus' first"):
        flow.ensemble(job(tmp_path, data, num_jobs=2))
    flow.corpus(made)
    places = flow.ensemble(made)
    shutil.rmtree(made.shelf.place(made.recipes.corpus))
    assert flow.ensemble(job(tmp_path, data, num_jobs=2)) == places


@pytest.mark.parametrize(
    ("frames", "changes", "wanted"),
    [
        ([WORTH_FRAMES], (), 1),  # one model: this process makes it
        ([WORTH_FRAMES // 3] * 2, (), 1),  # a second process takes longer than it saves
        ([WORTH_FRAMES // 2] * 2, (), 2),
        ([WORTH_FRAMES] * 9, (), 6),
        ([WORTH_FRAMES] * 9, ("threads=4",), 1),
        ([WORTH_FRAMES] * 9, ("threads=3",), 2),
        ([WORTH_FRAMES] * 9, ("device=cuda",), 1),
    ],
)
def test_default_is_one_process_for_each_processor_if_there_is_work(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    frames: list[int],
    changes: tuple[str, ...],
    wanted: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    made = job(tmp_path, data, *changes, num_jobs=None)
    monkeypatch.setattr(
        side_by_side, "_frames_of", lambda _, models: dict(zip(models, frames, strict=True))
    )
    model = flow.student_model(made, made.settings.student)
    several = [
        side_by_side.Model(recipe=model.recipe, num_frames=model.num_frames, make=model.make)
        for _ in frames
    ]
    assert side_by_side._num_processes(made, several) == wanted


def test_frames_of_a_folded_member_are_those_of_all_its_models(tmp_path: Path, data: Path) -> None:
    changes = ("corpus.kaldi.labelled_share=0.6", "student.training.patience=99")
    folded = BASE["ensemble"]["members"][0] | {"folds": 3}
    made = job(tmp_path, data, *changes, f"ensemble.members=[{folded}]")
    flow.corpus(made)
    summary = made.need(made.recipes.corpus) / "summary.json"
    (settings,) = made.settings.ensemble.members
    train = read_json(CorpusSummary, summary).train
    assert train.labelled is not None
    assert settings.frames_to_train_on(train) == 2 * 2 * train.labelled.num_frames
