"""Fingerprints: equal for equal content, different for different content."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.files.fingerprint import (
    array_digest,
    canonical_json,
    file_digest,
    fingerprint,
    inventory_digest,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # surrogates cannot be encoded as UTF-8
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=9,
)


def test_digests_stay_what_they_are() -> None:
    """A changed digest would make every store and model stale."""
    assert canonical_json({"b": [1, 2.5, None], "a": "ü"}) == '{"a":"\\u00fc","b":[1,2.5,null]}'
    assert fingerprint({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()
    assert array_digest(np.arange(3, dtype="<i4")) == (
        hashlib.sha256(b"<i4(3,)" + bytes([0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])).hexdigest()
    )


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=5))
def test_fingerprint_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert fingerprint(value) == fingerprint(turned)


@given(VALUES, VALUES)
def test_fingerprint_differs_for_other_content(one: object, other: object) -> None:
    assert (canonical_json(one) == canonical_json(other)) == (
        fingerprint(one) == fingerprint(other)
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("nan")]}])
def test_fingerprint_refuses_nan_and_infinity(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        fingerprint(value)


def test_array_digest_depends_on_type_shape_and_order() -> None:
    base = np.arange(77, dtype=np.int32).reshape(7, 11)
    others = [base.T, base.astype(np.int64), base.reshape(11, 7), base + 1, base[:, ::-1]]
    digests = {array_digest(array) for array in [base, *others]}
    assert len(digests) == 6
    assert array_digest(base, base) != array_digest(base)


def test_array_digest_does_not_depend_on_memory_layout() -> None:
    base = np.arange(77, dtype=np.int32).reshape(7, 11)
    assert array_digest(np.asfortranarray(base)) == array_digest(base)
    assert array_digest(base.astype(">i4")) == array_digest(base)
    assert array_digest(np.repeat(base, 2, axis=1)[:, ::2]) == array_digest(base)


def test_file_digest_is_sha256_of_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.files.fingerprint.READ_BYTES", 7)
    for size in (0, 6, 7, 8, 700):
        content = bytes(range(256)) * 3
        (tmp_path / "file").write_bytes(content[:size])
        wanted = hashlib.sha256(content[:size]).hexdigest()
        assert file_digest(tmp_path / "file") == wanted


def test_inventory_digest_depends_on_the_order() -> None:
    assert inventory_digest(["a", "b"]) != inventory_digest(["b", "a"])
    assert inventory_digest(["a", "b"]) != inventory_digest(["ab"])
    assert inventory_digest(iter(["a", "b"])) == inventory_digest(("a", "b"))
