"""summary.json: the audit of each store, measured once, when the store was sealed."""

from pathlib import Path

from pydantic import ValidationError

from stages.contract.results import TeacherSummary
from storage.care.audit import audit_store
from storage.care.store_audit import StoreAudit
from storage.corpus.corpus_file import CorpusFile
from storage.read.reader import open_store

SUMMARY_FILE = "summary.json"


def read_audit(store: Path, *, digest: str) -> StoreAudit | None:
    """The audit of the store at `store` from the summary next to it.

    None if the store has no summary: it was copied, merged or cut, or an earlier version made it.
    `digest` is the store's: an audit of other bytes is not used.
    """
    path = store.parent / SUMMARY_FILE
    try:
        summary = TeacherSummary.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):  # no file, or a file of another program
        return None
    same = (audit for audit in summary.stores if audit.digest == digest and audit.is_complete)
    return next(same, None)


def complete_audit(audit: StoreAudit, *, teacher: Path, corpus_directory: Path) -> StoreAudit:
    """The audit itself; one that an earlier version wrote is measured again, if its store is here.

    The file stays as it is: an artefact never changes.
    """
    store = teacher / f"{audit.split}.zarr"
    if audit.is_complete or not store.is_dir():
        return audit
    with CorpusFile(corpus_directory / f"{audit.split}.h5") as corpus:
        return audit_store(open_store(store), corpus=corpus)


def describe(audit: StoreAudit, frames_per_second: float) -> str:
    """One line for the terminal. `frames_per_second` is 0 if nothing was left to label."""
    mass = ", ".join(f"k={k}: {mass:.4f}" for k, mass in audit.kept_mass.items())
    left_out = f", {len(audit.left_out)} utterances left out" if audit.left_out else ""
    pace = f"{frames_per_second:.0f} frames/s" if frames_per_second else "was there already"
    ranks = audit.mean_ranks.get(audit.kept)
    fewer = "" if ranks is None else f", {ranks:.1f} ranks a frame"
    return (
        f"{audit.split}: {pace}, {audit.bytes_per_frame[audit.kept]:.1f} bytes a frame{fewer}, "
        f"kept mass {mass}{left_out}"
    )
