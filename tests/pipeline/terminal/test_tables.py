"""The commands print the figures of page and data files."""

import csv
import json

from pipeline.terminal.tables import results_table
from stages.report.data_files import DATA_FILES, Found
from stages.report.settings import ReportSettings
from stages.report.statistics.comparisons import compare
from stages.report.statistics.groups import group_results
from tests.support.makers.report import make_essence, make_hard, make_members

SETTINGS = ReportSettings(bootstrap_samples=300, seed=5)


def test_interval_of_a_system_is_the_same_in_terminal_csv_and_json() -> None:
    results = [*make_members(), make_hard(), make_essence(8, errors=221)]
    found = compare(group_results(results), samples=300, seed=5)
    table = results_table(results, SETTINGS)
    seeds = list(csv.DictReader(DATA_FILES["results.csv"](Found(found)).splitlines()))
    groups = json.loads(DATA_FILES["groups.json"](Found(found)))
    compared = json.loads(DATA_FILES["comparisons.json"](Found(found)))["groups"]
    assert len(seeds) == len(groups) == len(compared) == len(results)
    for seed, group, comparison in zip(seeds, groups, compared, strict=True):
        low, high = group["wer_test_low"], group["wer_test_high"]
        assert low < group["wer_test"] < high
        assert (float(seed["wer_test_low"]), float(seed["wer_test_high"])) == (low, high)
        assert comparison["wer_test_interval"] == [low, high]
        (line,) = [row for row in table.splitlines() if row.startswith(group["group"] + " ")]
        assert f" {100 * low:.2f} to {100 * high:.2f} " in line
