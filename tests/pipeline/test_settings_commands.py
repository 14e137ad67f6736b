"""essence init and essence config: files to begin with, the settings in force, their origins."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.settings.as_yaml import as_yaml
from pipeline.settings.read import read_settings
from pipeline.settings.shipped import DEFAULTS, examples
from tests.support.paths import ROOT

WITH_PATH = ["corpus.path=somewhere"]
SHIPPED = {"": DEFAULTS, **examples()}


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def changes_for(path: Path) -> list[str]:
    tree = yaml.safe_load(path.read_text("utf-8"))
    return WITH_PATH if tree["corpus"].get("source") in ("kaldi", "audio") else []


def test_init_writes_each_shipped_file_with_its_comments(empty: Path) -> None:
    for name, path in SHIPPED.items():
        own = empty / f"{name or 'default'}.yaml"
        done = run("init", *(["--example", name] if name else []), own.name)
        assert done.exit_code == 0
        assert f"essence run --config {own.name}" in done.output
        assert own.read_bytes() == path.read_bytes()
    assert {"an4", "kaldi", "tiny"} <= examples().keys()


def test_init_writes_the_file_that_commands_read(empty: Path) -> None:
    assert run("init", "--example", "tiny").output.endswith("then: essence run\n")
    assert read_settings(None) == read_settings(examples()["tiny"])


def test_init_overwrites_nothing(empty: Path) -> None:
    for there in (empty / "pipeline.yaml", empty / "a.yaml"):
        there.write_text("work_dir: mine\n")
        done = run("init", there.name)
        assert done.exit_code == 2
        assert f"{there.name} is there already" in done.output
        assert there.read_text() == "work_dir: mine\n"
    (empty / "link.yaml").symlink_to(empty / "nowhere")
    assert run("init", "link.yaml").exit_code == 2


def test_init_lists_the_examples(empty: Path) -> None:
    assert all(name in run("init", "--help").output for name in examples())
    refused = run("init", "--example", "tinny")
    assert refused.exit_code == 2
    assert all(name in refused.output for name in examples())
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_config_prints_a_file_that_means_the_same(empty: Path, name: str) -> None:
    settings = read_settings(SHIPPED[name], changes_for(SHIPPED[name]))
    for origin in (None, lambda place: place):
        (empty / "again.yaml").write_text(as_yaml(settings, origin=origin), encoding="utf-8")
        assert read_settings(empty / "again.yaml") == settings


def test_config_prints_odd_values_as_they_are(empty: Path) -> None:
    odd = {
        "work_dir": "a: b # c",
        "report": {"title": "two\nlines, 'quoted' \"ü\""},
        "student": {"name": "yes", "training": {"learning_rate": 1e-05}},
        "compare": [{"k": 3, "architecture": {"layers": 3}}],
    }
    (empty / "odd.yaml").write_text(yaml.safe_dump(odd), encoding="utf-8")
    settings = read_settings(empty / "odd.yaml")
    (empty / "again.yaml").write_text(as_yaml(settings, origin=str), encoding="utf-8")
    assert read_settings(empty / "again.yaml") == settings


def test_config_masks_passwords(empty: Path) -> None:
    store = "student.store=https://user:secret@host/train.zarr"
    shown = run("config", "--set", store)
    assert shown.exit_code == 0
    assert "secret" not in shown.output


def test_config_prints_where_each_value_comes_from(empty: Path) -> None:
    (empty / "mine.yaml").write_text("student: {k: 5, tail: bucket}\ncompare: [{k: 3}]\n")
    words = ("--set", "student.tail=drop", "--set", "teacher={kept: 7}", "--device", "cuda")
    shown = run("config", "--config", "mine.yaml", "--origin", *words)
    assert shown.exit_code == 0
    lines = {line.split(" #")[0].strip(): line.split("# ")[-1] for line in shown.output.split("\n")}
    assert lines["k: 5"] == lines["- k: 3"] == "mine.yaml"
    assert lines["tail: drop"] == lines["kept: 7"] == lines["device: cuda"] == "--set"
    assert lines["hard_weight: 0.2"] == "default"
    of_defaults = run("config", "--origin").output
    assert "mine.yaml" not in of_defaults
    assert of_defaults.count("# default") > 90


def test_config_accepts_the_name_of_an_example(empty: Path) -> None:
    assert read_settings(Path("tiny")) == read_settings(ROOT / "examples" / "tiny.yaml")
    (empty / "tiny").write_text("student: {k: 3}\ncompare: []\n")
    assert read_settings(Path("tiny")).student.k == 3  # a file of that name comes first
    unknown = run("status", "--config", "tinny")
    assert unknown.exit_code == 2
    assert all(name in unknown.output for name in examples())


def test_settings_file_replaces_the_shipped_one(empty: Path) -> None:
    """A list in a file is not merged with that of the defaults."""
    (empty / "pipeline.yaml").write_text("compare: []\nensemble: {members: [{name: one}]}\n")
    settings = read_settings(None)
    assert settings.students == (settings.student,)
    assert [member.name for member in settings.ensemble.members] == ["one"]
