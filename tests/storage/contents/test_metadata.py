"""Untrusted metadata: each field is as documented, and JSON has one meaning."""

import json
import math
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numcodecs import blosc

from storage.care.repair import plan_repair
from storage.errors import StoreCorrupt, StoreError, shown
from storage.files.strict_json import parse_json
from storage.format.codec import FORMAT_1
from storage.format.partial_copy import PartialCopy, decode_part, encode_part
from storage.format.records import decode_records, record_of
from storage.read.reader import open_store
from storage.write.claim import claim_new
from tests.support.faults.hostile import (
    assert_only_our_errors,
    checksummed,
    publish_manifest,
    reseal,
)
from tests.support.makers.codings import STORE_FORMS
from tests.support.makers.parts import ROWS, make_part, merge
from tests.support.makers.store import fill_store, make_about
from tests.support.stores import head_of, verified

LENGTHS = (3, 0, 4, 9)
ABOUT = make_about(num_classes=9, kept=2, shard_frames=10, chunk_frames=5)
ORIGIN = {"made_by": "merge", "stores": ["1" * 64, "2" * 64], "corpora": ["a"]}


class Raw(str):
    """JSON text that goes into the file unchanged."""


ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 5, 10, 15, 1 << 31, 1 << 64, 0.0, 1.0, 0.5, -2.5, 1e300,
    "", "x", "\0", "ä", "\x1b]0;", "../x", "0" * 64, "essence soft labels", "sqrt-neglog-16",
    [], {}, [[]], [None], [True], [1], [2.0, 0.5], [0.5, 0.5], ["a"], ["a", "b"], [[1, 1], [2, 2]],
    {"": 0}, ORIGIN, {**ORIGIN, "later": 1}, {**ORIGIN, "stores": ["x"]},
    {**ORIGIN, "corpora": [1]}, {**ORIGIN, "made_by": None}, {**ORIGIN, "stores": {}},
    Raw("1e999"), Raw("NaN"), Raw("Infinity"), Raw("9" * 5000),
    Raw('"\\ud800"'), Raw('["\\uDfFf"]'), Raw('{"a":1,"a":2}'),
    Raw("[" * 100_000 + "]" * 100_000), Raw('{"a":' * 9000 + "1" + "}" * 9000),
]  # fmt: skip


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def is_list(value: Any, kind: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(kind(item) for item in value)


def is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Raw)


def is_temperature(value: Any) -> bool:
    return is_number(value) and 0.001 <= value <= 1000


def is_origin(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and is_text(value.get("made_by"))
        and is_list(value.get("corpora"), is_text)
        and is_list(value.get("stores"), lambda one: is_text(one) and len(one) == 64)
    )


# The rule for each attribute in section 3 of docs/store-format.md, for this store.
FITS: dict[str, Callable[[Any], bool]] = {
    "format": lambda value: value == "essence soft labels",
    "format_version": lambda value: type(value) is int and value == 1,  # as in the manifest
    "value_code": lambda value: value == "sqrt-neglog-16",
    "pruning": lambda value: value is None,
    "num_utterances": lambda value: type(value) is int and value == 4,
    "num_frames": lambda value: type(value) is int and value == 16,
    "num_shards": lambda value: type(value) is int and value == 2,
    "tiers": lambda value: value == [[1, 1], [2, 2]],
    "split": is_text,
    "corpus_fingerprint": is_text,
    "class_inventory": is_text,
    "num_classes": lambda value: type(value) is int and value >= 2,
    "kept": lambda value: type(value) is int and value == 2,
    "members": lambda value: is_list(value, is_text) and len(value) == 2,
    "weights": lambda value: is_list(value, is_number) and len(value) == 2,
    "combine": is_text,
    "temperature": is_temperature,
    "temperatures": lambda value: (
        is_list(value, lambda t: is_temperature(t) and t != 1) and len(set(value)) == len(value)
    ),
    "shard_frames": lambda value: type(value) is int and value in range(10, 5 << 20, 5),
    "chunk_frames": lambda value: type(value) is int and value in (1, 2, 5, 10),
    "frame_shift_ms": lambda value: is_number(value) and value >= 0,
    "subsampling": lambda value: type(value) is int and value >= 1,
    "left_out": lambda value: is_list(value, is_text),
    "program_version": is_text,
    "origin": is_origin,
}
# In format 2 the arrays' own metadata are read, so that an array that is missing, or of another
# type, is found at once.
FITS_2 = FITS | {
    "format_version": lambda value: type(value) is int and value == 2,
    "num_classes": lambda value: type(value) is int and 2 <= value <= 65534,
    "temperatures": lambda value: value == [],
}
FITS_PRUNED = FITS_2 | {"format_version": lambda value: type(value) is int and value == 2}


OTHER_FORMS = [form for form in STORE_FORMS if form != "lz4"]


@pytest.fixture(
    scope="module",
    params=["lz4", *(pytest.param(form, marks=pytest.mark.slow) for form in OTHER_FORMS)],
)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "a.zarr"
    fill_store(path, replace(ABOUT, **STORE_FORMS[request.param]), LENGTHS)
    return path


def with_attributes(path: Path, source: Path, **values: Any) -> None:
    """The attributes of `source` with some changes."""
    metadata = json.loads((source / "zarr.json").read_bytes())
    for name, value in values.items():
        metadata["attributes"][name] = f"@{name}" if isinstance(value, Raw) else value
    text = json.dumps(metadata)
    for name, value in values.items():
        text = text.replace(f'"@{name}"', str(value))
    reseal(path, "zarr.json", text.encode())


def test_attributes_under_test_are_all_attributes(whole: Path) -> None:
    attributes = json.loads((whole / "zarr.json").read_bytes())["attributes"]
    assert FITS.keys() == {*attributes, "origin"}


@pytest.mark.parametrize("name", FITS)
def test_attribute_that_differs_from_the_page_is_refused(
    whole: Path, tmp_path: Path, name: str
) -> None:
    """RELIABILITY 24: every attribute with every odd value; the message is short."""
    about = open_store(whole).about
    fits = FITS if about.coding == FORMAT_1 else FITS_2 if about.pruning is None else FITS_PRUNED
    path = Path(shutil.copytree(whole, tmp_path / "a.zarr"))
    for value in ODD:
        with_attributes(path, whole, **{name: value})
        if fits[name](value):
            open_store(path)
            continue
        with pytest.raises(StoreError) as error:
            open_store(path)
        assert len(str(error.value)) < 5000
        assert str(path) in str(error.value)
    metadata = json.loads((whole / "zarr.json").read_bytes())
    metadata["attributes"].pop(name, None)
    reseal(path, "zarr.json", json.dumps(metadata).encode())
    if name == "origin":
        open_store(path)
    else:
        with pytest.raises(StoreError):
            open_store(path)


@pytest.mark.parametrize("ids", ["aXa", "a\0b", "\xff\xffb"])
def test_ids_that_are_invalid_are_refused(tmp_path: Path, ids: str) -> None:
    """RELIABILITY 20, 24: a repeated id would hide one of the two utterances."""
    rows = [replace(row, id=id) for row, id in zip(ROWS[3:6], "aXb", strict=True)]
    path = make_part(tmp_path / "a.zarr", rows)
    blob = blosc.compress(ids.encode("latin-1"), b"zstd", 1, 2)
    reseal(path, "utterances/id_bytes/c/0", checksummed(blob))
    with pytest.raises(StoreCorrupt, match=r"comes twice, or holds NUL|is not UTF-8"):
        open_store(path)


def test_integers_are_accepted_as_floats(tmp_path: Path) -> None:
    """2 and 2.0 are the same number in JSON; writers in other languages write 2."""
    path = make_part(tmp_path / "a.zarr", ROWS[:2], temperatures=(2.0,))
    wanted = open_store(path).read_log_norm(ROWS[1].id, temperature=2.0)
    with_attributes(path, path, temperatures=[2], temperature=1, weights=[1, 0])
    store = open_store(path)
    assert (store.read_log_norm(ROWS[1].id, temperature=2.0) == wanted).all()
    assert store.about.weights == (1.0, 0.0)


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":1,"a":1}',
        b'[{"b":{"a":1,"c":2,"a":1}}]',
        b"NaN",
        b"[-Infinity]",
        b'"\\uD800"',
        b'{"\\udfff":1}',
        b'{"a":"\xff"}',
        '{"a":1}'.encode("utf-16"),
        b'\xef\xbb\xbf{"a":1}',
        b"",
        b"{} {}",
        b"9" * 5000,
    ],
)
def test_json_with_two_meanings_is_refused(content: bytes) -> None:
    """RELIABILITY 24: in any file."""
    with pytest.raises(ValueError, match=r"."):
        parse_json(content)
    with pytest.raises(StoreCorrupt, match="is not a list of objects"):
        decode_records(content, where="manifest")
    with pytest.raises(StoreCorrupt, match="is not a record of a partial copy"):
        decode_part(content, where="part.json")


def test_json_that_is_valid_is_what_python_reads() -> None:
    for text in (
        '{"a": [1, 2.5, null, true, {}], "ä": "\\ud83d\\ude00\\u0000"}',
        '"\\\\ud800"',
        "[]",
    ):
        assert parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize("file", ["manifest", "commit", "part"])
def test_json_of_odd_values_raises_store_errors_only(
    whole: Path, tmp_path: Path, file: str
) -> None:
    """RELIABILITY 24: odd names and values, in one place or in all."""
    path = Path(shutil.copytree(whole, tmp_path / "a.zarr"))
    head = head_of(path)
    names = {"manifest": f"manifest-{head}.json", "commit": "commits/00000000.json"}
    part = PartialCopy(source="/x", kept=2, digest=head, arrays={"ids_0": ((0, 0),)})
    original = encode_part(part) if file == "part" else (path / names[file]).read_bytes()
    leaves = sorted({json.dumps(leaf) for leaf in _leaves(json.loads(original))})
    rng = random.Random(11)
    for value in ODD:
        odd = str(value) if isinstance(value, Raw) else json.dumps(value)
        changed = original.decode().replace(rng.choice(leaves), odd, rng.choice([1, -1])).encode()
        if file == "part":
            (path / "part.json").write_bytes(changed)
        elif file == "commit":
            (path / "HEAD").unlink(missing_ok=True)
            claim_new(path)
            (path / names[file]).write_bytes(changed)
        else:
            digest = record_of(changed).sha256
            (path / f"manifest-{digest}.json").write_bytes(changed)
            (path / "HEAD").write_text(f"{digest}\n")
        assert_only_our_errors(path)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for held in value.values() for leaf in _leaves(held)] + list(value)
    if isinstance(value, list):
        return [leaf for held in value for leaf in _leaves(held)]
    return [value]


@pytest.mark.parametrize("name", ["evil", "_stage/x", "commits/00000099.json", "ids_0/c/99/0"])
def test_manifest_that_lists_other_objects_is_refused(
    whole: Path, tmp_path: Path, name: str
) -> None:
    """RELIABILITY 8, 24: the object exists and agrees with the manifest."""
    path = Path(shutil.copytree(whole, tmp_path / "a.zarr"))
    manifest = json.loads((path / f"manifest-{head_of(path)}.json").read_bytes())
    manifest["objects"][name] = {"bytes": 1, "sha256": record_of(b"x").sha256}
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(b"x")
    publish_manifest(path, manifest)
    with pytest.raises(StoreCorrupt, match=f"lists '{name}', which is no store's object"):
        verified(path, data=False)


def test_commit_record_that_contradicts_the_manifest_is_refused(
    whole: Path, tmp_path: Path
) -> None:
    """RELIABILITY 8: verify reports all damage that repair finds."""
    path = Path(shutil.copytree(whole, tmp_path / "a.zarr"))
    commit = json.loads((path / "commits/00000001.json").read_bytes())
    commit["objects"]["val_1/c/1/0"]["sha256"] = "0" * 64
    reseal(path, "commits/00000001.json", json.dumps(commit).encode())
    with pytest.raises(
        StoreCorrupt, match=r"00000001\.json and the manifest disagree on val_1/c/1"
    ):
        verified(path, data=True)
    assert plan_repair(path).damaged_shards == (1,)


def test_messages_contain_no_terminal_control_characters(tmp_path: Path) -> None:
    path = make_part(tmp_path / "a.zarr", ROWS[:2], split="\x1b[31mtrain\u202e\n\x9b")
    other = make_part(tmp_path / "b.zarr", ROWS[2:4])
    with pytest.raises(StoreError, match="split: found") as error:
        merge(tmp_path / "m.zarr", other, path)
    assert str(error.value).isprintable()


def test_messages_cut_long_values() -> None:
    assert shown("x" * 5000) == "'" + "x" * 999 + "... (5002 characters)"
    assert shown(("a", 1)) == "('a', 1)"
