"""Shard plan: whole utterances, in order, without gaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StoreError
from storage.format.shard_plan import fit_shard_frames, plan_shards

LENGTHS = st.lists(st.integers(0, 29), max_size=30)


@given(LENGTHS, st.integers(29, 61))
def test_shard_plan_never_divides_an_utterance(lengths: list[int], shard_frames: int) -> None:
    plan = plan_shards(lengths, shard_frames)
    rows = [row for shard in range(plan.num_shards) for row in plan.utterances(shard)]
    assert rows == list(range(len(lengths)))
    for shard in range(plan.num_shards):
        end = 0
        for row in plan.utterances(shard):
            assert plan.shard_U[row] == shard
            assert plan.offset_U[row] == end
            end += lengths[row]
        assert end <= shard_frames


@given(LENGTHS, st.integers(1, 61), st.integers(1, 13))
def test_shard_size_fits_whole_chunks_and_the_longest_utterance(
    lengths: list[int], wanted: int, chunk_frames: int
) -> None:
    rows = fit_shard_frames(lengths, wanted=wanted, chunk_frames=chunk_frames)
    assert rows % chunk_frames == 0
    assert rows >= max(lengths, default=1)
    assert rows < max(wanted, *lengths, 1) + chunk_frames
    assert rows < max(sum(lengths), 1) + chunk_frames
    plan_shards(lengths, rows)


def test_shard_plan_names_an_utterance_longer_than_a_shard() -> None:
    with pytest.raises(StoreError, match="utterance 1 has 9 frames, a shard 8"):
        plan_shards([3, 9], 8)
