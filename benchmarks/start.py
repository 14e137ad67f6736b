"""How long commands take to start: processor time, as a ratio to importing what they all need.

    python benchmarks/start.py [--rounds 9]

Each round runs every command once, in a new process, in a new order. Ratios are taken within a
round, so that both sides see the same load of the machine. Bytecode is compiled before.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

COMMAND = ("-m", "essence")
BASE = ("-c", "import numpy, pydantic, click")
SIDES = {
    "import numpy, pydantic, click": BASE,
    "essence --help": (*COMMAND, "--help"),
    "essence status": (*COMMAND, "status"),
    "essence cache info --help": (*COMMAND, "cache", "info", "--help"),
    "import torch": ("-c", "import torch"),
}


def seconds(words: Sequence[str], *, folder: str) -> float:
    """Processor time, user and system, of a process of Python that ran `words`."""
    root = Path(__file__).resolve().parent.parent
    before = os.times()
    subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    ratios: dict[str, list[float]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        for words in SIDES.values():
            seconds(words, folder=folder)
        for number in range(rounds):
            names = random.Random(number).sample(list(SIDES), len(SIDES))
            took = {name: seconds(SIDES[name], folder=folder) for name in names}
            for name in SIDES:
                ratios[name].append(took[name] / took[next(iter(SIDES))])
    for name, found in ratios.items():
        median, least, most = statistics.median(found), min(found), max(found)
        print(f"{name:32} {median:6.2f} ({least:.2f}-{most:.2f})")


if __name__ == "__main__":
    main()
