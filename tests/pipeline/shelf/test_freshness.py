"""Freshness: a named artefact is complete; an interrupted run leaves a partial directory."""

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Changed, InUse, NotMadeYet
from pipeline.shelf.freshness import Shelf
from pipeline.shelf.record import Recipe
from stages.contract.version import VERSION

RECIPE = Recipe(stage="member", settings={"hidden": 7, "name": "a"}, inputs={"corpus": "c0"})


def fill(*, directory: Path) -> None:
    (directory / "weights").write_bytes(b"seven")


def test_artefact_is_fresh_and_records_its_recipe(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "work")
    assert not shelf.is_fresh(RECIPE)
    made = shelf.make(RECIPE, fill)
    assert shelf.is_fresh(RECIPE)
    record = json.loads((made / "made.json").read_text())
    assert record["fingerprint"] == RECIPE.fingerprint
    assert record["settings"] == RECIPE.settings
    assert record["program"] == f"essence {VERSION}"  # of the command, not of the distribution
    assert [found.fingerprint for found in shelf.found("member")] == [RECIPE.fingerprint]


def test_fresh_artefact_is_not_made_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.make(RECIPE, fill)

    def never(*, directory: Path) -> None:
        raise AssertionError(directory)

    assert shelf.make(RECIPE, never) == shelf.place(RECIPE)


def test_failed_stage_leaves_a_partial_directory_for_the_next_run(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)

    def fails(*, directory: Path) -> None:
        (directory / "half").write_text("done so far")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shelf.make(RECIPE, fails)
    assert shelf.is_begun(RECIPE)
    assert not shelf.is_fresh(RECIPE)
    assert not list(shelf.found("member"))

    def goes_on(*, directory: Path) -> None:
        assert (directory / "half").read_text() == "done so far"

    shelf.make(RECIPE, goes_on)
    assert shelf.is_fresh(RECIPE)
    assert not shelf.is_begun(RECIPE)


@pytest.mark.parametrize(
    "other",
    [
        Recipe(stage="student", settings=RECIPE.settings, inputs=RECIPE.inputs),
        Recipe(stage="member", settings={**RECIPE.settings, "hidden": 8}, inputs=RECIPE.inputs),
        Recipe(stage="member", settings=RECIPE.settings, inputs={"corpus": "c1"}),
        Recipe(stage="member", settings=RECIPE.settings, inputs={}),
    ],
)
def test_recipe_name_depends_on_every_part(other: Recipe) -> None:
    assert other.name != RECIPE.name


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()))
def test_fingerprint_does_not_depend_on_the_order_of_settings(settings: dict[str, object]) -> None:
    turned = dict(reversed(settings.items()))
    first, second = Recipe(stage="s", settings=settings), Recipe(stage="s", settings=turned)
    assert first.fingerprint == second.fingerprint


def test_fingerprint_does_not_depend_on_the_shown_name() -> None:
    shown = Recipe(stage="member", settings=RECIPE.settings, inputs=RECIPE.inputs, shown_as="x")
    assert shown.fingerprint == RECIPE.fingerprint


def test_missing_artefact_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(NotMadeYet, match="run 'essence ensemble' first"):
        Shelf(tmp_path).need(RECIPE, command="ensemble")


def _make_slowly(directory: Path, begun: "multiprocessing.synchronize.Event") -> None:
    def wait(*, directory: Path) -> None:
        begun.set()
        multiprocessing.Event().wait(60)

    Shelf(directory).make(RECIPE, wait)


def test_second_process_making_the_same_artefact_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    other = context.Process(target=_make_slowly, args=(tmp_path, begun))
    other.start()
    try:
        assert begun.wait(60)
        with pytest.raises(InUse, match="another process is making member-"):
            Shelf(tmp_path).make(RECIPE, fill)
    finally:
        other.kill()
        other.join()
    Shelf(tmp_path).make(RECIPE, fill)  # its lock went with it
    assert Shelf(tmp_path).is_fresh(RECIPE)


def test_folder_with_the_name_of_the_link_is_named_and_kept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.make(RECIPE, fill)
    (tmp_path / "report").mkdir()
    with pytest.raises(Changed, match=r"report is not the link .* move it away; the report is in"):
        shelf.link(RECIPE, name="report")
    assert (tmp_path / "report").is_dir()


def test_link_points_to_the_newest_artefact(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    other = Recipe(stage="member", settings={}, inputs={})
    for recipe in (RECIPE, other):
        shelf.make(recipe, fill)
        link = shelf.link(recipe, name="latest")
        assert link.resolve() == shelf.place(recipe).resolve()
