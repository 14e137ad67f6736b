"""The student of recordings with transcripts, exported: it transcribes them as it was evaluated."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.cli import main
from stages.acoustic.models.settings import ArchitectureSettings
from stages.corpus.align import aligner, network
from tests.support.makers.audio import AudioFolder, make_audio
from tests.support.makers.audio_formats import MAKERS
from tests.support.makers.pipeline import TINY

pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
pytest.importorskip("onnx", reason="needs the extra 'export'")
STUDENT = "hard labels"
SETTINGS = {
    "corpus": {
        "source": "audio",
        "path": "data",
        "audio": {"num_mel_bins": 23},
        "align": {"lexicon": "graphemes", "states": 1, "realignments": 1},
        "features": {"subsample": 1},
    },
    "student": {**TINY["student"], "hard_weight": 1.0},
    "compare": [],
    # Words cost nothing: whatever the last bits of so small a student are, it recognises some.
    "evaluate": {**TINY["evaluate"], "processes": 1, "insertion_penalties": [-20.0]},
}


def essence(*words: str) -> Result:
    """The command, in this process and the current folder."""
    ran = CliRunner().invoke(main, words)
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder: sentences within recordings, a student of them, and its export."""
    directory = tmp_path_factory.mktemp("house")
    for name in ("speech", "data"):
        (directory / name).mkdir()
    speech = make_audio(directory / "speech")
    MAKERS["kaldi_segments"](speech, directory / "data")
    write_tables(speech, directory)
    (directory / "pipeline.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setattr(aligner, "GAUSSIAN_PASSES", 2)
        patch.setattr(network, "FEWEST_STEPS", 20)
        small = ArchitectureSettings(kind="tdnn", hidden=16, layers=2, dropout=0.0)
        patch.setattr(network, "ARCHITECTURE", small)
        for words in (("corpus",), ("student",), ("export", STUDENT, "--output", "deployed")):
            ran = essence(*words)
            assert ran.exit_code == 0, ran.stderr
        yield directory


def write_tables(speech: AudioFolder, directory: Path) -> None:
    """The sentences of test, as spans of the recording (spans.tsv) and as files (files.tsv)."""
    segments = (directory / "data" / "test" / "segments").read_text().splitlines()
    span_of = {line.split()[0]: line.split()[2:] for line in segments}
    for name, path_of in (
        ("spans.tsv", lambda row: ("data/test/all.flac", *span_of[row["id"]])),
        ("files.tsv", lambda row: (f"speech/{row['path']}", "", "")),
    ):
        lines = [("id", "path", "start", "end", "speaker")]
        lines += [(row["id"], *path_of(row), row["speaker"]) for row in speech.of("test")]
        (directory / name).write_text("".join("\t".join(line) + "\n" for line in lines))


def transcribed(*words: str) -> dict[str, str]:
    ran = essence("transcribe", *words)
    assert ran.exit_code == 0, ran.stderr
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    return {each["id"]: each["text"] for each in found}


def counted(house: Path) -> dict[str, str]:
    """The words of test as the student's evaluation counted them."""
    (place,) = (house / "work").glob("evaluation-*")
    result: Any = json.loads((place / "result.json").read_text())
    return {each["id"]: each["hypothesis"] for each in result["test"]["utterances"]}


def test_spans_and_files_give_the_words_that_evaluate_counted(house: Path) -> None:
    wanted = counted(house)
    assert any(wanted.values())
    assert transcribed("deployed", "spans.tsv") == wanted
    assert transcribed("deployed", "files.tsv") == wanted


def test_student_is_transcribed_with_by_its_name(house: Path) -> None:
    assert transcribed(STUDENT, "spans.tsv") == counted(house)


def test_export_has_the_lang_that_the_alignment_made(house: Path) -> None:
    (corpus,) = (house / "work").glob("corpus-*")
    for name in ("lexicon.txt", "units.txt", "lm.arpa"):
        exported = (house / "deployed" / "lang" / name).read_bytes()
        assert exported == (corpus / "lang" / name).read_bytes()
    about = json.loads((house / "deployed" / "export.json").read_text())
    assert about["equality"]["largest_difference"] <= 1e-4


def test_recording_that_ends_before_a_span_is_named(house: Path) -> None:
    (house / "bad.tsv").write_text("id\tpath\tstart\tend\nu\tdata/test/all.flac\t1\t900\n")
    ran = essence("transcribe", "deployed", "bad.tsv")
    assert ran.exit_code == 1
    assert "wanted speech until 900.000 s" in ran.stderr
