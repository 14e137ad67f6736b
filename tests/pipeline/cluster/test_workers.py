"""The teacher on worker processes of this machine: the same bytes and errors as one process."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster.options import Workers
from pipeline.cluster.workers import workforce
from pipeline.errors import ClusterFailed, SettingsError
from stages.contract.errors import BadPosterior, MissingPart
from stages.teacher.workforce import Workforce
from storage.read.reader import open_store
from tests.support.makers.store import tree_digest
from tests.support.makers.teacher import label, make_members
from tests.support.makers.training import RecordingProgress, make_corpus, make_corpus_directory


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_members(tmp_path_factory.mktemp("members"), ("tdnn", "gru", "conv"))


@pytest.fixture(scope="module")
def notes() -> list[str]:
    return []


@pytest.fixture(scope="module")
def two_workers(notes: list[str]) -> Iterator[Workforce]:
    """The workforce that --workers 2 starts."""
    with workforce(Workers(number=2), device="cpu", note=notes.append) as started:
        yield started


def test_two_workers_write_the_bytes_of_one_process(
    tmp_path: Path, corpus: Path, members: list[Path], two_workers: Workforce, notes: list[str]
) -> None:
    progress = RecordingProgress()
    label(tmp_path / "two", corpus, members, progress, workforce=two_workers)
    label(tmp_path / "one", corpus, members)
    assert open_store(tmp_path / "two" / "train.zarr").num_shards > 2
    assert tree_digest(tmp_path / "two") == tree_digest(tmp_path / "one")
    assert progress.done == progress.total > 0
    assert notes == []


def test_committed_shards_are_not_labelled_again(
    tmp_path: Path, corpus: Path, members: list[Path], two_workers: Workforce
) -> None:
    class Stopping(RecordingProgress):
        def advance(self, amount: float = 1.0, **facts: object) -> None:
            super().advance(amount, **facts)
            if facts["shards"] == "2/5":
                raise KeyboardInterrupt

    first = Stopping()
    with pytest.raises(KeyboardInterrupt):
        label(tmp_path / "t", corpus, members, first, workforce=two_workers, splits=("train",))
    again = RecordingProgress()
    label(tmp_path / "t", corpus, members, again, workforce=two_workers, splits=("train",))
    assert again.total <= first.total - first.done
    label(tmp_path / "whole", corpus, members, splits=("train",))
    assert tree_digest(tmp_path / "t") == tree_digest(tmp_path / "whole")


def corpus_with_bad_utterances(path: Path) -> Path:
    """Features near the float32 maximum in two utterances, so that a model returns NaN."""
    return make_corpus(path / "train.h5", lengths=(31, 17, 44, 23, 90, 38, 29), huge=(2, 5)).parent


def test_bad_posterior_is_named_as_in_one_process(
    tmp_path: Path, members: list[Path], two_workers: Workforce
) -> None:
    """RELIABILITY 16, 26."""
    corpus = corpus_with_bad_utterances(tmp_path / "c")
    with pytest.raises(BadPosterior, match=r"^member \w+ .*, utterance 'train-[25]', frame \d"):
        label(tmp_path / "t", corpus, members, workforce=two_workers, splits=("train",))


def test_bad_utterances_are_left_out_as_in_one_process(
    tmp_path: Path, members: list[Path], two_workers: Workforce
) -> None:
    """RELIABILITY 16, 26."""
    corpus = corpus_with_bad_utterances(tmp_path / "c")
    changes: dict[str, Any] = {"on_bad_posterior": "skip-utterance", "splits": ("train",)}
    found = label(tmp_path / "two", corpus, members, workforce=two_workers, **changes)
    assert found.stores[0].left_out == ("train-2", "train-5")
    label(tmp_path / "one", corpus, members, **changes)
    assert tree_digest(tmp_path / "two") == tree_digest(tmp_path / "one")


def listening(pid: int) -> set[str]:
    """Return the addresses on which a process and its children listen."""
    import psutil  # Dask brings it

    found = set()
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        for connection in process.net_connections("tcp"):
            if connection.status == "LISTEN":
                found.add(connection.laddr.ip)
    return found


def test_local_cluster_listens_on_loopback_only(two_workers: Workforce) -> None:
    """RELIABILITY 25."""
    assert listening(os.getpid()) == {"127.0.0.1"}


@pytest.mark.parametrize("address", ["tcp://10.1.2.3:8786", "tcp://nowhere.invalid:8786"])
def test_scheduler_without_tls_on_another_machine_is_refused(address: str) -> None:
    """RELIABILITY 25."""
    with pytest.raises(SettingsError, match=r"reaches its port can run code as you"):
        Workers(scheduler=address)
    assert Workers(scheduler=address, insecure=True).scheduler == address


@pytest.mark.parametrize("address", ["tls://10.1.2.3:8786", "tcp://127.0.0.1:1", "tcp://[::1]:9"])
def test_scheduler_with_tls_or_on_this_machine_is_accepted(address: str) -> None:
    assert Workers(scheduler=address).scheduler == address


@pytest.mark.parametrize("address", ["head:8786", "http://head:8786", "tls://", ""])
def test_malformed_scheduler_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match=r"wanted tls://HOST:PORT, or tcp://127.0.0.1:PORT"):
        Workers(scheduler=address)


def test_workers_and_scheduler_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match=r"give one"):
        Workers(number=2, scheduler="tcp://127.0.0.1:8786")


def test_absent_scheduler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.cluster.workers.CONNECT_SECONDS", 0.5)
    absent = Workers(scheduler="tcp://127.0.0.1:1")
    with (
        pytest.raises(ClusterFailed, match=r"no scheduler answers at tcp://127.0.0.1:1 "),
        workforce(absent, device="cpu", note=print),
    ):
        pass


def test_workforce_without_dask_names_the_packages_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.cluster.workers.find_spec", lambda name: None)
    with (
        pytest.raises(MissingPart, match="run 'pip install dask distributed'"),
        workforce(Workers(number=2), device="cpu", note=print),
    ):
        pass


def test_local_workers_each_get_a_separate_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks the plan only; no GPU is needed."""
    from pipeline.cluster.workers import _own_options

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    first, second = _own_options(2, device="cuda")
    assert (first["env"], second["env"]) == (
        {"CUDA_VISIBLE_DEVICES": "4"},
        {"CUDA_VISIBLE_DEVICES": "6"},
    )
    assert first["resources"] == {"GPU": 1}
    for number, device in ((3, "cuda"), (2, "cuda:1")):
        with pytest.raises(SettingsError, match=r"this machine has 2 GPUs"):
            _own_options(number, device=device)
