"""Token sequences end to end: members, teacher, students, both decodings, sweep, report, export."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.cli import main
from stages.contract.results import Evaluation
from stages.deploy.folder import read_export_about
from storage.read.reader import open_store
from tests.support.makers.kaldi import make_kaldi_directory
from tests.support.makers.pipeline import tree_digests

ARCHITECTURE = {"kind": "tdnn", "hidden": 16, "layers": 2, "dropout": 0.0}
TRAINING = {"epochs": 12, "batch_frames": 200, "learning_rate": 0.02}
PLAIN = {"splice_left": 0, "splice_right": 0, "subsample": 1}


def essence(*words: str) -> Result:
    """A command, in this process."""
    return CliRunner().invoke(main, list(words))


def _settings(directory: Path, **changes: Any) -> Path:
    members = [
        {"name": name, "architecture": ARCHITECTURE, "training": TRAINING | {"seed": seed}}
        for seed, name in enumerate(("one", "two"))
    ]
    settings: dict[str, Any] = {
        "work_dir": str(directory / "work"),
        "corpus": {
            "source": "kaldi",
            "path": str(directory / "data"),
            "targets": "tokens",
            "features": PLAIN,
        },
        "ensemble": {"members": members},
        "teacher": {"kept": 4, "shard_frames": 300, "chunk_frames": 100},
        "student": {
            "k": 3,
            "hard_weight": 0.5,
            "blank": "drop",
            "architecture": ARCHITECTURE,
            "training": TRAINING | {"seed": 9},
        },
        "compare": [{"hard_weight": 1.0}, {"blank": {"weight": 0.25}}],
        "evaluate": {
            "acoustic_scales": [1.0],
            "insertion_penalties": [0.0],
            "processes": 1,
        },
        "report": {"bootstrap_samples": 100},
    }
    path = directory / "pipeline.yaml"
    path.write_text(yaml.safe_dump(settings | changes))
    return path


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokens")
    make_kaldi_directory(directory / "data", sentences=40)
    done = essence("run", "--config", str(_settings(directory)), "--jobs", "1")
    assert done.exit_code == 0, done.output
    (directory / "table.txt").write_text(done.output)
    return directory


def _results(here: Path) -> list[Evaluation]:
    paths = sorted((here / "work").glob("evaluation-*/result.json"))
    return [Evaluation.model_validate_json(path.read_bytes()) for path in paths]


def test_run_decodes_with_and_without_a_graph(here: Path) -> None:
    results = _results(here)
    assert len(results) == 6  # two members, the ensemble, three students
    for result in results:
        assert result.dev.frames.frame_error is None
        assert result.test.words.rate < 0.35  # chance is above 0.8
        greedy = result.test.greedy
        assert greedy is not None
        assert greedy.characters is not None
        assert [each.id for each in greedy.tokens] == [each.id for each in result.test.utterances]
        errors = sum(each.words.errors for each in greedy.tokens)
        assert errors < 0.4 * sum(each.words.reference_words for each in greedy.tokens)
        assert 0.05 < greedy.blank_share < 0.9


def test_tables_and_page_show_token_character_and_word_errors(here: Path) -> None:
    table = (here / "table.txt").read_text()
    page = (here / "work" / "report" / "index.html").read_text()
    for title in ("Token error", "Character error", "Word error, greedy"):
        assert title in table
        assert f"<h3>{title}</h3>" in page
    assert "k=3 blank=0.25" in table
    assert "95 % interval" in table


def test_store_is_one_of_frames_over_the_tokens(here: Path) -> None:
    (teacher,) = (here / "work").glob("teacher-*")
    about = open_store(teacher / "train.zarr").about
    assert (about.num_classes, about.kept) == (5, 4)


def test_second_run_makes_nothing(here: Path) -> None:
    before = tree_digests(here / "work")
    done = essence("run", "--config", str(here / "pipeline.yaml"), "--jobs", "1")
    assert done.exit_code == 0, done.output
    assert tree_digests(here / "work") == before


def test_sweep_varies_blank_and_k(here: Path) -> None:
    config = ["--config", str(here / "pipeline.yaml")]
    done = essence(
        "sweep", *config, "--jobs", "1", "--vary", "student.blank=keep,drop", "--k", "1,3"
    )
    assert done.exit_code == 0, done.output
    assert "blank" in done.output
    assert len(list((here / "work").glob("student-*"))) == 3 + 3


def test_exported_student_has_the_word_errors_of_the_student(here: Path) -> None:
    done = essence("export", "hard labels", "--config", str(here / "pipeline.yaml"))
    assert done.exit_code == 0, done.output
    (export,) = (here / "work").glob("export-*")
    assert (export / "lang" / "tokens.txt").is_file()
    priors = np.load(export / "priors.npy")
    assert not priors.any()
    for metrics in read_export_about(export).metrics:
        assert metrics.word_error_rate.rate == metrics.float32_word_error_rate


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("labels",), "token sequences"),
        (("teacher", "--set", "teacher.posteriors=given_transcript"), "targets is tokens"),
        (("student", "--set", "student.trust=where_right"), "student.trust"),
        (("student", "--set", "corpus.targets=frames"), "student.blank"),
    ],
)
def test_command_that_needs_classes_of_frames_is_refused(
    here: Path, words: tuple[str, ...], message: str
) -> None:
    done = essence(words[0], "--config", str(here / "pipeline.yaml"), *words[1:])
    assert done.exit_code in (1, 2)
    assert message in done.output
    assert "Traceback" not in done.output
