"""Contents of an artefact: a file that changed after it was made is named."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import Changed
from pipeline.shelf.freshness import Shelf
from pipeline.shelf.record import Recipe, read_record
from storage.corpus.corpus_file import CorpusFile
from storage.errors import EssenceError
from storage.files.fingerprint import file_digest
from tests.support.makers.house import make_early
from tests.support.makers.training import make_corpus

RECIPE = Recipe(stage="member", settings={"layers": 2}, inputs={"corpus": "c"})


@pytest.fixture
def made(tmp_path: Path) -> Path:
    def fill(*, directory: Path) -> None:
        (directory / "result.json").write_text('{"errors": 17}')
        (directory / "lang").mkdir()
        (directory / "lang" / "words with spaces.txt").write_text("A\n")
        make_corpus(directory / "train.h5")
        (directory / "fold-1").mkdir()
        (directory / "fold-1" / "model.safetensors").write_bytes(b"weights")
        (directory / "speed.json").write_text("{}")

    return Shelf(tmp_path).make(RECIPE, fill)


def need(made: Path) -> Path:
    return Shelf(made.parent).need(RECIPE, command="ensemble")


def test_file_list_has_the_format_of_sha256sum(made: Path) -> None:
    lines = (made / "files.sha256").read_text().splitlines()
    assert [line[66:] for line in lines] == [
        "lang/words with spaces.txt",
        "result.json",
    ]
    assert need(made) == made


def test_record_names_the_list_and_the_files_that_are_not_in_it(made: Path) -> None:
    files = read_record(made).files
    assert files is not None
    assert files.listed == file_digest(made / "files.sha256")
    with CorpusFile(made / "train.h5") as corpus:
        corpus_digest = corpus.fingerprint
    assert {name: data.digest for name, data in files.data.items()} == {
        "fold-1/model.safetensors": file_digest(made / "fold-1" / "model.safetensors"),
        "train.h5": corpus_digest,
    }
    assert files.data["fold-1/model.safetensors"].num_bytes == 7
    (made / "speed.json").unlink()  # a stopwatch's figure is no part of the result
    assert need(made) == made


@pytest.mark.parametrize("name", ["result.json", "lang/words with spaces.txt", "files.sha256"])
def test_changed_or_missing_file_is_named(made: Path, name: str, tmp_path: Path) -> None:
    content = (made / name).read_bytes()
    for number, damage in enumerate([content[:-1], content[:-1] + b"!", None]):
        copy = shutil.copytree(made, tmp_path / str(number) / made.name)
        if damage is None:
            (copy / name).unlink()
        else:
            (copy / name).write_bytes(damage)
        with pytest.raises(Changed, match=f"{name} has changed .*remove"):
            need(copy)


def test_list_that_an_early_version_wrote_must_be_one(made: Path) -> None:
    make_early(made)
    assert need(made) == made
    (made / "files.sha256").write_bytes(b"\xff garbage\n")
    with pytest.raises(Changed, match=r"files\.sha256 is damaged"):
        need(made)


@pytest.mark.parametrize("name", ["train.h5", "fold-1/model.safetensors"])
def test_data_file_that_is_missing_or_cut_is_named(made: Path, name: str) -> None:
    content = (made / name).read_bytes()
    (made / name).write_bytes(content[:-1])
    with pytest.raises(EssenceError, match=name):
        need(made)
    (made / name).unlink()
    with pytest.raises(Changed, match=f"{name} is missing: restore it"):
        need(made)


def test_changed_weights_are_named(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (made / "fold-1" / "model.safetensors").write_bytes(b"Weights")
    with pytest.raises(Changed, match=r"model\.safetensors has changed"):
        need(made)
    monkeypatch.setattr("pipeline.shelf.contents.HASHED_BYTES", 6)
    assert need(made) == made  # large ones are compared by what reads them
    assert Shelf(made.parent).damage(RECIPE, is_thorough=False) is None
    damage = Shelf(made.parent).damage(RECIPE, is_thorough=True)
    assert damage is not None
    assert "model.safetensors has changed" in damage


@pytest.mark.parametrize(
    "record",
    ["", "[]", "{}", "\xff", '{"stage": 1', '{"stage": 1}', "[" * 100_000, '{"settings": NaN}'],
)
def test_damaged_record_is_named(made: Path, record: str) -> None:
    (made / "made.json").write_text(record, encoding="latin-1")
    with pytest.raises(Changed, match=r"made\.json is damaged.*remove"):
        need(made)
    notes: list[str] = []
    assert not list(Shelf(made.parent, note=notes.append).found("member"))
    (note,) = notes
    assert "left out" in note
    assert made.name in note


def test_record_of_another_recipe_is_named(made: Path) -> None:
    text = (made / "made.json").read_text()
    (made / "made.json").write_text(text.replace('"layers": 2', '"layers": 3'))
    with pytest.raises(Changed, match="content and digest differ"):
        need(made)


def test_directory_of_another_recipe_is_named(made: Path) -> None:
    other = Recipe(stage="member", settings={"layers": 3}, inputs={"corpus": "c"})
    place = made.rename(made.with_name(other.name))
    shelf = Shelf(made.parent)
    with pytest.raises(Changed, match=f"{place} holds {made.name}, not what its name states"):
        shelf.need(other, command="ensemble")
    with pytest.raises(Changed, match="not what its name states"):
        shelf.make(other, lambda *, directory: pytest.fail("it has begun"))


def test_every_byte_of_record_and_list_flipped_is_named_or_changes_nothing(made: Path) -> None:
    """RELIABILITY 32."""
    wanted = read_record(made)
    for name in ("made.json", "files.sha256"):
        content = (made / name).read_bytes()
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= 1 << place % 8
            (made / name).write_bytes(changed)
            try:
                assert need(made) == made
                assert read_record(made) == wanted, f"byte {place} of {name} changed silently"
                assert name == "made.json"
            except Changed as error:
                assert str(made / name) in str(error)  # noqa: PT017
        (made / name).write_bytes(content)


def test_copy_under_another_name_is_not_an_artefact(made: Path) -> None:
    shutil.copytree(made, made.with_name("member-backup"))
    notes: list[str] = []
    found = Shelf(made.parent, note=notes.append).found("member")
    assert [recipe.name for recipe in found] == [made.name]
    assert [note.partition(":")[0] for note in notes] == ["member-backup"]


def test_directory_without_a_record_is_named_before_any_work(made: Path) -> None:
    (made / "made.json").unlink()
    with pytest.raises(Changed, match=r"without its made\.json: move it away"):
        Shelf(made.parent).make(RECIPE, lambda *, directory: pytest.fail("it has begun"))
