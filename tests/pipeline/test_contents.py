"""Contents: what was made is what is read; a changed file is named."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import Changed
from pipeline.freshness import Recipe, Shelf

RECIPE = Recipe(stage="member", settings={"layers": 2}, inputs={"corpus": "c"})


@pytest.fixture
def made(tmp_path: Path) -> Path:
    def fill(*, directory: Path) -> None:
        (directory / "result.json").write_text('{"errors": 17}')
        (directory / "lang").mkdir()
        (directory / "lang" / "words with spaces.txt").write_text("A\n")
        (directory / "train.h5").write_text("has checks of its own")

    return Shelf(tmp_path).make(RECIPE, fill)


def need(made: Path) -> Path:
    return Shelf(made.parent).need(RECIPE, command="ensemble")


def test_the_list_is_one_that_sha256sum_reads(made: Path) -> None:
    lines = (made / "files.sha256").read_text().splitlines()
    assert [line[66:] for line in lines] == [
        "lang/words with spaces.txt",
        "made.json",
        "result.json",
    ]
    assert need(made) == made


@pytest.mark.parametrize("name", ["result.json", "lang/words with spaces.txt", "made.json"])
def test_a_file_that_changed_or_went_is_named(made: Path, name: str, tmp_path: Path) -> None:
    content = (made / name).read_bytes()
    for number, damage in enumerate([content[:-1], content[:-1] + b"!", None]):
        copy = shutil.copytree(made, tmp_path / str(number) / made.name)
        if damage is None:
            (copy / name).unlink()
        else:
            (copy / name).write_bytes(damage)
        if (copy / "made.json").exists():
            with pytest.raises(Changed, match=f"{name} is not what was written.*remove"):
                need(copy)


def test_a_damaged_list_is_named(made: Path) -> None:
    (made / "files.sha256").write_bytes(b"\xff garbage\n")
    with pytest.raises(Changed, match=r"files\.sha256 is damaged"):
        need(made)


@pytest.mark.parametrize("record", ["", "[]", "{}", "\xff", '{"stage": 1'])
def test_a_damaged_record_is_named(made: Path, record: str) -> None:
    (made / "made.json").write_text(record, encoding="latin-1")
    with pytest.raises(Changed, match=r"made\.json is damaged.*remove"):
        list(Shelf(made.parent).found("member"))


def test_a_record_of_another_recipe_is_named(made: Path) -> None:
    text = (made / "made.json").read_text()
    (made / "made.json").write_text(text.replace('"layers": 2', '"layers": 3'))
    with pytest.raises(Changed, match="another recipe"):
        list(Shelf(made.parent).found("member"))


def test_a_copy_under_another_name_is_nobodys_artefact(made: Path) -> None:
    shutil.copytree(made, made.with_name("member-backup"))
    assert [recipe.name for recipe in Shelf(made.parent).found("member")] == [made.name]


def test_what_stands_in_the_way_is_said_before_the_work(made: Path) -> None:
    (made / "made.json").unlink()
    with pytest.raises(Changed, match=r"without its made\.json: move it away"):
        Shelf(made.parent).make(RECIPE, lambda *, directory: pytest.fail("it has begun"))
