"""Varied settings: those in which the students of a sweep differ, under the names of --vary."""

from collections.abc import Iterator, Sequence
from typing import Any

from stages.student.settings import StudentSettings, with_defaults
from storage.files.fingerprint import canonical_json
from storage.place.address import shown

FIRST = ("k", "hard_weight")  # in every table
SEED = "training.seed"


def varied_settings(students: Sequence[StudentSettings]) -> list[str]:
    """Dotted keys: k, the hard weight, then every setting with several values; never the seed.

    A setting is compared among the students that it counts for: hard labels alone have no tail.
    """
    trees = [_counted(student) for student in students]
    values: dict[str, set[str]] = {}
    for key in dict.fromkeys(key for tree in trees for key in _flat(tree)):
        having = [tree for tree in trees if _branch(key) in tree]
        values[key] = {canonical_json(_flat(tree).get(key)) for tree in having}
    fields = list(StudentSettings.model_fields)
    varied = [key for key, several in values.items() if len(several) > 1 and key != SEED]
    varied.sort(key=lambda key: fields.index(_branch(key)))
    return list(dict.fromkeys([*FIRST, *varied]))


def shown_settings(student: StudentSettings, keys: Sequence[str]) -> dict[str, Any]:
    """Their values; None for one that does not count: k of a student on hard labels alone."""
    flat = _flat(_counted(student))
    return {key: flat.get(key) for key in keys}


def without_seed(student: StudentSettings) -> str:
    """The same text for students that differ in the seed alone."""
    return canonical_json({**_flat(_counted(student)), SEED: None})


def _counted(student: StudentSettings) -> dict[str, Any]:
    """The settings that count; the store by its name, which is what a sweep varies."""
    named = {"store": student.store and shown(student.store)} if student.hard_weight < 1 else {}
    return {**with_defaults(student.identity()), **named}


def _flat(tree: dict[str, Any]) -> dict[str, Any]:
    return dict(_dotted(tree, below=""))


def _dotted(tree: dict[str, Any], *, below: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _dotted(value, below=f"{below}{key}.")
        else:
            yield f"{below}{key}", value


def _branch(key: str) -> str:
    return key.partition(".")[0]
