"""How often the report's 95 % interval contains the true difference, on simulated test sets.

    python benchmarks/intervals.py

Two systems with equal expected error rates are compared many times: new speakers, new seeds.
Errors are counts around a rate that depends on speaker, system on that speaker, seed, and seed on
that speaker. Printed: how often a difference of zero is outside the interval (nominal: 5 %) and
how often p is below 0.05.
"""

import argparse

import numpy as np

from stages.contract.results import UtteranceResult, WordErrors
from stages.report.statistics.bootstrap import Bootstrap, PooledErrors

WORDS = 77  # of a speaker, as in AN4
RATE = 0.09
BY_SPEAKER, BY_SYSTEM, BY_SEED, BY_BOTH = 0.5, 0.15, 0.05, 0.10  # std. deviations of log rates


def make_bootstrap(num_speakers: int, *, samples: int) -> Bootstrap:
    """Bootstrap draws over `num_speakers` speakers of WORDS words each."""
    counts = WordErrors(reference_words=WORDS, insertions=0, deletions=0, substitutions=0)
    rows = [
        UtteranceResult(id=f"{i}", speaker=f"{i}", reference="", hypothesis="", words=counts)
        for i in range(num_speakers)
    ]
    return Bootstrap(rows, samples=samples, seed=1)


def draw_errors(speaker_S: np.ndarray, num_seeds: int, rng: np.random.Generator) -> PooledErrors:
    """Errors of one system, for each seed and speaker."""
    num_speakers = len(speaker_S)
    system_S = np.exp(rng.normal(0, BY_SYSTEM, num_speakers))
    seed_N1 = np.exp(rng.normal(0, BY_SEED, (num_seeds, 1)))
    both_NS = np.exp(rng.normal(0, BY_BOTH, (num_seeds, num_speakers)))
    rates_NS = RATE * speaker_S * system_S * seed_N1 * both_NS
    return PooledErrors(rng.poisson(WORDS * rates_NS).astype(np.float64))


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--trials", type=int, default=2000)
    options.add_argument("--samples", type=int, default=1000)
    given = options.parse_args()
    print("speakers  seeds  zero outside the interval  p < 0.05")
    for num_speakers in (10, 20, 40):
        draws = make_bootstrap(num_speakers, samples=given.samples)
        for seeds in ((1, 1), (3, 3), (5, 5), (5, 1)):
            rng = np.random.default_rng([num_speakers, *seeds])
            outside = below = 0
            for _ in range(given.trials):
                speaker_S = np.exp(rng.normal(0, BY_SPEAKER, num_speakers))
                ours, theirs = (draw_errors(speaker_S, n, rng) for n in seeds)
                found = draws.difference(ours, theirs, paired=seeds[0] == seeds[1])
                outside += not found.interval.low <= 0 <= found.interval.high
                below += found.p < 0.05
            shares = f"{outside / given.trials:24.1%}  {below / given.trials:8.1%}"
            print(f"{num_speakers:8}  {seeds[0]}-{seeds[1]}  {shares}")


if __name__ == "__main__":
    main()
