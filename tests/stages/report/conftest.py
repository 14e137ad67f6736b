"""A page with every section, for the tests of all parts of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.makers.page import on_one_trunk, write
from tests.support.makers.report import make_inputs


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section."""
    directory = tmp_path_factory.mktemp("whole")
    inputs = make_inputs(directory)
    return write(replace(inputs, results=on_one_trunk(inputs.results)), directory / "report")
