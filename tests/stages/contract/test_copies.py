"""copies.json: what is written is read, and nothing else is taken for it."""

from pathlib import Path

import pytest

from stages.contract.copies import (
    COPIES_FILE,
    CopyGroup,
    copy_ids,
    originals_in_time,
    read_copies,
    write_copies,
)
from stages.contract.errors import BadInput

NOISY = CopyGroup(name="noisy", is_time_warped=False, original_of={"noisy-a": "a", "odd": "b"})
FAST = CopyGroup(name="fast", is_time_warped=True, original_of={"fast-a": "a"})


def test_copies_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_copies(tmp_path, {"train": (NOISY, FAST), "dev": (), "test": (NOISY,)})
    assert read_copies(tmp_path, "train") == (NOISY, FAST)
    assert read_copies(tmp_path, "dev") == ()
    assert read_copies(tmp_path, "test") == (NOISY,)


def test_corpus_without_the_file_has_no_copies(tmp_path: Path) -> None:
    assert read_copies(tmp_path, "train") == ()


def test_damaged_copies_file_is_named(tmp_path: Path) -> None:
    (tmp_path / COPIES_FILE).write_text('{"train": [{"name": "noisy"}]}')
    with pytest.raises(BadInput, match=r"copies\.json: train\.0\.is_time_warped: .*corpus' again"):
        read_copies(tmp_path, "train")


def test_copy_ids_are_those_of_all_groups() -> None:
    assert copy_ids((NOISY, FAST)) == {"noisy-a", "odd", "fast-a"}


def test_originals_in_time_are_those_of_copies_whose_time_is_not_warped() -> None:
    assert originals_in_time((NOISY, FAST)) == {"noisy-a": "a", "odd": "b"}
