"""The programs of docs/experiments: folds over speakers, and their errors pooled."""

import json
import runpy
from pathlib import Path

import pytest

from stages.contract.results import Evaluation
from tests.support.makers.scores import make_scored_split, make_speakers
from tests.support.paths import DOCS

FOLDS = runpy.run_path(str(DOCS / "experiments" / "an4_folds.py"))
POOL = runpy.run_path(str(DOCS / "experiments" / "pool_folds.py"))
REALIGNED = "hard labels transcribed=realigned"


def write_an4(directory: Path, num_speakers: int = 13) -> None:
    """A directory with two utterances a speaker, the speakers dealt out over the three parts."""
    for number, part in enumerate(("train", "dev", "test")):
        (directory / part).mkdir(parents=True)
        speakers = [f"s{speaker:02}" for speaker in range(number, num_speakers, 3)]
        ids = [(f"{speaker}-{n}", speaker) for speaker in speakers for n in range(2)]
        lines = {
            "feats.scp": [f"{id} feats.ark:{18 + n}" for n, (id, _) in enumerate(ids)],
            "text": [f"{id} YES NO" for id, _ in ids],
            "utt2spk": [f"{id} {speaker}" for id, speaker in ids],
        }
        for name, found in lines.items():
            (directory / part / name).write_text("".join(f"{line}\n" for line in found))
    (directory / "lang").mkdir()
    (directory / "lang" / "lexicon.txt").write_text("YES #-Y Y-EH EH-S\nNO #-N N-OW\nNO #-N N-OW\n")


def test_each_speaker_is_tested_in_one_fold_and_is_in_one_part_of_each(tmp_path: Path) -> None:
    write_an4(tmp_path / "an4")
    FOLDS["main"](tmp_path / "an4", tmp_path / "out")
    tested: list[str] = []
    for fold in range(1, 5):
        parts = {
            part: (tmp_path / "out" / f"fold{fold}" / part / "utt2spk").read_text().splitlines()
            for part in ("train", "dev", "test")
        }
        speakers = {part: {line.split()[1] for line in lines} for part, lines in parts.items()}
        assert all(speakers.values())
        assert sum(map(len, parts.values())) == 26
        assert sum(map(len, speakers.values())) == 13  # no speaker in two parts
        tested += speakers["test"]
    assert sorted(tested) == sorted({f"s{speaker:02}" for speaker in range(13)})


def test_features_of_a_fold_stay_where_they_are(tmp_path: Path) -> None:
    write_an4(tmp_path / "an4")
    FOLDS["main"](tmp_path / "an4", tmp_path / "out")
    lines = (tmp_path / "out" / "fold1" / "test" / "feats.scp").read_text().splitlines()
    assert f"s01-0 {tmp_path.resolve()}/an4/dev/feats.ark:18" not in lines
    assert f"s00-0 {tmp_path.resolve()}/an4/train/feats.ark:18" in lines
    assert (tmp_path / "out" / "lexicon.txt").read_text() == "YES Y EH S\nNO N OW\n"


def write_evaluation(work: Path, name: str, errors: list[int], *, first_speaker: int) -> None:
    speakers = make_speakers([0] * first_speaker + errors)[first_speaker:]
    split = make_scored_split(speakers)
    found = Evaluation(
        num_parameters=1, acoustic_scale=0.1, insertion_penalty=0.0, dev=split, test=split
    )
    directory = work / f"evaluation-{name}"
    directory.mkdir(parents=True)
    (directory / "made.json").write_text(json.dumps({"remarks": {"system": name}}))
    (directory / "result.json").write_text(found.model_dump_json())


def test_words_of_all_folds_are_pooled_by_run(tmp_path: Path) -> None:
    errors = {
        "k=8": ([1, 2, 3], [4, 5, 6]),
        "k=8 seed=102": ([1, 1, 1], [2, 2, 2]),
        REALIGNED: ([3, 3, 3], [6, 6, 6]),
        f"{REALIGNED} seed=102": ([3, 3, 3], [6, 6, 6]),
        "hard labels": ([4, 4, 4], [4, 4, 4]),
        "hard labels seed=102": ([4, 4, 4], [4, 4, 4]),
    }
    works = [tmp_path / "work1", tmp_path / "work2"]
    for name, folds in errors.items():
        for number, (work, found) in enumerate(zip(works, folds, strict=True)):
            write_evaluation(work, name, found, first_speaker=3 * number)
    write_evaluation(works[0], "k=8 seed=103", [0, 0, 0], first_speaker=0)  # not in every fold
    found = POOL["compare"](POOL["join_tests"]([POOL["read_runs"](work) for work in works]))
    assert (found["words"], found["speakers"]) == (120, 6)
    assert found["rates"]["k=8"]["runs"] == 2
    assert found["rates"]["k=8"]["word_error_rate"] == pytest.approx(100 * 30 / 240, abs=0.01)
    primary = found["planned"][0]
    assert (primary["system"], primary["rival"]) == ("k=8", REALIGNED)
    assert primary["points"] == pytest.approx(100 * (30 - 54) / 240, abs=0.01)
    assert primary["interval"][0] < primary["points"] < primary["interval"][1] <= 0
