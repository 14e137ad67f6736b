"""UtteranceTable is what a tuple of the same utterances is."""

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.format import utterance_table
from storage.format.layout import StoreUtterance
from storage.format.utterance_table import UtteranceTable
from tests.support.makers.store import make_utterances

IDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), unique=True)
ROWS = tuple(make_utterances((5, 0, 17, 11, 1 << 40)))


def rows_of(ids: Sequence[str]) -> list[StoreUtterance]:
    rows = make_utterances(range(len(ids)))
    return [
        StoreUtterance(id=id, num_frames=row.num_frames, digest=row.digest)
        for id, row in zip(ids, rows, strict=True)
    ]


@given(ids=IDS, other=st.text(max_size=5))
def test_table_is_the_sequence_that_it_was_made_of(ids: list[str], other: str) -> None:
    rows = tuple(rows_of(ids))
    table = UtteranceTable.of(rows)
    assert (table, list(table), len(table)) == (rows, list(rows), len(rows))
    assert rows == table == UtteranceTable.of(table) == UtteranceTable.of(list(rows))
    assert [table.find(id) for id in ids] == list(range(len(ids)))
    assert table.find(other) == (ids.index(other) if other in ids else None)
    assert table.an_id_twice() is None
    again = pickle.loads(pickle.dumps(table))
    assert again == table
    assert [again.find(id) for id in ids] == list(range(len(ids)))


def test_rows_are_taken_as_of_a_tuple() -> None:
    table = UtteranceTable.of(ROWS)
    for index in (0, 3, -1, -5):
        assert table[index] == ROWS[index]
    for part in (slice(2), slice(1, None, 2), slice(-2, None), slice(9, 3)):
        assert table[part] == ROWS[part]
    assert list(reversed(table)) == list(reversed(ROWS))
    for index in (5, -6):
        with pytest.raises(IndexError):
            table[index]


def test_tables_that_differ_are_not_equal() -> None:
    table = UtteranceTable.of(ROWS)
    assert table != UtteranceTable.of(ROWS[:-1])
    assert table != ROWS[::-1]
    assert table != "other"
    for changes in ({"id": "x"}, {"num_frames": 6}, {"digest": "0" * 64}):
        fields = {"id": ROWS[0].id, "num_frames": 5, "digest": ROWS[0].digest} | changes
        other = (StoreUtterance(**fields), *ROWS[1:])  # type: ignore[arg-type]
        assert table != other
        assert table != UtteranceTable.of(other)


@pytest.mark.parametrize("ids", [["a", "b", "a"], ["", "b", "c", ""], ["ü", "ü"]])
def test_an_id_that_comes_twice_is_found(ids: list[str]) -> None:
    assert UtteranceTable.of(rows_of(ids)).an_id_twice() in ids
    assert UtteranceTable.of(rows_of(ids)).an_id_twice() == max(ids, key=ids.count)


def test_ids_of_equal_hashes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ids whose hashes are equal are very rare, and no ids twice."""
    monkeypatch.setattr(utterance_table, "hash", lambda key: len(key), raising=False)
    ids = ["a", "b", "cc", "c", "dd"]
    table = UtteranceTable.of(rows_of(ids))
    assert [table.find(id) for id in [*ids, "e"]] == [0, 1, 2, 3, 4, None]
    assert table.an_id_twice() is None
    assert UtteranceTable.of(rows_of(["a", "b", "cc", "a"])).an_id_twice() == "a"


def test_id_with_half_a_surrogate_pair_is_not_there() -> None:
    assert UtteranceTable.of(ROWS).find("\ud800") is None


def test_a_row_takes_less_than_a_hundred_bytes() -> None:
    table = UtteranceTable.of(ROWS)
    assert table.find(ROWS[0].id) == 0
    arrays = (table.starts_V, table.length_U, table.digest_UB)
    assert sum(column.itemsize * np.prod(column.shape[1:]) for column in arrays) == 48
