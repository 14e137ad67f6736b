"""ReportInputs: everything that a report is made of. The report itself measures nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stages.contract.results import CorpusSummary, SystemResult, TeacherSummary
from stages.report.statistics.bootstrap import Interval
from storage.care.store_audit import StoreAudit


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The record of an artefact: `settings` is JSON text.

    If several artefacts differ in seed or inputs alone, `parts` lists their names and fingerprints.
    """

    name: str
    fingerprint: str
    settings: str
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """An exported student: size of its model file, word error rates on dev and test (fractions).

    `student` is the fingerprint of the system that it was made from.
    """

    student: str
    precision: str
    num_bytes: int
    wer_dev: float
    wer_test: float
    interval: Interval  # of the rate on test


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """Results, and the paths of what the pictures show.

    `histories` maps the name of a system to its metrics.jsonl. `store` is the soft-label store of
    the dev split; None if it was removed: the page then has no posteriorgram.
    """

    results: tuple[SystemResult, ...]
    corpus: CorpusSummary
    corpus_directory: Path
    teacher: TeacherSummary | None = None
    store: Path | None = None
    histories: Mapping[str, Path] = field(default_factory=dict)
    made: tuple[Made, ...] = ()
    exported: tuple[ExportedModel, ...] = ()
    program: str = "essence"  # version and commit of the program that writes the page

    def audit_of(self, split: str) -> StoreAudit | None:
        """The audit of a split's store; None if the teacher is missing or has no such store."""
        stores = self.teacher.stores if self.teacher else ()
        return next((store for store in stores if store.split == split), None)
