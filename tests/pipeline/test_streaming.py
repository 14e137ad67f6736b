"""student.store: a student trains from a remote store, without a local ensemble or teacher."""

import shutil
from pathlib import Path

import pytest
import yaml

from pipeline import flow
from pipeline.errors import Changed
from pipeline.job import Job
from pipeline.settings.read import read_settings
from stages.contract.progress import SilentProgress
from storage.errors import StoreError, StorePartial, StoreUnreachable
from storage.read.reader import open_store
from storage.transfer.plan import Selection
from tests.support.makers.parts import split
from tests.support.makers.pipeline import TINY
from tests.support.makers.transfer import copy
from tests.support.servers.remote import http_server, read_objects, shorten_outages

pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
pytest.importorskip("aiohttp", reason="pip install aiohttp")

CUT = {"hours": 0.008, "dev_minutes": 0.15, "test_minutes": 0.15}
WEIGHTS = "model.safetensors"


def job_in(directory: Path, **student: object) -> Job:
    """The tiny pipeline, further reduced, with one student and these changes to it."""
    tree = {**TINY, "compare": [], "work_dir": str(directory / "work")}
    tree["corpus"] = {"spoken": {**TINY["corpus"]["spoken"], **CUT}}
    tree["ensemble"] = {"members": TINY["ensemble"]["members"][1:]}
    tree["student"] = {**TINY["student"], **student}
    config = directory / "pipeline.yaml"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return Job(read_settings(config), SilentProgress())


def train(directory: Path, **student: object) -> bytes:
    """Train a student and return its weights."""
    job = job_in(directory, **student)
    return (flow.student(job, job.settings.student) / WEIGHTS).read_bytes()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a corpus and a teacher."""
    directory = tmp_path_factory.mktemp("labelled")
    job = job_in(directory)
    for stage in (flow.corpus, flow.ensemble, flow.teacher):
        stage(job)
    return directory


@pytest.fixture(scope="module")
def weights(labelled: Path) -> bytes:
    """Weights of the student trained from the teacher's store."""
    return train(labelled)


@pytest.fixture
def store(labelled: Path) -> Path:
    (teacher,) = (labelled / "work").glob("teacher-*")
    return teacher / "train.zarr"


@pytest.fixture
def bare(labelled: Path, tmp_path: Path) -> Path:
    """A directory with the corpus only."""
    (corpus,) = (labelled / "work").glob("corpus-*")
    shutil.copytree(corpus, tmp_path / "work" / corpus.name)
    return tmp_path


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_outages(monkeypatch)


def has_teacher(directory: Path) -> bool:
    """True if the directory has a teacher or a member."""
    return bool([*directory.glob("work/teacher-*"), *directory.glob("work/member-*")])


def test_student_streams_and_stays_fresh_while_the_server_is_unreachable(
    store: Path, weights: bytes, bare: Path
) -> None:
    with http_server() as server:
        server.objects = read_objects(store)
        assert train(bare, store=server.url) == weights
        names = [name for name, _, _ in server.asked if name != "HEAD"]
        assert len(names) == len(set(names))  # two epochs, each object once
        assert [name for name in names if name.startswith("ids_2/c/")]  # ranks 5 to 8
        server.asked.clear()
        assert train(bare, store=server.url) == weights
        assert [name for name, _, _ in server.asked] == ["HEAD"]
        server.failures = [503] * 1000  # from here on it is away
        assert train(bare, store=server.url) == weights
        train(bare, store=server.url, k=6)  # its tiers are here
        with pytest.raises(StoreUnreachable):
            train(bare, store=server.url, k=3)  # the tail after rank 4 is not
        results = flow.run(job_in(bare, store=server.url))
    assert {result.system.name for result in results} == {"k=5", "k=6"}
    assert not has_teacher(bare)


def test_partial_copy_gives_the_same_student(store: Path, weights: bytes, bare: Path) -> None:
    mine = bare / "mine.zarr"
    copy(store, mine, Selection(ks=(5,)))
    assert train(bare, store=str(mine)) == weights
    with pytest.raises(StorePartial, match="without k=1"):
        train(bare, store=str(mine), k=1)
    job, moved = job_in(bare, store=str(mine)), mine.rename(bare / "moved.zarr")
    wanted = job.recipes.student(job.settings.student).fingerprint  # by its digest, wherever it is
    job = job_in(bare, store=str(moved), cache_bytes=7)
    assert job.recipes.student(job.settings.student).fingerprint == wanted
    shutil.rmtree(moved)
    assert train(bare, store=str(mine)) == weights
    assert not has_teacher(bare)


def test_store_replaced_during_a_run_is_refused(store: Path, weights: bytes, bare: Path) -> None:
    """The student's recipe would name the store that was there at first."""
    mine = bare / "mine.zarr"
    shutil.copytree(store, mine)
    job = job_in(bare, store=str(mine))
    recipe = job.recipes.student(job.settings.student)
    ids = [row.id for row in open_store(store).utterances]
    shutil.rmtree(mine)
    split(store, mine, ids[::2])
    with pytest.raises(Changed, match=r"mine\.zarr was replaced while this command ran"):
        flow.student(job, job.settings.student)
    assert not job.is_fresh(recipe)
    assert train(bare, store=str(mine)) != weights  # of half of the utterances
    shutil.rmtree(mine)
    shutil.copytree(store, mine)
    assert train(bare, store=str(mine)) == weights


def test_cache_smaller_than_an_epoch_is_noted(store: Path, weights: bytes, bare: Path) -> None:
    with http_server() as server:
        server.objects = read_objects(store)
        job = job_in(bare, store=server.url, cache_bytes=1000)
        notes: list[str] = []
        job.progress.note = notes.append  # type: ignore[method-assign]
        directory = flow.student(job, job.settings.student)
    assert (directory / WEIGHTS).read_bytes() == weights
    assert [note for note in notes if "student.cache_bytes is 1,000" in note]


def test_unreachable_or_absent_store_is_named(bare: Path) -> None:
    with pytest.raises(StoreUnreachable, match=r"http://127.0.0.1:9/a.zarr/HEAD cannot be read"):
        train(bare, store="http://127.0.0.1:9/a.zarr")
    with pytest.raises(StoreError, match=r"nowhere.zarr is not there"):
        train(bare, store="nowhere.zarr")


def test_student_store_makes_teacher_settings_irrelevant(tmp_path: Path) -> None:
    job = job_in(tmp_path, store="s3://bucket/a.zarr", k=30)  # teacher.kept is 8
    assert not job.settings.needs_teacher
    assert job_in(tmp_path).settings.needs_teacher
