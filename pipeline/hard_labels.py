"""Hard labels by the ensemble: how their paths are found, and the directory a student reads."""

from pathlib import Path

from pipeline.evaluation import decode_system
from pipeline.job import Job
from pipeline.systems import ensemble_of
from stages.labels.settings import PathSettings
from stages.student.settings import StudentSettings


def path_settings(job: Job) -> PathSettings:
    """Settings of the labels stage. Scale and penalty are those of the ensemble's evaluation.

    So the ensemble is evaluated first, if it is not yet.
    """
    on_dev = decode_system(job, ensemble_of(job))
    teacher, search = job.settings.teacher, job.settings.evaluate
    return PathSettings(
        combine=teacher.combine,
        weights=teacher.weights,
        input=teacher.input,
        on_bad_posterior=teacher.on_bad_posterior,
        acoustic_scale=on_dev.acoustic_scale,
        insertion_penalty=on_dev.insertion_penalty,
        prior_smoothing=search.prior_smoothing,
        beam=search.beam,
        max_active=search.max_active,
        min_active=search.min_active,
        batch_frames=teacher.batch_frames,
        threads=teacher.threads,
        loaded_megabytes=teacher.loaded_megabytes,
        processes=search.processes,
    )


def train_labels(job: Job, student: StudentSettings) -> Path | None:
    """The ensemble's hard labels that the student's settings ask for; None if there are none.

    Raises:
        NotMadeYet: when they are not here.
    """
    return None if student.labels.are_given else job.need(job.recipes.labels)
