"""Soft labels: the store that a student learns from, and the one that a system is compared with."""

from pathlib import Path

from pipeline.job import Job
from stages.contract.results import System
from stages.student.settings import StudentSettings
from storage.place.find_place import find_place
from storage.place.place import Place


def train_store(job: Job, student: StudentSettings) -> Place | None:
    """The store that the student's settings name, otherwise the teacher's.

    None for a student on hard labels alone.

    Raises:
        NotMadeYet: when the teacher's stores are not here.
        Changed: when another store lies at the named place than when the command began.
    """
    if student.hard_weight == 1:
        return None
    if student.store is not None:
        job.recipes.stores.refuse_changed(student.store)
        return job.recipes.stores.place(student.store, cache_bytes=student.cache_bytes)
    return find_place(job.need(job.recipes.teacher) / "train.zarr")


def dev_store(job: Job, system: System) -> Path | None:
    """The soft labels of dev; None when there are none here."""
    labels = job.recipes.dev_labels(system)
    return job.need(labels) / "dev.zarr" if labels else None
