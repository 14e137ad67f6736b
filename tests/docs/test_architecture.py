"""docs/architecture.md is true: the files and folders that it names exist."""

import re

import pytest

from tests.support.paths import DOCS, ROOT

PAGE = (DOCS / "architecture.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`((?:essence|pipeline|stages|storage|tests)/[\w./-]*)`", PAGE)))
TABLE = PAGE.split("## To add X, touch Y")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", NAMED)
def test_architecture_names_files_that_exist(name: str) -> None:
    assert (ROOT / name).exists()


def test_architecture_tells_what_to_touch_for_each_extension() -> None:
    rows = re.findall(r"^\| (an? [^|]+) \| (.+) \|$", TABLE, flags=re.MULTILINE)
    assert len(rows) >= 11
    for what, touched in rows:
        assert "nothing" in touched or re.search(r"`[\w/]+\.py`", touched), what
