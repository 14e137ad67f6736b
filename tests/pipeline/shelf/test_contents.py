"""Contents of an artefact: a file that changed after it was made is named."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import Changed
from pipeline.shelf.freshness import Shelf
from pipeline.shelf.record import Recipe

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


def test_file_list_has_the_format_of_sha256sum(made: Path) -> None:
    lines = (made / "files.sha256").read_text().splitlines()
    assert [line[66:] for line in lines] == [
        "lang/words with spaces.txt",
        "made.json",
        "result.json",
    ]
    assert need(made) == made


@pytest.mark.parametrize("name", ["result.json", "lang/words with spaces.txt", "made.json"])
def test_changed_or_missing_file_is_named(made: Path, name: str, tmp_path: Path) -> None:
    content = (made / name).read_bytes()
    for number, damage in enumerate([content[:-1], content[:-1] + b"!", None]):
        copy = shutil.copytree(made, tmp_path / str(number) / made.name)
        if damage is None:
            (copy / name).unlink()
        else:
            (copy / name).write_bytes(damage)
        if (copy / "made.json").exists():
            with pytest.raises(Changed, match=f"{name} has changed .*remove"):
                need(copy)


def test_damaged_file_list_is_named(made: Path) -> None:
    (made / "files.sha256").write_bytes(b"\xff garbage\n")
    with pytest.raises(Changed, match=r"files\.sha256 is damaged"):
        need(made)


@pytest.mark.parametrize("record", ["", "[]", "{}", "\xff", '{"stage": 1'])
def test_damaged_record_is_named(made: Path, record: str) -> None:
    (made / "made.json").write_text(record, encoding="latin-1")
    with pytest.raises(Changed, match=r"made\.json is damaged.*remove"):
        list(Shelf(made.parent).found("member"))


def test_record_of_another_recipe_is_named(made: Path) -> None:
    text = (made / "made.json").read_text()
    (made / "made.json").write_text(text.replace('"layers": 2', '"layers": 3'))
    with pytest.raises(Changed, match="recipe and fingerprint differ"):
        list(Shelf(made.parent).found("member"))


def test_copy_under_another_name_is_not_an_artefact(made: Path) -> None:
    shutil.copytree(made, made.with_name("member-backup"))
    assert [recipe.name for recipe in Shelf(made.parent).found("member")] == [made.name]


def test_directory_without_a_record_is_named_before_any_work(made: Path) -> None:
    (made / "made.json").unlink()
    with pytest.raises(Changed, match=r"without its made\.json: move it away"):
        Shelf(made.parent).make(RECIPE, lambda *, directory: pytest.fail("it has begun"))
