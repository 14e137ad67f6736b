"""Numpy arrays as a source: a folder of .npy, an .npz; damaged and hostile ones are named."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from storage.errors import StoreError
from storage.exchange.arrays import ArraySource
from storage.exchange.frames import DenseFrames
from tests.support.makers.store import make_logp

GIVEN = {"b": make_logp(7, 11, seed=1), "a/c": make_logp(3, 11, seed=2), "é": make_logp(0, 11)}


def read(source: ArraySource) -> dict[str, np.ndarray]:
    """Utterance id -> matrix; the bytes advance to the source's sum."""
    found, done = {}, []
    for utterance in source.utterances(done.append):
        assert isinstance(utterance.frames, DenseFrames)
        found[utterance.id] = utterance.frames.logp_TC
    assert sum(done) == source.num_bytes
    return found


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_names_are_ids(tmp_path: Path, save: object) -> None:
    save(tmp_path / "a.npz", **GIVEN)  # type: ignore[operator]
    found = read(ArraySource(tmp_path / "a.npz"))
    assert list(found) == sorted(GIVEN)
    for id, logp_TC in GIVEN.items():
        np.testing.assert_array_equal(found[id], logp_TC)


@pytest.mark.parametrize("form", ["<f4", ">f4", "f8", "f2", "fortran"])
def test_folder_of_arrays_of_any_float_and_order(tmp_path: Path, form: str) -> None:
    logp_TC = make_logp(7, 11)
    array = np.asfortranarray(logp_TC) if form == "fortran" else logp_TC.astype(form)
    np.save(tmp_path / "utt.1.npy", array)
    (tmp_path / "notes.txt").write_text("not read")
    found = read(ArraySource(tmp_path))
    np.testing.assert_array_equal(found["utt.1"], array.astype(np.float32))


def test_probabilities_become_logarithms(tmp_path: Path) -> None:
    prob = np.array([[0.25, 0.75, 0.0]], "f4")
    np.save(tmp_path / "u.npy", prob)
    found = read(ArraySource(tmp_path, are_logarithms=False))
    np.testing.assert_array_equal(
        found["u"], np.log(prob, where=prob > 0, out=np.full((1, 3), -np.inf, "f4"))
    )


def saved(array: np.ndarray) -> bytes:
    """The bytes of an .npy."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


BAD = {
    "truncated": (saved(make_logp(7, 11))[:-9], "truncated: 308 bytes wanted, 299 found"),
    "no array": (b"hello", "EOF"),
    "empty": (b"", "EOF"),
    "a vector": (saved(np.zeros(7, "f4")), r"found float32 of shape \(7,\)"),
    "integers": (saved(np.zeros((7, 2), "i4")), "found int32"),
    "a pickle": (saved(np.array([{}], object)), "found object"),
    "version 9": (b"\x93NUMPY\x09\x00" + bytes(20), "version"),
    "a bomb": (
        saved(np.zeros((7, 11), "f4")).replace(b"(7, 11), }", b"(1<<40, 1)"),
        "",
    ),
    "large": (
        saved(np.zeros((1000000, 1), "f4"))[:200],
        "truncated: shape .* needs 4,000,000 bytes, the file has 200",
    ),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_arrays_are_named(tmp_path: Path, name: str, packed: bool) -> None:
    content, message = BAD[name]
    place = tmp_path / "a.npz" if packed else tmp_path
    if packed:
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("u.npy", content)
    else:
        (tmp_path / "u.npy").write_bytes(content)
    with pytest.raises(StoreError, match=f"u.npy: no readable array.*{message}"):
        read(ArraySource(place))


def test_damaged_npz_is_named(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", **GIVEN)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[60] ^= 255  # of the first file in the archive
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(StoreError, match=r"b\.npz, b\.npy: no readable array"):
        read(ArraySource(tmp_path / "b.npz"))
    (tmp_path / "c.npz").write_bytes(content[:50])
    with pytest.raises(StoreError, match=r"c\.npz: no readable \.npz"):
        read(ArraySource(tmp_path / "c.npz"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="holds no array"):
        read(ArraySource(tmp_path / "empty"))
