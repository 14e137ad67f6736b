"""essence gc: what it lists, what it removes, and what it never touches."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.shelf import garbage
from tests.support.makers.house import House, make_house

KEEP_ALL = "nothing to remove"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Artefacts of every stage, and a corpus and a teacher that the settings do not need."""
    return make_house(tmp_path_factory.mktemp("house"))


@pytest.fixture
def house(made: House, tmp_path: Path) -> House:
    """A copy, for a test to clean."""
    return made.copy(tmp_path / "house")


def names(house: House) -> set[str]:
    return {path.name for path in house.work.iterdir()}


def listed(output: str) -> dict[str, str]:
    """Name -> why, of the table that is printed."""
    rows = [line.split(maxsplit=3) for line in output.splitlines()[1:]]
    return {row[0]: row[3] for row in rows if len(row) == 4 and "-" in row[0]}


def test_what_no_setting_needs_is_listed_with_size_and_reason(house: House) -> None:
    before = names(house)
    done = house.run("gc", "--dry-run")
    assert done.exit_code == 0, done.output
    found = listed(done.stdout)
    stages = sorted(name.partition("-")[0] for name in found)
    assert stages == ["corpus", "teacher"]
    assert "differs in features.deltas: 1 -> 0" in found.values()
    assert "differs in kept: 4 -> 5" in found.values()
    assert "2 directories, " in done.stdout
    assert names(house) == before


def test_what_remains_is_fresh_and_nothing_is_left_to_remove(house: House) -> None:
    before, unneeded = names(house), set(listed(house.run("gc", "--dry-run").stdout))
    done = house.run("gc", "--yes")
    assert done.exit_code == 0, done.output
    assert names(house) == before - unneeded
    assert KEEP_ALL in house.run("gc").stdout
    again = house.run("run")
    assert again.exit_code == 0
    assert all(": fresh (" in line for line in again.stderr.splitlines()), again.stderr


def test_question_comes_first_and_no_is_its_default(house: House) -> None:
    words = ["--config", str(house.directory / "pipeline.yaml"), "--set", f"work_dir={house.work}"]
    before = names(house)
    for answer, code in (("\n", 0), ("n\n", 0), ("", 1)):
        done = CliRunner().invoke(main, ["gc", *words], input=answer)
        assert (done.exit_code, names(house)) == (code, before)
        assert "Remove them" in done.output
    assert CliRunner().invoke(main, ["gc", *words], input="y\n").exit_code == 0
    assert len(names(house)) == len(before) - 2


def test_students_that_the_settings_no_longer_have_go_with_their_results(house: House) -> None:
    found = listed(house.run("gc", "--dry-run", "--set", "compare=[]").stdout)
    stages = sorted(name.partition("-")[0] for name in found)
    assert stages == ["corpus", "evaluation", "frames", "student", "teacher"]
    report = (house.work / "report").readlink().name
    assert report not in found  # what the link shows stays


def test_other_settings_files_keep_their_artefacts(house: House, tmp_path: Path) -> None:
    text = (house.directory / "pipeline.yaml").read_text()
    other = tmp_path / "other.yaml"
    other.write_text(text.replace("kept: 5", "kept: 4"))
    found = listed(house.run("gc", "--dry-run", "--keep", str(other)).stdout)
    assert [name.partition("-")[0] for name in found] == ["corpus"]


def test_store_that_a_setting_names_is_kept(house: House) -> None:
    (teacher,) = (name for name in listed(house.run("gc", "--dry-run").stdout) if "teacher" in name)
    named = f"student.store={house.work / teacher / 'train.zarr'}"
    found = listed(house.run("gc", "--dry-run", "--set", named, "--set", "compare=[]").stdout)
    assert found
    assert teacher not in found


def test_unknown_damaged_renamed_and_linked_directories_stay(house: House) -> None:
    corpus, teacher = sorted(listed(house.run("gc", "--dry-run").stdout))
    (house.work / "notes").mkdir()
    (house.work / "student-mine").mkdir()
    (house.work / "thesis-0123456789ab").mkdir()
    (house.work / corpus / "made.json").write_text("{}")
    os.rename(house.work / teacher, house.work / "teacher-0123456789ab")
    (house.work / "member-0123456789ab").symlink_to(house.all("member")[0])
    before = names(house)
    done = house.run("gc", "--yes")
    assert KEEP_ALL in done.stdout
    assert names(house) == before


def test_what_is_begun_for_other_settings_is_removed(house: House) -> None:
    begun = house.work / "student-0123456789ab.partial"
    begun.mkdir()
    assert listed(house.run("gc", "--dry-run").stdout)[begun.name].startswith("begun")
    house.run("gc", "--yes")
    assert not begun.exists()


def test_nothing_is_removed_while_another_process_makes_an_artefact(house: House) -> None:
    begun = house.work / "student-0123456789ab.partial"
    begun.mkdir()
    before = names(house)
    handle = os.open(begun, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        done = house.run("gc", "--yes")
    finally:
        os.close(handle)
    assert done.exit_code == 1
    assert f"{begun} is being made by another process" in done.stderr
    assert names(house) == before


def test_nothing_is_removed_while_another_process_reads_it(house: House) -> None:
    (_, teacher) = sorted(listed(house.run("gc", "--dry-run").stdout))
    before = names(house)
    code = "import sys; file = open(sys.argv[1]); print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(house.work / teacher / "made.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout
        reader.stdout.readline()
        done = house.run("gc", "--yes")
        reader.communicate("\n")
    assert done.exit_code == 1
    assert f"{teacher} is in use by process {reader.pid}" in done.stderr
    assert names(house) == before


def test_removal_that_was_stopped_leaves_no_half_artefact(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, teacher = sorted(listed(house.run("gc", "--dry-run").stdout))
    before = names(house)

    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(garbage.shutil, "rmtree", stop)
        house.run("gc", "--yes")
    assert names(house) == before - {corpus} | {f"removed-{corpus}"}
    found = listed(house.run("gc", "--dry-run").stdout)
    assert found[f"removed-{corpus}"] == "left by a removal that was stopped"
    assert house.run("gc", "--yes").exit_code == 0
    assert names(house) == before - {corpus, teacher}


def test_empty_and_absent_work_directories_have_nothing_to_remove(house: House) -> None:
    shutil.rmtree(house.work)
    assert KEEP_ALL in house.run("gc").stdout
