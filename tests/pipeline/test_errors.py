"""The docstring of pipeline.errors draws its error tree."""

from pipeline import errors
from tests.support.error_trees import defined_parents, drawn_parents


def test_error_tree_matches_its_docstring() -> None:
    assert len(drawn_parents(errors)) > 4
    assert drawn_parents(errors) == defined_parents(errors)
