"""What `essence verify` prints, and its exit code."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.shelf.verify import Checked
from pipeline.terminal.columns import aligned
from pipeline.terminal.plain_text import plain_text

# The worst one counts: those of 'essence cache verify', and 1 for what could not be read.
EXIT_CODES = {"damaged": 3, "unreadable": 1, "under construction": 4}


def describe_work(found: Sequence[Checked], *, seconds: float, cpu_seconds: float) -> str:
    """A line for each entry, each problem and remark, and the sums."""
    rows = [(each.name, each.state, f"{each.num_bytes:,}") for each in found]
    lines = [aligned([("name", "state", "bytes read"), *rows])]
    for each in found:
        lines += [f"damaged: {problem}" for problem in each.problems]
        lines += [f"unreadable: {problem}" for problem in each.unreadable]
    remarks = Counter(remark for each in found for remark in each.remarks)
    for each in found:
        lines += [f"{each.name}: {remark}" for remark in each.remarks if remarks[remark] == 1]
    lines += [f"{number} entries: {text}" for text, number in remarks.items() if number > 1]
    counts = Counter(each.state for each in found)
    total = sum(each.num_bytes for each in found)
    states = ", ".join(f"{number} {state}" for state, number in counts.items()) or "nothing"
    times = f"{seconds:.1f} s ({cpu_seconds:.1f} s of processor time)"
    return plain_text("\n".join([*lines, f"{states}; read {total:,} bytes in {times}"]))


def work_as_json(found: Sequence[Checked], *, seconds: float, cpu_seconds: float) -> dict[str, Any]:
    """The same for programs."""
    return {
        "entries": [{"state": each.state, **asdict(each)} for each in found],
        "num_bytes": sum(each.num_bytes for each in found),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }


def exit_code(found: Sequence[Checked]) -> int:
    """0 if all is sound."""
    states = {each.state for each in found}
    return next((code for state, code in EXIT_CODES.items() if state in states), 0)
