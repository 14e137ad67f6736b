"""Several ranks: the same steps as one rank; an error on one ends all, without a hang."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.support.makers.ranks import train, train_together
from tests.support.makers.training import make_corpus

# Batches of one utterance, of frames without a label, of fewer utterances than ranks.
LENGTHS = (31, 0, 17, 44, 23, 1, 38, 29, 90, 12, 55)
SETTINGS = {
    "epochs": 3,
    "batch_frames": 61,
    "average_last": 2,
    "augmentation": {"time_masks": 1, "noise": 0.1},
    "checkpoint_minutes": 0,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus")
    make_corpus(directory / "train.h5", lengths=LENGTHS, seed=1, unlabelled_frames=14)
    make_corpus(directory / "dev.h5", lengths=(40, 7, 33, 21, 50), seed=2)
    return directory


@pytest.fixture(scope="module")
def together(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run all jobs with two ranks in one launch, then continue some with one rank."""
    place = tmp_path_factory.mktemp("ranks")

    def job(name: str, **changes: Any) -> dict[str, Any]:
        directory = str(place / name)
        return {"corpus": str(corpus), "directory": directory, "settings": SETTINGS, **changes}

    with pytest.raises(KeyboardInterrupt):
        train(job("one then two", stops_at=9))
    jobs = {
        "two": job("two"),
        "two then one": job("two then one", stops_at=9, stops_on=1),
        "one then two": job("one then two"),
        "fails": job("fails", fails_at=2, fails_on=1),
        "fails on the first": job("fails first", fails_at=2, fails_on=0),
        "mended": job("fails"),
        "nan": job("nan", settings={**SETTINGS, "learning_rate": 1e30}),
    }
    ranks = train_together(2, place, list(jobs.values()))
    outcomes = {name: (first, second) for name, first, second in zip(jobs, *ranks, strict=True)}
    alone = train(job("one")).losses
    rest = train(job("two then one")).losses
    return {"place": place, "outcomes": outcomes, "alone": alone, "rest": rest}


def _weights(directory: Path) -> dict[str, Any]:
    return dict(load_file(directory / "model.safetensors"))


def _metrics(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["two", "two then one", "one then two", "mended"])
def test_two_ranks_give_the_weights_and_metrics_of_one(together: dict[str, Any], name: str) -> None:
    place = together["place"]
    found = place / {"mended": "fails"}.get(name, name)
    wanted = _weights(place / "one")
    for key, values in _weights(found).items():
        np.testing.assert_allclose(values, wanted[key], rtol=2e-4, atol=2e-5, err_msg=key)
    for ours, theirs in zip(_metrics(found), _metrics(place / "one"), strict=True):
        assert theirs["train_parts"]["hard"] == pytest.approx(0.75 * theirs["train_loss"])
        assert theirs["train_parts"]["zero"] > 0
        assert ours.pop("train_parts") == pytest.approx(theirs.pop("train_parts"), rel=1e-4)
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    assert sorted(path.name for path in found.iterdir()) == [
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
    ]


def test_step_loss_of_two_ranks_is_that_of_the_whole_batch(together: dict[str, Any]) -> None:
    first, second = together["outcomes"]["two"]
    np.testing.assert_allclose(first["losses"], together["alone"], rtol=1e-4)
    assert first["losses"] == second["losses"]


def test_interrupt_on_one_rank_stops_all_at_the_same_step(together: dict[str, Any]) -> None:
    first, second = together["outcomes"]["two then one"]
    assert first["error"] == second["error"] == "KeyboardInterrupt"
    # asked during step 9, known to all by the exchange of step 10
    assert len(together["rest"]) == len(together["alone"]) - 10


@pytest.mark.parametrize(("name", "failed"), [("fails", 1), ("fails on the first", 0)])
def test_error_on_one_rank_is_raised_on_all(
    together: dict[str, Any], name: str, failed: int
) -> None:
    outcomes = together["outcomes"][name]
    assert outcomes[failed] == {"error": "MemoryError", "message": "no room on this one"}
    assert outcomes[1 - failed] == {
        "error": "RankFailed",
        "message": f"rank {failed} of 2 says: no room on this one",
    }


def test_nan_loss_ends_all_ranks(together: dict[str, Any]) -> None:
    for outcome in together["outcomes"]["nan"]:
        assert outcome["error"] == "StageError"
        assert "loss is nan" in outcome["message"]
