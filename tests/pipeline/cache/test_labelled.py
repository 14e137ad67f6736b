"""What an audit prints of soft against hard labels, of train and of dev."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cache.audit import dev_audit
from pipeline.cache.tables import describe_labelled, repeats_labels
from storage.care.store_audit import StoreAudit

pytest.importorskip("torch", reason="the core is installed without the extra 'train'")
from tests.support.makers.teacher import label, make_member
from tests.support.makers.training import make_corpus_directory


def audit_with(error: float | None, *, split: str = "train") -> StoreAudit:
    return StoreAudit(
        split=split,
        digest="d",
        num_utterances=3,
        num_frames=2000,
        num_classes=40,
        kept=4,
        kept_mass={1: 0.8},
        bytes_per_frame={1: 2.0},
        hard_label_inside={} if error is None else {1: 1 - error},
        num_labelled=0 if error is None else 1234,
        labelled_entropy=None if error is None else 0.25,
        label_nats=None if error is None else 0.125,
    )


@pytest.mark.parametrize(
    ("train", "dev", "repeats"),
    [
        (0.03, 0.18, True),
        (0.1, 0.18, False),
        (0.03, None, False),
        (0.004, None, True),
        (None, 0.18, False),
        (0.0, 0.0, False),
    ],
)
def test_teacher_repeats_its_labels_if_it_is_much_better_than_on_dev(
    train: float | None, dev: float | None, repeats: bool
) -> None:
    of_dev = audit_with(dev, split="dev") if dev is not None else None
    assert repeats_labels(audit_with(train), of_dev) == repeats
    assert ("mostly repeat" in describe_labelled(audit_with(train), of_dev)) == repeats


def test_labelled_lines_have_error_entropy_and_label_nats_of_either_split() -> None:
    lines = describe_labelled(audit_with(0.1), audit_with(0.2, split="dev")).splitlines()
    figures = "mean entropy 0.250 nats, mean -ln q(label) 0.125 nats"
    assert lines == [
        f"train: rank 1 is not the hard label in 10.00% of 1,234 labelled frames; {figures}",
        f"dev: rank 1 is not the hard label in 20.00% of 1,234 labelled frames; {figures}",
    ]
    earlier = replace(audit_with(0.1), label_nats=None, labelled_entropy=None)
    assert describe_labelled(earlier, None).endswith("10.00% of 1,234 labelled frames")


def test_dev_audit_is_that_of_the_store_next_to_train(tmp_path: Path) -> None:
    corpus = make_corpus_directory(tmp_path / "corpus")
    summary = label(tmp_path / "t", corpus, [make_member(tmp_path / "m", "tdnn", seed=1)])
    train, dev = tmp_path / "t" / "train.zarr", tmp_path / "t" / "dev.zarr"
    of_summary = dev_audit(train, None)
    assert of_summary == summary.stores[1]
    measured = dev_audit(train, corpus / "train.h5")
    assert measured == of_summary
    assert measured is not None
    assert measured.split == "dev"
    assert measured.label_nats is not None
    assert dev_audit(dev, None) is None
    assert dev_audit(train, tmp_path / "elsewhere" / "train.h5") is None
