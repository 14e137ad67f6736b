"""A network that is trained in a second."""

import pytest

from stages.acoustic.models.settings import ArchitectureSettings
from stages.corpus.align import network


@pytest.fixture
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    small = ArchitectureSettings(kind="tdnn", hidden=16, layers=2, dropout=0.0)
    monkeypatch.setattr(network, "ARCHITECTURE", small)
    monkeypatch.setattr(network, "FEWEST_STEPS", 60)
