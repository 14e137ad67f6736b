"""One house for all tests of this folder, made once; tests damage copies of it."""

import pytest

from tests.support.makers.house import House, make_house


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A work directory with artefacts of every stage, in which everything is as it was written."""
    return make_house(tmp_path_factory.mktemp("house"))
