"""Token columns: what is written is what is read; damage is found; frame files have none."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.corpus.corpus_file import CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.errors import CorpusFileError
from tests.support.makers.tokens import make_token_corpus
from tests.support.makers.training import FEATURE_DIM, NUM_CLASSES, make_corpus, make_corpus_about

SEQUENCES = ([1, 1, 4], None, [2], [3, 2, 1, 1])


def _write(path: Path, sequences: tuple[list[int] | None, ...] = SEQUENCES) -> Path:
    with CorpusWriter(path, make_corpus_about("train"), has_tokens=True) as writer:
        for number, tokens in enumerate(sequences):
            writer.add(
                f"u{number}",
                speaker="s",
                transcript="",
                features_TF=np.full((5 + number, FEATURE_DIM), number, np.float32),
                labels_T=None,
                tokens_L=None if tokens is None else np.array(tokens, np.int64),
            )
    return path


tokens = st.lists(st.integers(1, NUM_CLASSES - 1), min_size=1, max_size=7)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.none() | tokens, min_size=1, max_size=6).map(tuple))
def test_sequences_that_are_written_are_read(
    tmp_path_factory: pytest.TempPathFactory, sequences: tuple[list[int] | None, ...]
) -> None:
    path = _write(tmp_path_factory.mktemp("corpus") / "train.h5", sequences)
    with CorpusFile(path) as corpus:
        corpus.check_content()
        found = [corpus.tokens(index) for index in range(len(sequences))]
        assert corpus.has_tokens
        assert corpus.is_transcribed().tolist() == [tokens is not None for tokens in sequences]
    assert [None if each is None else each.tolist() for each in found] == list(sequences)


def test_sequences_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    paths = [
        _write(tmp_path / "one.h5"),
        _write(tmp_path / "two.h5", (*SEQUENCES[:3], [3, 2, 1, 2])),
    ]
    shifted = ([1, 1], None, [4, 2], SEQUENCES[3])  # the same tokens, other bounds
    paths.append(_write(tmp_path / "three.h5", shifted))
    fingerprints = set()
    for path in paths:
        with CorpusFile(path) as corpus:
            fingerprints.add(corpus.fingerprint)
    assert len(fingerprints) == 3


def test_file_of_frame_labels_has_no_token_columns(tmp_path: Path) -> None:
    with h5py.File(make_corpus(tmp_path / "train.h5")) as file:
        assert not [name for name in (*file, *file["utterances"], *file.attrs) if "token" in name]
    with CorpusFile(tmp_path / "train.h5") as corpus:
        assert not corpus.has_tokens
        assert corpus.tokens(0) is None
        assert corpus.is_transcribed().tolist() == (corpus.labelled_frames() > 0).tolist()


@pytest.mark.parametrize("wrong", [[0, 1], [1, NUM_CLASSES], [-1], []])
def test_sequence_with_a_blank_or_an_unknown_token_is_refused(
    tmp_path: Path, wrong: list[int]
) -> None:
    with pytest.raises(CorpusFileError, match=r"'u0': token.*wanted"):
        _write(tmp_path / "train.h5", (wrong,))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [2, 0, NUM_CLASSES])
def test_changed_token_is_found_when_it_is_read(tmp_path: Path, value: int) -> None:
    path = make_token_corpus(tmp_path / "train.h5")
    with h5py.File(path, "r+") as file:
        first = int(file["tokens"][0])
        file["tokens"][0] = value if value != first else 1
    with CorpusFile(path) as corpus, pytest.raises(CorpusFileError, match="token"):
        corpus.tokens(0)


def test_changed_number_of_tokens_is_refused(tmp_path: Path) -> None:
    path = make_token_corpus(tmp_path / "train.h5")
    moved = shutil.copy(path, tmp_path / "moved.h5")
    with h5py.File(path, "r+") as file:
        file["utterances/num_tokens"][0] += 1
    with pytest.raises(CorpusFileError, match="tokens are listed"):
        CorpusFile(path)
    with h5py.File(moved, "r+") as file:
        file["utterances/num_tokens"][0] += 1
        file["utterances/num_tokens"][3] -= 1
    with CorpusFile(Path(moved)) as corpus, pytest.raises(CorpusFileError, match="has changed"):
        corpus.tokens(0)


def test_file_with_one_token_column_is_refused(tmp_path: Path) -> None:
    path = make_token_corpus(tmp_path / "train.h5")
    with h5py.File(path, "r+") as file:
        del file["utterances/num_tokens"]
    with pytest.raises(CorpusFileError, match="num_tokens"):
        CorpusFile(path)
