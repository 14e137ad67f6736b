"""Fixtures of foreign members."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.acoustic.models.permission import ALLOWED
from tests.support.makers.training import make_corpus_directory


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.h5 and dev.h5."""
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules in tmp_path, which no other test has loaded; nothing is permitted yet."""
    monkeypatch.setenv(ALLOWED, "")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("their_"):
            del sys.modules[name]
