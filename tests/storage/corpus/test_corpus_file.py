"""Corpus file: it reads what was written; errors name the utterance and leave no file."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage.corpus.corpus_file import NO_LABEL, CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.errors import CorpusFileError

FEATURE_DIM = 7
NUM_CLASSES = 11


def make_about(**changes: Any) -> CorpusAbout:
    fields: dict[str, Any] = {
        "split": "train",
        "feature_dim": FEATURE_DIM,
        "num_classes": NUM_CLASSES,
        "class_inventory": "1" * 64,
        "frame_shift_ms": 30.0,
        "subsampling": 3,
        "has_labels": True,
        "feature_settings": {"splice": 2},
    }
    return CorpusAbout(**(fields | changes))


def make_utterance(length: int, *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    features_TF = rng.normal(size=(length, FEATURE_DIM)).astype(np.float32)
    return features_TF, rng.integers(-1, NUM_CLASSES, size=length).astype(np.int32)


def add(writer: CorpusWriter, id: str, length: int = 5, *, seed: int = 0, **changes: Any) -> None:
    features_TF, labels_T = make_utterance(length, seed=seed)
    fields = {
        "speaker": "ann",
        "transcript": "ein Wort",
        "features_TF": features_TF,
        "labels_T": labels_T,
    }
    writer.add(id, **(fields | changes))


def write_corpus(path: Path, lengths: list[int], *, dtype: str = "float32") -> Path:
    with CorpusWriter(path, make_about(), dtype=dtype) as writer:
        for index, length in enumerate(lengths):
            add(writer, f"ütt/../{index}", length, seed=index)
    return path


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(0, 37), min_size=1, max_size=9), st.sampled_from(["float32", "float16"])
)
def test_corpus_file_reads_what_was_written(lengths: list[int], dtype: str) -> None:
    with TemporaryDirectory() as folder:
        path = write_corpus(Path(folder) / "a.h5", lengths, dtype=dtype)
        with CorpusFile(path) as corpus:
            assert corpus.about == make_about()
            assert corpus.num_frames == sum(lengths)
            assert [row.num_frames for row in corpus.utterances] == lengths
            for index, length in enumerate(lengths):
                features_TF, labels_T = make_utterance(length, seed=index)
                found_TF = corpus.features(index)
                assert found_TF.dtype == np.float32
                np.testing.assert_array_equal(found_TF, features_TF.astype(dtype))
                np.testing.assert_array_equal(corpus.labels(index), labels_T)
            blocks = [block.shape[0] for block in corpus.feature_blocks(13)]
            assert sum(blocks) == sum(lengths)
            assert all(size <= 13 for size in blocks)


def test_span_is_a_part_of_the_utterance(tmp_path: Path) -> None:
    with CorpusFile(write_corpus(tmp_path / "a.h5", [5, 17, 3])) as corpus:
        np.testing.assert_array_equal(corpus.features(1, span=(4, 9)), corpus.features(1)[4:9])
        np.testing.assert_array_equal(corpus.labels(1, span=(4, 9)), corpus.labels(1)[4:9])
        assert corpus.features(1, span=(0, 0)).shape == (0, FEATURE_DIM)


def test_texts_and_positions_are_read_as_written(tmp_path: Path) -> None:
    with CorpusWriter(tmp_path / "a.h5", make_about()) as writer:
        add(writer, "b", 3, speaker="Änne", transcript="日本 語")
        add(writer, "a", 4, labels_T=None, transcript="")
    with CorpusFile(tmp_path / "a.h5") as corpus:
        first, second = corpus.utterances
        assert (first.id, first.speaker, first.transcript) == ("b", "Änne", "日本 語")
        assert (second.first_frame, second.num_frames) == (3, 4)
        assert corpus.index_of("a") == 1
        assert "a" in corpus
        assert "c" not in corpus
        assert (corpus.labels(1) == NO_LABEL).all()
        with pytest.raises(CorpusFileError, match="holds no utterance 'c'"):
            corpus.index_of("c")


def test_labels_are_counted_without_the_unknown(tmp_path: Path) -> None:
    with CorpusFile(write_corpus(tmp_path / "a.h5", [31, 0, 17])) as corpus:
        labels = np.concatenate([corpus.labels(index) for index in range(3)])
        wanted = [(labels == label).sum() for label in range(NUM_CLASSES)]
        assert corpus.label_counts().tolist() == wanted


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 37), min_size=1, max_size=9), st.integers(1, 50))
def test_labelled_frames_are_counted_by_utterance(lengths: list[int], block: int) -> None:
    with TemporaryDirectory() as folder:
        path = write_corpus(Path(folder) / "a.h5", lengths)
        with CorpusFile(path) as corpus:
            known = [int((corpus.labels(i) != NO_LABEL).sum()) for i in range(len(lengths))]
            assert corpus.labelled_frames(frames=block).tolist() == known
            assert corpus.labelled_frames().tolist() == known


def test_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    def fingerprint(name: str, about: CorpusAbout | None = None, **changes: Any) -> str:
        with CorpusWriter(tmp_path / name, about or make_about()) as writer:
            add(writer, "a")
            add(writer, "b", **changes)
        with CorpusFile(tmp_path / name) as corpus:
            return corpus.fingerprint

    features_TF, labels_T = make_utterance(5, seed=0)
    features_TF[3, 2] += np.float32(1e-6)
    labels_T[4] = (labels_T[4] + 2) % NUM_CLASSES
    same = fingerprint("one")
    assert fingerprint("two") == same
    others = [
        fingerprint("3", features_TF=features_TF),
        fingerprint("4", labels_T=labels_T),
        fingerprint("5", transcript="zwei Worte"),
        fingerprint("6", speaker="bob"),
        fingerprint("7", about=make_about(split="dev")),
        fingerprint("8", about=make_about(class_inventory="2" * 64)),
    ]
    assert len({same, *others}) == 7


def write_good_and(path: Path, **bad: Any) -> None:
    with CorpusWriter(path, make_about()) as writer:
        add(writer, "good")
        add(writer, **bad)


BAD = {
    "frame 3: a feature is not finite": {"features_TF": (3, np.nan)},
    "frame 4: a feature is not finite": {"features_TF": (4, np.inf)},
    "frame 2: label 11 is outside 0..10": {"labels_T": (2, NUM_CLASSES)},
    "frame 1: label -2 is outside 0..10": {"labels_T": (1, -2)},
}


@pytest.mark.parametrize("message", BAD)
def test_corpus_writer_names_an_invalid_value_and_leaves_no_file(
    tmp_path: Path, message: str
) -> None:
    """RELIABILITY 17."""
    features_TF, labels_T = make_utterance(5, seed=0)
    arrays: dict[str, Any] = {"features_TF": features_TF, "labels_T": labels_T}
    for name, (frame, value) in BAD[message].items():
        arrays[name][frame] = value
    with pytest.raises(CorpusFileError, match=f"utterance 'bad', {message}"):
        write_good_and(tmp_path / "a.h5", id="bad", **arrays)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "good"}, "'good' comes twice in train"),
        ({"id": "a\0b"}, "a NUL character"),
        ({"transcript": "a\0b"}, "a NUL character"),
        ({"features_TF": np.zeros((5, 8))}, r"shape \(5, 8\), wanted \(frames, 7\)"),
        ({"features_TF": np.zeros(5)}, r"shape \(5,\), wanted \(frames, 7\)"),
        ({"labels_T": np.zeros(6, np.int32)}, "6 labels for 5 frames"),
    ],
)
def test_corpus_writer_names_an_invalid_utterance(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """RELIABILITY 19."""
    with pytest.raises(CorpusFileError, match=message):
        write_good_and(tmp_path / "a.h5", **({"id": "bad"} | changes))
    assert list(tmp_path.iterdir()) == []


def test_corpus_writer_keeps_the_old_file_if_interrupted(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "a.h5", [5])
    before = path.read_bytes()

    def interrupted() -> None:
        with CorpusWriter(path, make_about()) as writer:
            add(writer, "x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_corpus_writer_refuses_a_split_without_utterances(tmp_path: Path) -> None:
    with (
        pytest.raises(CorpusFileError, match="the train split holds no utterance"),
        CorpusWriter(tmp_path / "a.h5", make_about()),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_no_corpus_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusFileError, match="is not there: run 'essence corpus' first"):
        CorpusFile(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(CorpusFileError, match="is not a readable HDF5 file"):
        CorpusFile(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = np.bytes_("essence corpus 2")
    with pytest.raises(
        CorpusFileError, match="found 'essence corpus 2', wanted 'essence corpus 1'"
    ):
        CorpusFile(tmp_path / "other.h5")


def test_truncated_file_is_named(tmp_path: Path) -> None:
    content = write_corpus(tmp_path / "a.h5", [50, 70]).read_bytes()
    for size in (0, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "a.h5").write_bytes(content[:size])
        with pytest.raises(CorpusFileError, match=r"a\.h5"):
            CorpusFile(tmp_path / "a.h5")


def test_changed_features_are_named_when_read(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "a.h5", [50])
    features_TF, _ = make_utterance(50, seed=0)
    content = path.read_bytes()
    place = content.index(features_TF.tobytes()[:64])
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with CorpusFile(path) as corpus, pytest.raises(CorpusFileError, match="cannot be read"):
        corpus.features(0)


def test_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    """RELIABILITY 22."""
    path = write_corpus(tmp_path / "a.h5", [5])
    write_corpus(tmp_path / "outside.h5", [5])
    with h5py.File(path, "r+") as file:
        del file["features"]
        file["features"] = h5py.ExternalLink("outside.h5", "/features")
    with pytest.raises(CorpusFileError, match="'features' is missing or a link"):
        CorpusFile(path)


def test_external_storage_is_refused(tmp_path: Path) -> None:
    """RELIABILITY 22."""
    path = write_corpus(tmp_path / "a.h5", [5])
    (tmp_path / "secret").write_bytes(bytes(5 * FEATURE_DIM * 4))
    with h5py.File(path, "r+") as file:
        del file["features"]
        file.create_dataset(
            "features", shape=(5, FEATURE_DIM), dtype="f4", external=[(tmp_path / "secret", 0, 140)]
        )
    with pytest.raises(CorpusFileError, match="'features' lies in another file"):
        CorpusFile(path)


def read_all(path: Path) -> tuple[Any, ...]:
    with CorpusFile(path) as corpus:
        rows = range(len(corpus.utterances))
        arrays = [corpus.features(i) for i in rows] + [corpus.labels(i) for i in rows]
        return corpus.about, corpus.utterances, [array.tobytes() for array in arrays]


def test_flipped_bits_raise_corpus_file_errors_only(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "a.h5", [9, 0, 14])
    content, wanted = path.read_bytes(), read_all(path)
    # Chunks are mostly zeros: flips outside of them are the test.
    places = [place for place, byte in enumerate(content) if byte]
    rng = np.random.default_rng(7)
    for place in rng.choice(places, size=600, replace=False):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            assert read_all(path) == wanted, f"byte {place} changed silently"
        except CorpusFileError as error:
            assert "a.h5" in str(error)  # noqa: PT017
