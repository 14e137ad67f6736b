"""Content check of a corpus file: what HDF5 accepts and the writer did not write is named."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from storage.corpus import corpus_writer
from storage.corpus.corpus_file import CorpusFile
from storage.errors import CorpusFileError
from tests.storage.corpus.test_corpus_file import make_about, write_corpus

LENGTHS = [31, 0, 17, 44, 1, 23]
CHUNK_FRAMES = 8  # several chunks an utterance, and several utterances in some chunks


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    row = 4 * make_about().feature_dim
    monkeypatch.setattr(corpus_writer, "CHUNK_BYTES", CHUNK_FRAMES * row)
    monkeypatch.setattr(corpus_writer, "LABEL_CHUNK_FRAMES", CHUNK_FRAMES)


Chunk = tuple[int, int]  # offset in the file, bytes


def chunks_of(path: Path, name: str) -> list[Chunk]:
    with h5py.File(path, "r") as file:
        data = file[name].id
        infos = [data.get_chunk_info(n) for n in range(data.get_num_chunks())]
    infos.sort(key=lambda info: info.chunk_offset)
    return [(info.byte_offset, info.size) for info in infos]


def overwrite(path: Path, chunk: Chunk, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(chunk[0])
        file.write(content)


def content_of(path: Path, chunk: Chunk) -> bytes:
    return path.read_bytes()[chunk[0] : sum(chunk)]


def zero(path: Path, name: str, _other: Path) -> None:
    for chunk in chunks_of(path, name)[2:4]:
        overwrite(path, chunk, bytes(chunk[1]))


def fill_with_ones(path: Path, name: str, _other: Path) -> None:
    for chunk in chunks_of(path, name)[2:4]:
        overwrite(path, chunk, b"\xff" * chunk[1])


def swap(path: Path, name: str, _other: Path) -> None:
    first, *_, last = chunks_of(path, name)[:-1]
    contents = content_of(path, first), content_of(path, last)
    overwrite(path, first, contents[1])
    overwrite(path, last, contents[0])


def take_of_another_file(path: Path, name: str, other: Path) -> None:
    here, there = chunks_of(path, name)[5], chunks_of(other, name)[5]
    overwrite(path, here, content_of(other, there))


def leave_a_hole(path: Path, name: str, _other: Path) -> None:
    """As a sparse copy that lost blocks: the file keeps its size."""
    content, size = path.read_bytes(), path.stat().st_size
    first, _, _, last = chunks_of(path, name)[1:5]
    with path.open("wb") as file:
        file.write(content[: first[0]])
        file.seek(sum(last))
        file.write(content[sum(last) :])
        file.truncate(size)


def exchange_datasets_of_two_files(path: Path, name: str, other: Path) -> None:
    for here, there in zip(chunks_of(path, name), chunks_of(other, name), strict=True):
        overwrite(path, here, content_of(other, there))


ATTACKS = (
    zero,
    fill_with_ones,
    swap,
    take_of_another_file,
    leave_a_hole,
    exchange_datasets_of_two_files,
)
Reader = Callable[[CorpusFile], list[bytes]]
READERS: dict[str, Reader] = {
    "features": lambda file: [file.features(i).tobytes() for i in range(len(LENGTHS))],
    "spans": lambda file: [file.features(i, span=(0, n // 2)).tobytes() for i, n in spans()],
    "labels": lambda file: [file.labels(i).tobytes() for i in range(len(LENGTHS))],
    "label spans": lambda file: [file.labels(i, span=(n // 2, n)).tobytes() for i, n in spans()],
    "blocks": lambda file: [block.tobytes() for block in file.feature_blocks(13)],
    "counts": lambda file: [file.label_counts().tobytes()],
    "labelled": lambda file: [file.labelled_frames(frames=9).tobytes()],
}
OF_LABELS = ("labels", "label spans", "counts", "labelled")


def spans() -> list[tuple[int, int]]:
    return list(enumerate(LENGTHS))


def read(path: Path, reader: Reader) -> list[bytes]:
    with CorpusFile(path) as corpus:
        return reader(corpus)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """A corpus file, and one of the same layout with other content."""
    lengths = [*LENGTHS[1:], LENGTHS[0]]
    write_corpus(tmp_path / "b.h5", lengths)
    return write_corpus(tmp_path / "a.h5", LENGTHS), tmp_path / "b.h5"


def without_labels_digest(path: Path) -> Path:
    """As an earlier version wrote it."""
    with h5py.File(path, "r+") as file:
        del file.attrs["labels"]
    return path


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("name", ["features", "labels"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_content_that_was_not_written_is_named_by_every_way_to_read_it(
    two: tuple[Path, Path], attack: Callable[..., None], name: str, is_old: bool
) -> None:
    """RELIABILITY 31."""
    path, other = two
    if is_old:
        without_labels_digest(path)
    wanted = {way: read(path, reader) for way, reader in READERS.items()}
    attack(path, name, other)
    named = []
    for way, reader in READERS.items():
        try:
            assert read(path, reader) == wanted[way], f"{way}: silent"
        except CorpusFileError as error:
            assert "a.h5, utterance 'ütt/../" in str(error)  # noqa: PT017
            assert "were written" in str(error)  # noqa: PT017
            named.append(way)
    ways = set(READERS) if is_old else set(READERS) - set(OF_LABELS)
    assert ways <= set(named) if name == "features" else set(OF_LABELS) <= set(named)
    with pytest.raises(CorpusFileError, match="utterance 'ütt"), CorpusFile(path) as corpus:
        corpus.check_content()


def test_hdf5_accepts_what_the_content_check_names(two: tuple[Path, Path]) -> None:
    """The attacks are silent without it: Fletcher-32 passes."""
    path, other = two
    for attack in ATTACKS:
        copy = Path(shutil.copy(path, path.with_name(f"{attack.__name__}.h5")))
        attack(copy, "features", other)
        with h5py.File(copy, "r") as file, h5py.File(path, "r") as sound:
            assert file["features"][:].tobytes() != sound["features"][:].tobytes()


def test_utterances_that_are_sound_stay_readable(two: tuple[Path, Path]) -> None:
    path, _ = two
    wanted = read(path, READERS["features"])
    overwrite(path, chunks_of(path, "features")[-1], bytes(chunks_of(path, "features")[-1][1]))
    with CorpusFile(path) as corpus:
        assert corpus.features(0).tobytes() == wanted[0]
        assert corpus.labels(5, span=(0, 2)).shape == (2,)  # labels have their own digest
        with pytest.raises(CorpusFileError, match=r"utterance 'ütt/\.\./5'"):
            corpus.features(5, span=(0, 1))


def test_utterance_is_hashed_once_and_in_blocks(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.corpus.content_check.BLOCK_FRAMES", 5)
    with CorpusFile(two[0]) as corpus:
        reads: list[tuple[int, int]] = []
        read_block = corpus._content.read_features

        def counted(frames: slice, name: str) -> Any:
            reads.append((frames.start, frames.stop))
            return read_block(frames, name)

        corpus._content.read_features = counted
        first = corpus.features(2)
        assert reads == [(31, 36), (36, 41), (41, 46), (46, 48)]
        np.testing.assert_array_equal(corpus.features(2), first)
        assert len(reads) == 4
        list(corpus.feature_blocks())  # marks all of them
        for index in range(len(LENGTHS)):
            corpus.features(index)
        assert len(reads) == 4


def test_changed_digest_of_labels_is_named(two: tuple[Path, Path]) -> None:
    with h5py.File(two[0], "r+") as file:
        file.attrs["labels"] = np.bytes_("0" * 64)
    with (
        pytest.raises(CorpusFileError, match="the digest of all hard labels has changed"),
        CorpusFile(two[0]) as corpus,
    ):
        corpus.label_counts()


def everything(path: Path) -> list[Any]:
    """All that can be read of a file."""
    with CorpusFile(path) as corpus:
        found = [corpus.about, corpus.fingerprint, corpus.utterances]
        return found + [reader(corpus) for reader in READERS.values()]


def sweep(path: Path, places: Any) -> None:
    """Flip one bit of each byte: it is named, or nothing that is read changes."""
    content, wanted = path.read_bytes(), everything(path)
    for place in places:
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([content[place] ^ (1 << place % 8)]))
        try:
            assert everything(path) == wanted, f"byte {place} changed silently"
        except CorpusFileError as error:
            assert path.name in str(error)  # noqa: PT017
        with path.open("r+b") as file:
            file.seek(place)
            file.write(content[place : place + 1])


def test_sampled_bytes_flipped_are_named_or_changes_nothing(tmp_path: Path) -> None:
    """RELIABILITY 31."""
    path = write_corpus(tmp_path / "a.h5", LENGTHS)
    sweep(path, range(0, path.stat().st_size, 41))


@pytest.mark.slow
def test_every_byte_flipped_is_named_or_changes_nothing(tmp_path: Path) -> None:
    """RELIABILITY 31."""
    path = write_corpus(tmp_path / "a.h5", LENGTHS)
    sweep(path, range(path.stat().st_size))
