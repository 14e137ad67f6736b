"""Fit: what two branches of the settings must agree on."""

from collections.abc import Iterable, Iterator

from pipeline.errors import SettingsError
from pipeline.settings.tree import PipelineSettings, compared
from pipeline.settings.wording import shortened
from stages.student.settings import StudentSettings
from stages.student.soft_label_check import check_soft_labels
from stages.student.token_check import misfits_of_targets
from stages.teacher.settings import TeacherSettings
from storage.errors import StoreError
from storage.format.temperatures import temperatures_given

NO_COPIES = "corpus.copies lists no copy with 'train' among its splits: list one"
TEACHER = "the teacher of these settings"
RESERVED_NAMES = {"ensemble", "teacher"}  # rows of tables and report that are no member or student


def misfits(settings: PipelineSettings) -> Iterator[str]:
    """What does not fit together, in words."""
    teacher, members = settings.teacher, settings.ensemble.members
    if teacher.weights is not None and len(teacher.weights) != len(members):
        yield (
            f"teacher.weights has {len(teacher.weights)} weights, ensemble.members "
            f"{len(members)} members: give one weight for each"
        )
    has_copies = any("train" in copy.splits for copy in settings.corpus.copies)
    if teacher.input == "original" and not has_copies:
        yield f"teacher.input is 'original' and {NO_COPIES}, or set it to 'copy'"
    names = {member.name for member in members}
    for name in sorted(names & RESERVED_NAMES):
        yield f"ensemble.members: the name {name!r} is reserved: give the member another one"
    for student in settings.students:
        if student.name in names | RESERVED_NAMES:
            yield f"student.name: {student.name!r} is in use: give the student another name"
        if student.training.utterances != "all" and not has_copies:
            yield (
                f"student.training.utterances is {student.training.utterances!r} and {NO_COPIES}, "
                "or set it to 'all'"
            )
    has_tokens = settings.corpus.targets == "tokens"
    if has_tokens and teacher.posteriors != "plain":
        yield (
            f"teacher.posteriors is {teacher.posteriors!r}, along a path of frame classes, and "
            "corpus.targets is tokens: set it to 'plain'"
        )
    yield from _misfits_of(settings.student, teacher)
    for misfit in misfits_of_targets(settings.student, has_tokens=has_tokens):
        yield f"student.{misfit}"
    for number, changes in enumerate(settings.compare):
        entry = f"compare.{number} ({shortened(changes)})"
        changed = compared(settings.student, changes)
        yield from _misfits_of(changed, teacher, entry=entry)
        for misfit in misfits_of_targets(changed, has_tokens=has_tokens):
            yield f"{entry}: {misfit}"


def refuse_misfits(settings: PipelineSettings, students: Iterable[StudentSettings]) -> None:
    """Check that these students can learn from the teacher of the settings.

    Raises:
        SettingsError: for the first one that cannot.
    """
    has_tokens = settings.corpus.targets == "tokens"
    for student in students:
        for misfit in _misfits_of(student, settings.teacher):
            raise SettingsError(misfit)
        for misfit in misfits_of_targets(student, has_tokens=has_tokens):
            raise SettingsError(f"student.{misfit}")


def _misfits_of(
    student: StudentSettings, teacher: TeacherSettings, *, entry: str = ""
) -> Iterator[str]:
    """`entry` is the one of `compare` that changes the student, if one does."""
    if student.hard_weight == 1 or student.store is not None:
        return
    given = temperatures_given(teacher.temperature, teacher.temperatures)
    try:
        check_soft_labels(
            student,
            where=TEACHER,
            kept=teacher.kept,
            temperatures=given,
            shallower=f"lower k in {entry}, remove it" if entry else "lower student.k",
            deeper="raise teacher.kept",
        )
    except StoreError as error:
        words = str(error)
        yield words if entry in words else f"{entry}: {words}"
    if "train" not in teacher.splits:
        yield f"teacher.splits is {list(teacher.splits)}: students learn from 'train', add it"
