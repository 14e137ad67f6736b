"""Stores are read by other Zarr v3 implementations: every value of every array.

zarr-python is always tested; tensorstore (C++) and zarrs (Rust) if they are installed.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from storage.format.encoding import UTTERANCE_GROUP, utterance_columns
from storage.format.layout import frame_arrays
from storage.read.reader import SoftLabelStore, open_store
from storage.write.shard_encoder import shard_values
from storage.write.writer import StoreWriter
from tests.support.makers.codings import STORE_CODINGS, STORE_FORMS
from tests.support.makers.store import fill_store, make_about, shard_block

LENGTHS = (5, 0, 20, 33, 1, 10, 14, 0)
Read = Callable[[Path], NDArray[Any]]


def by_zarr_python(path: Path) -> NDArray[Any]:
    array = zarr.open_array(str(path), mode="r")
    return np.asarray(array[...])


def by_tensorstore(path: Path) -> NDArray[Any]:
    tensorstore = pytest.importorskip("tensorstore", reason="tensorstore is not installed")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}
    return np.asarray(tensorstore.open(spec, read=True, open=True).result().read().result())


def by_zarrs(path: Path) -> NDArray[Any]:
    pytest.importorskip("zarrs", reason="zarrs is not installed")
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return by_zarr_python(path)


READERS = {"zarr-python": by_zarr_python, "tensorstore": by_tensorstore, "zarrs": by_zarrs}


@pytest.fixture(
    scope="module",
    params=[
        *((7, {"coding": coding}) for coding in STORE_CODINGS.values()),
        *((kept, form) for kept in (7, 23) for form in STORE_FORMS.values()),
    ],
    ids=[
        *(f"K=7, {name}" for name in STORE_CODINGS),
        *(f"{sizes}, {name} store" for sizes in ("K=7", "K=C=23") for name in STORE_FORMS),
    ],
)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Eight utterances in three shards, two more temperatures."""
    path, (kept, form) = tmp_path_factory.mktemp("conformance") / "a.zarr", request.param
    fill_store(path, make_about(kept=kept, temperatures=(2.0, 0.5), **form), LENGTHS)
    return open_store(path)


@pytest.mark.parametrize("reader", READERS)
def test_conformance_another_reader_reads_every_value(store: SoftLabelStore, reader: str) -> None:
    read: Read = READERS[reader]
    about, writer = store.about, StoreWriter.open(store.place.folder)
    found = {spec.name: read(store.place.folder / spec.name) for spec in frame_arrays(about)}
    for shard in range(store.num_shards):
        wanted = shard_values(about, shard_block(writer, shard))
        start, stop = shard * about.shard_frames, (shard + 1) * about.shard_frames
        for spec in frame_arrays(about):
            rows, fill = found[spec.name][start:stop], np.array(spec.fill, spec.dtype)
            held = wanted[spec.name]
            assert rows.dtype == np.dtype(spec.dtype)
            np.testing.assert_array_equal(rows[: len(held)], held)
            np.testing.assert_array_equal(rows[len(held) :], np.full_like(rows[len(held) :], fill))


@pytest.mark.parametrize("reader", READERS)
def test_conformance_another_reader_reads_the_utterance_table(
    store: SoftLabelStore, reader: str
) -> None:
    columns = utterance_columns(store.utterances, StoreWriter.open(store.place.folder)._plan)
    for name, wanted in columns.items():
        found = READERS[reader](store.place.folder / UTTERANCE_GROUP / name)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def test_conformance_metadata_are_plain_zarr_v3(store: SoftLabelStore) -> None:
    """No consolidated metadata, only codecs of the Zarr v3 specification."""
    named = {"bytes", "blosc", "zstd", "crc32c", "sharding_indexed"}
    for path in store.place.folder.rglob("zarr.json"):
        metadata = json.loads(path.read_bytes())
        assert metadata["zarr_format"] == 3
        assert not metadata.get("consolidated_metadata")
        codecs = metadata.get("codecs", [])
        inner = [c for outer in codecs for c in outer.get("configuration", {}).get("codecs", [])]
        assert {codec["name"] for codec in codecs + inner} <= named
