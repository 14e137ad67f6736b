"""Systems: names, and groups of students that differ only in their seed."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import Changed
from pipeline.job import Job
from pipeline.settings.tree import PipelineSettings
from pipeline.soft_labels import dev_store
from pipeline.systems import (
    ensemble_of,
    fully_transcribed_of,
    members_of,
    student_name,
    students_of,
)
from stages.contract.progress import SilentProgress
from stages.student.settings import StudentSettings
from tests.support.makers.store import fill_store, make_about


def small_store(path: Path) -> None:
    fill_store(path, make_about(), [5, 7])


def test_students_that_differ_only_in_their_seed_are_one_group(tmp_path: Path) -> None:
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


def test_students_with_equal_steps_are_named_and_apart(tmp_path: Path) -> None:
    def names(**student: Any) -> list[str]:
        equal, plain = {"equal_steps": True}, {"equal_steps": False}
        compare = [{"hard_weight": 1.0, "training": training} for training in (equal, plain)]
        tree = {"work_dir": tmp_path, "student": student, "compare": compare}
        job = Job(PipelineSettings.model_validate(tree), SilentProgress())
        for each in job.settings.students:
            job.shelf.make(job.recipes.student(each), lambda directory: None)
        return sorted(system.name for system in students_of(job))

    assert names() == ["hard labels", "hard labels equal steps", "k=8"]
    shutil.rmtree(tmp_path)
    assert names(training={"equal_steps": True}) == [
        "hard labels",
        "hard labels equal_steps=False",
        "k=8",
    ]


def test_students_of_several_ensembles_are_one_group_where_that_is_asked(tmp_path: Path) -> None:
    def job_with(seed: int, *, pooled: bool) -> Job:
        tree = {
            "work_dir": tmp_path,
            "ensemble": {"members": [{"name": "one", "training": {"seed": seed}}]},
            "compare": [{"training": {"seed": 2}}, {"k": 3}],
            "report": {"pool_ensembles": pooled},
        }
        return Job(PipelineSettings.model_validate(tree), SilentProgress())

    for seed in (1, 11, 21):
        job = job_with(seed, pooled=False)
        for student in job.settings.students:
            job.shelf.make(job.recipes.student(student), lambda directory: None)
    assert len({system.group for system in students_of(job)}) == 6
    pooled = list(students_of(job_with(11, pooled=True)))
    groups = {system.group_name: system.group for system in pooled}
    assert groups.keys() == {"k=8", "k=3"}
    assert len({system.name for system in pooled}) == 9
    assert len({system.teacher for system in pooled if system.group == groups["k=8"]}) == 3


def test_students_of_the_same_speech_with_all_transcripts_are_found(tmp_path: Path) -> None:
    def job_with(share: float, **student: object) -> Job:
        tree = {
            "work_dir": tmp_path,
            "corpus": {"spoken": {"labelled_share": share}},
            "student": {"hard_weight": 1.0, **student},
        }
        return Job(PipelineSettings.model_validate(tree), SilentProgress())

    for job in (job_with(1.0), job_with(1.0, k=3, hard_weight=0.5), job_with(0.5)):
        job.shelf.make(job.recipes.student(job.settings.student), lambda directory: None)
    partly, full = job_with(0.3), job_with(1.0)
    assert list(fully_transcribed_of(full)) == []
    (found,) = fully_transcribed_of(partly)
    assert found.name == found.group_name == "hard labels, all speech"
    assert found.full_corpus == full.recipes.corpus.fingerprint
    (same,) = [system for system in students_of(full) if system.facts.hard_weight == 1]
    ours, theirs = partly.recipes.evaluation(found), full.recipes.evaluation(same)
    assert ours.fingerprint == theirs.fingerprint


def test_latency_is_that_of_model_and_front_end_and_the_slowest_member_counts(
    tmp_path: Path,
) -> None:
    gru = {"architecture": {"kind": "gru", "right_context": 2}}
    members = [{"name": "slow", "architecture": {"right_context": 7}}, {"name": "fast", **gru}]
    front_end = {"cmvn": "speaker", "deltas": 1, "splice_right": 3, "subsample": 4}
    tree = {
        "work_dir": tmp_path,
        "corpus": {"features": front_end},
        "ensemble": {"members": members},
        "student": {"architecture": {"right_context": 5}},
        "compare": [{"architecture": {"right_context": None}}],
    }
    job = Job(PipelineSettings.model_validate(tree), SilentProgress())
    for student in job.settings.students:
        job.shelf.make(job.recipes.student(student), lambda directory: None)
    slow, fast = (system.latency for system in members_of(job))
    assert slow is not None
    assert fast is not None
    # 7 rows of 4 frames; splicing 3, deltas 2; 3 more until the next row
    assert (slow.frames, slow.milliseconds) == (7 * 4 + 3 + 2 + 3, 360)
    assert fast.frames == 2 * 4 + 8
    assert slow.front_end.normalised_over == "speaker"
    assert ensemble_of(job).latency == slow
    found = {system.name: system.latency for system in students_of(job)}
    causal, unlimited = found["k=8"], found["k=8 right_context=None"]
    assert causal is not None
    assert causal.frames == 5 * 4 + 8
    assert unlimited is not None
    assert not unlimited.is_limited


def test_another_teacher_changes_the_recipe_of_frames_not_of_words(tmp_path: Path) -> None:
    def job_with(kept: int) -> Job:
        tree = {"work_dir": tmp_path, "teacher": {"kept": kept}}
        return Job(PipelineSettings.model_validate(tree), SilentProgress())

    first, second = job_with(32), job_with(16)
    ours, theirs = ensemble_of(first), ensemble_of(second)
    assert first.recipes.evaluation(ours) == second.recipes.evaluation(theirs)
    assert "teacher" not in first.recipes.frames(ours).inputs  # no labels are here yet
    for job in (first, second):
        job.shelf.make(job.recipes.teacher, lambda directory: small_store(directory / "dev.zarr"))
        wanted = job.recipes.teacher.fingerprint
        assert job.recipes.frames(ours).inputs["teacher"] == wanted
        student = job.settings.student
        job.shelf.make(job.recipes.student(student), lambda directory: None)
    found = list(students_of(second))
    assert len(found) == 2
    for system in found:  # each by the labels that it was trained on, not by the present settings
        assert second.recipes.frames(system).inputs["teacher"] == system.teacher
    assert {system.teacher for system in found} == {
        job.recipes.teacher.fingerprint for job in (first, second)
    }
    assert len({system.group for system in found}) == 2
    other = first.recipes.teacher.fingerprint
    assert [s.group_name for s in found] == ["k=8", f"k=8 teacher={other[:6]}"]
    assert [s.name for s in found] == ["k=8", f"k=8 teacher={other[:6]}"]


def test_student_store_does_not_rename_students_of_the_teacher(
    tmp_path: Path,
) -> None:
    job = Job(PipelineSettings(work_dir=tmp_path), SilentProgress())
    student = job.settings.student
    job.shelf.make(job.recipes.student(student), lambda directory: None)
    teacher = job.recipes.teacher.fingerprint
    named = PipelineSettings.model_validate({"work_dir": tmp_path, "student": {"store": "here"}})
    elsewhere = Job(named, SilentProgress())
    elsewhere.recipes.stores.digest = lambda place: "5" * 64  # type: ignore[method-assign]
    elsewhere.shelf.make(elsewhere.recipes.student(named.student), lambda directory: None)
    names = [system.name for system in students_of(elsewhere)]
    assert names == ["k=8", f"k=8 teacher={teacher[:6]}"]
    assert [s.name for s in students_of(job)] == ["k=8", "k=8 store=555555"]


def test_name_in_the_settings_applies_to_seeds_of_that_student_only(tmp_path: Path) -> None:
    tree = {"work_dir": tmp_path, "student": {"name": "mine"}, "compare": [{"k": 1}]}
    job = Job(PipelineSettings.model_validate(tree), SilentProgress())
    later = job.settings.student.model_copy(
        update={"training": job.settings.student.training.model_copy(update={"seed": 7})}
    )
    for student in (*job.settings.students, later):
        job.shelf.make(job.recipes.student(student), lambda directory: None)
    assert {(s.name, s.group_name) for s in students_of(job)} == {
        ("mine", "mine"),
        ("k=1", "k=1"),
        ("k=8 seed=7", "mine"),
    }


def test_custom_architecture_is_named_with_its_options() -> None:
    default = StudentSettings().model_dump(mode="json")
    own = StudentSettings.model_validate({"architecture": {"kind": "m:W", "width": 128}})
    found = own.model_dump(mode="json")
    assert student_name(found, default) == "k=8 m:W width=128"
    assert student_name(default, found) == "k=8 tdnn 5x128"
    other = {**found, "architecture": {"kind": "m:W"}}
    assert student_name(found, other) == "k=8 m:W width=128"
    assert student_name(other, found) == "k=8 m:W"


def test_name_has_settings_that_a_recipe_leaves_out_where_the_default_has_others() -> None:
    plain, rival = StudentSettings(), StudentSettings(trust="where_right")
    on_hard_labels = StudentSettings(hard_weight=1.0).identity()
    for default, wanted in (
        (plain, ["k=8", "k=8 trust=where_right", "hard labels"]),
        (rival, ["k=8 trust=always", "k=8", "hard labels"]),
    ):
        usual = default.model_dump(mode="json")
        recipes = [plain.identity(), rival.identity(), on_hard_labels]
        assert [student_name(recipe, usual) for recipe in recipes] == wanted


def test_blank_weight_is_named_by_its_number() -> None:
    default = StudentSettings().model_dump(mode="json")
    weighted = StudentSettings.model_validate({"blank": {"weight": 0.1}}).identity()
    assert student_name(weighted, default) == "k=8 blank=0.1"
    assert student_name(StudentSettings(blank="drop").identity(), default) == "k=8 blank=drop"


def test_patience_as_large_as_the_epochs_is_not_in_a_name() -> None:
    default = StudentSettings().model_dump(mode="json")

    def name_with(**training: int) -> str:
        student = {**default, "training": {**default["training"], **training}}
        return student_name(student, default)

    assert name_with(epochs=72, patience=72) == "k=8 epochs=72"
    assert name_with(epochs=72, patience=71) == "k=8 epochs=72 patience=71"


@pytest.mark.parametrize("ranks", ["as_stored", "permuted", "redrawn"])
def test_null_arm_is_known_by_its_settings(tmp_path: Path, ranks: Any) -> None:
    student = StudentSettings(name="control", ranks=ranks)
    job = Job(PipelineSettings(work_dir=tmp_path, student=student), SilentProgress())
    job.shelf.make(job.recipes.student(student), lambda directory: None)
    (system,) = students_of(job)
    assert (system.name, system.facts.is_null_arm) == ("control", ranks != "as_stored")


def test_missing_dev_labels_are_not_compared_with(tmp_path: Path) -> None:
    settings = PipelineSettings.model_validate({"work_dir": tmp_path})
    job = Job(settings, SilentProgress())
    job.shelf.make(job.recipes.teacher, lambda directory: small_store(directory / "train.zarr"))
    assert job.recipes.dev_labels(ensemble_of(job)) is None


def test_removed_dev_labels_are_named_where_they_are_read(tmp_path: Path) -> None:
    """Otherwise the frames would be measured again, without them, in silence."""
    job = Job(PipelineSettings(work_dir=tmp_path), SilentProgress())
    job.shelf.make(job.recipes.teacher, lambda directory: small_store(directory / "dev.zarr"))
    system = ensemble_of(job)
    wanted = job.recipes.frames(system)
    shutil.rmtree(job.shelf.place(job.recipes.teacher) / "dev.zarr")
    assert job.recipes.frames(system) == wanted
    with pytest.raises(Changed, match=r"dev\.zarr is missing"):
        dev_store(job, system)


def test_soft_and_decoded_labels_of_one_ensemble_are_one_draw(tmp_path: Path) -> None:
    decoded = {"hard_weight": 1.0, "labels": {"untranscribed": "decoded"}}

    def make(member_seed: int) -> Job:
        member = {"name": "m", "training": {"seed": member_seed}}
        tree = {
            "work_dir": tmp_path,
            "corpus": {"spoken": {"labelled_share": 0.5}},
            "ensemble": {"members": [member]},
            "compare": [decoded, {"hard_weight": 1.0}],
        }
        job = Job(PipelineSettings.model_validate(tree), SilentProgress())
        for recipe in (job.recipes.teacher, job.recipes.labels, *job.recipes.students):
            job.shelf.make(recipe, lambda directory: None)
        return job

    make(1)
    found = list(students_of(make(2)))
    ensembles = {  # by what the student learnt from
        has_given: {s.ensemble for s in found if s.facts.has_given_labels is has_given}
        for has_given in (True, False)
    }
    assert len(found) == 5  # hard labels of the corpus are of no ensemble, so they are made once
    assert len(ensembles[False]) == 2
    assert ensembles[True] == ensembles[False] | {""}
