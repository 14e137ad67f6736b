"""Unfinished work belongs to the code that began it; a copy of the sources with another line is
other code. What is finished belongs to no code.
"""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from stages.contract.errors import BadInput
from stages.training.checkpoint import Position, read_checkpoint, write_checkpoint
from storage.care.repair import plan_repair, repair
from storage.errors import StoreMismatch
from storage.files.program import program_digest, sources_digest
from storage.read.reader import open_store
from storage.write.claim import CLAIM
from storage.write.writer import StoreWriter
from tests.support.faults.other_code import copy_of_the_sources, run_with
from tests.support.faults.store_commands import ABOUT, LENGTHS
from tests.support.makers.store import fill_store, make_utterances, shard_block, tree_digest
from tests.support.makers.training import make_corpus
from tests.support.paths import ROOT

BEGIN_STORE = """
import sys
from pathlib import Path
from storage.write.writer import StoreWriter
from tests.support.faults.store_commands import ABOUT, LENGTHS
from tests.support.makers.store import make_utterances, shard_block

writer = StoreWriter.create(Path(sys.argv[1]), ABOUT, utterances=make_utterances(LENGTHS))
writer.write_shard(0, shard_block(writer, 0))
"""
TRAIN = """
import os, signal, sys
from pathlib import Path
from tests.support.faults.kills import Runs
from tests.support.makers.training import RecordingProgress

def stop(step):
    if step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGINT)

try:
    Runs(Path(sys.argv[1]), {"epochs": 3}).train(Path(sys.argv[2]), RecordingProgress(stop))
except KeyboardInterrupt:
    pass
"""
NEVER = "0"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_sources(tmp_path_factory.mktemp("other"))


def begun(path: Path) -> StoreWriter:
    """A store of two shards, one of them written by this process."""
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    writer.write_shard(0, shard_block(writer, 0))
    return writer


def test_digest_depends_on_every_source_and_on_nothing_else(tmp_path: Path, other: Path) -> None:
    """RELIABILITY 35: the same in any folder; another line, name or file gives another one."""
    same = copy_of_the_sources(tmp_path / "same", change=False)
    assert sources_digest(same) == program_digest() == sources_digest(ROOT)
    assert sources_digest(other) != program_digest()
    (same / "storage" / "notes.txt").write_text("no source")
    (same / "pipeline" / "cli.py").write_text("of another floor")
    assert sources_digest(same) == program_digest()
    found = {program_digest()}
    (same / "storage" / "files" / "lock.py").rename(same / "storage" / "files" / "locks.py")
    found.add(sources_digest(same))
    (same / "stages" / "new.py").write_text("")
    found.add(sources_digest(same))
    assert len(found) == 3


def test_store_begun_by_other_code_is_refused_before_it_is_changed(
    tmp_path: Path, other: Path
) -> None:
    """RELIABILITY 35: both digests and the way out are named, in either direction."""
    begun(tmp_path / "here.zarr")
    before = tree_digest(tmp_path / "here.zarr")
    ran = run_with(other, BEGIN_STORE, str(tmp_path / "here.zarr"))
    assert ran.returncode == 1
    digests = rf"found the sources {program_digest()}, wanted {sources_digest(other)}"
    assert digests in ran.stderr
    assert f"rm -r {tmp_path / 'here.zarr'}" in ran.stderr
    assert tree_digest(tmp_path / "here.zarr") == before

    ran = run_with(other, BEGIN_STORE, str(tmp_path / "there.zarr"))
    assert ran.returncode == 0, ran.stderr
    digests = rf"found the sources {sources_digest(other)}, wanted {program_digest()}"
    with pytest.raises(StoreMismatch, match=digests):
        begun(tmp_path / "there.zarr")
    shutil.rmtree(tmp_path / "there.zarr")
    fill_store(tmp_path / "there.zarr", ABOUT, LENGTHS)


def test_second_process_with_other_code_is_refused_while_the_first_writes(
    tmp_path: Path, other: Path
) -> None:
    """RELIABILITY 35: two processes on one store."""
    first = begun(tmp_path / "a.zarr")
    assert "StoreMismatch" in run_with(other, BEGIN_STORE, str(tmp_path / "a.zarr")).stderr
    first.write_shard(1, shard_block(first, 1))
    first.seal()
    open_store(tmp_path / "a.zarr").verify()


def test_store_without_a_claim_is_refused_while_it_is_unfinished(tmp_path: Path) -> None:
    """RELIABILITY 35: earlier versions left none."""
    begun(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / CLAIM).unlink()
    with pytest.raises(StoreMismatch, match=f"found the sources none, wanted {program_digest()}"):
        begun(tmp_path / "a.zarr")


def test_sealed_store_belongs_to_no_code(tmp_path: Path, other: Path) -> None:
    """RELIABILITY 35: other code opens it, and its bytes do not tell who made it."""
    path = tmp_path / "a.zarr"
    fill_store(path, ABOUT, LENGTHS)
    before = tree_digest(path)
    assert not [p for p in path.rglob("*") if p.is_file() and _mentions_program(p)]
    ran = run_with(other, BEGIN_STORE, str(path))
    assert ran.returncode == 0, ran.stderr
    assert tree_digest(path) == before


def _mentions_program(path: Path) -> bool:
    return program_digest().encode() in path.read_bytes()


def test_repaired_store_belongs_to_the_code_that_repairs_it(tmp_path: Path, other: Path) -> None:
    """RELIABILITY 35: it is under construction again, and has the same bytes in the end."""
    path = tmp_path / "a.zarr"
    fill_store(path, ABOUT, LENGTHS)
    before = tree_digest(path)
    damaged = next(path.glob("ids_0/c/*/*"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    repair(path, plan_repair(path))
    assert run_with(other, BEGIN_STORE, str(path)).returncode == 1
    fill_store(path, ABOUT, LENGTHS)
    assert tree_digest(path) == before


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for number, split in enumerate(("train", "dev")):
        make_corpus(tmp_path / "corpus" / f"{split}.h5", seed=number)
    return tmp_path / "corpus"


def train(code: Path, corpus: Path, directory: Path, stop_at: str) -> str:
    """Train with this code until a step, or to the end; what it prints as errors."""
    directory.mkdir(exist_ok=True)
    return run_with(code, TRAIN, str(corpus), str(directory), stop_at).stderr


def test_checkpoint_of_other_code_is_refused(tmp_path: Path, corpus: Path, other: Path) -> None:
    """RELIABILITY 35: both digests and the way out are named; nothing is changed."""
    model = tmp_path / "model"
    train(ROOT, corpus, model, "3")
    before = tree_digest(model)
    assert (model / "checkpoint.json").is_file()
    errors = train(other, corpus, model, NEVER)
    assert f"found the sources {program_digest()}, wanted {sources_digest(other)}" in errors
    assert f"rm -r {model}" in errors
    assert tree_digest(model) == before
    assert "sources" not in train(ROOT, corpus, model, NEVER)  # the code that began it goes on
    assert (model / "model.json").is_file()


def test_finished_model_belongs_to_no_code(tmp_path: Path, corpus: Path, other: Path) -> None:
    """RELIABILITY 35: code that differs in nothing that matters makes the same bytes."""
    for code in (ROOT, other):
        assert "Error" not in train(code, corpus, tmp_path / code.name, NEVER)
    assert tree_digest(tmp_path / ROOT.name) == tree_digest(tmp_path / other.name)


def test_finished_state_is_read_by_any_code(tmp_path: Path) -> None:
    """RELIABILITY 35: that of a trunk names no program; a checkpoint without one is refused."""
    write_checkpoint(tmp_path, Position(), {}, run="r")
    assert "program" in (tmp_path / "checkpoint.json").read_text()
    assert not _mentions_program(tmp_path / "checkpoint.json")
    assert read_checkpoint(tmp_path, run="r") is not None
    with pytest.raises(BadInput, match=f"found the sources none, wanted {program_digest()}"):
        read_checkpoint(tmp_path, run="r", program=program_digest())


def test_sealed_store_whose_head_was_lost_is_adopted_by_a_repair(tmp_path: Path) -> None:
    """RELIABILITY 35: it has no claim; the message names the command, which changes no object."""
    path = tmp_path / "a.zarr"
    fill_store(path, ABOUT, LENGTHS)
    before = tree_digest(path)
    (path / "HEAD").unlink()
    with pytest.raises(StoreMismatch, match=f"essence cache repair {path}"):
        fill_store(path, ABOUT, LENGTHS)
    assert CliRunner().invoke(main, ["cache", "repair", str(path)]).exit_code == 0
    fill_store(path, ABOUT, LENGTHS)
    assert tree_digest(path) == before
