"""Makers of stores to merge and to split, and what zarr-python finds in them."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from storage.derived.merge import plan_merge
from storage.derived.split import find_rows, plan_split
from storage.derived.store import write_derived
from storage.format.layout import StoreUtterance, frame_arrays
from storage.read.reader import open_store
from tests.support.makers.store import fill_store, make_about, make_utterances
from tests.support.stores import contents_of

VERSION = "0.3.0"
ABOUT = make_about(temperatures=(2.0, 0.5), left_out=("utt-7",))
# Shards of 33 frames: 5 20 0 | 30 | 9 | 33 | 4 4 12 1 0 | 17 3
LENGTHS = (5, 20, 0, 30, 9, 33, 4, 4, 12, 1, 0, 17, 3)
ROWS = make_utterances(LENGTHS)


def make_part(path: Path, rows: Sequence[StoreUtterance], **changes: Any) -> Path:
    """A sealed store of these utterances."""
    fields = {"temperatures": (2.0, 0.5), "left_out": ("utt-7",)}
    fill_store(path, make_about(**(fields | changes)), utterances=rows)
    return path


def merge(path: Path, *stores: Path | str, recode: bool = False) -> str:
    """As the command. Returns the digest."""
    sources = [contents_of(store) for store in stores]
    plan = plan_merge(sources, recode=recode, program_version=VERSION)
    return write_derived(path, plan, sources)


def split(store: Path | str, path: Path, ids: Collection[str]) -> str:
    """As the command with --utterances. Returns the digest."""
    source = contents_of(store)
    plan = plan_split(source, find_rows(source, ids), program_version=VERSION)
    return write_derived(path, plan, [source])


Stored = dict[str, dict[str, NDArray[Any]]]


def stored_values(path: Path) -> Stored:
    """Utterance id -> array -> rows as they are stored; every value is read by zarr-python.

    Floats as their bits, so that equal means the same.
    """
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    about = open_store(path).about
    names = ("id_bytes", "id_offsets", "shard", "offset", "length", "digest")
    table = {name: np.asarray(group[f"utterances/{name}"]) for name in names}
    blob, ends = table["id_bytes"].tobytes(), table["id_offsets"].tolist()
    ids = [blob[start:end].decode() for start, end in pairwise(ends)]
    arrays = {spec.name: np.asarray(group[spec.name]) for spec in frame_arrays(about)}
    values: Stored = {}
    for index, id in enumerate(ids):
        start = int(table["shard"][index]) * about.shard_frames + int(table["offset"][index])
        rows = slice(start, start + int(table["length"][index]))
        values[id] = {name: array[rows] for name, array in arrays.items()}
        for name in values[id]:
            if name.startswith("log_norm"):
                values[id][name] = values[id][name].view(np.uint32)
        values[id]["digest"] = table["digest"][index]
    return values


def assert_same_values(found: Stored, wanted: Stored) -> None:
    """Utterance by utterance, array by array, value by value, of the same types."""
    assert found.keys() == wanted.keys()
    for id, arrays in wanted.items():
        assert found[id].keys() == arrays.keys()
        for name, values in arrays.items():
            assert found[id][name].dtype == values.dtype
            np.testing.assert_array_equal(found[id][name], values, err_msg=f"{id} {name}")


def shard_bytes(path: Path) -> set[bytes]:
    """The content of every shard object."""
    metadata = {"utterances", "commits"}
    return {
        file.read_bytes()
        for file in path.rglob("*")
        if file.is_file()
        and "c" in file.relative_to(path).parts
        and file.relative_to(path).parts[0] not in metadata
    }
