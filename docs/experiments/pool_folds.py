"""Compare the students of all folds of a cross-validation, each word tested once.

    python docs/experiments/pool_folds.py WORK1 WORK2 WORK3 WORK4 > e2-an4.json

A run is one seed: its errors on the test parts of all folds together. Intervals are those of the
report (stages/report/statistics/bootstrap.py), over speakers and seeds. A fold has one ensemble, so
that the draw of the ensemble counts only as far as speakers of other folds have another one.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from stages.contract.results import Evaluation, SplitResult
from stages.report.statistics.bootstrap import Bootstrap, Interval, PooledErrors

SAMPLES = 10_000
PLAN = [  # the first is the primary comparison
    ("k=8", "hard labels transcribed=realigned"),
    ("k=8", "hard labels"),
    ("hard labels transcribed=realigned", "hard labels"),
]
Runs = dict[tuple[str, str], Evaluation]  # by name of the system and seed


def read_runs(work: Path) -> Runs:
    """The evaluations of one fold."""
    runs: Runs = {}
    for directory in work.glob("evaluation-*"):
        made = json.loads((directory / "made.json").read_text())
        name, _, seed = made["remarks"]["system"].partition(" seed=")
        runs[name, seed] = Evaluation.model_validate_json((directory / "result.json").read_text())
    return runs


def join_tests(folds: Sequence[Runs]) -> dict[str, dict[str, SplitResult]]:
    """The test utterances of all folds as one test set, by system and seed."""
    joined: dict[str, dict[str, SplitResult]] = defaultdict(dict)
    for name, seed in set.intersection(*(set(runs) for runs in folds)):
        tests = [runs[name, seed].test for runs in folds]
        utterances = tuple(chain.from_iterable(test.utterances for test in tests))
        joined[name][seed] = tests[0].model_copy(update={"utterances": utterances})
    return joined


def percent(interval: Interval) -> list[float]:
    """Low and high, in percent."""
    return [round(100 * interval.low, 2), round(100 * interval.high, 2)]


def rate_of(bootstrap: Bootstrap, runs: PooledErrors) -> dict[str, object]:
    """Word error rate of a system, in percent."""
    return {
        "runs": runs.design.num_runs,
        "word_error_rate": round(100 * bootstrap.rate(runs), 2),
        "interval": percent(bootstrap.interval(runs)),
    }


def difference_of(
    bootstrap: Bootstrap, system: PooledErrors, rival: PooledErrors
) -> dict[str, object]:
    """System minus rival, in points."""
    found = bootstrap.difference(system, rival, paired=True)
    return {
        "points": round(100 * found.delta, 2),
        "interval": percent(found.interval),
        "p": round(found.p, 4),
    }


def compare(systems: Mapping[str, Mapping[str, SplitResult]]) -> dict[str, object]:
    """Rates of all systems, and the comparisons of the plan."""
    first = next(iter(next(iter(systems.values())).values()))
    bootstrap = Bootstrap(first.utterances, samples=SAMPLES, seed=0)
    pooled = {
        name: bootstrap.pool([runs[seed] for seed in sorted(runs)])
        for name, runs in sorted(systems.items())
    }
    rates = {name: rate_of(bootstrap, found) for name, found in pooled.items()}
    planned = [
        {
            "system": system,
            "rival": rival,
            **difference_of(bootstrap, pooled[system], pooled[rival]),
        }
        for system, rival in PLAN
    ]
    words = sum(item.words.reference_words for item in first.utterances)
    return {
        "words": words,
        "speakers": bootstrap.num_units,
        "rates": rates,
        "planned": planned,
    }


def main(works: Sequence[Path]) -> None:
    """Print rates and comparisons as JSON."""
    print(json.dumps(compare(join_tests([read_runs(work) for work in works])), indent=2))


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
