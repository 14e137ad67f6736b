"""The soft-label store and its alternatives, with the same frames.

    ours       the store, as `essence teacher` writes it
    memmap     ids as uint16 and log-probabilities as float16, (T, K), one .npy each
    zarr       zarr-python reading our arrays; tensorstore and zarrs too, if they are installed
    naive      the memmap's two arrays as plain Zarr arrays with the default codec (zstd)
    dense      all classes as float32 in HDF5, uncompressed: read without any decoding;
               contiguous, which is the fastest form, or resizable

Shapes: T frames, C classes, K kept ranks, k requested ranks.
"""

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from storage.format.encoding import encode_metadata
from storage.format.layout import StoreAbout, StoreUtterance, tier_arrays
from storage.format.shard_plan import fit_shard_frames, plan_shards
from storage.format.tiers import tier_of
from storage.format.value_code import sum_differences
from storage.read.reader import SoftLabelStore
from storage.write.shard_encoder import shard_values
from storage.write.top_k import KeptBlock, cut_block
from storage.write.writer import StoreWriter

SHARD_FRAMES = 65_536
Span = tuple[int, int]


def make_about(
    num_classes: int, kept: int, lengths: Sequence[int], chunk_frames: int
) -> StoreAbout:
    """The attributes of a store of these utterances."""
    return StoreAbout(
        split="train",
        corpus_fingerprint="0" * 64,
        class_inventory="0" * 64,
        num_classes=num_classes,
        kept=kept,
        members=("0" * 64,),
        weights=(1.0,),
        combine="arithmetic",
        temperature=1.0,
        temperatures=(),
        shard_frames=fit_shard_frames(lengths, wanted=SHARD_FRAMES, chunk_frames=chunk_frames),
        chunk_frames=chunk_frames,
        frame_shift_ms=30.0,
        subsampling=3,
        left_out=(),
        program_version="benchmark",
    )


def write_store(path: Path, about: StoreAbout, kept: KeptBlock, lengths: Sequence[int]) -> None:
    """Write all frames into a sealed store."""
    rows = make_utterances(lengths)
    writer = StoreWriter.create(path, about, utterances=rows)
    start = 0
    for shard in range(writer.num_shards):
        stop = start + sum(lengths[index] for index in writer.shard(shard))
        writer.write_shard(shard, cut_block(kept, start, stop))
        start = stop
    writer.seal()


def make_utterances(lengths: Sequence[int]) -> list[StoreUtterance]:
    """Utterances u0, u1, ..."""
    return [
        StoreUtterance(
            id=f"u{index}",
            num_frames=length,
            digest=hashlib.sha256(str(index).encode()).hexdigest(),
        )
        for index, length in enumerate(lengths)
    ]


def encode_with_zarr(about: StoreAbout, kept: KeptBlock) -> int:
    """Write one shard with zarr-python, in memory, from the same metadata; return its bytes."""
    lengths = [len(kept.ids_TK)]
    metadata = encode_metadata(
        about, make_utterances(lengths), plan_shards(lengths, about.shard_frames)
    )
    prototype = default_buffer_prototype().buffer
    objects: dict[str, Buffer] = {k: prototype.from_bytes(v) for k, v in metadata.items()}
    before = sum(map(len, objects.values()))
    group = zarr.open_group(MemoryStore(objects), mode="r+", use_consolidated=False)
    for name, values in shard_values(about, kept).items():
        group[name][: len(values)] = values
    return sum(map(len, objects.values())) - before


@dataclass(frozen=True)
class Memmap:
    """Two memory-mapped arrays."""

    ids_TK: NDArray[np.uint16]
    logp_TK: NDArray[np.float16]

    @classmethod
    def write(cls, directory: Path, kept: KeptBlock) -> "Memmap":
        """Write, and map again."""
        dtype = np.uint16 if int(kept.ids_TK.max()) < 1 << 16 else np.uint32
        np.save(directory / "ids.npy", kept.ids_TK.astype(dtype))
        np.save(directory / "logp.npy", kept.logp_TK.astype(np.float16))
        return cls(
            np.load(directory / "ids.npy", mmap_mode="r"),
            np.load(directory / "logp.npy", mmap_mode="r"),
        )

    def stored(self, spans: Sequence[Span], k: int) -> object:
        """Copies in the stored types."""
        return (
            np.concatenate([self.ids_TK[a:b, :k] for a, b in spans]),
            np.concatenate([self.logp_TK[a:b, :k] for a, b in spans]),
        )

    def decoded(self, spans: Sequence[Span], k: int) -> object:
        """Copies as uint32 and float32, as our reader returns them."""
        num_frames = sum(b - a for a, b in spans)
        ids_TK = np.empty((num_frames, k), np.uint32)
        logp_TK = np.empty((num_frames, k), np.float32)
        at = 0
        for a, b in spans:
            ids_TK[at : at + b - a] = self.ids_TK[a:b, :k]
            logp_TK[at : at + b - a] = self.logp_TK[a:b, :k]
            at += b - a
        return ids_TK, logp_TK


class OtherReader:
    """Our arrays, read by another implementation of Zarr: `arrays` are sliced as numpy's are."""

    def __init__(self, store: SoftLabelStore, arrays: Mapping[str, Any]) -> None:
        self._store = store
        self._arrays = arrays

    def codes(self, start: int, stop: int, k: int) -> object:
        """Ids, codes, tail codes of frames of one shard."""
        frames = map(self._store.shard_frames, range(self._store.num_shards))
        shard, held = next((i, held) for i, held in enumerate(frames) if start < held.stop)
        first = shard * self._store.about.shard_frames + start - held.start
        last = tier_of(self._store.about.tiers, k)
        names = [f"{kind}_{tier}" for kind in ("ids", "val") for tier in range(last + 1)]
        *both, tail = self._read([*names, f"tail_{last}"], slice(first, first + stop - start))
        ids, val = both[: last + 1], both[last + 1 :]
        codes_TK = sum_differences(np.concatenate(val, axis=1))[:, :k]
        return np.concatenate(ids, axis=1)[:, :k], codes_TK, tail

    def _read(self, names: Sequence[str], rows: slice) -> list[Any]:
        return [self._arrays[name][rows] for name in names]


class TensorStore(OtherReader):
    """All arrays of a read are requested together, without a cache, as the store's are here."""

    def _read(self, names: Sequence[str], rows: slice) -> list[Any]:
        return [f.result() for f in [self._arrays[name][rows].read() for name in names]]


def installed(name: str) -> Any:
    """A module, or None with a note that it is left out."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed: it is left out ('pip install {name}')\n")
        return None


def other_readers(store: SoftLabelStore) -> dict[str, OtherReader]:
    """zarr-python, and if they are installed tensorstore (C++) and zarrs (Rust)."""
    tiers = range(len(store.about.tiers))
    names = [array.name for tier in tiers for array in tier_arrays(store.about, tier)]
    folder = str(store.place.folder)

    def opened() -> dict[str, Any]:
        group = zarr.open_group(folder, mode="r")
        return {name: group[name] for name in names}

    readers = {"zarr-python": OtherReader(store, opened())}
    if tensorstore := installed("tensorstore"):
        specs = {
            name: {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/{name}/"}}
            for name in names
        }
        arrays = {name: tensorstore.open(spec, read=True).result() for name, spec in specs.items()}
        readers["tensorstore"] = TensorStore(store, arrays)
    if installed("zarrs"):
        with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
            readers["zarrs"] = OtherReader(store, opened())
    return readers


class NaiveZarr:
    """(T, K) arrays with zarr-python's defaults."""

    def __init__(self, path: Path, memmap: Memmap) -> None:
        group = zarr.create_group(str(path))
        self._arrays = []
        for name, values in (("ids", memmap.ids_TK), ("logp", memmap.logp_TK)):
            shape = (8192, values.shape[1])
            array = group.create_array(name, shape=values.shape, chunks=shape, dtype=values.dtype)
            array[:] = values
            self._arrays.append(array)

    @property
    def num_bytes(self) -> int:
        """Stored bytes."""
        return sum(array.nbytes_stored() for array in self._arrays)

    def stored(self, span: Span, k: int) -> object:
        """One run of frames."""
        return [array[span[0] : span[1], :k] for array in self._arrays]


class DenseHdf5:
    """(T, C) float32. `resizable`: in the chunks that h5py chooses, as needed for appending."""

    def __init__(self, path: Path, logp_TC: NDArray[np.float32], *, resizable: bool) -> None:
        with h5py.File(path, "w") as file:
            most = (None, logp_TC.shape[1]) if resizable else None
            file.create_dataset("logp", data=logp_TC, maxshape=most)
        self._file = h5py.File(path)
        self._logp_TC = self._file["logp"]
        self.num_frames = len(logp_TC)

    def rows(self, start: int, stop: int) -> object:
        """One run of frames, all classes."""
        return self._logp_TC[start:stop]
