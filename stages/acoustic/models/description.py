"""Description of an architecture, from ArchitectureSettings as JSON values."""

import math
from collections.abc import Mapping
from typing import Any

from stages.acoustic.models.settings import BUILT_IN


def describe_architecture(settings: Mapping[str, Any]) -> str:
    """Kind, layers and width in a few words, from ArchitectureSettings as JSON values."""
    kind = settings["kind"]
    if kind in BUILT_IN:
        ahead = settings.get("right_context")
        limit = "" if ahead is None else f" {ahead} ahead"
        return f"{kind} {settings['layers']}x{settings['hidden']}{limit}"
    return " ".join([kind, *(f"{key}={x}" for key, x in settings.items() if key != "kind")])


def right_context_of(settings: Mapping[str, Any]) -> float | None:
    """Frames that it sees ahead; infinite: all of an utterance. None: custom code, no limit."""
    limit: int | None = settings.get("right_context")
    if limit is None and settings["kind"] in BUILT_IN:
        return math.inf
    return limit
