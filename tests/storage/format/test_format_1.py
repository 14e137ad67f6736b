"""Stores of format 1 are read for ever, copied, cut, merged and repaired to the same bytes.

tests/data/format-1/ has stores that the last version that wrote format 1 has made.
"""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from storage.care.audit import audit_store
from storage.care.repair import plan_repair, repair
from storage.format.codec import FORMAT_1
from storage.format.tiers import tier_of
from storage.format.value_code import PROB_OF_CODE, encode_logp, encode_prob
from storage.read.reader import SoftLabelStore, open_store
from storage.transfer.plan import Selection
from storage.write.writer import StoreWriter
from tests.support.makers.golden_stores import (
    LENGTHS,
    STORES,
    integer_block,
    store_digest,
)
from tests.support.makers.parts import assert_same_values, merge, split, stored_values
from tests.support.makers.store import make_about, make_utterances, tree_digest
from tests.support.makers.transfer import copy
from tests.support.paths import TESTS
from tests.support.stores import verified

DIGESTS = {
    "small": "b4c6a9c45a094810b4f30ccfce426cb2268528b22cca02a9f783d0da20a1e789",
    "tempered": "7a3402f20bf5d75d9b39ebc48b9d302adf6d0ad8f2d82c05ebb733783376f01d",
    "many classes": "74d35d4248d3825e295a6a39539c6136b4b03659d5a801647ff4d8e5963e3e63",
    "one class kept": "921e3e8e2253f3d793f6a990d2a746c890fb0cc9d2980c442dd38ac516d30308",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stores; tests do not change them."""
    folder = tmp_path_factory.mktemp("format-1")
    with tarfile.open(TESTS / "data" / "format-1" / "stores.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    return folder


@pytest.fixture(params=STORES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(' ', '-')}.zarr"


def assert_values(store: SoftLabelStore) -> None:
    """Assert that every k returns what was given to the writer."""
    about = store.about
    for shard in range(store.num_shards):
        frames = sum(store.utterances[row].num_frames for row in store.shard(shard))
        block = integer_block(about, frames, seed=shard)
        codes_TK = encode_logp(block.logp_TK)
        for k in {1, 2, 5, about.kept} & set(range(1, about.kept + 1)):
            found = store.read_codes(store.shard_frames(shard), k=k)
            np.testing.assert_array_equal(found.ids_TK, block.ids_TK[:, :k])
            np.testing.assert_array_equal(found.codes_TK, codes_TK[:, :k])
            tier = tier_of(about.tiers, k)
            tail_T = PROB_OF_CODE[encode_prob(block.tail_TG[:, tier])]
            tail_T = tail_T + PROB_OF_CODE[codes_TK[:, k : about.tiers[tier].last]].sum(axis=1)
            np.testing.assert_allclose(found.tail_T, np.minimum(tail_T, 1), rtol=1e-5)


def test_format_1_is_read_with_every_value(path: Path, name: str) -> None:
    store = open_store(path)
    assert store.digest == DIGESTS[name]
    assert store.about == make_about(**STORES[name], coding=FORMAT_1)
    assert store.utterances == tuple(make_utterances(LENGTHS))
    store.verify()
    assert verified(path, data=True).problems == ()
    assert_values(store)
    assert audit_store(store).kept == store.about.kept
    for temperature in store.about.temperatures:
        assert store.read_log_norm(store.utterances[2].id, temperature=temperature).shape == (17,)


def test_format_1_is_written_with_the_same_bytes(tmp_path: Path, name: str) -> None:
    """Derived and repaired stores of format 1 stay what they are."""
    assert store_digest(tmp_path / "a.zarr", **STORES[name], coding=FORMAT_1) == DIGESTS[name]


def test_format_1_is_copied_whole_and_in_part(path: Path, tmp_path: Path) -> None:
    copy(path, tmp_path / "part.zarr", Selection(ks=(1,), shards=((0, 0),)))
    part = open_store(tmp_path / "part.zarr")
    wanted = open_store(path).read_shard(0, 1)
    np.testing.assert_array_equal(part.read_shard(0, 1).ids_TK, wanted.ids_TK)
    copy(path, tmp_path / "part.zarr")
    assert tree_digest(tmp_path / "part.zarr") == tree_digest(path)


def test_format_1_is_split_and_merged_in_format_1(path: Path, tmp_path: Path) -> None:
    ids = [row.id for row in open_store(path).utterances]
    split(path, tmp_path / "a.zarr", ids[:3])
    split(path, tmp_path / "b.zarr", ids[3:])
    for recode in (False, True):
        merge(tmp_path / f"{recode}.zarr", tmp_path / "a.zarr", tmp_path / "b.zarr", recode=recode)
        assert open_store(tmp_path / f"{recode}.zarr").about.coding == FORMAT_1
        assert_same_values(stored_values(tmp_path / f"{recode}.zarr"), stored_values(path))
        for record in (tmp_path / f"{recode}.zarr").rglob("*.json"):
            assert json.loads(record.read_bytes()).get("format_version", 1) == 1


def test_format_1_is_repaired_to_the_same_bytes(path: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(path, tmp_path / "a.zarr"))
    (damaged / "ids_0/zarr.json").write_bytes(b"{}")
    content = bytearray((damaged / "val_0/c/0/0").read_bytes())
    content[5] ^= 1
    (damaged / "val_0/c/0/0").write_bytes(content)
    plan = plan_repair(damaged)
    assert plan.damaged_shards == (0,)
    repair(damaged, plan)
    writer = StoreWriter.open(damaged)
    for shard in writer.missing_shards():
        frames = sum(writer.utterances[row].num_frames for row in writer.shard(shard))
        writer.write_shard(shard, integer_block(writer.about, frames, seed=shard))
    writer.seal()
    assert tree_digest(damaged) == tree_digest(path)


def test_format_1_that_is_sealed_is_finished(path: Path, tmp_path: Path, name: str) -> None:
    """A stage that meets a sealed store goes on with it, and does not ask for a newer format."""
    there = Path(shutil.copytree(path, tmp_path / "a.zarr"))
    assert store_digest(there, **STORES[name]) == DIGESTS[name]
    assert tree_digest(there) == tree_digest(path)
