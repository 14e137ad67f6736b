"""Ranking: role, order and description of systems."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from stages.contract.results import SplitResult, SystemResult

Role = Literal[
    "member",
    "ensemble",
    "fully transcribed student",
    "hard-label student",
    "soft-label student",
]

ORDER: tuple[Role, ...] = (
    "member",
    "ensemble",
    "fully transcribed student",
    "hard-label student",
    "soft-label student",
)
ON_HARD_LABELS: tuple[Role, ...] = ("fully transcribed student", "hard-label student")
SHOWN_FACTS = ("architecture", "hard_weight", "tail", "temperature", "seed")
PLAIN_FACTS = ("architecture",)  # shown without their name
SOFT_FACTS = ("hard_weight", "tail", "temperature")  # without effect on a student on hard labels


def role_of(result: SystemResult) -> Role:
    """The role of a system. A student with hard_weight 1 learns from hard labels alone.

    It is fully transcribed where it learns from hard labels that the others do not have.
    """
    if result.system.kind != "student":
        return result.system.kind
    if result.system.is_fully_transcribed:
        return "fully transcribed student"
    return "hard-label student" if result.system.facts.hard_weight == 1 else "soft-label student"


def kept_of(result: SystemResult) -> int | None:
    """k of a student on soft labels; None for all others."""
    return result.system.facts.k if role_of(result) == "soft-label student" else None


def word_error_rate(split: SplitResult) -> float | None:
    """The word error rate; None without reference words."""
    return split.words.rate if split.words.reference_words else None


def in_order(results: Sequence[SystemResult]) -> list[SystemResult]:
    """Members, ensemble, hard-label students, soft-label students by k; then by name."""
    return sorted(
        results,
        key=lambda r: (ORDER.index(role_of(r)), kept_of(r) or 0, r.system.name),
    )


def describe(result: SystemResult, facts: Sequence[str]) -> str:
    """`tdnn 5x128, hard weight 0.2, tail bucket`: those of `facts` that this system has."""
    have = asdict(result.system.facts)
    if role_of(result) in ON_HARD_LABELS:
        have = {name: value for name, value in have.items() if name not in SOFT_FACTS}
    if have.get("temperature") == 1:
        del have["temperature"]
    return ", ".join(
        str(have[name]) if name in PLAIN_FACTS else f"{name.replace('_', ' ')} {have[name]}"
        for name in facts
        if have.get(name) is not None
    )
