"""Columns of a sweep: what varies, among the students that it counts for."""

from typing import Any

from pipeline.sweep.varied import shown_settings, varied_settings, without_seed
from stages.student.settings import StudentSettings


def student(**settings: Any) -> StudentSettings:
    return StudentSettings.model_validate(settings)


def test_varied_settings_are_those_with_several_values() -> None:
    students = [
        student(training={"learning_rate": 0.1, "seed": 1}),
        student(training={"learning_rate": 0.2, "seed": 2}, tail="bucket"),
    ]
    keys = varied_settings(students)
    assert keys == ["k", "hard_weight", "tail", "training.learning_rate"]
    assert shown_settings(students[1], keys) == {
        "k": 8,
        "hard_weight": 0.2,
        "tail": "bucket",
        "training.learning_rate": 0.2,
    }


def test_varied_settings_leave_out_what_hard_labels_do_not_read() -> None:
    students = [student(hard_weight=1.0), student(k=2), student(k=3)]
    assert varied_settings(students) == ["k", "hard_weight"]
    assert shown_settings(students[0], ["k", "hard_weight"]) == {"k": None, "hard_weight": 1.0}


def test_varied_settings_have_those_that_a_recipe_leaves_out_at_their_default() -> None:
    students = [student(), student(trust="where_right"), student(ranks="permuted")]
    keys = varied_settings(students)
    assert keys == ["k", "hard_weight", "trust", "ranks"]
    shown = [shown_settings(each, keys[2:]) for each in [*students, student(hard_weight=1.0)]]
    assert [tuple(each.values()) for each in shown] == [
        ("always", "as_stored"),
        ("where_right", "as_stored"),
        ("always", "permuted"),
        (None, None),
    ]


def test_varied_settings_of_training_have_their_defaults_too() -> None:
    students = [student(), student(training={"equal_steps": True})]
    keys = varied_settings(students)
    assert "training.equal_steps" in keys
    shown = [shown_settings(each, ["training.equal_steps"]) for each in students]
    assert [list(each.values()) for each in shown] == [[False], [True]]


def test_varied_settings_have_stores_and_options_of_own_architectures() -> None:
    stores = [student(store="a"), student(store="b")]
    assert varied_settings(stores) == ["k", "hard_weight", "store"]
    own = [
        student(architecture={"kind": "m:W"}),
        student(architecture={"kind": "m:W", "width": 7}),
    ]
    assert varied_settings(own) == ["k", "hard_weight", "architecture.width"]
    assert without_seed(own[0]) != without_seed(own[1])


def test_without_seed_is_the_same_for_seeds_of_one_setting() -> None:
    first, second = student(training={"seed": 1}), student(training={"seed": 2})
    assert without_seed(first) == without_seed(second)
    assert without_seed(first) != without_seed(student(k=1))
