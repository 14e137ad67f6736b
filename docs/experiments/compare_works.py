"""Compare the students on hard labels of two work directories with the same test set.

    python docs/experiments/compare_works.py WORK RIVAL

A run is one seed. Intervals are those of the report, over speakers and seeds.
"""

import json
import sys
from pathlib import Path

from pool_folds import SAMPLES, difference_of, rate_of, read_runs

from stages.contract.results import SplitResult
from stages.report.statistics.bootstrap import Bootstrap

SYSTEM = "hard labels"


def tests_of(work: Path) -> list[SplitResult]:
    """The test results of all seeds, in their order."""
    runs = read_runs(work)
    return [runs[key].test for key in sorted(runs) if key[0] == SYSTEM]


def main(work: Path, rival: Path) -> None:
    """Print both rates and the difference, in percent and points."""
    ours, theirs = tests_of(work), tests_of(rival)
    bootstrap = Bootstrap(ours[0].utterances, samples=SAMPLES, seed=0)
    pooled = {str(work): bootstrap.pool(ours), str(rival): bootstrap.pool(theirs)}
    rates = {name: rate_of(bootstrap, runs) for name, runs in pooled.items()}
    difference = difference_of(bootstrap, *pooled.values())
    print(json.dumps({"rates": rates, "difference": difference}, indent=2))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
