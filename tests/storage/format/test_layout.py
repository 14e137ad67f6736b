"""docs/store-format.md: its example has the bytes that are written, and a reader needs only it."""

import json
import math
import re
import struct
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
from numcodecs import blosc, zstd

from storage.files.fingerprint import canonical_json
from storage.format.attributes import to_attributes
from storage.format.codec import (
    CODINGS,
    COMPRESSORS,
    FORMAT_1,
    MAX_BLOCK_BYTES,
    MAX_BLOSC_LEVEL,
    MAX_ZSTD_LEVEL,
    SHUFFLES,
)
from storage.format.layout import (
    MAX_CHUNK_BYTES,
    MAX_SHARD_CHUNKS,
    StoreUtterance,
)
from storage.format.origin import Origin
from storage.format.pruning import Pruning
from storage.format.records import OBJECT_NAME
from storage.read.reader import open_store
from storage.write.shard_encoder import shard_values
from storage.write.top_k import keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.codings import STORE_CODINGS
from tests.support.makers.store import fill_store, make_about
from tests.support.paths import DOCS

PAGE = (DOCS / "store-format.md").read_text("utf-8")
ABOUT = make_about(num_classes=3, kept=2, shard_frames=4, chunk_frames=2)
POSTERIORS = [
    [float(p) for p in row.split(", ")] for row in re.findall(r"\| ([0-9., ]{16}) \|", PAGE)
]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The store of section 12."""
    path = tmp_path / "example.zarr"
    rows = [
        StoreUtterance(id=id, num_frames=num_frames, digest="0" * 64)
        for id, num_frames in (("ä", 2), ("b", 1))
    ]
    writer = StoreWriter.create(path, ABOUT, utterances=rows)
    logp_TC = np.log(np.array(POSTERIORS, np.float32))
    writer.write_shard(0, keep_top_k(logp_TC, 2, tiers=ABOUT.tiers))
    writer.seal()
    return path


def objects_of_the_page() -> dict[str, bytes]:
    blocks = re.findall(r"^```object (\S+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return {
        name: b"".join(
            bytes.fromhex(re.match(r"(?:[0-9a-f]{2} {1,2})*[0-9a-f]{2}(?=\s{3,}|$)", line)[0])  # type: ignore[index]
            for line in lines.splitlines()
        )
        for name, lines in blocks
    }


def test_layout_example_has_the_bytes_that_the_writer_writes(example: Path) -> None:
    found = objects_of_the_page()
    assert len(found) == 5
    for name, content in found.items():
        assert (example / name).read_bytes() == content, name


def test_layout_example_has_the_table_that_the_reader_reads(example: Path) -> None:
    rows = re.findall(
        r"^\| `(\S)` (\d) \| [^|]+ \| (.*?) \| (.*?) \| (\d+) \| (\d+) \|", PAGE, re.M
    )
    assert len(rows) == 3
    store = open_store(example)
    for id, frame, ids, codes, after_1, after_2 in rows:
        for k, tail in ((1, after_1), (2, after_2)):
            labels = store.read_codes([id], k=k)
            assert labels.ids_TK[int(frame)].tolist() == [int(x) for x in ids.split(", ")][:k]
            assert labels.codes_TK[int(frame)].tolist() == [int(x) for x in codes.split(", ")][:k]
            assert labels.tail_T[int(frame)] == pytest.approx(probability(int(tail)), rel=1e-6)
    commit = json.loads((example / "commits/00000000.json").read_bytes())
    text = re.search(r"`ids_0/c/0/0` has (\d+) bytes, and `chunks` is (\[.*?\])", PAGE)
    assert text
    record = commit["objects"]["ids_0/c/0/0"]
    assert [record["bytes"], record["chunks"]] == [int(text[1]), json.loads(text[2])]


# A reader written from the page alone: nothing below this line uses `storage`.


def probability(code: int) -> float:
    return math.exp(-16 * (code / 255) ** 2)


def unchecked(raw: bytes) -> bytes:
    body, crc = raw[:-4], int.from_bytes(raw[-4:], "little")
    assert google_crc32c.value(body) == crc
    return body


def inner_chunk(store: Path, name: str, *, chunk: int, num_chunks: int) -> bytes:
    metadata = json.loads((store / name.partition("/")[0] / "zarr.json").read_bytes())
    (sharding,) = metadata["codecs"]
    _, codec, _ = sharding["configuration"]["codecs"]
    shard = (store / name).read_bytes()
    index = unchecked(shard[-(16 * num_chunks + 4) :])
    offset, num_bytes = struct.unpack_from("<2Q", index, 16 * chunk)
    raw = shard[offset : offset + num_bytes]
    head = (store / "HEAD").read_text()[:-1]
    manifest = json.loads((store / f"manifest-{head}.json").read_bytes())
    assert manifest["objects"][name]["chunks"][chunk] == int.from_bytes(raw[-4:], "little")
    return bytes({"zstd": zstd, "blosc": blosc}[codec["name"]].decompress(unchecked(raw)))


def read_by_the_page(
    store: Path, utterance: str, k: int
) -> list[tuple[list[int], list[float], float]]:
    """(ids, probabilities, tail) of each frame."""
    about: Any = json.loads((store / "zarr.json").read_bytes())["attributes"]
    assert about["format"] == "essence soft labels"
    assert about["format_version"] in (1, 2)

    def column(name: str, letter: str) -> tuple[Any, ...]:
        body = blosc.decompress(unchecked((store / f"utterances/{name}/c/0").read_bytes()))
        return struct.unpack(f"<{len(body) // struct.calcsize(letter)}{letter}", body)

    blob = bytes(column("id_bytes", "B"))
    ids = [blob[a:b].decode() for a, b in pairwise(column("id_offsets", "Q"))]
    row = ids.index(utterance)
    shard, start = column("shard", "I")[row], column("offset", "Q")[row]
    id_format = "H" if about["num_classes"] <= 65534 else "I"
    num_chunks = about["shard_frames"] // about["chunk_frames"]
    frames = []
    for frame in range(start, start + column("length", "Q")[row]):
        chunk, at = divmod(frame, about["chunk_frames"])

        def value(name: str, letter: str, width: int) -> tuple[Any, ...]:
            two = "/0" if name.startswith(("ids_", "val_")) else ""
            raw = inner_chunk(
                store,
                f"{name}/c/{shard}{two}",
                chunk=chunk,  # noqa: B023 called at once
                num_chunks=num_chunks,
            )
            letters = f"<{width}{letter}"
            return struct.unpack_from(letters, raw, at * struct.calcsize(letters))  # noqa: B023

        count = about["kept"]
        if about["pruning"] is not None:
            (count,) = value("count", "B" if about["kept"] <= 255 else "H", 1)
        assert 1 <= count <= about["kept"]
        classes: list[int] = []
        codes: list[int] = []
        for tier, (first, last) in enumerate(about["tiers"]):
            classes += value(f"ids_{tier}", id_format, last - first + 1)
            for difference in value(f"val_{tier}", "B", last - first + 1):
                codes.append(((codes or [0])[-1] + difference) % 256)
            if k <= last:
                (outside,) = value(f"tail_{tier}", "B", 1)
                break
        inside = min(count, last)
        assert {*classes[inside:]} <= {(1 << 16) - 1, (1 << 32) - 1}
        assert {*codes[inside:]} <= {codes[inside - 1]}
        tail = 0.0 if inside == about["num_classes"] else probability(outside)
        tail = min(1.0, tail + sum(map(probability, codes[k:inside])))
        ranks = slice(min(k, count))
        frames.append((classes[ranks], [probability(code) for code in codes[ranks]], tail))
    return frames


@pytest.mark.parametrize("k", [1, 2])
def test_layout_page_is_enough_to_read_its_example(example: Path, k: int) -> None:
    frames = [*read_by_the_page(example, "ä", k), *read_by_the_page(example, "b", k)]
    for (classes, probs, tail), wanted in zip(frames, POSTERIORS, strict=True):
        best = sorted(range(3), key=lambda c: (-wanted[c], c))
        assert classes == best[:k]
        assert probs == pytest.approx([wanted[c] for c in best[:k]], rel=0.04)
        assert tail == pytest.approx(sum(wanted[c] for c in best[k:]), rel=0.04)


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("num_classes", [7, 70_001])
@pytest.mark.parametrize(
    ("coding", "pruning"),
    [*((coding, None) for coding in STORE_CODINGS), ("lz4", Pruning(mass=0.9))],
)
def test_layout_page_is_enough_to_read_any_store(
    tmp_path: Path, coding: str, pruning: Pruning | None, k: int, num_classes: int
) -> None:
    path = tmp_path / "a.zarr"
    coded = STORE_CODINGS[coding]
    about = make_about(num_classes=num_classes, kept=7, coding=coded, pruning=pruning)
    fill_store(path, about, (5, 0, 20, 14))
    store = open_store(path)
    for row in store.utterances:
        labels = store.read_utterance(row.id, k)
        frames = read_by_the_page(path, row.id, k) if row.num_frames else []
        assert len(frames) == row.num_frames
        for frame, (classes, probs, tail) in enumerate(frames):
            ranks = slice(len(classes))
            assert labels.is_absent_TK[frame].sum() == k - len(classes)
            assert classes == labels.ids_TK[frame, ranks].tolist()
            np.testing.assert_allclose(probs, np.exp(labels.logp_TK[frame, ranks]), rtol=1e-5)
            np.testing.assert_allclose(tail, labels.tail_T[frame], rtol=1e-5)


def test_layout_page_shows_a_pruned_frame() -> None:
    about = make_about(kept=7, pruning=Pruning(mass=0.95))
    prob_TC = np.full((1, 23), 0.01 / 21)
    prob_TC[0, [5, 17]] = 0.9, 0.09
    kept = keep_top_k(np.log(prob_TC).astype(np.float32), 7, tiers=about.tiers)
    values = shard_values(about, kept)
    columns = [str(values["count"][0])]
    for name in ("ids", "val", "tail"):
        rows = [np.atleast_1d(values[f"{name}_{tier}"][0]).tolist() for tier in range(3)]
        columns.append("; ".join(", ".join(map(str, row)) for row in rows))
    assert f"| stored | {' | '.join(columns)} |" in PAGE


def test_layout_page_names_every_attribute_and_bound() -> None:
    origin = Origin(made_by="split", stores=("0" * 64,), corpora=("a",))
    merged = to_attributes(replace(ABOUT, origin=origin), num_shards=1, lengths=[2, 1])
    attributes = to_attributes(ABOUT, num_shards=1, lengths=[2, 1])
    assert merged.keys() - attributes.keys() == {"origin"}
    assert all(f"`{name}`, a " in PAGE for name in merged["origin"])
    table = PAGE.split("## 3.")[1].split("## 4.")[0]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.M)))) == set(
        merged
    )
    assert f"`{OBJECT_NAME.pattern}`" in PAGE
    for coding in (*CODINGS.values(), FORMAT_1):
        assert str(coding.usual) in PAGE
    assert all(f"`{name}`" in PAGE for name in (*COMPRESSORS, *SHUFFLES))
    assert f"1 to {MAX_ZSTD_LEVEL}" in PAGE
    assert f"1 to {MAX_BLOSC_LEVEL}" in PAGE
    assert MAX_BLOCK_BYTES == 1 << 24
    assert all(f"`{field.name}`" in PAGE for field in fields(Pruning))
    assert (MAX_CHUNK_BYTES, MAX_SHARD_CHUNKS) == (1 << 28, 1 << 20)
    assert canonical_json({"b": "ä", "a": [1, None]}) == '{"a":[1,null],"b":"\\u00e4"}'
