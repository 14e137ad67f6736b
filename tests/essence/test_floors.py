"""essence/floors.py: a package named like a floor, earlier on sys.path, is refused by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

USES = {
    "storage": "essence.open_store",
    "stages": "essence.__version__",
    "pipeline": "essence.keep_top_k",
}


def python(*words: str, path: list[Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the interpreter in `cwd` with `path` in front of site-packages."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def foreign_package(folder: Path, name: str) -> Path:
    """A package of another project, with a module that the floor of that name does not have."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("SIZE = 7\n")
    (package / "buckets.py").write_text("def open_store(path):\n    return path\n")
    return package / "__init__.py"


@pytest.mark.parametrize("name", USES)
def test_foreign_package_earlier_on_the_path_is_named_with_ours(tmp_path: Path, name: str) -> None:
    found = foreign_package(tmp_path / "project", name)
    code = f"import essence\n{USES[name]}"
    ran = python("-c", code, path=[found.parents[1], ROOT], cwd=tmp_path)
    told = ran.stderr.splitlines()[-1]
    assert told.startswith(f"ImportError: another package is named '{name}': ")
    assert f"found {found}, wanted {ROOT / name / '__init__.py'}: " in told
    assert f"remove {found.parents[1]} from sys.path" in told


def test_foreign_package_that_is_already_imported_is_refused(tmp_path: Path) -> None:
    found = foreign_package(tmp_path / "project", "storage")
    code = (
        "import sys, storage.buckets\n"
        f"sys.path.remove({str(found.parents[1])!r})\n"  # not on the path any more, but loaded
        "from essence import open_store"
    )
    ran = python("-c", code, path=[found.parents[1], ROOT], cwd=tmp_path)
    assert f"found {found}, wanted" in ran.stderr.splitlines()[-1]


def test_foreign_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "storage.py").write_text("SIZE = 7\n")
    ran = python("-c", "import essence; essence.Span", path=[ROOT], cwd=tmp_path)
    told = ran.stderr.splitlines()[-1]
    assert f"found {tmp_path / 'storage.py'}, wanted" in told
    assert f"remove {tmp_path} from sys.path" in told


EDITABLE = """
import sys
from importlib.machinery import PathFinder

class Finder:
    \"\"\"As setuptools installs it: asked after all entries of sys.path.\"\"\"

    def find_spec(self, name, path=None, target=None):
        return None if path else PathFinder.find_spec(name, [ROOT])

ROOT = sys.argv.pop(1)
sys.meta_path.insert(sys.meta_path.index(PathFinder) + 1, Finder())
"""


def test_plain_folder_does_not_hide_a_floor_of_an_editable_installation(tmp_path: Path) -> None:
    for name in USES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "recording.wav").write_bytes(b"")
    for code in (
        "import essence; print(essence.Span.__module__)",
        "from essence.__main__ import main; main()",
    ):
        ran = python("-c", EDITABLE + code, str(ROOT), "--help", path=[], cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        assert "storage.contents.frame_map" in ran.stdout or "Usage: essence" in ran.stdout


def test_plain_folder_that_is_already_imported_is_refused(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    code = EDITABLE + "import storage, essence\nessence.Span"
    ran = python("-c", code, str(ROOT), path=[], cwd=tmp_path)
    assert f"found {tmp_path / 'storage'}, wanted {ROOT / 'storage' / '__init__.py'}" in ran.stderr


def test_command_line_prints_the_conflict_in_one_line_and_exits_with_1(tmp_path: Path) -> None:
    found = foreign_package(tmp_path, "pipeline")
    ran = python("-m", "essence", "--help", path=[ROOT], cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stdout == ""
    (told,) = ran.stderr.splitlines()
    assert told.startswith(f"essence: another package is named 'pipeline': found {found}, wanted ")
    assert "working directory" in told
