"""readers/javascript/ reads what the Python reader reads: every value, of stores of every shape.

It needs node 20 and its packages: `npm ci` in readers/javascript. Without them these tests are
skipped.
"""

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.format.pruning import Pruning
from storage.format.value_code import PROB_OF_CODE
from storage.read.reader import open_store
from storage.transfer.plan import Selection
from tests.support.makers.codings import STORE_CODINGS
from tests.support.makers.golden_stores import STORES
from tests.support.makers.parts import ROWS, make_part, merge
from tests.support.makers.store import fill_store, make_about
from tests.support.makers.transfer import copy
from tests.support.paths import ROOT, TESTS

READER = ROOT / "readers" / "javascript"
NODE = shutil.which("node") or ""
FORMAT_1 = [f"{name.replace(' ', '-')}.zarr" for name in STORES]
# Both readers round p(q) to float32, of ln p(q) in float32 or in float64: docs/store-format.md
# allows 1e-6. A tail is the sum of at most 17 such values here.
PROB_ERROR, TAIL_ERROR = 1e-6, 2e-6


def reason_to_skip() -> str:
    """Why these tests cannot run here; empty if they can."""
    if not NODE:
        return "needs node"
    version = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True)
    if int(version.stdout.removeprefix("v").split(".")[0]) < 20:
        return f"needs node 20, found {version.stdout.strip()}"
    packages = READER / "node_modules" / "numcodecs"
    return "" if packages.is_dir() else "needs `npm ci` in readers/javascript"


pytestmark = pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "never")


def run_node(script: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [NODE, str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def printed(store: Path, *arguments: object) -> list[dict[str, Any]]:
    """What the reader prints, an object for each utterance."""
    ran = run_node(READER / "print.mjs", store, *arguments)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def assert_all_ranks_same(path: Path) -> None:
    """Assert that both readers return the same soft labels of all utterances."""
    store = open_store(path)
    ks = [k for k in (1, 2, 3, 4, 5, 8, 17) if k < store.about.kept] + [store.about.kept]
    found = printed(path, *(f"--k={k}" for k in ks))
    assert [(row["k"], row["id"]) for row in found] == [
        (k, row.id) for k in ks for row in store.utterances
    ]
    for row in found:
        wanted = store.read_codes([row["id"]], k=row["k"])
        shape = wanted.ids_TK.shape
        count_T = (
            np.full(len(wanted.tail_T), row["k"]) if wanted.count_T is None else wanted.count_T
        )
        is_rank_TK = np.arange(row["k"]) < count_T[:, np.newaxis]
        np.testing.assert_array_equal(row["counts"], count_T)
        ids_TK = np.where(is_rank_TK, wanted.ids_TK, 0)
        np.testing.assert_array_equal(np.reshape(row["ids"], shape), ids_TK)
        prob_TK = np.where(is_rank_TK, PROB_OF_CODE[wanted.codes_TK], 0)
        np.testing.assert_allclose(np.reshape(row["probs"], shape), prob_TK, rtol=PROB_ERROR)
        np.testing.assert_allclose(row["tails"], wanted.tail_T, rtol=TAIL_ERROR)


@pytest.mark.parametrize("name", FORMAT_1)
def test_stores_of_format_1_have_the_same_values(tmp_path: Path, name: str) -> None:
    with tarfile.open(TESTS / "data" / "format-1" / "stores.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    assert_all_ranks_same(tmp_path / name)


@pytest.mark.parametrize("coding", STORE_CODINGS)
def test_stores_of_every_coding_have_the_same_values(tmp_path: Path, coding: str) -> None:
    assert_all_ranks_same(make_part(tmp_path / "s.zarr", ROWS, coding=STORE_CODINGS[coding]))


SHAPES: dict[str, dict[str, Any]] = {
    "all classes kept": {"num_classes": 6, "kept": 6},
    "one class": {"num_classes": 1, "kept": 1},
    "wide ids, five tiers": {"num_classes": 65_535, "kept": 19},
    "a chunk a shard": {"chunk_frames": 33},
    "rows as chunks": {"chunk_frames": 1},
    "pruned": {"num_classes": 61, "kept": 20, "pruning": Pruning(mass=0.9)},
    "pruned, all classes": {"kept": 23, "pruning": Pruning(min_prob=1e-3)},
    "pruned, wide counts": {"num_classes": 400, "kept": 300, "pruning": Pruning(mass=0.9999)},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_stores_of_several_shapes_have_the_same_values(tmp_path: Path, shape: str) -> None:
    fill_store(tmp_path / "s.zarr", make_about(**SHAPES[shape]), (7, 0, 31, 1, 12))
    assert_all_ranks_same(tmp_path / "s.zarr")


@pytest.mark.parametrize("lengths", [(), (0, 0), (40,)])
def test_stores_with_few_utterances(tmp_path: Path, lengths: tuple[int, ...]) -> None:
    fill_store(tmp_path / "s.zarr", make_about(shard_frames=44), lengths)
    assert_all_ranks_same(tmp_path / "s.zarr")


def test_merged_store_has_the_same_values(tmp_path: Path) -> None:
    """Its shards end where they ended in the parents; one of these has no frames."""
    parts = [make_part(tmp_path / f"{a}.zarr", ROWS[a:b]) for a, b in ((0, 2), (2, 3), (3, 9))]
    merge(tmp_path / "m.zarr", *parts)
    assert_all_ranks_same(tmp_path / "m.zarr")


def test_partial_copy_is_read_and_what_it_lacks_is_named(tmp_path: Path) -> None:
    whole = make_part(tmp_path / "s.zarr", ROWS)
    copy(whole, tmp_path / "part.zarr", Selection(ks=(2,), shards=((1, 2),)))
    here = [open_store(whole).utterances[u].id for u in open_store(whole).shard(1)]
    assert printed(tmp_path / "part.zarr", "--k=2", *here) == printed(whole, "--k=2", *here)
    for arguments in (("--k=7", *here), ("--k=2",)):
        ran = run_node(READER / "print.mjs", tmp_path / "part.zarr", *arguments)
        assert ran.returncode == 1
        assert "partial" in ran.stderr


def test_unfinished_store_is_named(tmp_path: Path) -> None:
    store = make_part(tmp_path / "s.zarr", ROWS)
    (store / "HEAD").unlink()
    ran = run_node(READER / "print.mjs", store)
    assert (ran.returncode, ran.stdout) == (4, "")
    assert "under construction" in ran.stderr


def test_links_are_not_followed(tmp_path: Path) -> None:
    store = make_part(tmp_path / "s.zarr", ROWS)
    (store / "ids_0").rename(tmp_path / "elsewhere")
    (store / "ids_0").symlink_to(tmp_path / "elsewhere")
    ran = run_node(READER / "print.mjs", store)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "ids_0/zarr.json" in ran.stderr


DAMAGED: dict[str, dict[str, Any]] = {
    "format 1": {"coding": STORE_CODINGS["format 1"]},
    "format 2, pruned": {"pruning": Pruning(mass=0.9)},
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("step", [43, pytest.param(1, marks=pytest.mark.slow)])
def test_no_flipped_byte_changes_a_value(tmp_path: Path, name: str, step: int) -> None:
    """RELIABILITY 5."""
    store = make_part(tmp_path / "s.zarr", ROWS[:4], **DAMAGED[name])
    ran = run_node(TESTS / "readers" / "flip_bytes.mjs", store, step)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["changed"] == []
    assert found["flips"] >= sum(f.stat().st_size for f in store.rglob("*") if f.is_file()) // step
    assert found["noticed"] > 0.4 * found["flips"]  # commit records and log norms are not read
