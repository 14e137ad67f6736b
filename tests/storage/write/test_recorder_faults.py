"""A recording that is killed, refused or lied to at the Nth system call, or whose file is damaged.

The default run tries some calls; `pytest -m slow tests/storage/write/test_recorder_faults.py` all.
"""

import errno
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StoreCorrupt, StoreError
from storage.format.layout import StoreAbout
from storage.read.reader import open_store
from storage.write.recorder import record
from storage.write.recording import SPILL
from storage.write.spill import Labelled, Spill
from tests.support.faults.outcomes import assert_ended_well, assert_whole_or_unreadable
from tests.support.faults.store_commands import LENGTHS, RECORDED, record_all
from tests.support.faults.system_calls import (
    NAMED,
    Outcome,
    count_calls,
    every,
    spoil,
    why_no_faults,
)
from tests.support.makers.store import make_about, make_block, make_logp, tree_digest

needs_strace = pytest.mark.skipif(why_no_faults() != "", reason=why_no_faults())
CHANGING = ("pwrite64", "write", "fsync", "rename", "link", "mkdir", "unlinkat")
STEP = 41  # of all calls but pwrite64, which adds an utterance
IDS = [f"utt-{at}" for at in range(len(LENGTHS))]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("undisturbed") / "0.zarr"
    record_all(path)
    assert not (path / "_stage").exists()
    return tree_digest(path)


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    counts = count_calls(tmp_path_factory.mktemp("counts"), what="record")
    assert counts["pwrite64"] == len(LENGTHS)
    assert min(counts[call] for call in CHANGING) >= 1
    return counts


def assert_resumes(outcome: Outcome, undisturbed: str) -> None:
    assert_whole_or_unreadable(outcome)
    record_all(outcome.path)
    assert tree_digest(outcome.path) == undisturbed, outcome


def sweep(folder: Path, counts: Counter[str], undisturbed: str, fault: str, *, all: bool) -> None:
    points = [
        point
        for call in CHANGING
        for point in every(counts, [call], step=1 if all or call == "pwrite64" else STEP)
    ]
    for outcome in spoil(folder, fault, points, what="record"):
        assert_ended_well(outcome, fault)
        assert_resumes(outcome, undisturbed)


@needs_strace
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC", "retval=0"])
def test_recording_spoiled_at_some_calls_goes_on_to_the_same_bytes(
    tmp_path: Path, counts: Counter[str], undisturbed: str, fault: str
) -> None:
    """RELIABILITY 1, 3, 9."""
    sweep(tmp_path, counts, undisturbed, fault, all=False)


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC", "error=EIO", "retval=0"])
def test_recording_spoiled_at_any_call_goes_on_to_the_same_bytes(
    tmp_path: Path, counts: Counter[str], undisturbed: str, fault: str
) -> None:
    """RELIABILITY 1, 3, 4, 9: N = 1, 2, ... of each kind."""
    sweep(tmp_path, counts, undisturbed, fault, all=True)


@needs_strace
def test_full_disk_is_named_and_the_recorder_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: str
) -> None:
    """RELIABILITY 3."""
    (outcome,) = spoil(tmp_path, "error=ENOSPC", [("pwrite64", 2)], what="record")
    assert outcome.status == NAMED
    assert "No space left on device" in outcome.message
    assert "bytes are needed" in outcome.message
    with pytest.raises(StoreError, match="under construction"):
        open_store(outcome.path)
    assert_resumes(outcome, undisturbed)


def begun(path: Path) -> bytes:
    """Record all utterances, and stop. Returns the spill file."""

    def stop() -> None:
        with record(path, **RECORDED) as recorder:
            for at, id in reversed([*enumerate(IDS)]):
                recorder.add(id, make_logp(LENGTHS[at], 5, seed=at), inputs=id.encode())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    return (path / SPILL).read_bytes()


@pytest.mark.usefixtures("no_waiting_for_the_disk")
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_file_damaged_in_a_power_cut_loses_what_missing_lists(
    tmp_path_factory: pytest.TempPathFactory, undisturbed: str, data: st.DataObject
) -> None:
    """RELIABILITY 2: cut, or with zeros or another byte somewhere after its last flush."""
    path = tmp_path_factory.mktemp("cut") / "a.zarr"
    whole = begun(path)
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["cut", "zeros", "flip"]))
    flipped = bytes([whole[at] ^ data.draw(st.integers(1, 255))])
    damaged = {
        "cut": whole[:at],
        "zeros": whole[:at] + bytes(len(whole) - at),
        "flip": whole[:at] + flipped + whole[at + 1 :],
    }[kind]
    (path / SPILL).write_bytes(damaged)
    held = []

    def look() -> None:
        with record(path, **RECORDED) as recorder:
            held.extend(id for id in IDS if id in recorder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look()
    assert held == IDS[len(IDS) - len(held) :]  # the first ones that were added
    assert len(held) < len(IDS) or damaged == whole
    record_all(path)
    assert tree_digest(path) == undisturbed


def test_record_that_changes_after_it_was_read_is_no_store(tmp_path: Path) -> None:
    """RELIABILITY 5."""
    about = make_about()
    spill = Spill(tmp_path / "a", about)
    block = make_block(about, 5, seed=1)
    spill.append([Labelled("utt", "d" * 64, block)])
    content = bytearray((tmp_path / "a").read_bytes())
    content[-3] ^= 1
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(StoreCorrupt, match="the record of utterance 'utt' is damaged"):
        list(spill.blocks("utt"))
    spill.close()


def test_call_that_meets_a_full_disk_adds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 3: not even the first utterance of a batch, which the disk had room for."""
    about, pwrite, calls = make_about(), os.pwrite, []
    added = [Labelled(f"utt-{n}", "d" * 64, make_block(about, 5, seed=n)) for n in range(3)]

    def half(handle: int, content: memoryview, at: int) -> int:
        calls.append(len(content))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(handle, content[: len(content) // 2], at)

    spill = Spill(tmp_path / "a", about)
    spill.append(added[:1])
    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(StoreError, match=r"No space left on device.* bytes are needed"):
        spill.append(added[1:])
    monkeypatch.undo()
    again = Spill(tmp_path / "a", about)
    assert list(spill.utterances) == list(again.utterances) == ["utt-0"]
    again.close()
    spill.append(added[1:])
    spill.close()
    assert list(Spill(tmp_path / "a", about).utterances) == ["utt-0", "utt-1", "utt-2"]


def test_records_of_another_shape_do_not_count(tmp_path: Path) -> None:
    def held(about: StoreAbout) -> list[str]:
        spill = Spill(tmp_path / "a", about)
        found = list(spill.utterances)
        spill.append([Labelled(f"utt-{about.kept}", "d" * 64, make_block(about, 5, seed=1))])
        spill.close()
        return found

    assert held(make_about()) == []
    assert held(make_about(kept=3)) == []  # cut away
    assert held(make_about(kept=3)) == ["utt-3"]
