"""docs/reliability.md is true: every number has tests that name it, in the files that it lists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import DOCS, ROOT, TESTS

PAGE = (DOCS / "reliability.md").read_text("utf-8")
NUMBERS = {*range(1, 21), *range(22, 30)}  # at least
ROWS = {
    int(number): row
    for number, row in re.findall(r"^\| (\d+) \| [^|]+ \| (.*) \|$", PAGE, flags=re.MULTILINE)
    if "test_" in row
}


def named_in(path: Path) -> Iterator[int]:
    """The numbers in the docstrings of a file's tests."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found = re.match(r"RELIABILITY ([\d, ]+)", ast.get_docstring(node) or "")
            yield from map(int, found[1].strip(" ,").split(", ")) if found else ()


def test_requirements_have_tests_that_name_them() -> None:
    named: dict[int, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        for number in named_in(path):
            named.setdefault(number, set()).add(path.relative_to(ROOT).as_posix())
    assert ROWS.keys() >= NUMBERS
    assert named.keys() == ROWS.keys()
    for number, row in ROWS.items():
        listed = set(re.findall(r"tests/[\w/]+\.py", row))
        assert listed <= named[number], number
