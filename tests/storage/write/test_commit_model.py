"""Exhaustive search of a model of the commit protocol: no data loss, no superfluous flush.

The model (tests/support/oracles/commit_model.py) has the protocol's system calls one by one. Every
state of every interleaving is checked as a reader sees it, after a kill of all writers followed by
a fresh writer, and after every power cut that POSIX permits. About a minute of processor time.
"""

import pytest

from tests.support.oracles.commit_model import Protocol, explore

ALONE, AGREEING, DISAGREEING = ("x",), ("x", "x"), ("x", "y")
FLUSHES = (
    "flush file",
    "flush top",
    "flush stage",
    "flush commits",
    "flush root after install",
    "flush root after clearing",
)


@pytest.mark.parametrize("has_objects", [True, False])
def test_protocol_keeps_its_promises_for_one_writer(has_objects):
    num_states, problem = explore(Protocol(has_objects=has_objects), ALONE)
    assert problem == ""
    assert num_states > 45


def test_protocol_keeps_its_promises_for_two_writers_with_equal_content():
    num_states, problem = explore(Protocol(), AGREEING, begun=True)
    assert problem == ""
    assert num_states > 50_000


def test_protocol_keeps_its_promises_for_two_writers_with_other_content():
    """From the first call on: both begin the store, one commits, the other is refused."""
    num_states, problem = explore(Protocol(), DISAGREEING)
    assert problem == ""
    assert num_states > 20_000


@pytest.mark.parametrize("call", FLUSHES)
def test_protocol_without_any_one_flush_loses_data(call):
    _, problem = explore(Protocol(without=frozenset({call})), ALONE)
    assert problem


def test_protocol_without_flush_after_the_link_loses_the_commit_of_an_empty_shard():
    without = frozenset({"flush root after link"})
    _, problem = explore(Protocol(without=without, has_objects=False), ALONE)
    assert problem == "write_shard returned and the commit is lost"


def test_protocol_without_flush_of_the_name_of_the_stage_loses_an_object():
    """A second writer uses the stage that the first has created and not flushed."""
    without = frozenset({"flush root after staging"})
    _, problem = explore(Protocol(without=without), DISAGREEING)
    assert problem == "a shard is committed and its object is lost"


def test_protocol_renaming_instead_of_linking_lets_a_later_writer_replace_the_commit():
    _, problem = explore(Protocol(rename_the_record=True), DISAGREEING)
    assert problem


def test_protocol_installing_the_head_first_shows_a_store_without_its_manifest():
    _, problem = explore(Protocol(install_together=True), ALONE)
    assert problem.startswith("the store is sealed and manifest is missing")
