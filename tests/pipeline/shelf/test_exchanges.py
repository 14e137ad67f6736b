"""Exchanged, cut, deleted and linked files of artefacts: named, or without effect on any result."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.makers.house import House, make_early
from tests.support.makers.pipeline import tree_digests

STAGES = ("corpus", "member", "teacher", "student", "evaluation", "frames")
NO_RESULT = "speed.json"


@pytest.fixture(scope="module")
def table(sound: House) -> str:
    done = sound.run("run")
    assert done.exit_code == 0
    return done.stdout.partition("report: ")[0]


def pair(house: House, stage: str) -> tuple[Path, Path]:
    first, second = house.all(stage)[:2]
    return first, second


def swap(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def entries(place: Path) -> list[str]:
    """Files of an artefact; a store is one."""
    names = [path for path in place.rglob("*") if ".zarr" not in str(path.parent)]
    files = [path for path in names if path.is_file() or path.suffix == ".zarr"]
    return sorted(str(path.relative_to(place)) for path in files if path.name != NO_RESULT)


def content(path: Path) -> object:
    return tree_digests(path) if path.is_dir() else path.read_bytes()


def refuse_silence(house: House, table: str, *damaged: Path) -> None:
    """`status --check` names damaged artefacts; `run` names one, or prints the same figures."""
    checked = house.run("status", "--check")
    assert checked.exit_code == 3, checked.output
    lines = [line for line in checked.stdout.splitlines() if line.startswith("damaged: ")]
    named = [place for place in damaged if any(str(place) in line for line in lines)]
    assert named, checked.stdout
    ran = house.run("run")
    assert isinstance(ran.exception, SystemExit | None), ran.exception
    if ran.exit_code == 0:
        assert ran.stdout.partition("report: ")[0] == table
    else:
        assert ran.exit_code == 1
        assert any(str(place) in ran.stderr for place in named), ran.stderr


Attack = Callable[[Path, Path], None]


def exchange(first: Path, second: Path) -> None:
    swap(first, second)


def copy_other(first: Path, second: Path) -> None:
    remove(first)
    shutil.copytree(second, first) if second.is_dir() else shutil.copy(second, first)


def link_other(first: Path, second: Path) -> None:
    remove(first)
    first.symlink_to(second)


def hard_link_other(first: Path, second: Path) -> None:
    remove(first)
    if second.is_dir():
        shutil.copytree(second, first, copy_function=os.link)
    else:
        os.link(second, first)


def remove(first: Path, _second: Path | None = None) -> None:
    shutil.rmtree(first) if first.is_dir() else first.unlink()


def cut(first: Path, _second: Path) -> None:
    path = first / "HEAD" if first.is_dir() else first
    path.write_bytes(path.read_bytes()[:-9])


def empty(first: Path, _second: Path) -> None:
    path = first / "HEAD" if first.is_dir() else first
    path.write_bytes(b"")


OTHERS = (copy_other, link_other, hard_link_other, empty)
ATTACKS = (exchange, remove, cut, *(pytest.param(a, marks=pytest.mark.slow) for a in OTHERS))


@pytest.mark.parametrize("stage", STAGES)
def test_exchanged_directories_are_named(
    sound: House, table: str, stage: str, tmp_path: Path
) -> None:
    """RELIABILITY 32."""
    house = sound.copy(tmp_path / "house")
    first, second = pair(house, stage)
    swap(first, second)
    refuse_silence(house, table, first, second)


@pytest.mark.parametrize("keeps", [("made.json",), ("made.json", "files.sha256")])
@pytest.mark.parametrize("stage", STAGES)
def test_exchanged_contents_are_named(
    sound: House, table: str, stage: str, keeps: tuple[str, ...], tmp_path: Path
) -> None:
    """RELIABILITY 32."""
    house = sound.copy(tmp_path / "house")
    first, second = pair(house, stage)
    swap(first, second)
    for name in keeps:
        swap(first / name, second / name)
    refuse_silence(house, table, first, second)


def attacks(house: House, stage: str) -> Iterator[tuple[str, Path, Path]]:
    """Each file of an artefact that the settings name, and the same of another one."""
    listed = house.run("status").stdout
    first, second = sorted(pair(house, stage), key=lambda place: str(place) not in listed)
    for name in entries(first):
        if (second / name).exists():
            yield name, first, second


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("stage", STAGES)
def test_each_file_replaced_is_named(
    sound: House, table: str, stage: str, attack: Attack, tmp_path: Path
) -> None:
    """RELIABILITY 32."""
    house = sound.copy(tmp_path / "house")
    for name, damaged, other in attacks(house, stage):
        kept = [shutil.copytree(place, tmp_path / place.name) for place in (damaged, other)]
        before = content(damaged / name)
        attack(damaged / name, other / name)
        if not (damaged / name).exists() or content(damaged / name) != before:
            refuse_silence(house, table, damaged, other)
        for place, copy in zip((damaged, other), kept, strict=True):
            shutil.rmtree(place)
            copy.rename(place)


@pytest.mark.parametrize(
    ("stage", "names"),
    [("corpus", ("train.h5", "dev.h5")), ("teacher", ("train.zarr", "dev.zarr"))],
)
def test_splits_exchanged_in_one_artefact_are_named(
    sound: House, table: str, stage: str, names: tuple[str, str], tmp_path: Path
) -> None:
    """RELIABILITY 32."""
    house = sound.copy(tmp_path / "house")
    listed = house.run("status").stdout
    (place,) = (place for place in house.all(stage) if str(place) in listed)
    swap(place / names[0], place / names[1])
    refuse_silence(house, table, place)


def test_large_weights_of_another_student_are_named_when_they_are_read(
    sound: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.shelf.contents.HASHED_BYTES", 0)
    house = sound.copy(tmp_path / "house")
    first, second = pair(house, "student")
    swap(first / "model.safetensors", second / "model.safetensors")
    for place in (*house.all("evaluation"), *house.all("frames")):
        shutil.rmtree(place)
    ran = house.run("evaluate")
    assert ran.exit_code == 1
    assert "model.safetensors: found weights" in ran.stderr


def test_results_are_reported_without_the_members_that_were_removed(
    sound: House, table: str, tmp_path: Path
) -> None:
    house = sound.copy(tmp_path / "house")
    for place in (*house.all("member"), *house.work.glob("report-*")):
        shutil.rmtree(place)
    ran = house.run("run")
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.partition("report: ")[0] == table


GARBAGE: dict[str, Callable[[Path], object]] = {
    "no record": lambda place: (place / "made.json").unlink(),
    "cut record": lambda place: (place / "made.json").write_text('{"stage": '),
    "list as record": lambda place: (place / "made.json").write_text("[]"),
    "deep record": lambda place: (place / "made.json").write_text("[" * 100_000),
    "record is a folder": lambda place: (
        (place / "made.json").unlink(),
        (place / "made.json").mkdir(),
    ),
    "changed file": lambda place: (place / "metrics.jsonl").write_text("{}"),
    "changed weights": lambda place: (place / "model.safetensors").write_bytes(
        (place / "model.safetensors").read_bytes()[:-1] + b"!"
    ),
    "no weights": lambda place: (place / "model.safetensors").unlink(),
    "cut list": lambda place: (place / "files.sha256").write_text(""),
    "renamed": lambda place: place.rename(place.with_name("student-" + "0" * 12)),
    "a backup": lambda place: place.rename(place.with_name("student-backup")),
    "a file": lambda place: (shutil.rmtree(place), place.write_text("garbage")),
    "a link to nothing": lambda place: (shutil.rmtree(place), place.symlink_to("nowhere")),
}


@pytest.fixture(scope="module")
def with_another(sound: House, tmp_path_factory: pytest.TempPathFactory) -> tuple[House, str]:
    """The house with a student that its settings do not name."""
    house = sound.copy(tmp_path_factory.mktemp("more") / "house")
    made = house.run("student", "--set", "student.k=2")
    assert made.exit_code == 0, made.output
    return house, Path(made.stdout.strip()).name


@pytest.mark.parametrize("garbage", GARBAGE)
def test_damaged_student_that_no_settings_name_is_left_out_with_a_line(
    with_another: tuple[House, str], table: str, garbage: str, tmp_path: Path
) -> None:
    """RELIABILITY 36."""
    house = with_another[0].copy(tmp_path / "house")
    place = house.work / with_another[1]
    others = set(house.all("student")) - {place}
    GARBAGE[garbage](place)
    (found,) = set(house.all("student")) - others
    for command in ("status", "evaluate", "report", "run"):
        ran = house.run(command)
        assert ran.exit_code == 0, ran.output
        if command != "status":
            lines = [line for line in ran.stderr.splitlines() if "left out: " in line]
            assert len(lines) == 1, ran.stderr
            assert found.name in lines[0] or "k=2" in lines[0]
        if command in ("evaluate", "run"):
            assert ran.stdout.partition("report: ")[0] == table


def test_student_of_the_settings_without_a_record_is_damaged_for_status_and_student(
    sound: House, tmp_path: Path
) -> None:
    house = sound.copy(tmp_path / "house")
    place = Path(house.run("student").stdout.strip())
    (place / "made.json").unlink()
    status, student = house.run("status"), house.run("student")
    (row,) = [line for line in status.stdout.splitlines() if line.endswith(str(place))]
    assert "  damaged  " in row
    reason = student.stderr.removeprefix("essence: ").strip()
    assert student.exit_code == 1
    assert reason == f"{place} exists without its made.json: move it away, then run again"
    assert f"damaged: {reason}" in status.stdout


def test_early_artefacts_are_checked_by_what_they_have(sound: House, tmp_path: Path) -> None:
    """As earlier versions wrote them: no digests in made.json, which the list names instead."""
    house = sound.copy(tmp_path / "house")
    for place in (place for stage in STAGES for place in house.all(stage)):
        make_early(place)
    ran = house.run("run")
    assert ran.exit_code == 0, ran.output
    first, second = pair(house, "evaluation")
    swap(first / "result.json", second / "result.json")
    ran = house.run("run")
    assert ran.exit_code == 1
    assert "result.json has changed" in ran.stderr
