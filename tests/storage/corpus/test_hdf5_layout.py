"""A hostile corpus file: links, pipes, declared sizes and wrong labels are named, none is followed.

RELIABILITY 22, 23, 31.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from storage.corpus.corpus_file import CorpusFile
from storage.corpus.hdf5_layout import TYPES
from storage.errors import CorpusFileError
from tests.storage.corpus.test_corpus_file import NUM_CLASSES, write_corpus
from tests.support.paths import ROOT

ALL = sorted([*TYPES, "utterances"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "outside.h5", [5, 0, 9])
    return write_corpus(tmp_path / "a.h5", [5, 0, 9])


LINKS: dict[str, Callable[[str], object]] = {
    "external": lambda name: h5py.ExternalLink("outside.h5", f"/{name}"),
    "soft": lambda name: h5py.SoftLink(f"/{name} moved"),
}


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("name", ALL)
def test_link_at_any_place_is_refused(path: Path, name: str, kind: str) -> None:
    with h5py.File(path, "r+") as file:
        file.move(name, f"{name} moved")
        file[name] = LINKS[kind](name)
    with pytest.raises(CorpusFileError, match=f"{name!r} is missing or a link"):
        CorpusFile(path)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_missing_object_is_named(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(CorpusFileError, match=f"{name!r} is missing"):
        CorpusFile(path)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_group_in_place_of_a_dataset_is_named(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_group(name)
    with pytest.raises(CorpusFileError, match=f"{name!r} is a Group, wanted a dataset"):
        CorpusFile(path)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_external_storage_and_other_types_are_refused(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        old = file[name]
        shape, dtype = old.shape, old.dtype
        del file[name]
        place = [(path.parent / "secret", 0, h5py.h5f.UNLIMITED)]
        file.create_dataset(name, shape=shape, dtype=dtype, external=place)
    with pytest.raises(CorpusFileError, match=f"{name!r} lies in another file"):
        CorpusFile(path)
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, shape=shape, dtype=h5py.string_dtype())
    with pytest.raises(CorpusFileError, match=rf"{name!r} has \d axes of object, wanted"):
        CorpusFile(path)


LIMITED = """
import resource, sys
from pathlib import Path
from storage.corpus.corpus_file import CorpusFile
from storage.errors import CorpusFileError
gigabyte = 1 << 30
resource.setrlimit(resource.RLIMIT_AS, (2 * gigabyte, 2 * gigabyte))
try:
    CorpusFile(Path(sys.argv[1]))
except CorpusFileError as error:
    print(error)
"""


@pytest.mark.parametrize("name", sorted(TYPES))
def test_declared_size_is_refused_before_memory_is_taken(path: Path, name: str) -> None:
    """64 GiB are declared; the file has a few kilobytes."""
    with h5py.File(path, "r+") as file:
        dtype, columns = file[name].dtype, file[name].shape[1:]
        rows = (64 << 30) // dtype.itemsize // max(1, int(np.prod(columns)))
        file[name].resize(rows, axis=0)
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        env={"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{name!r} declares 68,7" in ran.stdout


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a pipe"])
def test_what_is_no_file_is_named_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.h5"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path if kind == "pipe" else tmp_path / "pipe")
        if kind != "pipe":
            path.symlink_to("pipe")
    with pytest.raises(CorpusFileError, match="is not a regular file"):
        CorpusFile(path)


@pytest.mark.parametrize("label", [NUM_CLASSES, -2, 2**31 - 1])
def test_label_out_of_range_is_named_by_every_reader(path: Path, label: int) -> None:
    """Also where the file's maker computed its digests from it."""
    with h5py.File(path, "r+") as file:
        file["labels"][7] = label
    message = rf"frame 7 of the file: hard label {label}, wanted -1 to {NUM_CLASSES - 1}"
    for read in (
        lambda corpus: corpus.labels(2),
        lambda corpus: corpus.features(2),
        lambda corpus: corpus.label_counts(),
        lambda corpus: corpus.labelled_frames(),
    ):
        with CorpusFile(path) as corpus, pytest.raises(CorpusFileError, match=message):
            read(corpus)
