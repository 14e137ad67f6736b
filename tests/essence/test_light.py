"""The core: what works where nothing but the core's dependencies is installed."""

import configparser
import json
import re
import subprocess
from pathlib import Path

import pytest

from pipeline.cache.commands import cache
from pipeline.cli import main
from pipeline.settings.tree import PipelineSettings
from pipeline.shelf.freshness import Shelf
from pipeline.shelf.recipes import Recipes
from pipeline.terminal.extras import EXTRA_OF
from stages.teacher.settings import TeacherSettings
from tests.support.makers.store import fill_store, make_about, make_utterances
from tests.support.paths import ROOT
from tests.support.without_packages import COMMAND, run_code, run_without

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

IMPORT = """
import essence
for name in essence.__all__:
    print(name, type(getattr(essence, name)))
"""
LOADED = """
import atexit, sys
from essence.__main__ import main

atexit.register(lambda: print(*sys.modules, file=sys.stderr))
main()
"""
HELP = """
import json
from pipeline.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main([*words, "--help"], prog_name="essence")
    except SystemExit as end:
        assert end.code == 0
"""
# Those that make nothing; also on settings of other kinds.
LOOKS = (
    ["status"],
    ["status", "--set", "ensemble.members=[{name: a}, {name: b, folds: 3}]"],
    ["config"],
    ["gc", "--dry-run"],
    ["status", "--check"],
    ["status", "--config", "tiny"],
    ["config", "--origin", "--config", "spoken-untranscribed"],
    ["init"],
)


def without_extras(code: str, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process that cannot import any package of an extra."""
    return run_without(EXTRA_OF, code, *words, cwd=cwd)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, as a teacher has it."""
    folder = tmp_path_factory.mktemp("work") / "teacher-0123456789ab"
    fill_store(folder / "train.zarr", make_about(), utterances=make_utterances((7, 0, 20)))
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work directory with artefacts of the default settings, and one of others."""
    folder = tmp_path / "work"
    for settings in (PipelineSettings(), PipelineSettings(teacher=TeacherSettings(kept=3))):
        shelf = Shelf(folder)
        recipes = Recipes(settings, shelf)
        shelf.make(recipes.teacher, fill_teacher)
        for recipe in recipes.students:
            shelf.make(recipe, lambda directory: None)
    return folder


def fill_teacher(directory: Path) -> None:
    fill_store(directory / "dev.zarr", make_about(), utterances=make_utterances((7, 0, 20)))


def requirements(section: str, key: str) -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config[section][key].split("\n")
    return {re.split(r"[ \[<>=;]", line)[0] for line in lines if line.strip()}


def test_library_imports_with_the_core_alone(tmp_path: Path) -> None:
    ran = without_extras(IMPORT, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "open_store" in ran.stdout


@pytest.mark.parametrize("words", [["info"], ["verify", "--data"], ["show"], ["audit"], ["list"]])
def test_cache_commands_run_with_the_core_alone(
    teacher: Path, tmp_path: Path, words: list[str]
) -> None:
    store = teacher / "train.zarr"
    ran = without_extras(COMMAND, "cache", *words, store, "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)
    assert ran.stderr == "" or re.fullmatch("no picture: needs matplotlib, .*\n", ran.stderr)


def test_picture_that_is_asked_for_needs_its_extra(teacher: Path, tmp_path: Path) -> None:
    words = ("cache", "show", teacher / "train.zarr", "--out", "a.png")
    ran = without_extras(COMMAND, *words, cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith("essence: needs matplotlib, which the extra 'train' installs")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_commands_that_make_nothing_run_with_the_core_alone(work: Path, words: list[str]) -> None:
    ran = without_extras(COMMAND, *words, cwd=work.parent)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_verify_runs_with_the_core_alone(work: Path) -> None:
    ran = without_extras(COMMAND, "verify", cwd=work.parent)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "sound" in ran.stdout


def test_help_of_every_command_is_printed_with_the_core_alone(tmp_path: Path) -> None:
    commands = [(), *((name,) for name in main.commands), *(("cache", n) for n in cache.commands)]
    ran = without_extras(HELP, json.dumps(commands), cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    for words in commands:
        assert f"Usage: {' '.join(['essence', *words])} [OPTIONS]" in ran.stdout


@pytest.mark.parametrize("words", LOOKS[:4], ids=" ".join)
def test_commands_that_make_nothing_load_no_extra(work: Path, words: list[str]) -> None:
    """Also where the extras are installed: torch alone takes two seconds."""
    ran = run_code(LOADED, *words, cwd=work.parent)
    assert ran.returncode == 0, ran.stderr
    modules = set(ran.stderr.split())
    assert "click" in modules
    assert not modules & {*EXTRA_OF, "zarr", "rich"}


def test_gpu_that_is_asked_for_needs_torch(tmp_path: Path) -> None:
    ran = without_extras(COMMAND, "status", "--device", "cuda", cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith("essence: needs torch, which the extra 'train' installs")


@pytest.mark.parametrize("command", ["student", "run", "report"])
def test_command_names_the_extra_that_it_lacks_in_one_line(tmp_path: Path, command: str) -> None:
    ran = without_extras(COMMAND, command, cwd=tmp_path)
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert re.match(r"essence: needs \w+, which the extra '\w+' installs: run pip install", line)
    assert not list(tmp_path.iterdir())


def test_extras_of_packages_are_those_of_setup_cfg() -> None:
    for package, extra in EXTRA_OF.items():
        name = package.replace("_", "-")
        assert name in requirements("options.extras_require", extra)
        assert name not in requirements("options", "install_requires")


def test_every_package_of_train_and_speech_has_its_message() -> None:
    for extra in ("train", "speech", "cluster", "demo"):
        names = {name.replace("-", "_") for name in requirements("options.extras_require", extra)}
        assert names == {package for package, of in EXTRA_OF.items() if of == extra}
