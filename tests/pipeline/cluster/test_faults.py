"""A real scheduler and real workers, killed, restarted, of other versions, behind TLS."""

import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dask
import distributed
import psutil
import pytest

from pipeline.cluster.options import Workers
from pipeline.cluster.workers import workforce
from pipeline.errors import ClusterFailed
from stages.contract.errors import MemberFailed, WorkerMismatch
from stages.teacher.workforce import Workforce
from storage.errors import StoreIncomplete
from storage.files.program import program_digest, sources_digest
from storage.read.reader import open_store
from tests.support.faults.other_code import copy_of_the_sources
from tests.support.makers.pipeline import essence, write_tiny
from tests.support.makers.store import tree_digest
from tests.support.makers.teacher import label, make_members
from tests.support.makers.training import RecordingProgress, make_corpus_directory
from tests.support.servers.cluster import ROOT, Cluster, kill_session, make_certificates, wait_for

SLOWLY = "time.sleep(0.02)"
assert distributed.config  # reads its defaults before a test sets any of them


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_members(tmp_path_factory.mktemp("members"), ("tdnn", "gru"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, corpus: Path, members: list[Path]) -> str:
    """Digest of the stores that one process writes."""
    directory = tmp_path_factory.mktemp("undisturbed") / "t"
    label(directory, corpus, members, splits=("train",))
    return tree_digest(directory)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    started = Cluster(tmp_path / "cluster")
    yield started
    started.stop()


@contextmanager
def asked(address: str, notes: list[str] | None = None) -> Iterator[Workforce]:
    """The workforce of --scheduler ADDRESS."""
    note = print if notes is None else notes.append
    with workforce(Workers(scheduler=address), device="cpu", note=note) as found:
        yield found


def workers_of(nanny: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the labelling processes below a `dask worker`."""
    return [
        child
        for child in psutil.Process(nanny.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]


def test_killed_worker_costs_time_only(
    tmp_path: Path, corpus: Path, members: list[Path], undisturbed: str, cluster: Cluster
) -> None:
    """RELIABILITY 26."""
    cluster.start_worker(SLOWLY)
    cluster.start_worker(SLOWLY)
    killed = []

    def kill_one() -> None:
        wait_for(lambda: len(cluster.labelled()) > 5)
        pid, _ = cluster.labelled()[-1]
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with asked(cluster.address) as both:
        label(tmp_path / "t", corpus, members, workforce=both, splits=("train",))
    killer.join()
    assert tree_digest(tmp_path / "t") == undisturbed
    times = Counter(id for _, id in cluster.labelled())
    assert max(times.values()) > len(members), "nobody died in the middle of a shard"
    assert len({pid for pid, _ in cluster.labelled()} - set(killed)) >= 1


@pytest.mark.slow
def test_utterance_that_always_fails_is_named_after_few_attempts(
    tmp_path: Path, corpus: Path, members: list[Path], undisturbed: str, cluster: Cluster
) -> None:
    """RELIABILITY 26."""
    broken = cluster.start_worker("assert id != 'train-12', 'no such thing'")
    told = r"failed on utterance 'train-12': AssertionError: no such thing"
    with asked(cluster.address) as failing, pytest.raises(MemberFailed, match=told):
        label(tmp_path / "t", corpus, members, workforce=failing, splits=("train",))
    tries = Counter(id for _, id in cluster.labelled())["train-12"]
    assert tries <= 8  # two attempts; each looks for the guilty one of a batch
    kill_session(broken)
    cluster.start_worker()
    with asked(cluster.address) as sound:
        label(tmp_path / "t", corpus, members, workforce=sound, splits=("train",))
    assert tree_digest(tmp_path / "t") == undisturbed


def test_tls_cluster_labels_and_refuses_foreign_certificates(
    tmp_path: Path,
    corpus: Path,
    members: list[Path],
    undisturbed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RELIABILITY 25: a client without a certificate of the authority is refused."""
    monkeypatch.setattr("pipeline.cluster.workers.CONNECT_SECONDS", 4)
    ours = make_certificates(tmp_path / "ours")
    theirs = make_certificates(tmp_path / "theirs")
    words = [
        f"--tls-ca-file={ours['ca']}",
        f"--tls-cert={ours['cert']}",
        f"--tls-key={ours['key']}",
    ]
    cluster = Cluster(tmp_path / "cluster", tls=words)
    try:
        assert cluster.address.startswith("tls://127.0.0.1:")
        cluster.start_worker()
        stranger = {**theirs, "ca": ours["ca"]}  # trusts the cluster, which does not trust it
        refused = ((theirs, "certificate does not match"), ({}, "TLS"), (stranger, ""))
        for files, told in refused:
            with (
                client_certificates(files),
                pytest.raises(ClusterFailed, match=rf"no scheduler answers at tls.* \(.*{told}"),
                asked(cluster.address),
            ):
                pass
            # Dask takes a client that failed down when it is collected; in the thread of the next
            # client, that waits for a lock which the next one holds until the thread runs.
            gc.collect()
        with client_certificates(ours), asked(cluster.address) as encrypted:
            label(tmp_path / "t", corpus, members, workforce=encrypted, splits=("train",))
    finally:
        cluster.stop()
    assert tree_digest(tmp_path / "t") == undisturbed


@contextmanager
def client_certificates(files: dict[str, Path]) -> Iterator[None]:
    """Set the TLS files, as DASK_DISTRIBUTED__COMM__TLS__CA_FILE and its siblings do."""
    if not files:
        yield
        return
    tls = "distributed.comm.tls"
    settings = {
        f"{tls}.ca-file": str(files["ca"]),
        f"{tls}.client.cert": str(files["cert"]),
        f"{tls}.client.key": str(files["key"]),
    }
    with dask.config.set(settings):
        yield


@pytest.mark.slow
def test_workers_killed_repeatedly_give_the_same_bytes(
    tmp_path: Path, corpus: Path, members: list[Path], undisturbed: str, cluster: Cluster
) -> None:
    """RELIABILITY 26: killed at random times until the command finishes."""
    nannies = [cluster.start_worker("time.sleep(0.3)") for _ in range(2)]
    rng = random.Random(7)
    is_over = threading.Event()
    killed = []

    def kill_some() -> None:
        while not is_over.wait(rng.uniform(0.5, 2.0)):
            alive = [worker for nanny in nannies for worker in workers_of(nanny)]
            labelling = {pid for pid, _ in cluster.labelled()}
            victims = [worker for worker in alive if worker.pid in labelling]
            if victims and len(killed) < 6:
                victim = rng.choice(victims)
                killed.append(victim.pid)
                victim.kill()

    killer = threading.Thread(target=kill_some)
    killer.start()
    try:
        # A shard that four workers died of stops the run: begin again.
        while not (tmp_path / "t" / "summary.json").exists():
            with suppress(ClusterFailed), asked(cluster.address) as both:
                label(tmp_path / "t", corpus, members, workforce=both, splits=("train",))
    finally:
        is_over.set()
        killer.join()
    assert len(killed) >= 2
    assert tree_digest(tmp_path / "t") == undisturbed


@pytest.mark.slow
def test_shard_that_kills_every_worker_is_named(
    tmp_path: Path, corpus: Path, members: list[Path], cluster: Cluster
) -> None:
    """RELIABILITY 26: a shard that kills its worker at every attempt."""
    cluster.start_worker("id == 'train-12' and os.kill(os.getpid(), signal.SIGKILL)")
    told = r"train.zarr, shard \d \(utterances '.*' to '.*'\): 4 workers died .* last one was tcp:"
    with asked(cluster.address) as dying, pytest.raises(ClusterFailed, match=told):
        label(tmp_path / "t", corpus, members, workforce=dying, splits=("train",))
    with pytest.raises(StoreIncomplete):
        open_store(tmp_path / "t" / "train.zarr")


@pytest.mark.slow
def test_killed_scheduler_is_named_and_the_command_resumes(
    tmp_path: Path,
    corpus: Path,
    members: list[Path],
    undisturbed: str,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RELIABILITY 26: a named error; the same command continues with the missing shards."""
    monkeypatch.setattr("pipeline.cluster.workers.CONNECT_SECONDS", 5)
    worker = cluster.start_worker(SLOWLY)

    class Killing(RecordingProgress):
        def advance(self, amount: float = 1.0, **facts: object) -> None:
            super().advance(amount, **facts)
            if facts["shards"] == "2/5":
                kill_session(cluster.scheduler)

    first = Killing()
    lost = rf"the scheduler at {cluster.address} does not answer any more"
    with pytest.raises(ClusterFailed, match=lost), asked(cluster.address) as both:
        label(tmp_path / "t", corpus, members, first, workforce=both, splits=("train",))
    kill_session(worker)
    cluster.start_scheduler(port=int(cluster.address.rpartition(":")[2]))
    cluster.start_worker()
    again = RecordingProgress()
    with asked(cluster.address) as both:
        label(tmp_path / "t", corpus, members, again, workforce=both, splits=("train",))
    assert again.total <= first.total - first.done
    assert tree_digest(tmp_path / "t") == undisturbed


@pytest.mark.slow
def test_worker_of_another_version_is_refused(
    tmp_path: Path, corpus: Path, members: list[Path], cluster: Cluster
) -> None:
    older = tmp_path / "older"
    older.mkdir()
    code = "import stages.contract.version as here\nhere.VERSION = '0.0.9'\n"
    (older / "sitecustomize.py").write_text(code)  # runs before the worker's own imports
    cluster.start_worker(path=[older])
    told = r"has essence 0.0.9, wanted .*: install the same versions on every machine"
    with asked(cluster.address) as other, pytest.raises(WorkerMismatch, match=told):
        label(tmp_path / "t", corpus, members, workforce=other, splits=("train",))


def test_worker_with_other_sources_of_the_same_version_is_refused(
    tmp_path: Path, corpus: Path, members: list[Path], cluster: Cluster
) -> None:
    """RELIABILITY 35: both digests are named, and no shard is written."""
    other = copy_of_the_sources(tmp_path / "other")
    cluster.start_worker(path=[other])
    told = rf"has sources {sources_digest(other)}, wanted {program_digest()}: install the same"
    with asked(cluster.address) as both, pytest.raises(WorkerMismatch, match=told):
        label(tmp_path / "t", corpus, members, workforce=both, splits=("train",))
    assert not list(tmp_path.glob("t/train.zarr/commits/*"))


@pytest.mark.slow
def test_worker_without_the_shared_files_is_refused(
    tmp_path: Path, corpus: Path, members: list[Path], cluster: Cluster
) -> None:
    """A machine without the shared disk: a mount namespace in which the member is empty."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not allow mount namespaces")
    hidden = members[0]
    script = tmp_path / "worker.sh"
    dask = Path(sys.executable).with_name("dask")
    script.write_text(
        f"mount -t tmpfs none {hidden} && exec {dask} worker {cluster.address} --nthreads 1 "
        f"--host 127.0.0.1 --no-dashboard --local-directory {tmp_path}\n"
    )
    with (tmp_path / "log").open("wb") as log:
        away = subprocess.Popen(
            ["unshare", "-m", "sh", str(script)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    told = rf"{hidden}: .* finds nothing, wanted .*: every worker needs the same files"
    try:
        with asked(cluster.address) as other, pytest.raises(WorkerMismatch, match=told):
            label(tmp_path / "t", corpus, members, workforce=other, splits=("train",))
    finally:
        kill_session(away)


@pytest.mark.slow
def test_waiting_for_workers_is_noted(
    tmp_path: Path,
    corpus: Path,
    members: list[Path],
    undisturbed: str,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that starts late is checked and then used."""
    monkeypatch.setattr("pipeline.cluster.dask_workforce.LOOK_SECONDS", 1.0)
    notes: list[str] = []

    def start_late() -> None:
        wait_for(lambda: notes)
        cluster.start_worker()

    late = threading.Thread(target=start_late)
    late.start()
    with asked(cluster.address, notes) as nobody_yet:
        label(tmp_path / "t", corpus, members, workforce=nobody_yet, splits=("train",))
    late.join()
    assert notes == [f"waiting: no worker yet: start workers with 'dask worker {cluster.address}'"]
    assert tree_digest(tmp_path / "t") == undisturbed


@pytest.mark.slow
def test_interrupt_stops_all_processes_and_the_command_resumes(tmp_path: Path) -> None:
    """As in a terminal, where every process of the command gets the signal."""
    pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
    write_tiny(tmp_path)
    for stage in ("corpus", "ensemble"):
        assert essence(tmp_path, stage).returncode == 0
    small = ("teacher.shard_frames=64", "teacher.chunk_frames=64", "teacher.splits=[train]")
    words = [word for change in small for word in ("--set", change)]
    with subprocess.Popen(
        [sys.executable, "-m", "essence", "teacher", "--workers", "2", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        wait_for(lambda: list(tmp_path.glob("work/teacher-*.partial/train.zarr/commits/*2.json")))
        os.killpg(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert errors.splitlines() == ["essence: stopped; the same command goes on where this one was"]
    wait_for(lambda: not _is_anybody_left(run.pid), seconds=10)
    resumed = essence(tmp_path, "teacher", "--workers", "2", *words)
    assert resumed.returncode == 0, resumed.stderr
    (found,) = (tmp_path / "work").glob("teacher-*")
    before = tree_digest(found)
    shutil.rmtree(found)
    assert essence(tmp_path, "teacher", *words).returncode == 0
    assert tree_digest(found) == before


def _is_anybody_left(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
