"""What must hold of every store whose maker met a fault."""

import pytest

from storage.errors import StoreError
from storage.read.reader import open_store
from tests.support.faults.system_calls import NAMED, Outcome


def assert_ended_well(outcome: Outcome, fault: str) -> None:
    """It was killed where it should be; otherwise it finished, or an error was named."""
    assert outcome.status in ((-9,) if "KILL" in fault else (0, NAMED)), outcome


def assert_whole_or_unreadable(outcome: Outcome) -> None:
    """A store with a HEAD is whole, byte for byte; one without cannot be opened."""
    if (outcome.path / "HEAD").exists():
        open_store(outcome.path).verify()
    else:
        with pytest.raises(StoreError, match=r"is not there|under construction"):
            open_store(outcome.path)
