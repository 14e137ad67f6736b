"""Kaldi's Posterior: what Kaldi's own code writes is read, what we write Kaldi's code reads."""

import gzip
import io
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.acoustic.kaldi.posterior import (
    binary_matrix,
    binary_posterior,
    read_frames_here,
    text_matrix,
    text_posterior,
)
from stages.acoustic.kaldi.posterior_source import ArchiveSource
from stages.acoustic.kaldi.specifier import ToRead, ToWrite, parse_to_read, parse_to_write
from stages.contract.errors import BadInput
from storage.exchange.frames import DenseFrames, SourceUtterance, SparseFrames
from tests.support.makers.exchange import Pairs, make_pairs, sparse
from tests.support.makers.store import make_logp

GIVEN = {
    "one": [[(3, 0.25), (1, 0.5)], [], [(7, 1.0)]],
    "none": [],
    "ütt-2": make_pairs(9, 23, most=5),
}


def read(source: ArchiveSource) -> dict[str, Any]:
    """Utterance id -> frames."""
    return {utterance.id: utterance.frames for utterance in source.utterances(lambda _: None)}


def assert_same(found: SparseFrames, pairs: Pairs) -> None:
    wanted = sparse(pairs)
    np.testing.assert_array_equal(found.count_T, wanted.count_T)
    np.testing.assert_array_equal(found.ids_P, wanted.ids_P)
    np.testing.assert_allclose(found.prob_P, wanted.prob_P, rtol=1e-5)


@pytest.mark.parametrize("form", ["ark", "ark,t"])
@pytest.mark.parametrize("packed", [False, True])
def test_archives_of_kaldis_own_code_are_read(tmp_path: Path, form: str, packed: bool) -> None:
    """Oracle: kaldi_native_io, which is Kaldi's WritePosterior."""
    kaldi = pytest.importorskip("kaldi_native_io", reason="the wheel kaldi_native_io is missing")
    path = tmp_path / "p.ark"
    with kaldi.PosteriorWriter(f"{form},scp:{path},{tmp_path}/p.scp") as writer:
        for id, pairs in GIVEN.items():
            writer[id] = pairs
    by_scp = read(ArchiveSource([ToRead(tmp_path / "p.scp", is_scp=True)]))
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    found = read(ArchiveSource([ToRead(path, is_scp=False)]))
    assert list(found) == list(by_scp) == list(GIVEN)
    for id, pairs in GIVEN.items():
        assert_same(found[id], pairs)
        assert_same(by_scp[id], pairs)


@pytest.mark.parametrize("is_text", [False, True])
def test_kaldis_own_code_reads_what_is_written(tmp_path: Path, is_text: bool) -> None:
    """Oracle: kaldi_native_io, which is Kaldi's ReadPosterior; the values are the same bits."""
    kaldi = pytest.importorskip("kaldi_native_io", reason="the wheel kaldi_native_io is missing")
    rng = np.random.default_rng(0)
    write = text_posterior if is_text else binary_posterior
    given, content = {}, b""
    for id, num_frames in (("a", 7), ("empty", 0), ("b", 3)):
        ids_TK = rng.integers(0, 1 << 20, (num_frames, 5)).astype(np.uint32)
        prob_TK = np.exp(-rng.uniform(0, 16, (num_frames, 5))).astype(np.float32)
        given[id] = (ids_TK, prob_TK)
        content += f"{id} ".encode() + write(ids_TK, prob_TK)
    (tmp_path / "p.ark").write_bytes(content)
    with kaldi.SequentialPosteriorReader(f"ark:{tmp_path}/p.ark") as reader:
        found = dict(reader)
    assert list(found) == list(given)
    for id, (ids_TK, prob_TK) in given.items():
        assert [[pair[0] for pair in frame] for frame in found[id]] == ids_TK.tolist()
        assert [[pair[1] for pair in frame] for frame in found[id]] == prob_TK.tolist()


@pytest.mark.parametrize("shape", [(7, 11), (1, 1), (0, 11)])
def test_kaldiio_reads_the_matrices_that_are_written(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    matrix = make_logp(*shape)
    (tmp_path / "b.ark").write_bytes(b"u " + binary_matrix(matrix))
    (tmp_path / "t.ark").write_bytes(b"u " + text_matrix(matrix))
    for name in ("b.ark", "t.ark"):
        (found,) = read(ArchiveSource([ToRead(tmp_path / name, False)], is_dense=True)).values()
        np.testing.assert_array_equal(found.logp_TC.reshape(shape), matrix)
    if shape[0]:
        np.testing.assert_array_equal(dict(kaldiio.load_ark(str(tmp_path / "b.ark")))["u"], matrix)
        np.testing.assert_array_equal(dict(kaldiio.load_ark(str(tmp_path / "t.ark")))["u"], matrix)


@pytest.mark.parametrize("compression", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("packed", [False, True])
def test_matrices_of_any_kind_are_read_from_archives(
    tmp_path: Path, compression: int, packed: bool
) -> None:
    matrices = {f"u{n}": make_logp(n + 9, 11, seed=n) for n in range(3)}
    path, scp = tmp_path / "m.ark", tmp_path / "m.scp"
    options = {"compression_method": compression} if compression else {}
    kaldiio.save_ark(str(path), matrices, scp=str(scp), **options)
    by_scp = read(ArchiveSource([parse_to_read(f"scp:{scp}")]))
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    found = read(ArchiveSource([parse_to_read(str(path))]))
    for id, matrix in matrices.items():
        np.testing.assert_array_equal(found[id].logp_TC, by_scp[id].logp_TC)
        np.testing.assert_allclose(found[id].logp_TC, matrix, atol=0.2 if compression else 0)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([b"", b"\0B", b"\0B\4", b"\0BFM \4", b"[ "]))
def test_any_bytes_are_frames_or_a_named_error(content: bytes, head: bytes) -> None:
    """RELIABILITY 24: no exception of numpy or kaldiio."""
    with suppress(BadInput):
        frames = read_frames_here(io.BytesIO(head + content), where="here")
        assert isinstance(frames, SparseFrames | DenseFrames)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 400), st.booleans(), st.data())
def test_truncated_posteriors_are_named_or_shorter_text(
    seed: int, is_text: bool, data: st.DataObject
) -> None:
    ids_TK = np.arange(12, dtype=np.uint32).reshape(4, 3) + seed
    whole = (text_posterior if is_text else binary_posterior)(ids_TK, np.full((4, 3), 0.3, "f4"))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BadInput, match=r"here.*(truncated|no Posterior|wanted a Kaldi matrix)"):
        read_frames_here(io.BytesIO(whole[:cut]), where="here")


def int_vector(values: list[int]) -> bytes:
    """An alignment, in binary."""
    return (
        b"\0B\4"
        + len(values).to_bytes(4, "little")
        + b"".join(b"\4" + value.to_bytes(4, "little") for value in values)
    )


ONE = binary_posterior(np.array([[1, 2]], "u4"), np.array([[0.5, 0.25]], "f4"))
HUGE = (2**31 - 1).to_bytes(4, "little")
BAD = {
    "an alignment": (b"u " + int_vector([3, 3, 1, 1]) + b"v " + int_vector([1]), "'u'.*no Poster"),
    "an alignment in text": (b"u 3 3 1 1\n", "'u'.*no Posterior: wanted"),
    "a bomb of frames": (b"u \0B\4" + HUGE, "'u': 2147483647 frames: the file is damaged"),
    "a bomb of pairs": (b"u \0B\4\1\0\0\0\4" + HUGE, "'u', frame 0: 2147483647 pairs"),
    "many pairs": (b"u \0B\4\1\0\0\0\4\0\0\0\1", "frame 0: the file is truncated: 167772160 bytes"),
    "below zero": (b"u \0B\4\xff\xff\xff\xff", "'u': -1 frames"),
    "a bomb of rows": (b"u \0BFM \4" + HUGE + b"\4" + HUGE, "'u': the file is truncated"),
    "doubles": (b"u \0B\4\1\0\0\0\4\1\0\0\0\4\1\0\0\0\x08" + bytes(8), "frame 0: no Posterior of"),
    "cut": (b"u " + ONE + b"v " + ONE[:-3], "'v', frame 0: the file is truncated"),
    "cut in an id": (b"u " + ONE + b"ver", "ends after the id 'ver'"),
    "text with odd numbers": (b"u [ 1 0.5 ] [ 2 0.5 3 ]\n", "'u', frame 1: 3 numbers, wanted pair"),
    "text with words": (b"u [ one 0.5 ]\n", "'u': no Posterior .*wanted pairs"),
    "text without brackets": (b"u [ 1 0.5 ] 2\n", "'u': no Posterior: wanted"),
    "text without an end": (b"u [ 1 0.5 ]", "'u': the file is truncated"),
    "text of a row": (b"u [ -0.1 -2.3 ]\n", "'u': no Posterior"),
    "a tensor": (b"u \0BXY \4\1\0\0\0", "'u': wanted a matrix"),
    "words": (b"hello world\n", "'hello': no Posterior"),
    "no id": (b" \0BFM", "an empty utterance id"),
    "bad gzip": (gzip.compress(b"u " + ONE * 99)[:-20], "truncated|cannot be read|readable"),
    "changed gzip": (gzip.compress(b"u " + ONE)[:-8] + bytes(8), "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_archives_are_named_with_utterance_and_position(tmp_path: Path, name: str) -> None:
    """RELIABILITY 23: declared sizes take no memory that the file does not fill."""
    content, message = BAD[name]
    (tmp_path / "p.ark").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(BadInput, match=f"p.ark.*{message}") as caught:
        read(ArchiveSource([ToRead(tmp_path / "p.ark", is_scp=False)]))
    assert "\n" not in str(caught.value)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_where_names_file_and_byte(tmp_path: Path) -> None:
    (tmp_path / "p.ark").write_bytes(b"u " + ONE + b"v " + ONE)
    source = ArchiveSource([ToRead(tmp_path / "p.ark", is_scp=False)])
    done: list[float] = []
    found: list[SourceUtterance] = list(source.utterances(done.append))
    assert [u.where for u in found] == [f"{tmp_path}/p.ark, byte {n}" for n in (2, len(ONE) + 4)]
    assert sum(done) == source.num_bytes


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ark:a.ark", ToRead(Path("a.ark"), False)),
        ("ark,s,cs:a.ark", ToRead(Path("a.ark"), False)),
        ("scp,t:a", ToRead(Path("a"), True)),
        ("a.scp", ToRead(Path("a.scp"), True)),
        ("post.1.gz", ToRead(Path("post.1.gz"), False)),
        ("odd:name.ark", ToRead(Path("odd:name.ark"), False)),
    ],
)
def test_specifiers_to_read(text: str, wanted: ToRead) -> None:
    assert parse_to_read(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ark:a.ark", ToWrite(Path("a.ark"), None, False)),
        ("ark,t:a", ToWrite(Path("a"), None, True)),
        ("ark,scp:a.ark,a.scp", ToWrite(Path("a.ark"), Path("a.scp"), False)),
        ("ark,t,scp:a,b", ToWrite(Path("a"), Path("b"), True)),
        ("a.ark", ToWrite(Path("a.ark"), None, False)),
    ],
)
def test_specifiers_to_write(text: str, wanted: ToWrite) -> None:
    assert parse_to_write(text) == wanted


@pytest.mark.parametrize(
    "text", ["ark:gunzip -c a.gz |", "ark:-", "-", "| cat", "ark:", "ark,p:a", "ark,scp:a,b"]
)
def test_specifiers_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"pipes and standard input|wanted ark:FILE"):
        parse_to_read(text)


@pytest.mark.parametrize("text", ["scp:a", "ark,scp:a", "ark,scp:a,", "ark,q:a", "ark:| gzip > a"])
def test_specifiers_that_cannot_be_written_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"pipes and standard|wanted"):
        parse_to_write(text)
