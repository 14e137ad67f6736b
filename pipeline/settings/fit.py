"""Fit: what two branches of the settings must agree on."""

from collections.abc import Iterable, Iterator

from pipeline.errors import SettingsError
from pipeline.settings.tree import PipelineSettings, compared
from pipeline.settings.wording import shortened
from stages.student.settings import StudentSettings
from stages.student.soft_label_check import check_soft_labels
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
    yield from _misfits_of(settings.student, teacher)
    for number, changes in enumerate(settings.compare):
        entry = f"compare.{number} ({shortened(changes)})"
        yield from _misfits_of(compared(settings.student, changes), teacher, entry=entry)


def refuse_misfits(settings: PipelineSettings, students: Iterable[StudentSettings]) -> None:
    """Check that these students can learn from the teacher of the settings.

    Raises:
        SettingsError: for the first one that cannot.
    """
    for student in students:
        for misfit in _misfits_of(student, settings.teacher):
            raise SettingsError(misfit)


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
