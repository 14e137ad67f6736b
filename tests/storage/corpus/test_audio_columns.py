"""Audio of a corpus file: read as written, part of the identity, and absent where there is none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.corpus.audio_span import AudioSpan
from storage.corpus.corpus_file import CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.corpus.hdf5_layout import AUDIO_TYPES, has_audio
from storage.errors import CorpusFileError
from tests.storage.corpus.test_corpus_file import add, make_about, read_all, write_corpus

SPAN = AudioSpan(
    path="/audio/ä b.flac",
    start=1.25,
    end=3.5,
    channel=1,
    row=None,
    size=70_001,
    mtime_ns=1_700_000_000_123_456_789,
    digest="a7" * 32,
)


def write_spans(path: Path, spans: list[AudioSpan | None]) -> Path:
    with CorpusWriter(path, make_about()) as writer:
        for index, span in enumerate(spans):
            add(writer, f"u{index}", 5 + index, seed=index, audio=span)
    return path


def read_spans(path: Path) -> list[AudioSpan | None]:
    with CorpusFile(path) as corpus:
        return [row.audio for row in corpus.utterances]


def fingerprint(path: Path) -> str:
    with CorpusFile(path) as corpus:
        return corpus.fingerprint


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
SECONDS = st.floats(0, 1e6, width=32)
SPANS = st.builds(
    lambda start, length, **fields: AudioSpan(
        start=start, end=None if length is None else start + length + 1, **fields
    ),
    path=NAMES,
    start=SECONDS,
    length=st.none() | SECONDS,
    channel=st.integers(0, 7),
    row=st.none() | st.integers(0, 2**40),
    size=st.integers(0, 2**62),
    mtime_ns=st.integers(-(2**62), 2**62),
    digest=st.text("0123456789abcdef", min_size=64, max_size=64),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.none() | SPANS, min_size=1, max_size=7))
def test_spans_are_read_as_written(spans: list[AudioSpan | None]) -> None:
    with TemporaryDirectory() as folder:
        assert read_spans(write_spans(Path(folder) / "a.h5", spans)) == spans


def test_file_without_audio_has_the_bytes_of_one_that_was_never_asked(tmp_path: Path) -> None:
    write_spans(tmp_path / "a.h5", [None, None])
    with CorpusWriter(tmp_path / "b.h5", make_about()) as writer:
        add(writer, "u0", 5, seed=0)
        add(writer, "u1", 6, seed=1)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert not has_audio(file)
        assert "audio" not in file.attrs


@pytest.mark.parametrize(
    "change",
    [{"path": "/elsewhere/x.flac"}, {"mtime_ns": 5}, {"size": 7}, {"row": 4}],
    ids=lambda change: next(iter(change)),
)
def test_moved_audio_has_the_same_identity(tmp_path: Path, change: dict[str, Any]) -> None:
    here = fingerprint(write_spans(tmp_path / "a.h5", [SPAN]))
    assert fingerprint(write_spans(tmp_path / "b.h5", [replace(SPAN, **change)])) == here


@pytest.mark.parametrize(
    "change",
    [{"digest": "b" * 64}, {"start": 1.26}, {"end": 3.6}, {"end": None}, {"channel": 0}],
    ids=str,
)
def test_other_audio_has_another_identity(tmp_path: Path, change: dict[str, Any]) -> None:
    here = fingerprint(write_spans(tmp_path / "a.h5", [SPAN]))
    assert fingerprint(write_spans(tmp_path / "b.h5", [replace(SPAN, **change)])) != here
    assert fingerprint(write_spans(tmp_path / "c.h5", [None])) != here


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": ""}, "the path '', wanted that of a file"),
        ({"path": "/a\0b"}, "the path '/a.x00b'"),
        ({"path": "/a\udce4b"}, "wanted one in UTF-8: rename the file"),
        ({"start": -0.5}, "seconds -0.5 to 3.5, wanted 0 <= start < end"),
        ({"start": float("nan")}, "seconds nan to 3.5"),
        ({"end": 1.25}, "seconds 1.25 to 1.25"),
        ({"end": float("inf")}, "seconds 1.25 to inf"),
        ({"end": float("nan")}, "seconds 1.25 to nan"),
        ({"channel": -1}, "channel -1, row None"),
        ({"row": -1}, "channel 1, row -1"),
    ],
)
def test_span_that_is_no_part_of_a_file_is_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(CorpusFileError, match=f"utterance 'u1': its audio has .*{message}"):
        write_spans(tmp_path / "a.h5", [None, replace(SPAN, **change)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(AUDIO_TYPES))
def test_missing_or_linked_column_is_named(tmp_path: Path, name: str) -> None:
    path = write_spans(tmp_path / "a.h5", [SPAN, None])
    with h5py.File(path, "r+") as file:
        file.move(name, "moved")
    with pytest.raises(CorpusFileError, match=f"{name!r} is missing or a link"):
        CorpusFile(path)
    with h5py.File(path, "r+") as file:
        file[name] = h5py.SoftLink("/moved")
    with pytest.raises(CorpusFileError, match=f"{name!r} is missing or a link"):
        CorpusFile(path)


def set_first(value: Any) -> Callable[[h5py.Dataset], None]:
    def change(column: h5py.Dataset) -> None:
        column[0] = value

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("audio_path", set_first(ord("x"))),
        ("audio_digest", set_first(ord("x"))),
        ("audio_mtime_ns", set_first(1)),
        ("audio_start", set_first(0.5)),
        ("audio_row", set_first(3)),
        ("audio_path_offsets", set_first(1)),
        ("audio_path", lambda column: column.resize(3, axis=0)),
        ("audio_channel", lambda column: column.resize(1, axis=0)),
    ],
)
def test_changed_column_is_refused(
    tmp_path: Path, name: str, change: Callable[[h5py.Dataset], None]
) -> None:
    """HDF5's checksum is right here: the change was made through HDF5."""
    path = write_spans(tmp_path / "a.h5", [SPAN, None])
    with h5py.File(path, "r+") as file:
        change(file["utterances"][name])
    with pytest.raises(CorpusFileError, match="differ from those written"):
        CorpusFile(path)


def test_removed_columns_are_refused(tmp_path: Path) -> None:
    path = write_spans(tmp_path / "a.h5", [SPAN, None])
    with h5py.File(path, "r+") as file:
        for name in AUDIO_TYPES:
            del file[name]
    with pytest.raises(CorpusFileError, match="the fingerprint is that of other content"):
        CorpusFile(path)


def test_flipped_bits_raise_corpus_file_errors_only(tmp_path: Path) -> None:
    path = write_spans(tmp_path / "a.h5", [SPAN, None, replace(SPAN, end=None, row=3)])
    content, wanted = path.read_bytes(), read_all(path)
    places = [place for place, byte in enumerate(content) if byte]
    rng = np.random.default_rng(7)
    for place in rng.choice(places, size=400, replace=False):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            assert read_all(path) == wanted, f"byte {place} changed silently"
        except CorpusFileError as error:
            assert "a.h5" in str(error)  # noqa: PT017


def test_reader_of_files_without_audio_gives_none(tmp_path: Path) -> None:
    assert read_spans(write_corpus(tmp_path / "a.h5", [5, 0])) == [None, None]
