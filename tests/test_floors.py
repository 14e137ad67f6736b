"""Floors and rooms: imports go down only, and between the rooms of a floor as declared here.

To add a room, add a row to `ROOMS`; to add an arrow between two rooms, add the lower one to the
row of the upper one.
"""

import ast
import configparser
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FLOORS = ("storage", "stages", "pipeline", "essence")  # from the ground up
NOT_IN_STORAGE = {"torch", "click", "dask", "distributed", "pydantic", "rich", "kaldiio"}
MAX_ROOMS = 16  # of a floor
MAX_LEVELS = 6
# Room -> rooms of the same floor that it may import. A folder below a room belongs to the room;
# a file next to the rooms (storage/errors.py) is below them all, save in pipeline/, where such
# files (flow.py, job.py) use the rooms.
ACOUSTIC = {
    "contract",
    "acoustic.kaldi",
    "acoustic.features",
    "acoustic.sound",
    "acoustic.lang",
    "acoustic.models",
}
ROOMS: dict[str, dict[str, set[str]]] = {
    "storage": {
        "files": set(),
        "format": {"files"},
        "corpus": {"files"},
        "place": {"files", "format"},
        "contents": {"files", "format", "place"},
        "read": {"format", "place", "contents"},
        "write": {"files", "format", "place", "contents"},
        "care": {"files", "format", "corpus", "place", "contents", "read", "write"},
        "transfer": {"files", "format", "place", "contents", "write"},
        "derived": {"files", "format", "contents", "read", "write"},
        "exchange": {"files", "format", "corpus", "contents", "read", "write"},
    },
    "stages": {
        "contract": set(),
        "acoustic.kaldi": {"contract"},
        "acoustic.features": {"contract"},
        "acoustic.sound": {"contract", "acoustic.features"},
        "acoustic.models": {"contract"},
        "acoustic.lang": {"contract", "acoustic.kaldi"},
        "training": {"contract", "acoustic.models"},
        # It makes members too, and so lies above the training that some kinds need.
        "members": {"contract", "acoustic.kaldi", "acoustic.models", "acoustic.sound", "training"},
        "corpus": ACOUSTIC | {"training"},
        "ensemble": ACOUSTIC | {"training", "members"},
        "teacher": ACOUSTIC | {"training", "members"},
        "labels": ACOUSTIC | {"training", "members"},
        "student": ACOUSTIC | {"training"},
        "evaluate": ACOUSTIC | {"training", "members"},
        "deploy": ACOUSTIC | {"members"},
        "report": ACOUSTIC | {"training", "members"},
    },
    "pipeline": {
        "settings": set(),
        "shelf": {"settings"},
        "cluster": set(),
        "terminal": {"settings", "shelf", "cluster"},
        "sweep": {"settings", "shelf", "terminal"},
        "cache": {"shelf", "terminal"},
    },
}
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file, as a dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in names if is_module(name)]
            yield from modules
            if len(modules) < len(names):
                yield node.module


def is_module(name: str) -> bool:
    """Is it a file or a folder of this program?"""
    place = ROOT.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def room_of(module: str) -> tuple[str, str]:
    """Floor and room of a module: stages.acoustic.lang.graph -> (stages, acoustic.lang).

    The room is empty for a file next to the rooms.
    """
    floor, *inner = module.split(".")
    for length in range(len(inner), 0, -1):
        room = ".".join(inner[:length])
        if room in ROOMS.get(floor, {}):
            return floor, room
    return floor, ""


def upward(path: Path) -> list[str]:
    """Imports of a file that go up, or into a room that its own room may not import."""
    floor, room = room_of(dotted(path))
    wrong = []
    for module in imported(path):
        other_floor, other_room = room_of(module)
        if other_floor not in FLOORS:
            continue
        goes_up = FLOORS.index(other_floor) > FLOORS.index(floor)
        uses_rooms = (floor, room) == ("pipeline", "")
        is_declared = (
            uses_rooms
            or other_floor != floor
            or other_room in {room, "", *ROOMS.get(floor, {}).get(room, ())}
        )
        if goes_up or not is_declared:
            wrong.append(module)
    return wrong


def dotted(path: Path) -> str:
    """A source file as a module: storage/read/reader.py -> storage.read.reader."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def levels(rooms: dict[str, set[str]]) -> list[set[str]]:
    """The rooms from the ground up: each level imports the levels below it only.

    Rooms that import each other are on no level.
    """
    found: list[set[str]] = []
    left = dict(rooms)
    while ground := {room for room, needs in left.items() if not needs & left.keys()}:
        found.append(ground)
        left = {room: needs for room, needs in left.items() if room not in ground}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    assert not upward(path)


@pytest.mark.parametrize("floor", ROOMS)
def test_rooms_have_no_circles_and_few_levels(floor: str) -> None:
    rooms = ROOMS[floor]
    assert len(rooms) <= MAX_ROOMS
    assert set().union(*rooms.values()) <= rooms.keys()
    assert set().union(*levels(rooms)) == rooms.keys(), "these rooms import each other in a circle"
    assert len(levels(rooms)) <= MAX_LEVELS


@pytest.mark.parametrize("floor", ROOMS)
def test_rooms_are_the_folders_of_their_floor(floor: str) -> None:
    folders = {path.parent for path in SOURCES if path.parent != ROOT / floor}
    homeless = {
        dotted(folder)
        for folder in folders
        if dotted(folder).startswith(f"{floor}.")
        and not room_of(dotted(folder))[1]
        and [path for path in SOURCES if path.parent == folder and path.name != "__init__.py"]
    }
    assert not homeless
    assert all(ROOT.joinpath(floor, *room.split(".")).is_dir() for room in ROOMS[floor])


def test_levels_leave_out_rooms_in_a_circle() -> None:
    assert levels({"a": set(), "b": {"a", "c"}, "c": {"b"}}) == [{"a"}]


@pytest.mark.parametrize("path", sorted((ROOT / "storage").rglob("*.py")), ids=lambda p: p.name)
def test_storage_does_not_import_torch_and_the_like(path: Path) -> None:
    assert not NOT_IN_STORAGE & {module.split(".")[0] for module in imported(path)}


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if p.name == "__init__.py" and p != ROOT / "essence" / "__init__.py"],
    ids=lambda p: p.parent.name,
)
def test_init_files_hold_a_docstring_and_nothing_else(path: Path) -> None:
    (only,) = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(only, ast.Expr)


def test_pickle_is_used_nowhere() -> None:
    for path in SOURCES:
        assert not {"pickle", "joblib", "dill", "cloudpickle"} & set(imported(path)), path


def test_modules_have_no_circles() -> None:
    graph = {dotted(path): set(imported(path)) for path in SOURCES}
    while leaves := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in leaves}
    assert not graph, f"these import each other in a circle: {sorted(graph)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_begin_with_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_setup_cfg_names_every_package() -> None:
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in SOURCES
        if path.name == "__init__.py"
    }
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    assert listed == packages | {"pipeline.shipped"}  # settings files of the root, no code
