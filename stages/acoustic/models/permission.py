"""Permission to run the user's own architectures: the factories that the settings name.

Child processes inherit it, by an environment variable.
"""

import os
from collections.abc import Iterable

ALLOWED = "ESSENCE_ARCHITECTURES"  # factories, separated by commas


def allow_factories(kinds: Iterable[str]) -> None:
    """Permit these factories: the user's settings name them."""
    os.environ[ALLOWED] = ",".join(sorted(_allowed() | set(kinds)))


def is_allowed(kind: str) -> bool:
    """Whether this factory's code may be run."""
    return kind in _allowed()


def _allowed() -> set[str]:
    return {kind.strip() for kind in os.environ.get(ALLOWED, "").split(",") if kind.strip()}
