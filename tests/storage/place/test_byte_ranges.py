"""Grouping of byte ranges into requests: no range lost or repeated, sizes bounded."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.contents.frame_map import Rows, groups
from storage.place import byte_ranges
from storage.place.byte_ranges import REQUEST_BYTES, ByteRange, group_by_size, join_neighbours

SIZES = st.lists(st.integers(0, REQUEST_BYTES + 9), max_size=12)


@given(cuts=st.lists(st.integers(0, 99), max_size=9), gaps=st.lists(st.booleans(), min_size=9))
def test_byte_ranges_join_neighbours_into_one_request(cuts: list[int], gaps: list[bool]) -> None:
    places, at = [], 0
    for size, gap in zip(cuts, gaps, strict=False):
        at += gap
        places.append(ByteRange("ids_0/c/0/0", at, at + size + 1))
        at += size + 1
    places.append(ByteRange("ids_0/c/1/0", at, at + 5))  # follows, in another object
    runs = list(join_neighbours([*places[::-1], *places]))
    assert [place for run in runs for place in run] == places
    for run in runs:
        assert all(a.name == b.name and a.stop == b.start for a, b in pairwise(run))
    for before, after in pairwise(runs):
        assert (before[-1].name, before[-1].stop) != (after[0].name, after[0].start)


def test_byte_ranges_bound_the_size_of_a_request(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(byte_ranges, "REQUEST_BYTES", 10)
    places = [ByteRange("a", at, at + 4) for at in range(0, 40, 4)]
    runs = list(join_neighbours([*places, ByteRange("a", 40, 99)]))
    assert [len(run) for run in runs] == [2, 2, 2, 2, 2, 1]  # a larger one goes alone


@given(sizes=SIZES)
def test_byte_ranges_group_small_objects_up_to_a_bound(sizes: list[int]) -> None:
    size_of = {f"o{n}": size for n, size in enumerate(sizes)}
    found = list(group_by_size(size_of))
    assert [name for group in found for name in group] == list(size_of)
    totals = [sum(size_of[name] for name in group) for group in found]
    assert all(n <= REQUEST_BYTES or len(g) == 1 for n, g in zip(totals, found, strict=True))
    following = [size_of[group[0]] for group in found[1:]]
    assert all(n + more > REQUEST_BYTES for n, more in zip(totals, following, strict=False))


@settings(max_examples=200)
@given(
    places=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), max_size=20),
    most=st.integers(0, 4),
)
def test_groups_bound_the_chunks_requested_together(
    places: list[tuple[int, int]], most: int
) -> None:
    batches = [[Rows(shard, start, start + 1)] for shard, start in places]
    found = list(groups(batches, chunk_frames=10, most_chunks=most))
    assert [batch for group in found for batch in group] == batches
    for group in found:
        chunks = {(row.shard, row.start // 10) for batch in group for row in batch}
        assert len(chunks) <= most or len(group) == 1
