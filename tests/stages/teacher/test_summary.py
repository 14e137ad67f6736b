"""summary.json: the audit is measured once and read by every command that prints it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.cache import audit as cache_audit
from stages.contract.results import TeacherSummary
from stages.teacher.summary import SUMMARY_FILE, complete_audit, read_audit
from storage.care.audit import audit_store
from storage.care.store_audit import StoreAudit
from storage.corpus.corpus_file import CorpusFile
from storage.read.reader import SoftLabelStore, open_store
from tests.support.makers.teacher import label, make_member
from tests.support.makers.training import make_corpus_directory

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def teacher(tmp_path: Path, corpus: Path) -> Path:
    """A teacher's directory with the store of dev."""
    members = [make_member(tmp_path / f"member-{n}", "tdnn", seed=n) for n in (1, 2)]
    label(tmp_path / "teacher", corpus, members, splits=("dev",))
    return tmp_path / "teacher"


def measured(teacher: Path, corpus: Path) -> StoreAudit:
    with CorpusFile(corpus / "dev.h5") as labels:
        return audit_store(open_store(teacher / "dev.zarr"), corpus=labels)


def test_summary_holds_the_audit_of_each_store(teacher: Path, corpus: Path) -> None:
    store = teacher / "dev.zarr"
    digest = open_store(store).digest
    assert read_audit(store, digest=digest) == measured(teacher, corpus)
    assert read_audit(store, digest="0" * 64) is None


def test_cache_audit_reads_the_summary_and_no_soft_labels(
    teacher: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = measured(teacher, corpus)
    passes = []

    def counted(store: SoftLabelStore, **others: Any) -> StoreAudit:
        passes.append(store)
        return audit_store(store, **others)

    monkeypatch.setattr(cache_audit, "audit_store", counted)
    assert cache_audit.read_or_measure(teacher / "dev.zarr", None) == wanted
    assert not passes
    assert cache_audit.read_or_measure(teacher / "dev.zarr", corpus / "dev.h5") == wanted
    assert len(passes) == 1


def test_cache_audit_of_a_bare_store_has_the_same_figures(
    teacher: Path, corpus: Path, tmp_path: Path
) -> None:
    shutil.copytree(teacher / "dev.zarr", tmp_path / "bare" / "dev.zarr")
    (tmp_path / "bare" / SUMMARY_FILE).write_text("{}")  # of another program
    bare = cache_audit.read_or_measure(tmp_path / "bare" / "dev.zarr", None)
    wanted = measured(teacher, corpus)
    for name in ("kept_mass", "kept_mass_percentiles", "entropy", "bytes_per_frame", "digest"):
        assert getattr(bare, name) == getattr(wanted, name)
    assert bare.hard_label_inside == {}


def test_summary_of_an_earlier_version_is_read_and_completed_from_the_store(
    teacher: Path, corpus: Path
) -> None:
    path = teacher / SUMMARY_FILE
    written = json.loads(path.read_bytes())
    (store,) = written["stores"]
    for name in ("kept_mass_percentiles", "entropy", "hard_label_inside", "num_labelled"):
        del store[name]
    path.write_text(json.dumps({"members": ["a"], "stores": [store | {"mean_entropy": 0.5}]}))
    (old,) = TeacherSummary.model_validate_json(path.read_bytes()).stores
    assert not old.is_complete
    assert old.kept_mass.keys() == {1, 2, 3}
    assert read_audit(teacher / "dev.zarr", digest=old.digest) is None
    completed = complete_audit(old, teacher=teacher, corpus_directory=corpus)
    assert completed == measured(teacher, corpus)
    shutil.rmtree(teacher / "dev.zarr")
    assert complete_audit(old, teacher=teacher, corpus_directory=corpus) is old
