"""ReportInputs: all that a report is made of. The report measures nothing itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stages.contract.results import CorpusSummary, SystemResult, TeacherSummary
from storage.care.store_audit import StoreAudit


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What made something: `settings` is JSON text.

    Where several things differ in a seed alone, or in what they were made from, `parts` names
    each with its fingerprint.
    """

    name: str
    fingerprint: str
    settings: str
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """Results, and where the things lie that the pictures are drawn from.

    `histories` maps a system's name to its metrics.jsonl. `store` holds the soft labels of the
    dev split; None where they are gone: the page then has no posteriorgram.
    """

    results: tuple[SystemResult, ...]
    corpus: CorpusSummary
    corpus_directory: Path
    teacher: TeacherSummary | None = None
    store: Path | None = None
    histories: Mapping[str, Path] = field(default_factory=dict)
    made: tuple[Made, ...] = ()
    program: str = "essence"  # version and commit of the program that writes the page

    def audit_of(self, split: str) -> StoreAudit | None:
        """The audit of a split's store; None if the teacher is not here or did not label it."""
        stores = self.teacher.stores if self.teacher else ()
        return next((store for store in stores if store.split == split), None)
