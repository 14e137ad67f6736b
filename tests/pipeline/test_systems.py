"""Systems: names, and which students differ in their seed alone."""

from pathlib import Path

from pipeline.job import Job
from pipeline.settings import PipelineSettings
from pipeline.systems import students_of
from stages.speech.progress import SilentProgress


def test_students_that_differ_in_their_seed_alone_are_one_group(tmp_path: Path) -> None:
    changes = [
        {"training": {"seed": 2}},
        {"training": {"seed": 2}, "k": 3},
        {"training": {"seed": 3}},
        {"hard_weight": 1.0},
        {"hard_weight": 1.0, "training": {"seed": 2}},
        {"name": "mine", "training": {"seed": 2, "epochs": 3}},
        {"name": "mine", "training": {"seed": 4, "epochs": 3}},
    ]
    settings = PipelineSettings.model_validate({"work_dir": tmp_path, "compare": changes})
    job = Job(settings, SilentProgress())
    for student in settings.students:
        job.shelf.make(job.recipes.student(student), lambda directory: None)
    groups: dict[str, list[str]] = {}
    names = {}
    for system in students_of(job):
        groups.setdefault(system.group_name, []).append(system.name)
        names[system.group] = system.group_name
    assert len(names) == len(groups) == 4
    assert groups["k=8"] == ["k=8", "k=8 seed=2", "k=8 seed=3"]
    assert groups["hard labels"] == ["hard labels", "hard labels seed=2"]
    assert groups["k=3"] == ["k=3 seed=2"]
    assert len(groups["mine"]) == 2
