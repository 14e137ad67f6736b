"""Looks: a family has one colour in every picture."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from stages.contract.results import SystemResult
from stages.report.figures.looks import BY_ENSEMBLE, CHOSEN, LOOKS, NULL_ARM, lines_of, look_of
from stages.report.histories import read_histories
from stages.report.pictures import PICTURES, Drawn
from stages.report.statistics.comparisons import Comparisons, compare
from stages.report.statistics.groups import group_results
from tests.support.makers.report import (
    make_all_results,
    make_essence,
    make_hard,
    make_histories,
    make_inputs,
    make_result,
)

STORE_PICTURES = {"kept-mass", "bytes", "posteriorgram"}  # of no system


def compared(results: list[SystemResult]) -> Comparisons:
    return compare(group_results(results), samples=100, seed=1)


def with_facts(result: SystemResult, *, name: str, **facts: bool) -> SystemResult:
    """The same result of a system with another name and other settings."""
    system = result.system
    changed = replace(system, name=name, group=name, facts=replace(system.facts, **facts))
    return replace(result, system=changed)


def test_families_have_looks_of_their_own() -> None:
    hard = make_hard("hard labels decoded", errors=240)
    decoded = with_facts(hard, name="hard labels decoded", has_given_labels=False)
    null = with_facts(make_essence(8, errors=260), name="control", is_null_arm=True)
    odd_name = with_facts(make_essence(16, errors=260), name="ranks=my own")
    found = compared(
        [
            *(make_result("a", kind="member"), make_result("e", kind="ensemble")),
            *(make_hard(), decoded, make_essence(2, errors=250), make_essence(4, errors=200)),
            *(null, odd_name),
        ]
    )
    looks = {group.name: look_of(group, found) for group in found.groups}
    assert looks == {
        "a": LOOKS["member"],
        "e": LOOKS["ensemble"],
        "hard labels": LOOKS["hard-label student"],
        "hard labels decoded": BY_ENSEMBLE,
        "k=2": LOOKS["soft-label student"],
        "k=4": CHOSEN,
        "control": NULL_ARM,
        "ranks=my own": LOOKS["soft-label student"],
    }
    every = [*LOOKS.values(), CHOSEN, BY_ENSEMBLE, NULL_ARM]
    assert len({look.colour for look in every}) == len(every)


def test_lines_of_one_family_differ_in_their_dashes() -> None:
    found = compared(make_all_results())
    lines = list(lines_of(found.groups[:6], found))
    assert len(set(lines)) == len(lines)
    members = [(look, dash) for look, dash in lines if look is LOOKS["member"]]
    assert len(members) == 4


def test_colour_of_each_named_line_is_its_familys_in_every_picture(tmp_path: Path) -> None:
    results = make_all_results()
    inputs = make_inputs(tmp_path, results)
    found = compared(results)
    histories = read_histories(make_histories(tmp_path, results))
    drawn = Drawn(inputs=inputs, comparisons=found, histories=histories, example=None)
    look_named = {group.name: look_of(group, found) for group in found.groups}
    look_named |= {look.plural: look for look in [*LOOKS.values(), CHOSEN]}
    checked = set()
    for picture, draw in PICTURES.items():
        figure = draw(drawn)
        if figure is None or picture in STORE_PICTURES:
            continue
        for label, colour in labelled_lines(figure):
            if label in look_named:
                assert colour == look_named[label].colour.lower(), (picture, label)
                checked.add((picture, label))
    assert {("training-loss", "conv"), ("training-loss", "k=8"), ("word-errors", "ensemble")} <= (
        checked
    )


def labelled_lines(figure: Figure) -> Iterator[tuple[str, str]]:
    for axes in figure.axes:
        for line in axes.lines:
            label = str(line.get_label()).partition(":")[0].partition(" (")[0]
            yield label.removeprefix("k ranks, at "), to_hex(line.get_color())
