"""Plan of a sweep: the product of all axes, names, repeat commands, errors before anything runs."""

import shlex
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.job import Job
from pipeline.settings.read import read_settings
from pipeline.sweep.grid import SHORT_FORMS, SweepGrid
from pipeline.sweep.plan import plan_sweep, repeat_command
from stages.contract.progress import SilentProgress
from stages.student.loss.options import TailPolicy
from stages.student.settings import StudentSettings
from tests.support.makers.pipeline import write_tiny
from tests.support.makers.sweep import make_grid


def job_in(directory: Path, *changes: str) -> Job:
    at = f"work_dir={directory / 'work'}"
    return Job(read_settings(directory / "pipeline.yaml", [at, *changes]), SilentProgress())


def names(job: Job, grid: SweepGrid) -> list[str]:
    return [student.name or "" for student in plan_sweep(job, grid)]


def test_plan_is_the_product_of_the_axes_and_names_state_what_differs(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    grid = make_grid(k="1,5", hard_weight="0.2,0.5", num_seeds=2)
    assert names(job_in(tmp_path), grid) == [
        "k=1 hard=0.2",
        "k=1 hard=0.2 seed=4",
        "k=1",
        "k=1 seed=4",
        "k=5 hard=0.2",
        "k=5 hard=0.2 seed=4",
        "k=5",
        "k=5 seed=4",
    ]
    grid = make_grid(tail="bucket,drop", temperature="1.0")
    assert names(job_in(tmp_path), grid) == ["k=5 tail=bucket", "k=5 tail=drop"]
    assert names(job_in(tmp_path, "student.name=mine"), make_grid()) == ["k=5"]


LONGER = "compare=[{hard_weight: 1.0, training: {epochs: 6, patience: 6}}, {k: 1}, {k: 5}]"


def test_compared_students_are_planned_unchanged_with_the_same_number_of_seeds(
    tmp_path: Path,
) -> None:
    write_tiny(tmp_path)
    job = job_in(tmp_path, LONGER)
    assert names(job, make_grid(num_seeds=2, with_compared=True)) == [
        *("k=5", "k=5 seed=4"),
        *("hard labels epochs=6", "hard labels epochs=6 seed=4"),
        *("k=1", "k=1 seed=4"),
    ]
    assert names(job, make_grid(k="2,1", with_compared=True)) == [
        *("k=2", "k=1", "hard labels epochs=6")
    ]
    assert names(job, make_grid()) == ["k=5"]


OWN = "student.architecture={kind: 'm:W', width: 16, block: {a: 1}}"


def test_custom_architecture_is_planned_and_repeated(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    compared = "compare=[{architecture: {kind: gru, hidden: 16}}, {architecture: {kind: 'n:V'}}]"
    job = job_in(tmp_path, OWN, compared)
    planned = plan_sweep(job, make_grid(k="5", with_compared=True))
    assert [student.architecture.options for student in planned] == [
        {"width": 16, "block": {"a": 1}},
        {"hidden": 16, "layers": 5, "dropout": 0.1},
        {},
    ]
    assert [student.name for student in planned] == ["k=5", "k=5 gru 5x16", "k=5 n:V"]
    for student in planned:
        words = shlex.split(repeat_command(student, job.settings.student))
        alone = job_in(tmp_path, OWN, *words[3::2])
        wanted = job.recipes.student(student).fingerprint
        assert alone.recipes.student(alone.settings.student).fingerprint == wanted


def test_students_on_soft_labels_have_no_label_smoothing(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    job = job_in(tmp_path, "student.hard_weight=1", "student.label_smoothing=0.1")
    for student in plan_sweep(job, make_grid(hard_weight="0.5,1.0")):
        assert student.label_smoothing == (0.1 if student.hard_weight == 1 else 0)


def test_equivalent_students_are_planned_once(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    job = job_in(tmp_path)
    grid = make_grid(k="1,2,3", hard_weight="1.0", tail="bucket,drop", num_seeds=2)
    assert names(job, grid) == ["hard labels", "hard labels seed=4"]
    grid = make_grid(k="1,2", hard_weight="1.0,0.0")
    assert names(job, grid) == ["hard labels", "k=1 hard=0.0", "k=2 hard=0.0"]


def test_repeat_command_makes_the_same_student(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    job = job_in(tmp_path, LONGER)
    grid = make_grid(k="2", hard_weight="0.2,1.0", tail="bucket", num_seeds=2, with_compared=True)
    for student in plan_sweep(job, grid):
        words = shlex.split(repeat_command(student, job.settings.student))
        assert words[:2] == ["essence", "student"]
        alone = job_in(tmp_path, *words[3::2])
        wanted = job.recipes.student(student).fingerprint
        assert alone.recipes.student(alone.settings.student).fingerprint == wanted


def test_plan_takes_any_setting_of_the_student(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    job = job_in(tmp_path)
    grid = make_grid(training__learning_rate="1e-3,0.003", architecture__hidden="8,9")
    planned = plan_sweep(job, grid)
    found = [(each.training.learning_rate, each.architecture.hidden) for each in planned]
    assert found == [(0.001, 8), (0.001, 9), (0.003, 8), (0.003, 9)]
    kinds = plan_sweep(job, make_grid(architecture="{kind: gru, hidden: 9}, {kind: lstm}"))
    assert [(each.architecture.kind, each.architecture.hidden) for each in kinds] == [
        ("gru", 9),
        ("lstm", job.settings.student.architecture.hidden),
    ]


def test_short_options_name_existing_settings() -> None:
    for option in SHORT_FORMS:
        assert option.removeprefix("--").replace("-", "_") in StudentSettings.model_fields


def test_help_lists_every_tail_policy() -> None:
    shown = " ".join(CliRunner().invoke(main, ["sweep", "--help"]).output.split())
    assert f"outside the k ranks: {', '.join(get_args(TailPolicy))}." in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--k", "1,0"], "--k: student.k: input should be greater than or equal to 1, found 0"),
        (["--k", "1,,2"], "--k student.k: the list '1,,2' is not YAML"),
        (["--k", ""], "--k student.k: the list '' is empty: wanted VALUE,VALUE"),
        (["--k", "1,two"], "--k: student.k: input should be a valid integer"),
        (["--hard-weight", "0.2,1.5"], "--hard-weight: student.hard_weight: "),
        (["--hard-weight", "nan"], "--hard-weight: student.hard_weight: "),
        (["--tail", "bucket,bin"], "--tail: student.tail: input should be 'renormalize', 'bucket'"),
        (["--temperature", "0"], "--temperature: student.temperature: "),
        (["--vary", "student.k"], "found 'student.k', wanted KEY=VALUE,VALUE"),
        (
            ["--vary", "student.learning_rate=1"],
            "student.learning_rate is not a setting: did you mean 'student.training.learning_rate'",
        ),
        (["--vary", "student.learnin_rate=1"], "did you mean 'student.training.learning_rate'?"),
        (
            ["--vary", "student.training.learning_rat=1"],
            "did you mean 'student.training.learning_rate'?",
        ),
        (["--vary", "training.epochs=3"], "did you mean student.training.epochs?"),
        (["--vary", "teacher.kept=3"], "wanted a setting of the student: such as student.k"),
        (["--vary", "student.training.epochs=3,x"], "--vary: student.training.epochs: input "),
        (["--vary", "student.k.deep=3"], "--vary: student.k: input should be a valid integer"),
        (
            ["--k", "1", "--vary", "student.k=2"],
            "--k student.k and --vary student.k set the same: give all values with one of them",
        ),
        (["--vary", "student.training={}", "--vary", "student.training.seed=2"], "set the same"),
        (["--seeds", "0"], "--seeds"),
        (["--jobs", "0"], "--jobs"),
        (["--k", "4,9"], "holds K=8, asked k=9: lower student.k"),
        (["--temperature", "1,2"], "holds temperature 1, asked 2: "),
        (["--seeds", "2", "--set", f"student.training.seed={2**63 - 1}"], "less than"),
    ],
)
def test_invalid_grid_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    write_tiny(tmp_path)
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(main, ["sweep", *words])
    assert ran.exit_code == 2, ran.output
    assert message in ran.stderr
    assert not (tmp_path / "work").exists()
