"""comparisons.json: all comparisons, for other programs."""

import json
from typing import Any

from stages.report.ranking import word_error_rate
from stages.report.statistics.comparison import Comparison
from stages.report.statistics.comparisons import Comparisons, Recovery
from stages.report.statistics.groups import SystemGroup
from stages.report.statistics.planned import Planned

FORMAT = 3  # 2 has ensembles, Holm's correction and recovery; 3 planned comparisons


def as_json(comparisons: Comparisons) -> str:
    """comparisons.json: rates are fractions, `delta` is system minus rival."""
    document = {
        "format": f"essence comparisons {FORMAT}",
        "split": "test",
        "chosen_on_dev": comparisons.chosen.name if comparisons.chosen else None,
        "bootstrap": {
            "samples": comparisons.samples,
            "seed": comparisons.seed,
            "unit": "speaker" if comparisons.units_are_speakers else "utterance",
            "num_units": comparisons.num_units,
        },
        "planned": [_planned_json(planned) for planned in comparisons.planned],
        "groups": [_group_json(comparisons, group) for group in comparisons.groups],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _group_json(comparisons: Comparisons, group: SystemGroup) -> dict[str, Any]:
    interval = comparisons.intervals.get(group.key)
    return {
        "group": group.name,
        "role": group.role,
        "key": group.key,
        "k": group.k,
        "seeds": list(group.seeds),
        "fingerprints": [result.system.fingerprint for result in group.results],
        "wer_dev": group.word_error_rate("dev"),
        "wer_test": group.word_error_rate("test"),
        "wer_test_interval": [interval.low, interval.high] if interval else None,
        "wer_test_by_seed": [word_error_rate(split) for split in group.splits("test")],
        "ensembles": sorted(set(group.design.ensembles) - {""}),
        "against_hard_labels": _comparison_json(comparisons.to_hard.get(group.key)),
        "p_holm_against_hard_labels": comparisons.holm_to_hard.get(group.key),
        "against_ensemble": _comparison_json(comparisons.to_ensemble.get(group.key)),
        "recovery": _recovery_json(comparisons.recoveries.get(group.key)),
    }


def _planned_json(planned: Planned) -> dict[str, Any]:
    return {
        "system": planned.system,
        "not_evaluated": list(planned.missing),
        "p_holm": planned.p_holm,
        "against": _comparison_json(planned.comparison),
    }


def _recovery_json(recovery: Recovery | None) -> dict[str, Any] | None:
    if recovery is None:
        return None
    interval = recovery.interval
    return {
        "share": recovery.share,
        "interval": [interval.low, interval.high] if interval else None,
        "partly_transcribed": recovery.partly.name,
        "fully_transcribed": recovery.fully.name,
    }


def _comparison_json(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    found, segments = comparison.difference, comparison.segments
    return {
        "rival": comparison.rival.name,
        "rival_key": comparison.rival.key,
        "seeds_paired": comparison.paired,
        "delta": found.delta,
        "interval": [found.interval.low, found.interval.high],
        "p_bootstrap": found.p,
        "probability_of_improvement": found.improvement,
        "p_mapsswe": segments.p,
        "mapsswe_segments": segments.num_segments,
        "mapsswe_z": segments.z,
    }
