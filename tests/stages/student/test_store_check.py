"""Checks of a store before training: differences are named, extra utterances are accepted."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.student.settings import StudentSettings
from stages.student.store_check import check_store
from storage.care.match import CorpusMatch
from storage.corpus.corpus_file import CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.errors import StoreError, StoreMismatch, StorePartial
from storage.format.partial_copy import PartialCopy, encode_part
from storage.read.reader import open_store
from tests.support.makers.store import fill_store, make_about, utterances_of
from tests.support.makers.training import FEATURE_DIM, INVENTORY

CLASSES = 11
LENGTHS = {"a": 7, "b": 0, "c": 5, "ü/d": 13, "e": 1}


@dataclass(frozen=True)
class Change:
    """One changed value of one utterance."""

    id: str
    features: float = 0.0
    label: int = 0
    num_frames: int = 0


def make_corpus(
    path: Path, ids: Sequence[str] = tuple(LENGTHS), change: Change | None = None, **about: Any
) -> Path:
    """Utterances whose content is determined by their ids, except for the change."""
    fields: dict[str, Any] = {
        "split": "train",
        "feature_dim": FEATURE_DIM,
        "num_classes": CLASSES,
        "class_inventory": INVENTORY,
        "frame_shift_ms": 30.0,
        "subsampling": 3,
        "has_labels": True,
        "feature_settings": {},
    }
    with CorpusWriter(path, CorpusAbout(**(fields | about))) as writer:
        for id in ids:
            mine = change if change and change.id == id else Change(id)
            num_frames = LENGTHS[id] + mine.num_frames
            rng = np.random.default_rng(list(id.encode()))
            features = rng.normal(size=(20, FEATURE_DIM)).astype(np.float32)[:num_frames]
            labels = rng.integers(CLASSES - 1, size=20)[:num_frames]
            features[:1] += mine.features
            labels[-1:] += mine.label
            writer.add(id, speaker="s", transcript="", features_TF=features, labels_T=labels)
    return path


def make_store(path: Path, corpus: Path, **changes: Any) -> Path:
    """A store of a corpus with correct metadata, except for the changes."""
    with CorpusFile(corpus) as opened:
        fields = {
            "corpus_fingerprint": opened.fingerprint,
            "class_inventory": INVENTORY,
            "num_classes": CLASSES,
            "kept": 4,
        }
        fill_store(path, make_about(**(fields | changes)), utterances=utterances_of(opened))
    return path


def check(store: Path, corpus: Path, **settings: Any) -> CorpusMatch:
    wanted = StudentSettings.model_validate({"k": 3, **settings})
    with CorpusFile(corpus) as opened:
        return check_store(wanted, open_store(store), opened)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus") / "train.h5")


def test_store_of_the_same_corpus_is_used_whole(corpus: Path, tmp_path: Path) -> None:
    match = check(make_store(tmp_path / "a.zarr", corpus), corpus)
    assert match.is_whole
    assert match.without_soft_labels == frozenset()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("class_inventory", "another inventory of as many classes"),
        ("num_classes", CLASSES + 1),
        ("frame_shift_ms", 10.0),
        ("subsampling", 1),
    ],
)
def test_store_that_differs_in_one_field_is_refused(
    corpus: Path, tmp_path: Path, field: str, value: Any
) -> None:
    """RELIABILITY 18: one field at a time; the utterances and their content are the same."""
    store = make_store(tmp_path / "a.zarr", corpus, **{field: value})
    with pytest.raises(StoreMismatch, match=f"{field}: found {value!r}, wanted ") as error:
        check(store, corpus)
    assert str(error.value).count("found") == 1  # no other field is blamed
    # The same when the corpus has changed and not the store.
    other = make_corpus(tmp_path / "train.h5", **{field: value})
    with pytest.raises(StoreMismatch, match=f"{field}: found .*, wanted {value!r}"):
        check(make_store(tmp_path / "b.zarr", corpus), other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Change("c", features=0.5), "features or hard labels (alignment) of 1 utterances: 'c';"),
        (Change("ü/d", label=1), "features or hard labels (alignment) of 1 utterances: 'ü/d';"),
        (Change("a", num_frames=1), "frame counts of 1 utterances: 'a' (8 found, 7 wanted);"),
        (Change("b", num_frames=1), "frame counts of 1 utterances: 'b' (1 found, 0 wanted);"),
    ],
)
def test_store_that_differs_in_one_value_of_one_utterance_is_refused(
    corpus: Path, tmp_path: Path, change: Change, message: str
) -> None:
    """RELIABILITY 18, 19: another feature, another label, another number of frames."""
    other = make_corpus(tmp_path / "train.h5", change=change)
    store = make_store(tmp_path / "a.zarr", other)
    with pytest.raises(StoreMismatch, match=re.escape(message)) as error:
        check(store, corpus)
    assert "corpus_fingerprint: found" in str(error.value)
    # Nor does a store that claims the corpus's fingerprint get away with it.
    with CorpusFile(corpus) as opened:
        liar = make_store(tmp_path / "b.zarr", other, corpus_fingerprint=opened.fingerprint)
    with pytest.raises(StoreMismatch, match=re.escape(message.removesuffix(";"))):
        check(liar, corpus)


def test_utterances_that_differ_are_counted(corpus: Path, tmp_path: Path) -> None:
    rows = [
        replace(row, digest="0" * 64) for row in utterances_of(CorpusFile(corpus)) if row.num_frames
    ]
    about = make_about(class_inventory=INVENTORY, num_classes=CLASSES, kept=4)
    fill_store(tmp_path / "a.zarr", about, utterances=rows)
    with pytest.raises(StoreMismatch, match=r"of 4 utterances: 'a', 'c', 'ü/d' and 1 more"):
        check(tmp_path / "a.zarr", corpus)


def test_store_with_more_utterances_is_accepted(corpus: Path, tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.zarr", corpus)
    part = make_corpus(tmp_path / "train.h5", ids=("e", "a"))
    match = check(store, part)
    assert str(match) == f"uses 2 of 5 utterances of {store}"
    assert not match.is_whole
    assert match.without_soft_labels == frozenset()


def test_store_with_fewer_utterances_is_accepted_and_the_rest_left_out(
    corpus: Path, tmp_path: Path
) -> None:
    part = make_corpus(tmp_path / "train.h5", ids=("e", "a"))
    store = make_store(tmp_path / "a.zarr", part)
    match = check(store, corpus)
    assert match.without_soft_labels == frozenset({"b", "c", "ü/d"})
    assert str(match) == (
        f"uses 2 of 2 utterances of {store}; 3 of the corpus's 5 have no soft labels and are "
        "left out: 'b', 'c', 'ü/d'"
    )


@pytest.mark.parametrize("ids", [("c",), ("b",)])
def test_store_without_a_common_frame_is_refused(tmp_path: Path, ids: tuple[str, ...]) -> None:
    """A common utterance of no frames does not count."""
    store = make_store(tmp_path / "a.zarr", make_corpus(tmp_path / "a.h5", ids=("a", "b")))
    other = make_corpus(tmp_path / "train.h5", ids=("e", *ids))
    with pytest.raises(StoreMismatch, match=r"no frame of the 2 .* its own are 'a', 'b', those of"):
        check(store, other)


def test_ranks_above_those_stored_are_refused(corpus: Path, tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.zarr", corpus)
    assert check(store, corpus, k=4).is_whole
    with pytest.raises(StoreError, match=r"holds K=4, asked k=5: lower student\.k"):
        check(store, corpus, k=5)


def test_temperature_without_log_norms_is_refused(corpus: Path, tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.zarr", corpus, temperatures=(1.5, 3.0))
    with pytest.raises(StoreError, match=r"holds temperature 1, 1\.5, 3, asked 2: set student\."):
        check(store, corpus, temperature=2.0)


def test_partial_copy_without_the_ranks_is_refused_before_training(
    corpus: Path, tmp_path: Path
) -> None:
    store = make_store(tmp_path / "a.zarr", corpus)
    arrays = dict.fromkeys(("ids_0", "val_0", "ids_1", "val_1", "tail_1"), ((0, 0),))
    part = PartialCopy(source="/far.zarr", kept=4, digest=open_store(store).digest, arrays=arrays)
    (store / "part.json").write_bytes(encode_part(part))
    assert check(store, corpus, k=4).is_whole  # there is one shard
    (store / "part.json").write_bytes(encode_part(replace(part, arrays={"ids_0": ((0, 0),)})))
    with pytest.raises(StorePartial, match=r"without k=3 of shards 0: run 'essence cache pull"):
        check(store, corpus)
    empty = make_corpus(tmp_path / "train.h5", ids=("a", "b"))
    with pytest.raises(StorePartial, match="without k=3"):
        check(store, empty)
