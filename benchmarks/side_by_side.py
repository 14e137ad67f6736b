"""Side by side: contestants measured in turns, so that a change of the machine's load affects all.

A ratio is taken within a round; the median and the range over the rounds are printed. Time is the
processor time of all threads: everything is in memory, and other processes do not count.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numcodecs
import numpy as np
import zarr

from storage.write.top_k import KeptBlock


class Contestant:
    """The function to measure, and the number of frames that it handles."""

    def __init__(self, act: Callable[[], object], of: KeptBlock | int) -> None:
        self.act = act
        self.num_frames = of if isinstance(of, int) else len(of.ids_TK)


def each(act: Callable[..., object], runs: Sequence[tuple[Any, ...]]) -> Contestant:
    """A contestant that calls `act` for all runs (start, stop), one after the other."""
    num_frames = sum(run[1] - run[0] for run in runs if len(run) == 2)
    return Contestant(lambda: [act(*run) for run in runs], num_frames)


def measured(contestants: dict[str, Contestant], rounds: int) -> dict[str, list[float]]:
    """Seconds a frame of each contestant, round by round, in a new order each time."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    rng = np.random.default_rng(3)
    for contestant in contestants.values():
        contestant.act()
    for _ in range(rounds):
        for name in rng.permutation(list(contestants)):
            started = time.process_time()
            contestants[name].act()
            took = time.process_time() - started
            seconds[name].append(took / contestants[name].num_frames)
    return seconds


def print_ratios(title: str, contestants: dict[str, Contestant], rounds: int) -> None:
    """Print one line for each rival: its time for a frame relative to the store's."""
    seconds = measured(contestants, rounds)
    first = f"| {title} | {1e-6 / statistics.median(seconds['ours']):.2f}"
    for name in list(contestants)[1:]:
        pairs = zip(seconds[name], seconds["ours"], strict=True)
        ratios = [theirs / ours for theirs, ours in pairs]
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{first} | {name} | {statistics.median(ratios):.2f} {spread} |")
        first = "| | "
    sys.stdout.flush()


def machine() -> str:
    """The processor's name, and versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    return (
        f"{cpu}; Python {platform.python_version()}, numpy {np.__version__}, "
        f"zarr {zarr.__version__}, numcodecs {numcodecs.__version__}, h5py {h5py.__version__}"
    )
