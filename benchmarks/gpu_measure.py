"""Measuring on a device: forms in turns, milliseconds, peak memory, tables."""

import gc
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from loss import Form


@dataclass(frozen=True)
class Table:
    """Rows of values under column names; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | int | None]]

    def as_markdown(self) -> str:
        """The table as a document has it."""
        lines = [f"\n**{self.title}**\n", _line(self.columns), _line(["---"] * len(self.columns))]
        return "\n".join([*lines, *(_line(["" if x is None else x for x in r]) for r in self.rows)])


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(f"{x:.3g}" if isinstance(x, float) else str(x) for x in cells) + " |"


class Device:
    """Where things run, and how many rounds are measured."""

    def __init__(self, name: str, *, is_toy: bool) -> None:
        self.name = name
        self.is_toy = is_toy
        self.is_cuda = torch.device(name).type == "cuda"
        self.rounds = 2 if is_toy else 9

    @property
    def title(self) -> str:
        """The card's name."""
        return torch.cuda.get_device_name() if self.is_cuda else self.name

    def wait(self) -> None:
        """Until everything that was launched has ended."""
        if self.is_cuda:
            torch.cuda.synchronize()

    def milliseconds(self, form: Form) -> float:
        """Of one run, by the card's clock where there is one."""
        form.prepare()
        self.wait()
        if not self.is_cuda:
            began = time.perf_counter()
            form.act()
            return 1e3 * (time.perf_counter() - began)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        form.act()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))

    def peak_bytes(self, form: Form) -> int | None:
        """The most memory that a form adds; None where that is not known."""
        if not self.is_cuda:
            return None
        form.prepare()
        gc.collect()
        self.wait()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        form.act()
        self.wait()
        return torch.cuda.max_memory_allocated() - before

    def measure(self, forms: Mapping[str, Form], *, warm_up: int = 3) -> dict[str, list[float]]:
        """Milliseconds of each form in each round."""
        rng = np.random.default_rng(0)
        for form in forms.values():
            for _ in range(warm_up):
                self.milliseconds(form)
        found: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(self.rounds):
            for name in rng.permutation(list(forms)):
                found[name].append(self.milliseconds(forms[name]))
        return found


def ratio_rows(
    found: Mapping[str, Sequence[float]], *, of: str
) -> list[list[str | float | int | None]]:
    """Name, milliseconds, ratio to `of` with its range, of every form."""
    rows: list[list[str | float | int | None]] = []
    for name, times in found.items():
        ratios = [a / b for a, b in zip(times, found[of], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append([name, statistics.median(times), spread])
    return rows
