"""Tests need not wait for the disk: flushing is counted on, and tested, as a call of its own."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def never_waiting(no_waiting_for_the_disk: None) -> None:
    """For all that tests storage."""
