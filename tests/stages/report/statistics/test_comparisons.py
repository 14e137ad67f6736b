"""Groups of seeds, their baselines, and comparisons.json."""

import json

import pytest

from stages.report.comparisons_json import as_json
from stages.report.statistics.comparisons import compare
from stages.report.statistics.groups import baseline_of, best_on_dev, group_results, of_role
from tests.support.makers.scores import make_scored, make_speakers, with_splits

HARD, SOFT = {"hard_weight": 1.0}, {"hard_weight": 0.5, "tail": "renormalize"}


def essence(k, errors, seed=1, dev=None, **facts):
    test = make_speakers(errors)
    dev_test = test if dev is None else make_speakers(dev)
    return make_scored(f"k={k} seed={seed}", test, dev=dev_test, k=k, seed=seed, **(SOFT | facts))


def hard(errors, seed=1, name="hard labels", **facts):
    test = make_speakers(errors)
    return make_scored(f"{name} seed={seed}", test, seed=seed, **(HARD | facts))


def ensemble(errors):
    return make_scored("ensemble", make_speakers(errors), kind="ensemble", architecture=None)


def run(results, samples=2000):
    return compare(group_results(results), samples=samples, seed=1)


def test_students_of_other_seeds_are_one_group():
    results = [
        essence(8, [3, 4], seed=2), hard([5, 6], seed=1), essence(8, [1, 2], seed=1),
        ensemble([1, 1]), essence(2, [1, 1]), essence(8, [1, 1], seed=1, hard_weight=0.2),
    ]  # fmt: skip
    groups = group_results(results)
    assert [(group.name, group.seeds) for group in groups] == [
        ("ensemble", (1,)),
        ("hard labels seed=1", (1,)),
        ("k=2 seed=1", (1,)),
        ("k=8", (1, 2)),
        ("k=8 seed=1", (1,)),
    ]
    assert groups[3].word_error_rate("test") == pytest.approx(10 / 80)


def test_members_with_the_same_settings_are_separate_groups():
    members = [
        make_scored(name, make_speakers([1]), kind="member", seed=seed)
        for seed, name in enumerate(("tdnn a", "tdnn b"))
    ]
    assert [len(group.results) for group in group_results(members)] == [1, 1]


def test_best_group_is_chosen_on_dev():
    lucky = essence(2, [1, 1], dev=[9, 9])
    steady = essence(8, [5, 5], dev=[5, 5])
    assert best_on_dev(group_results([lucky, steady])).k == 8


def test_group_of_one_seed_is_not_chosen_if_others_have_several():
    once = essence(2, [1, 1])
    often = [essence(8, [3, 3], seed=seed) for seed in range(5)]
    assert best_on_dev(group_results([once, *often])).k == 8
    assert best_on_dev(group_results([once, often[0]])).k == 2


def test_baseline_is_the_best_of_the_same_architecture():
    wide = hard([1, 1], name="wide", architecture="tdnn 5x512")
    long = hard([3, 3], name="hard labels epochs=24")
    short = hard([4, 4], name="hard labels epochs=12")
    student = essence(8, [2, 2])
    groups = group_results([wide, long, short, student])
    (own,) = of_role(groups, "soft-label student")
    assert baseline_of(own, groups).results == (long,)
    found = run([wide, long, short, student])
    rivals = {c.group.first.system.name: c.rival.first.system.name for c in found.to_hard.values()}
    assert rivals == {student.system.name: long.system.name, short.system.name: long.system.name}


def test_students_on_hard_labels_by_the_ensemble_are_no_baseline():
    given = hard([4, 4])
    decoded = hard([2, 2], name="hard labels untranscribed=decoded", has_given_labels=False)
    groups = group_results([given, decoded, essence(8, [2, 2])])
    for group in groups:
        assert baseline_of(group, groups).results == (given,)
    alone = group_results([decoded])
    assert baseline_of(alone[0], alone) is None
    rivals = {c.rival.first.system.name for c in run([given, decoded]).to_hard.values()}
    assert rivals == {given.system.name}


def test_members_and_ensemble_are_compared_with_the_baseline_of_the_claim():
    member = make_scored("gru", make_speakers([2, 2]), kind="member", architecture="gru 2x128")
    found = run([member, ensemble([1, 1]), hard([3, 3]), essence(8, [2, 2])])
    names = {comparison.group.name for comparison in found.to_hard.values()}
    assert names == {"gru", "ensemble", "k=8 seed=1"}
    assert {c.group.name for c in found.to_ensemble.values()} == {
        "gru", "hard labels seed=1", "k=8 seed=1",
    }  # fmt: skip


def test_seeds_are_paired_where_both_have_the_same():
    ours = [essence(8, [2, 3], seed=seed) for seed in (1, 2)]
    same = [hard([3, 4], seed=seed) for seed in (1, 2)]
    others = [hard([3, 4], seed=seed) for seed in (3, 4)]
    for rivals, is_paired in ((same, True), (others, False), (same[:1], False)):
        (comparison,) = [
            c
            for c in run([*ours, *rivals]).to_hard.values()
            if c.group.role == "soft-label student"
        ]
        assert comparison.paired is is_paired
        assert comparison.difference.delta == pytest.approx(-1 / 20)


def test_comparison_needs_two_groups_with_utterances():
    assert not run([]).to_hard
    alone = run([essence(8, [2, 3])])
    assert not alone.to_hard
    assert not alone.to_ensemble
    assert len(alone.intervals) == 1
    silent = essence(8, [2, 3])
    silent = with_splits(silent, test=silent.test.model_copy(update={"utterances": ()}))
    assert not run([silent, hard([1, 1])]).to_hard


def test_comparisons_json_holds_each_group_and_its_rivals():
    results = [
        *(essence(8, [2, 3, 4], seed=seed) for seed in (1, 2)),
        *(hard([3, 4, 5], seed=seed) for seed in (1, 2)),
        ensemble([3, 3, 2]),
    ]
    found = run(results, samples=999)
    document = json.loads(as_json(found))
    assert document["chosen_on_dev"] == "k=8"
    assert document["bootstrap"] == {"samples": 999, "seed": 1, "unit": "speaker", "num_units": 3}
    own = document["groups"][-1]
    assert own["group"] == "k=8"
    assert own["seeds"] == [1, 2]
    assert own["wer_test"] == pytest.approx(9 / 60)
    assert own["wer_test_by_seed"] == [pytest.approx(9 / 60)] * 2
    to_hard = own["against_hard_labels"]
    assert to_hard["rival"] == "hard labels"
    assert to_hard["seeds_paired"] is True
    assert to_hard["delta"] == pytest.approx(-0.05)
    assert to_hard["p_bootstrap"] == pytest.approx(2 / 1000)
    assert to_hard["probability_of_improvement"] == 1
    assert own["against_ensemble"]["p_bootstrap"] > 0.3
    assert document["groups"][1]["against_hard_labels"] is None


def test_comparisons_do_not_depend_on_the_order_of_results():
    results = [essence(8, [2, 3, 4]), hard([3, 4, 5]), ensemble([3, 3, 2])]
    assert as_json(run(results)) == as_json(run(results[::-1]))


def test_seeds_of_a_group_are_sorted():
    (group,) = group_results([essence(8, [1], seed=10), essence(8, [1], seed=9)])
    assert group.seeds == (9, 10)


def test_groups_of_one_name_get_different_names():
    other = essence(8, [1], seed=3, group="of another teacher")
    groups = group_results([essence(8, [1], seed=1), essence(8, [1], seed=2), other, other])
    names = [group.name for group in groups]
    assert len(set(names)) == len(names) == 2
    assert all(name.startswith("k=8 [") for name in names)


PLAN = [("k=8", "decoded"), ("k=8", "hard labels"), ("k=8", "not trained yet")]


def planned_results(decoded=(9, 9)):
    def of_seeds(make):
        return [make(seed) for seed in (1, 2)]

    return [
        *of_seeds(lambda seed: essence(8, [3, 3 + seed], seed=seed)),
        *of_seeds(lambda seed: hard([6, 6 + seed], seed=seed)),
        *of_seeds(lambda seed: hard(decoded, seed=seed, name="decoded", has_given_labels=False)),
    ]


def test_planned_comparisons_are_those_named_with_the_statistics_of_all():
    groups = group_results(planned_results())
    found = compare(groups, samples=2000, seed=1, plan=PLAN)
    against, hard_labels, missing = found.planned
    assert (against.comparison.group.name, against.comparison.rival.name) == PLAN[0]
    assert against.comparison.difference.delta == pytest.approx((3 + 4.5 - 18) / 40)
    assert hard_labels.comparison == found.to_hard[hard_labels.comparison.group.key]
    assert (missing.comparison, missing.missing) == (None, ("not trained yet",))


def test_holm_counts_the_whole_plan():
    groups = group_results(planned_results())
    alone = compare(groups, samples=2000, seed=1, plan=PLAN[:1]).planned[0]
    of_three = compare(groups, samples=2000, seed=1, plan=PLAN).planned[0]
    assert alone.p_holm == pytest.approx(alone.comparison.difference.p)
    assert of_three.p_holm == pytest.approx(3 * alone.p_holm)


def test_comparisons_json_has_the_plan():
    groups = group_results(planned_results())
    document = json.loads(as_json(compare(groups, samples=200, seed=1, plan=PLAN)))
    assert [row["not_evaluated"] for row in document["planned"]] == [[], [], ["not trained yet"]]
    assert document["planned"][0]["against"]["rival"] == "decoded"
