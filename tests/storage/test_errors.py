"""The error tree of storage.errors is the one that its docstring draws."""

from storage import errors
from tests.support.error_trees import defined_parents, drawn_parents


def test_error_tree_is_drawn_as_it_is() -> None:
    assert len(drawn_parents(errors)) > 4
    assert drawn_parents(errors) == defined_parents(errors)
