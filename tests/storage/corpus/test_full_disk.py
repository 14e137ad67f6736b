"""A full disk: the writer raises a named error and leaves no file; with room it works again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

WRITE = """
import resource, sys
from pathlib import Path
import numpy as np
from storage.corpus.corpus_file import CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.errors import StorageError

limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
about = CorpusAbout(
    split="train", feature_dim=40, num_classes=9, class_inventory="x", frame_shift_ms=10.0,
    subsampling=1, has_labels=True, feature_settings={},
)
features_TF = np.random.default_rng(1).normal(size=(500, 40)).astype(np.float32)

def write():
    with CorpusWriter(Path("train.h5"), about) as writer:
        for number in range(20):
            writer.add(
                f"u{number}", speaker="s", transcript="A", features_TF=features_TF,
                labels_T=np.zeros(500, np.int32),
            )

try:
    write()
except StorageError as error:
    print(error)
print(sorted(path.name for path in Path().iterdir()))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
write()
print(CorpusFile(Path("train.h5")).num_frames)
"""


@pytest.mark.parametrize("limit", [0, 1, 100, 3000, 300_000, 900_000, 1_600_000])
def test_corpus_writer_names_a_full_disk_and_leaves_no_file(tmp_path: Path, limit: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", WRITE, str(limit)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said, left, frames = ran.stdout.splitlines()
    assert "cannot be written" in said
    assert "File too large" in said
    assert "make room" in said
    assert left == "[]"
    assert frames == "10000"
    assert not ran.stderr
