"""Fixtures and environment of every test."""

import os
from collections.abc import Iterator

import pytest

# Decided when triton is first imported, by whomever: its kernels run here without a GPU.
os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="module")
def no_waiting_for_the_disk() -> Iterator[None]:
    """Flushing is counted on, and tested, as a call of its own: nobody waits for it here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield
