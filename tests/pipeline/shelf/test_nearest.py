"""nearest.py: a slip in a setting is named by what it changes; larger changes are not slips."""

from pathlib import Path

from pipeline.shelf.freshness import Shelf
from pipeline.shelf.nearest import differences, nearest, notes_of_new
from pipeline.shelf.record import Recipe
from tests.support.makers.house import House

MADE = Recipe(stage="corpus", settings={"spoken": {"seed": 1, "hours": 1.5}, "path": None})


def changed(**spoken: object) -> Recipe:
    return Recipe(
        stage="corpus", settings={"spoken": {"seed": 1, "hours": 1.5, **spoken}, "path": None}
    )


def test_differences_are_dotted_keys_with_both_values() -> None:
    assert differences(MADE, changed(seed=2, pace="slow")) == [
        "spoken.seed: 1 -> 2",
        "spoken.pace: None -> 'slow'",
    ]
    assert differences(MADE, MADE) == []


def test_nearest_differs_in_the_fewest_settings() -> None:
    wanted = changed(seed=2, hours=7)
    found = nearest(wanted, [changed(a=1, b=2), MADE, changed(seed=2)])
    assert found == (changed(seed=2), ["spoken.hours: 1.5 -> 7"])


def test_artefact_that_differs_in_much_or_in_its_corpus_is_not_named() -> None:
    assert nearest(changed(a=1, b=1, c=1, d=1), [MADE]) is None
    assert nearest(MADE, []) is None
    a = Recipe(stage="member", settings={"seed": 1}, inputs={"corpus": "a"})
    b = Recipe(stage="member", settings={"seed": 2}, inputs={"corpus": "b"})
    assert nearest(a, [b]) is None


def test_status_and_run_name_the_nearest_artefact(sound: House, tmp_path: Path) -> None:
    house = sound.copy(tmp_path / "house")
    status = house.run("status", "--set", "ensemble.members.0.training.epochs=3")
    members = {path.name for path in house.all("member")}
    (line,) = [line for line in status.stderr.splitlines() if line.startswith("new member-")]
    assert "(one): the nearest one here, " in line
    assert line.endswith(" differs in training.epochs: 1 -> 3")
    assert any(name in line for name in members)
    deltas = house.run("status", "--set", "corpus.features.deltas=2")
    (line,) = deltas.stderr.splitlines()
    assert line.endswith((".deltas: 0 -> 2", ".deltas: 1 -> 2"))
    assert " differs in corpus.features.deltas: " in line


def test_nothing_is_noted_of_what_is_here(sound: House) -> None:
    assert sound.run("status").stderr == ""


def test_artefacts_that_the_settings_need_are_not_compared(tmp_path: Path) -> None:
    """Another seed next to the first member is an ensemble, not a slip."""
    shelf = Shelf(tmp_path)
    one, two = changed(seed=1), changed(seed=2)
    shelf.make(one, lambda *, directory: None)
    assert list(notes_of_new(shelf, [one, two])) == []
    assert len(list(notes_of_new(shelf, [two]))) == 1
