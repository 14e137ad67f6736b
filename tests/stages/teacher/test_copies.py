"""Copies in the teacher: labelled from their own features, or not labelled."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from stages.teacher.settings import TeacherSettings
from storage.read.reader import open_store
from tests.support.makers.copies import LENGTHS, make_copied_corpus
from tests.support.makers.teacher import label, make_member
from tests.support.makers.training import RecordingProgress

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

ORIGINALS = [f"u{number}" for number in range(len(LENGTHS))]
NOISY = [f"noisy-{id}" for id in ORIGINALS]
FAST = [f"fast-{id}" for id in ORIGINALS]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_copied_corpus(tmp_path / "corpus")


def test_copies_are_labelled_from_their_own_features(tmp_path: Path, corpus: Path) -> None:
    members = [make_member(tmp_path / "m", "tdnn", seed=1)]
    label(tmp_path / "t", corpus, members)
    store = open_store(tmp_path / "t" / "train.zarr")
    assert [row.id for row in store.utterances] == [*ORIGINALS, *NOISY, *FAST]
    noisy, clean = (store.read_utterance(id, 3) for id in ("noisy-u2", "u2"))
    assert (noisy.logp_TK != clean.logp_TK).any()


def test_input_original_labels_originals_and_warped_copies_only(
    tmp_path: Path, corpus: Path
) -> None:
    members = [make_member(tmp_path / "m", "tdnn", seed=1)]
    progress = RecordingProgress()
    summary = label(tmp_path / "t", corpus, members, progress, input="original")
    store = open_store(tmp_path / "t" / "train.zarr")
    assert [row.id for row in store.utterances] == [*ORIGINALS, *FAST]
    assert store.about.left_out == ()
    assert summary.stores[0].num_utterances == 2 * len(LENGTHS)
    assert (
        "train: 6 copies are not labelled: students read the soft labels of their originals"
        in progress.notes
    )
    dev = open_store(tmp_path / "t" / "dev.zarr")  # no copy is in dev
    assert len(dev.utterances) == 8
    label(tmp_path / "all", corpus, members)
    everything = open_store(tmp_path / "all" / "train.zarr")
    for id in (*ORIGINALS, *FAST):
        one, other = (each.read_utterance(id, 3) for each in (store, everything))
        np.testing.assert_array_equal(one.ids_TK, other.ids_TK)
        np.testing.assert_allclose(one.logp_TK, other.logp_TK, atol=0.02)


def test_input_is_in_the_recipe_unless_it_is_copy() -> None:
    assert "input" not in TeacherSettings().identity()
    assert TeacherSettings(input="original").identity()["input"] == "original"
    with pytest.raises(ValidationError, match="'copy' or 'original'"):
        TeacherSettings.model_validate({"input": "both"})
