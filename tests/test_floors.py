"""The floors hold: imports go down only, stages never meet, __init__ files hold a docstring."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FLOORS = ("storage", "stages", "pipeline")  # from the ground up
NOT_IN_STORAGE = {"torch", "click", "dask", "distributed", "pydantic", "rich", "kaldiio"}
SHARED_ROOMS = ("contract", "acoustic", "training")
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file, as a dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module
            yield node.module


def room(module: str) -> tuple[str, str]:
    """Floor and stage of a module: stages.teacher.label -> (stages, teacher)."""
    parts = module.split(".")
    return parts[0], parts[1] if parts[0] == "stages" and len(parts) > 1 else ""


def upward(path: Path) -> list[str]:
    """Imports of a file that go up, or to another stage."""
    here = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    floor, stage = room(here)
    wrong = []
    for module in imported(path):
        other_floor, other_stage = room(module)
        if other_floor not in FLOORS:
            continue
        goes_up = FLOORS.index(other_floor) > FLOORS.index(floor)
        is_open = other_stage in {stage, *SHARED_ROOMS, ""}
        meets = floor == "stages" and other_floor == "stages" and not is_open
        if goes_up or meets:
            wrong.append(module)
    return wrong


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    assert not upward(path)


@pytest.mark.parametrize("path", sorted((ROOT / "storage").rglob("*.py")), ids=lambda p: p.name)
def test_storage_knows_nothing_of_torch_and_the_like(path: Path) -> None:
    assert not NOT_IN_STORAGE & {module.split(".")[0] for module in imported(path)}


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name == "__init__.py"], ids=lambda p: p.parent.name
)
def test_init_files_hold_a_docstring_and_nothing_else(path: Path) -> None:
    (only,) = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(only, ast.Expr)


def test_no_pickle_anywhere() -> None:
    for path in SOURCES:
        assert not {"pickle", "joblib", "dill", "cloudpickle"} & set(imported(path)), path


def test_there_are_no_circles() -> None:
    graph = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): set(imported(path))
        for path in SOURCES
    }
    while leaves := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in leaves}
    assert not graph, f"these import each other in a circle: {sorted(graph)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_setup_cfg_names_every_package() -> None:
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in SOURCES
        if path.name == "__init__.py"
    }
    listed = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    listed = listed.split("packages =")[1].split("python_requires")[0]
    assert set(listed.split()) == packages
