"""Copies that read the soft labels of their originals: which do, what they read, what is noted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.contract.copies import CopyGroup, read_copies
from stages.contract.errors import BadInput
from stages.student.essence import Essence
from stages.student.originals import CopyMatch, match_copies
from stages.student.settings import StudentSettings
from stages.student.train import train_student
from stages.training.batches import Piece, read_batch
from storage.care.match import match_corpus
from storage.corpus.corpus_file import CorpusFile
from storage.read.reader import SoftLabelStore, open_store
from tests.support.makers.copies import LENGTHS, make_copied_corpus
from tests.support.makers.teacher import label, make_member
from tests.support.makers.training import RecordingProgress

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

NOISY = {f"noisy-u{number}": f"u{number}" for number in range(len(LENGTHS))}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with copies, and stores by both settings of teacher.input."""
    directory = tmp_path_factory.mktemp("copies")
    corpus = make_copied_corpus(directory / "corpus", labelled=4)
    members = [make_member(directory / "m", "tdnn", seed=1)]
    for given in ("copy", "original"):
        label(directory / given, corpus, members, input=given)
    return directory


def store_of(here: Path, given: str) -> SoftLabelStore:
    return open_store(here / given / "train.zarr")


def matched(here: Path, given: str, groups: tuple[CopyGroup, ...] | None = None) -> CopyMatch:
    with CorpusFile(here / "corpus" / "train.h5") as corpus:
        match = match_corpus(store_of(here, given), corpus)
        known = read_copies(here / "corpus", "train") if groups is None else groups
        return match_copies(match, known, corpus)


def test_copies_with_soft_labels_read_their_own(here: Path) -> None:
    match = matched(here, "copy")
    assert match.read_as == {}
    assert match.match.is_whole
    assert "originals" not in str(match)


def test_copies_without_soft_labels_read_those_of_their_originals(here: Path) -> None:
    match = matched(here, "original")
    assert match.read_as == NOISY
    assert match.without_soft_labels == frozenset()
    assert str(match).startswith("uses 12 of 12 utterances of ")
    assert str(match).endswith("train.zarr; 6 copies read the soft labels of their originals")


def test_copies_are_known_by_the_record_only(here: Path) -> None:
    """Ids tell nothing: without copies.json the noisy utterances have no soft labels."""
    match = matched(here, "original", groups=())
    assert match.without_soft_labels == NOISY.keys()
    assert "6 of the corpus's 18 have no soft labels and are left out: 'noisy-u0'" in str(match)


def test_warped_copies_do_not_read_those_of_their_originals(here: Path) -> None:
    warped = CopyGroup(name="noisy", is_time_warped=True, original_of=NOISY)
    assert matched(here, "original", groups=(warped,)).without_soft_labels == NOISY.keys()


def test_copy_of_another_length_is_refused(here: Path) -> None:
    swapped = NOISY | {"noisy-u0": "u1"}
    group = CopyGroup(name="noisy", is_time_warped=False, original_of=swapped)
    with pytest.raises(BadInput, match=r"'noisy-u0' has 31 frames, its original 'u1' 17: remove"):
        matched(here, "original", groups=(group,))


def test_essence_reads_the_frames_of_the_original(here: Path) -> None:
    store = store_of(here, "original")
    essence = Essence(StudentSettings(k=2), store, matched(here, "original").read_as)
    with CorpusFile(here / "corpus" / "train.h5") as corpus:
        spans = {"noisy-u2": (5, 20), "u4": (0, 38), "fast-u1": (3, 14), "noisy-u0": (0, 31)}
        pieces = [
            Piece(index=corpus.index_of(id), start=start, num_frames=end - start)
            for id, (start, end) in spans.items()
        ]
        ids_NK, codes_NK, _ = essence.read(read_batch(corpus, pieces))
    own = {"noisy-u2": "u2", "u4": "u4", "fast-u1": "fast-u1", "noisy-u0": "u0"}
    expected = [store.read_utterance(own[id], 2).ids_TK[slice(*span)] for id, span in spans.items()]
    np.testing.assert_array_equal(ids_NK.numpy(), np.concatenate(expected))
    assert len(codes_NK) == 15 + 38 + 11 + 31


def train(here: Path, directory: Path, given: str, **changes: Any) -> RecordingProgress:
    settings = {
        "k": 2,
        "architecture": {"kind": "tdnn", "hidden": 8, "layers": 2},
        "training": {"epochs": 2, "batch_frames": 61, "seed": 5, **changes.pop("training", {})},
    }
    directory.mkdir()
    progress = RecordingProgress()
    train_student(
        StudentSettings.model_validate(settings | changes),
        corpus_directory=here / "corpus",
        store=here / given / "train.zarr",
        directory=directory,
        device="cpu",
        progress=progress,
    )
    return progress


def test_student_trains_on_copies_by_their_originals_labels(here: Path, tmp_path: Path) -> None:
    progress = train(here, tmp_path / "s", "original", training={"utterances": "copies"})
    notes = [note for note in progress.notes if "copies read the soft labels" in note]
    assert len(notes) == 1
    lengths = sum(LENGTHS) + sum(round(0.8 * length) for length in LENGTHS)
    assert progress.total == 2 * lengths
    assert all(np.isfinite(progress.losses))


def test_hard_label_student_trains_on_the_same_labelled_utterances(
    here: Path, tmp_path: Path
) -> None:
    progress = train(
        here, tmp_path / "s", "original", hard_weight=1.0, training={"utterances": "copies"}
    )
    lengths = sum(LENGTHS[:4]) + sum(round(0.8 * length) for length in LENGTHS[:4])
    assert progress.total == 2 * lengths
