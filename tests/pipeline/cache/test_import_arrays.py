"""essence cache import in the core: numpy arrays need no package of Kaldi's, and no torch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from storage.read.reader import open_store
from tests.support.makers.store import make_logp
from tests.support.paths import ROOT
from tests.support.without_packages import COMMAND, run_code, run_without

NOT_IN_CORE = ("kaldiio", "torch")


def essence_in_core(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command, in a process that has only the core's packages."""
    return run_without(NOT_IN_CORE, COMMAND, *words, cwd=folder)


BREAKS = """
from pipeline.cli import main
from storage.exchange import survey

def broken(*arguments, **named):
    raise BrokenPipeError(32, "Broken pipe")

survey.survey = broken
main()
"""


@pytest.mark.parametrize("source", ["a.npz", "arrays"])
def test_arrays_are_imported_by_the_core(tmp_path: Path, source: str) -> None:
    given = {"u": make_logp(7, 11), "v": make_logp(3, 11, seed=1)}
    np.savez(tmp_path / "a.npz", **given)
    (tmp_path / "arrays").mkdir()
    for id, logp_TC in given.items():
        np.save(tmp_path / f"arrays/{id}.npy", logp_TC)
    done = essence_in_core("cache", "import", source, "a.zarr", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [row.id for row in open_store(tmp_path / "a.zarr").utterances] == ["u", "v"]


def test_what_a_corpus_has_cannot_be_given(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", u=make_logp(7, 11))
    words = ("--corpus", "train.h5", "--num-classes", "11", "--split", "dev")
    (tmp_path / "train.h5").write_bytes(b"")
    done = essence_in_core("cache", "import", "a.npz", "a.zarr", *words, folder=tmp_path)
    assert done.returncode == 2
    assert "--num-classes, --split: with --corpus, train.h5 has them" in done.stderr


def test_closed_output_is_no_error_of_the_system(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", u=make_logp(7, 11))
    done = subprocess.run(
        f"{sys.executable} -m essence cache import a.npz a.zarr | head -c 0",
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert "the system says" not in done.stderr
    assert [row.id for row in open_store(tmp_path / "a.zarr").utterances] == ["u"]


def test_other_pipe_that_breaks_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", u=make_logp(7, 11))
    done = run_code(BREAKS, "cache", "import", "a.npz", "a.zarr", cwd=tmp_path)
    assert done.returncode == 1
    assert "essence: the system says: [Errno 32] Broken pipe" in done.stderr


def test_archives_name_the_extra_that_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.ark").write_bytes(b"")
    done = essence_in_core("cache", "import", "a.ark", "a.zarr", folder=tmp_path)
    assert done.returncode == 1
    assert "needs kaldiio, which the extra 'speech' installs" in done.stderr
