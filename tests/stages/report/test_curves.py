"""Curves and accounts: lengths, convergence, the baseline after as many steps, hours."""

from dataclasses import replace
from pathlib import Path

import pytest

from stages.contract.results import LabelledPart, SystemResult
from stages.report.accounts import ACCOUNT_COLUMNS, accounts_of, labelled_share
from stages.report.column import make_table
from stages.report.histories import read_histories
from stages.report.statistics.comparisons import Comparisons, compare
from stages.report.statistics.curves import curves_of, epochs_of, equally_long, passes_of
from stages.report.statistics.groups import SystemGroup, group_results
from tests.support.makers.page import only, parse, write
from tests.support.makers.report import make_essence, make_frames, make_hard, make_inputs

ESSENCE = {2: 300, 4: 240, 8: 212, 16: 209}  # errors of 2000 words; dev has as many and some more
HARD = {4: 320, 8: 290, 16: 270, 32: 265}


def on_trunk(result: SystemResult, epochs: int, curve: str) -> SystemResult:
    system = result.system
    return replace(
        result,
        system=replace(
            system,
            name=f"{system.name} epochs={epochs}",
            group_name=f"{system.name} epochs={epochs}",
            fingerprint=f"{curve} {epochs}",
            group=f"{curve} {epochs}",
            facts=replace(system.facts, epochs=epochs),
            curve=curve,
            curve_name=curve,
        ),
        frames=make_frames(0.5),
        real_time_factor=0.02,
    )


def results() -> list[SystemResult]:
    essence = [on_trunk(make_essence(8, errors=n), e, "k=8") for e, n in ESSENCE.items()]
    hard = [on_trunk(make_hard(errors=n), e, "hard labels") for e, n in HARD.items()]
    return [*essence, *hard]


def compared(share: float) -> Comparisons:
    return compare(group_results(results()), samples=200, seed=1, labelled_share=share)


def of(comparisons: Comparisons, curve: str, epochs: int) -> SystemGroup:
    key = f"{curve} {epochs}"
    return next(group for group in comparisons.groups if group.key == key)


def test_curve_has_all_lengths_of_one_setting_shortest_first() -> None:
    hard, essence = curves_of(compared(1.0).groups)
    assert (hard.name, hard.lengths) == ("hard labels", (4, 8, 16, 32))
    assert (essence.name, essence.lengths) == ("k=8", (2, 4, 8, 16))
    alone = [group for group in compared(1.0).groups if group.key == "k=8 2"]
    assert curves_of(alone) == []


def test_converged_is_the_first_length_whose_doubling_gained_little() -> None:
    hard, essence = curves_of(compared(1.0).groups)
    # of 2000 words 0.3 points are 6: 212 to 209 gains less, 290 to 270 more, 270 to 265 less
    assert essence.converged is not None
    assert epochs_of(essence.converged) == 16
    assert hard.converged is not None
    assert epochs_of(hard.converged) == 32
    assert replace(essence, groups=essence.groups[:3]).converged is None
    assert replace(essence, groups=(essence.groups[0], essence.groups[3])).converged is None


@pytest.mark.parametrize(
    ("share", "pairs"),
    [(1.0, {4: 4, 8: 8, 16: 16}), (0.5, {2: 4, 4: 8, 8: 16, 16: 32}), (0.27, {2: 8, 4: 16, 8: 32})],
)
def test_baseline_of_equal_steps_read_as_many_frames(share: float, pairs: dict[int, int]) -> None:
    comparisons = compared(share)
    curves = curves_of(comparisons.groups)
    for epochs in ESSENCE:
        group = of(comparisons, "k=8", epochs)
        rival = equally_long(group, curves, labelled_share=share)
        assert (rival and epochs_of(rival)) == pairs.get(epochs)
        found = comparisons.to_equally_long.get(group.key)
        assert (found and epochs_of(found.rival)) == pairs.get(epochs)
        if found is not None and rival is not None:
            wanted = (ESSENCE[epochs] - HARD[epochs_of(rival)]) / 2000
            assert found.difference.delta == pytest.approx(wanted)
    assert not any(key.startswith("hard") for key in comparisons.to_equally_long)


def test_epochs_of_equal_steps_are_over_all_speech() -> None:
    """Hard labels of a quarter, with equal steps: as long as soft labels of the same epochs."""
    equal = [
        replace(
            result,
            system=replace(result.system, facts=replace(result.system.facts, has_equal_steps=True)),
        )
        for result in results()
    ]
    comparisons = compare(group_results(equal), samples=200, seed=1, labelled_share=0.27)
    curves = curves_of(comparisons.groups)
    for epochs, wanted in {4: 4, 8: 8, 16: 16, 2: None}.items():
        group = of(comparisons, "k=8", epochs)
        rival = equally_long(group, curves, labelled_share=0.27)
        assert (rival and epochs_of(rival)) == wanted
        assert passes_of(group, labelled_share=0.27) == epochs
        if rival:
            assert passes_of(rival, labelled_share=0.27) == epochs


def test_accounts_add_the_share_of_the_ensemble_to_students_on_soft_labels(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    train = inputs.corpus.train
    labelled = LabelledPart(num_utterances=1, num_frames=train.num_frames // 2, hours=1.0)
    splits = [train.model_copy(update={"labelled": labelled}), *inputs.corpus.splits[1:]]
    corpus = inputs.corpus.model_copy(update={"splits": tuple(splits)})
    share = labelled_share(corpus)
    assert share == pytest.approx(0.5, abs=0.01)
    found = [result for result in inputs.results if result.system.kind == "member"]
    members = [replace(member, real_time_factor=0.1) for member in found]
    comparisons = compare(
        group_results([*results(), *members]), samples=200, seed=1, labelled_share=share
    )
    histories = read_histories(inputs.histories)
    hard, essence = accounts_of(comparisons, histories, corpus)
    assert hard.hours == pytest.approx(3 * 0.02 * train.hours * 32 * share)
    num_epochs = [len(histories[member.system.name]) for member in members]
    ensemble = sum(0.1 * train.hours * (3 * share * epochs + 1) for epochs in num_epochs)
    own = 3 * 0.02 * train.hours * 16
    assert essence.hours == pytest.approx(own + ensemble / len(ESSENCE))
    assert essence.equal is not None
    assert epochs_of(essence.equal.group) == 16
    without = accounts_of(comparisons, {}, corpus)[1]
    assert without.hours is None
    table = make_table(ACCOUNT_COLUMNS, [hard, essence])
    assert [row.cells[0].text for row in table.rows if row.cells[0]] == ["hard labels", "k=8"]


def test_page_shows_the_curve_and_its_accounts(tmp_path: Path) -> None:
    place = tmp_path / "report"
    text = parse(write(only(make_inputs(tmp_path), *results()), place)).text
    assert (place / "curves.svg").is_file()
    assert "Error against length of training" in text
    assert "2, 4, 8, 16" in text
