"""The codec of an array is read from its metadata, and none is read that stores do not have."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StoreCorrupt
from storage.format.codec import CODINGS, FORMAT_1, Codec, Coding, codec_in, guess_coding
from storage.format.encoding import encode_metadata
from storage.format.layout import frame_arrays
from storage.format.shard_object import compress, decompress
from storage.format.shard_plan import plan_shards
from tests.support.makers.codings import STORE_CODINGS
from tests.support.makers.store import make_about

ABOUT = make_about(temperatures=(2.0,))
CODECS = st.builds(Codec, st.just("zstd"), st.integers(1, 22)) | st.builds(
    Codec,
    st.just("blosc"),
    st.integers(1, 9),
    st.sampled_from(["lz4", "zstd"]),
    st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]),
    st.sampled_from([0, 127, 4096, 1 << 16]),
)


def metadata_of(coding: Coding) -> dict[str, bytes]:
    about = make_about(temperatures=(2.0,), coding=coding)
    return encode_metadata(about, [], plan_shards([], about.shard_frames))


@settings(deadline=None)
@given(codec=CODECS)
def test_codec_that_is_declared_is_read(codec: Codec) -> None:
    objects = metadata_of(Coding(2, codec))
    for array in frame_arrays(ABOUT):
        content = objects[f"{array.name}/zarr.json"]
        assert codec_in(content, item_bytes=array.itemsize, where="here") == codec


@settings(deadline=None)
@given(codec=CODECS, num_values=st.integers(1, 3000), item_bytes=st.sampled_from([1, 2, 4]))
def test_codec_returns_what_was_compressed(codec: Codec, num_values: int, item_bytes: int) -> None:
    values = np.random.default_rng(num_values).integers(0, 99, num_values)
    flat = values.astype(f"<u{item_bytes}").view(np.uint8)
    body = compress(codec, flat, item_bytes=item_bytes)
    found = decompress(body, codec.name, num_bytes=len(flat), where="here")
    np.testing.assert_array_equal(found, flat)


def declared(name: str, coding: Coding = CODINGS["lz4"]) -> Any:
    return json.loads(metadata_of(coding)[f"{name}/zarr.json"])


ODD = [None, True, False, 0, -1, 10, 1 << 40, 1.0, "", "x", "gzip", "lz4hc", [], {}, [1], ["zstd"]]


@pytest.mark.parametrize("key", ["cname", "clevel", "shuffle", "blocksize", "typesize"])
@pytest.mark.parametrize("value", ODD)
def test_codec_with_an_odd_parameter_is_refused(key: str, value: object) -> None:
    """RELIABILITY 24."""
    metadata = declared("ids_1")
    configuration = metadata["codecs"][0]["configuration"]["codecs"][1]["configuration"]
    assert key in configuration
    configuration[key] = value
    content = json.dumps(metadata).encode()
    if (key, value) in (("cname", "zstd"), ("blocksize", 0), ("blocksize", 10)) and (
        type(value) is not bool
    ):
        codec_in(content, item_bytes=2, where="here")
        return
    with pytest.raises(StoreCorrupt, match="here"):
        codec_in(content, item_bytes=2, where="here")


@pytest.mark.parametrize("value", ODD)
def test_codec_chain_of_another_form_is_refused(value: Any) -> None:
    """RELIABILITY 24: another codec, another order, no sharding, no checksum."""
    chain = declared("ids_0")["codecs"][0]["configuration"]["codecs"]
    first, zstd, last = chain
    spoiled = [
        {"codecs": value},
        {"codecs": [first, zstd, last]},
        *(
            {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": codecs}}]}
            for codecs in (
                value,
                [first, zstd],
                [first, last, zstd],
                [zstd, first, last],
                [first, {"name": value, "configuration": zstd["configuration"]}, last],
                [first, {"name": "zstd", "configuration": {"level": value}}, last],
                [first, {"name": "zstd", "configuration": {"level": 1, "checksum": True}}, last],
            )
        ),
        value,
    ]
    for metadata in spoiled:
        with pytest.raises(StoreCorrupt, match="here"):
            codec_in(json.dumps(metadata).encode(), item_bytes=2, where="here")


@pytest.mark.parametrize("coding", STORE_CODINGS.values(), ids=STORE_CODINGS)
def test_coding_follows_from_the_codecs_of_all_arrays(coding: Coding) -> None:
    codecs = {array.name: coding.codec_of(array.name) for array in frame_arrays(ABOUT)}
    found = Coding.of(coding.format_version, codecs)
    assert {name: found.codec_of(name) for name in codecs} == codecs
    again = Coding.of(coding.format_version, {name: found.codec_of(name) for name in codecs})
    assert again == found


def test_coding_of_written_stores_is_equal_to_the_one_that_is_read() -> None:
    """A writer that resumes compares the two."""
    for kept in (1, 2, 7):
        for coding in (FORMAT_1, *CODINGS.values()):
            arrays = frame_arrays(make_about(kept=kept))
            codecs = {array.name: coding.codec_of(array.name) for array in arrays}
            assert Coding.of(coding.format_version, codecs) == coding


def test_coding_is_guessed_when_one_codec_is_missing() -> None:
    for coding in CODINGS.values():
        codecs = {array.name: coding.codec_of(array.name) for array in frame_arrays(ABOUT)}
        for name in codecs:
            known = {other: codec for other, codec in codecs.items() if other != name}
            assert guess_coding(2, known) == coding
