"""Students of several lengths on one trunk: each its own artefact, all from shared steps."""

import shutil
from pathlib import Path

import pytest
import yaml

from pipeline import flow
from pipeline.job import Job
from pipeline.settings.read import read_settings
from pipeline.shelf.verify import plan_work, verify_work
from pipeline.sweep.run import sweep
from pipeline.trunk import shortest_first
from tests.support.makers.kaldi import make_kaldi_directory
from tests.support.makers.pipeline import TINY, tree_digests
from tests.support.makers.sweep import make_grid
from tests.support.makers.training import RecordingProgress

STUDENT = {
    "hard_weight": 1.0,
    "architecture": {"kind": "tdnn", "hidden": 11, "layers": 1},
    "training": {"schedule": "trunk", "epochs": 5, "batch_frames": 61, "seed": 3},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kaldi_directory(tmp_path_factory.mktemp("kaldi") / "data")


def job_in(directory: Path, data: Path, *changes: str) -> Job:
    directory.mkdir(exist_ok=True)
    settings = TINY | {
        "work_dir": str(directory / "work"),
        "corpus": {"source": "kaldi", "path": str(data), "features": {"subsample": 1}},
        "student": STUDENT,
        "compare": [],
    }
    path = directory / "pipeline.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    job = Job(read_settings(path, changes), RecordingProgress())
    flow.corpus(job)
    return job


def made(directory: Path, stage: str) -> dict[str, dict[str, str]]:
    """The digests of the files of each artefact, by its name."""
    places = sorted((directory / "work").glob(f"{stage}-*"))
    return {place.name: tree_digests(place) for place in places}


def steps(job: Job) -> int:
    assert isinstance(job.progress, RecordingProgress)
    return len(job.progress.losses)


def test_students_of_a_sweep_share_a_trunk_and_equal_those_trained_alone(
    data: Path, tmp_path: Path
) -> None:
    together = job_in(tmp_path / "together", data)
    sweep(together, make_grid(training__epochs="5,2,3"), num_jobs=1, evaluate=False)
    assert len(made(tmp_path / "together", "trunk")) == 3
    alone, num_alone = {}, 0
    for epochs in (2, 3, 5):
        job = job_in(tmp_path / str(epochs), data, f"student.training.epochs={epochs}")
        flow.student(job, job.settings.student)
        alone |= made(tmp_path / str(epochs), "student")
        num_alone += steps(job)
    assert made(tmp_path / "together", "student") == alone
    an_epoch = num_alone / (2 + 3 + 5)
    # 4 epochs of trunk and decays of 0.4, 0.6 and 1 epochs; a step more where one is cut in two
    assert steps(together) == pytest.approx(6 * an_epoch, abs=3)


def test_student_stays_fresh_without_its_trunk_and_a_longer_one_makes_it_again(
    data: Path, tmp_path: Path
) -> None:
    job = job_in(tmp_path, data, "student.training.epochs=2")
    flow.student(job, job.settings.student)
    student = made(tmp_path, "student")
    for trunk in (tmp_path / "work").glob("trunk-*"):
        shutil.rmtree(trunk)
    again = job_in(tmp_path, data, "student.training.epochs=2")
    flow.student(again, again.settings.student)
    assert (steps(again), made(tmp_path, "trunk")) == (0, {})
    longer = job_in(tmp_path, data, "student.training.epochs=3")
    flow.student(longer, longer.settings.student)
    assert len(made(tmp_path, "trunk")) == 1
    assert made(tmp_path, "student").items() > student.items()


def test_changed_byte_of_a_trunk_is_found_by_verify(data: Path, tmp_path: Path) -> None:
    job = job_in(tmp_path, data, "student.training.epochs=2")
    flow.student(job, job.settings.student)
    (path,) = (tmp_path / "work").glob("trunk-*/state/*.safetensors")

    def damaged() -> list[str]:
        entries = plan_work(tmp_path / "work")
        found = verify_work(entries, advance=lambda num_bytes: None)
        return [entry.name for entry in found if entry.problems]

    assert damaged() == []
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert damaged() == [path.parent.parent.name]


def test_trunk_is_shared_by_one_recipe_only(data: Path, tmp_path: Path) -> None:
    def trunk(*changes: str) -> str:
        job = job_in(tmp_path, data, *changes)
        return job.recipes.trunk(job.settings.student).fingerprint

    same = [
        trunk("student.training.epochs=10", "student.training.trunk.decay_share=0.2"),
        trunk("student.training.epochs=16", "student.training.trunk.decay_share=0.5"),
    ]
    others = [
        trunk("student.training.epochs=10", f"student.{change}")
        for change in (
            "training.seed=4",
            "training.learning_rate=0.001",
            "training.trunk.warmup_epochs=0.5",
            "training.average_last=2",
            "architecture.right_context=1",
            "label_smoothing=0.1",
        )
    ]
    assert len({*same, *others}) == 1 + len(others)


def test_longer_trunk_goes_on_from_the_longest_beginning_of_it(data: Path, tmp_path: Path) -> None:
    def trunk(job: Job, until: float, **changes: object) -> str:
        recipe = job.recipes.trunk(job.settings.student)
        made = type(recipe)(
            stage="trunk",
            settings={**recipe.settings, **changes, "until": until},
            inputs=recipe.inputs,
        )
        job.shelf.make(made, lambda directory: None)
        return made.name

    job = job_in(tmp_path, data)
    wanted = job.recipes.trunk(job.settings.student)
    assert wanted.settings["until"] == 4.0
    assert job.recipes.shorter_trunk(wanted) is None
    trunk(job, 1.6)
    longest = trunk(job, 2.4)
    trunk(job, 4.8)
    trunk(job, 3.2, label_smoothing=0.3)
    found = job.recipes.shorter_trunk(wanted)
    assert found is not None
    assert found.name == longest


def test_students_on_a_trunk_are_trained_in_order_of_their_length(
    data: Path, tmp_path: Path
) -> None:
    student = job_in(tmp_path, data).settings.student
    several = [
        student.model_copy(
            update={"training": student.training.model_copy(update={"epochs": n, "schedule": s})}
        )
        for n, s in ((5, "trunk"), (2, "trunk"), (9, "cosine"), (3, "trunk"), (4, "cosine"))
    ]
    found = [each.training.epochs for each in shortest_first(several)]
    assert found == [9, 4, 2, 3, 5]
