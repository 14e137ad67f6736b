"""`pip install .` gives a program that works anywhere, with all its files and its types."""

import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from pipeline.settings.shipped import examples
from stages.contract.version import VERSION
from tests.support.paths import ROOT

FLOORS = ("essence", "pipeline", "stages", "storage")
BESIDE_THE_FLOORS = ("docs", "tests", "examples", "benchmarks", ".ci")
SHIPPED = ("pipeline.yaml", *(f"examples/{path.name}" for path in examples().values()))
TEXTS = [
    path
    for folder in (*FLOORS, "docs", "examples", "benchmarks", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts
] + [path for path in sorted(ROOT.iterdir()) if path.suffix in {".md", ".cfg", ".txt", ".yaml"}]

USE_OF_TYPES = """\
import essence

store = essence.open_store("train.zarr")
labels = store.read([essence.Span("utterance-1", 0, 7)], k=8)
reveal_type(labels)
reveal_type(essence.audit(store).kept_mass)
reveal_type(essence.__version__)
essence.opne_store("train.zarr")
"""


def run(*words: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the interpreter in `cwd`, with `path` in front of everything that is installed."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path or "")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution, built from a copy of the sources."""
    source = tmp_path_factory.mktemp("source")
    for name in (*FLOORS, *BESIDE_THE_FLOORS):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in filter(Path.is_file, ROOT.iterdir()):
        shutil.copy(path, source / path.name)
    target = tmp_path_factory.mktemp("sdist")
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(target)!r})"
    ran = run("-c", build, cwd=source)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (archive,) = target.iterdir()
    assert archive.name == f"essence_kd-{VERSION}.tar.gz"
    with tarfile.open(archive) as opened:
        opened.extractall(target, filter="data")
    return target / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def installed(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the program was installed from its source distribution.

    Dependencies are those of the running environment; nothing is downloaded.
    """
    source = tmp_path_factory.mktemp("unpacked") / "essence"
    shutil.copytree(sdist, source)
    target = tmp_path_factory.mktemp("installed")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    ran = run("-m", "pip", "install", *offline, "--target", str(target), ".", cwd=source)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    shutil.rmtree(source)  # what is installed must not need it
    return target


def files_below(directory: Path) -> set[str]:
    paths = (path for name in FLOORS for path in (directory / name).rglob("*"))
    return {
        str(path.relative_to(directory))
        for path in paths
        if path.is_file() and path.suffix != ".pyc"
    }


def artefacts(status: str) -> list[str]:
    """The names of directories that `essence status` lists."""
    return re.findall(r"[a-z]+-[0-9a-f]{12}$", status, re.MULTILINE)


def test_installation_holds_every_file_of_the_packages(installed: Path) -> None:
    settings = {f"pipeline/shipped/{name}" for name in SHIPPED}
    assert files_below(installed) == files_below(ROOT) | settings
    assert {"essence/py.typed", "stages/report/page.html"} <= files_below(installed)


def test_source_distribution_holds_documents_tests_and_examples(sdist: Path) -> None:
    for folder in (*FLOORS, *BESIDE_THE_FLOORS):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        names = {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc"}
        assert names
        assert {name for name in names if not (sdist / name).is_file()} == set()
    texts = ("README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "constraints.txt", "setup.cfg")
    assert {name for name in texts if not (sdist / name).is_file()} == set()
    assert not list(sdist.rglob("*.pyc"))


def test_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == VERSION
    assert citation["license"] == "Apache-2.0"
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:1906.10834"


def test_installation_holds_the_settings_files_of_the_repository(installed: Path) -> None:
    for name in SHIPPED:
        assert (installed / "pipeline" / "shipped" / name).read_bytes() == (
            ROOT / name
        ).read_bytes()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--set", "student.training.seed=3", "--set", "ensemble.members.0.name=first"),
        ("--config", "tiny"),
    ],
    ids=" ".join,
)
def test_installation_and_checkout_name_the_same_artefacts(
    installed: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """In an empty directory and in a clean clone the same command gives the same fingerprints."""
    own = run("-m", "essence", "status", *words, cwd=tmp_path, path=installed)
    work = f"work_dir={tmp_path / 'elsewhere'}"  # what was made in the checkout is not listed
    checkout = run("-m", "essence", "status", *words, "--set", work, cwd=ROOT, path=ROOT)
    assert own.returncode == checkout.returncode == 0, own.stderr + checkout.stderr
    assert artefacts(own.stdout) == artefacts(checkout.stdout)
    assert len(artefacts(own.stdout)) > 10


def test_distribution_is_named_essence_kd_and_carries_the_license(installed: Path) -> None:
    (facts,) = installed.glob("*.dist-info")
    assert facts.name == f"essence_kd-{VERSION}.dist-info"
    metadata = email.message_from_string((facts / "METADATA").read_text(encoding="utf-8"))
    assert metadata["Name"] == "essence-kd"
    assert [path.read_bytes() for path in facts.rglob("LICENSE")] == [
        (ROOT / "LICENSE").read_bytes()
    ]


def test_installation_imports_from_an_empty_directory(installed: Path, tmp_path: Path) -> None:
    code = "import essence; print(essence.open_store.__module__, essence.__file__)"
    ran = run("-W", "error", "-c", code, cwd=tmp_path, path=installed)
    assert ran.stderr == ""
    assert ran.stdout.split() == ["storage.read.reader", str(installed / "essence/__init__.py")]


def test_installed_module_is_the_command_line(installed: Path, tmp_path: Path) -> None:
    ran = run("-m", "essence", "--version", cwd=tmp_path, path=installed)
    assert (ran.returncode, ran.stdout) == (0, f"essence-kd {VERSION}\n")


def test_installed_script_is_the_command_line(installed: Path, tmp_path: Path) -> None:
    script = str(installed / "bin" / "essence")
    ran = run(script, "--help", cwd=tmp_path, path=installed)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("Usage: essence [OPTIONS] COMMAND")
    # Settings, torch and all stages: their defaults need no file of the checkout.
    ran = run(script, "status", cwd=tmp_path, path=installed)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "corpus" in ran.stdout


def test_installed_types_reach_a_strict_type_checker(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(USE_OF_TYPES, encoding="utf-8")
    ran = run("-m", "mypy", "--strict", "use.py", cwd=tmp_path, path=installed)
    told = re.findall(
        r'use\.py:(\d+): (?:note: Revealed type is|error: Module has no) "?(.*?)"?$',
        ran.stdout,
        re.MULTILINE,
    )
    kinds = {int(line): text for line, text in told}
    assert kinds[5].endswith("storage.read.soft_labels.SoftLabels")
    assert kinds[6].endswith("float]")
    assert kinds[7].endswith("str")
    assert "use.py:8: error:" in ran.stdout
    assert "Found 1 error" in ran.stdout


def install_lines(text: str) -> list[str]:
    """The arguments of each `pip install`; lines of a string or a paragraph are joined."""
    flat = re.sub(r"\"?\s*\n\s*f?\"?", " ", text)
    return re.findall(r"\b(?:pip|pipx|uv)3? install\b([^`#&;)]{0,100})", flat)


def test_install_lines_never_name_this_program() -> None:
    """`essence` in the public index is another project, and `essence-kd` is not published."""
    lines = [(path, line) for path in TEXTS for line in install_lines(path.read_text("utf-8"))]
    assert len(lines) > 10
    assert [line for line in lines if re.search(r"(?<![\w./-])essence\b(?![./])", line[1])] == []


def test_extras_of_setup_cfg_are_those_that_texts_name() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = set(config["options.extras_require"])
    for path in TEXTS:
        for group in re.findall(r"pip install [^\n]*?'?\.\[([\w,]+)\]", path.read_text("utf-8")):
            assert set(group.split(",")) <= extras, path
