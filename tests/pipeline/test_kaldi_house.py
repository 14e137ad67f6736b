"""The pipeline with a Kaldi graph gives the results of the lexicon that it was made from."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from stages.acoustic.lang.transitions import read_transitions
from tests.support.makers.hclg import an4_with_kaldi_graph, as_kaldi_experiment, swap_lang
from tests.support.makers.kaldi import AN4, add_unlabelled_folder, make_kaldi_directory
from tests.support.makers.pipeline import ROOT, TINY

COMMANDS = ("corpus", "ensemble", "teacher", "student", "evaluate")
QUICK = {"epochs": 1, "batch_frames": 700}


def write_settings(
    directory: Path, data: Path, kaldi: dict[str, object] | None = None, **evaluate: object
) -> None:
    member = {
        "name": "one",
        "architecture": {"kind": "tdnn", "hidden": 16, "layers": 1},
        "training": {**QUICK, "seed": 1, "learning_rate": 0.01},
    }
    settings = TINY | {
        "corpus": {
            "source": "kaldi",
            "path": str(data),
            "kaldi": kaldi or {},
            "features": {"subsample": 1},
        },
        "ensemble": {"members": [member]},
        "teacher": {**TINY["teacher"], "kept": 5},
        "student": {"k": 3, **{key: member[key] for key in ("architecture", "training")}},
        "compare": [],
        "evaluate": {**TINY["evaluate"], "processes": 1, **evaluate},
    }
    (directory / "pipeline.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def results_of(directory: Path) -> dict[str, object]:
    """Return scale, penalty, errors and hypotheses of every system.

    Not its phone errors and the confidences of its words: Kaldi's graph has no lexicon for them.
    """
    found: dict[str, object] = {}
    for path in sorted(directory.glob("work/evaluation-*/result.json")):
        made = json.loads((path.parent / "made.json").read_text())
        result = json.loads(path.read_text())
        for split in ("dev", "test"):
            result[split].pop("phones")
            for utterance in result[split]["utterances"]:
                utterance.pop("confidences")
        found[made["remarks"]["system"]] = result
    return found


def run(
    directory: Path,
    data: Path,
    *commands: str,
    kaldi: dict[str, object] | None = None,
    **evaluate: object,
) -> dict[str, object]:
    directory.mkdir()
    write_settings(directory, data, kaldi, **evaluate)
    for command in commands:
        words = [command, "--config", str(directory / "pipeline.yaml")]
        done = CliRunner().invoke(main, [*words, "--set", f"work_dir={directory / 'work'}"])
        assert done.exit_code == 0, done.stderr
    return results_of(directory)


def test_kaldi_graph_gives_the_results_of_the_lexicon(tmp_path: Path) -> None:
    data = make_kaldi_directory(tmp_path / "data", sentences=23, noise=0.8)
    grid = {"acoustic_scales": [0.1, 0.4], "insertion_penalties": [0.0, 1.5], "max_active": 1000}
    wanted = run(tmp_path / "lexicon", data, *COMMANDS, **grid)
    found = run(tmp_path / "kaldi", swap_lang(data, type="vector"), *COMMANDS, **grid)
    assert found == wanted
    assert len(wanted) == 3
    student = wanted["k=3"]
    assert student["test"]["words"]["reference_words"] > 20
    assert any(row["hypothesis"] for row in student["test"]["utterances"])


def test_experiment_as_kaldi_leaves_it_gives_the_same_results(tmp_path: Path) -> None:
    """final.mdl, graph/ and ali.*.gz of transition-ids: no program of Kaldi has to be run."""
    grid = {"acoustic_scales": [0.1, 0.4], "insertion_penalties": [0.0, 1.5], "max_active": 1000}
    data = swap_lang(make_kaldi_directory(tmp_path / "data", sentences=23, noise=0.8))
    wanted = run(tmp_path / "pdfs", data, *COMMANDS, **grid)
    kaldi = {
        "lang": "exp/graph",
        "model": "exp/final.mdl",
        "alignments": {"train": "exp/ali_train", "dev": "exp/ali_dev"},
    }
    as_kaldi_experiment(data)
    found = run(tmp_path / "as it lies", data, *COMMANDS, kaldi=kaldi, **grid)
    assert found == wanted
    assert len(wanted) == 3


def test_example_reads_the_directory_drawn_in_the_document(tmp_path: Path) -> None:
    data = swap_lang(make_kaldi_directory(tmp_path / "data"))
    add_unlabelled_folder(data, "more")
    (data / "num_pdfs").rename(data / "lang" / "num_pdfs")
    path = data / "train" / "text"
    path.write_text(path.read_text().replace(" BA", " <UNK>", 1))
    words = ["corpus", "--config", str(ROOT / "examples" / "kaldi.yaml")]
    for change in (f"corpus.path={data}", f"work_dir={tmp_path}", "corpus.kaldi.unlabelled=[more]"):
        words += ["--set", change]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    assert "1 words are not in the lexicon (<UNK>): kept" in done.stderr
    assert "are skipped" not in done.stderr


def test_transitions_shown_in_the_document_are_parsed(tmp_path: Path) -> None:
    lines = (ROOT / "docs" / "kaldi.md").read_text().splitlines()
    shown = [line for line in lines if line.startswith(("    Transition-", "     Transition-"))]
    (tmp_path / "transitions.txt").write_text("\n".join(shown))
    assert len(shown) == 3
    assert read_transitions(tmp_path / "transitions.txt").pdfs == (0, 0)


@pytest.mark.an4
@pytest.mark.slow
@pytest.mark.skipif(AN4 is None, reason="the AN4 data directory is not here")
def test_an4_with_a_kaldi_graph_has_the_results_of_its_lexicon(tmp_path: Path) -> None:
    assert AN4 is not None
    # The graphs differ in their number of states: no state may be pruned.
    limits = {"max_active": 1000, "min_active": 999}
    wanted = run(tmp_path / "lexicon", AN4, *COMMANDS, **limits)
    data = an4_with_kaldi_graph(tmp_path / "data")
    found = run(tmp_path / "kaldi", data, *COMMANDS, **limits)
    assert found == wanted
    assert any(row["hypothesis"] for row in wanted["k=3"]["test"]["utterances"])
