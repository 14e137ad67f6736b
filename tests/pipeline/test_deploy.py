"""From a student to words of audio files: exported, copied, run without torch."""

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
import yaml

from pipeline.export import copy_export
from pipeline.terminal.extras import EXTRA_OF
from tests.support.makers.pipeline import TINY, essence, tree_digests
from tests.support.paths import ROOT
from tests.support.without_packages import COMMAND, run_without

pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
pytest.importorskip("onnx", reason="needs the extra 'export'")
STUDENT = "hard labels"
SETTINGS = {
    "corpus": TINY["corpus"],
    "student": {**TINY["student"], "hard_weight": 1.0},
    "compare": [],
    "evaluate": {**TINY["evaluate"], "acoustic_scales": [0.2, 0.4], "processes": 1},
    "report": {"bootstrap_samples": 100},
}
# What the extra 'deploy' does not install.
NOT_DEPLOYED = {"torch", "safetensors", "matplotlib", "jinja2", "kaldialign", "kaldiio", "kaldilm"}


def without_torch(directory: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command in a process that can import no package that the extra 'deploy' lacks."""
    blocked = NOT_DEPLOYED | {
        package for package, extra in EXTRA_OF.items() if extra not in ("deploy", "speech")
    }
    return run_without(blocked, COMMAND, *words, cwd=directory)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one student, its export in `deployed`, and the corpus's recordings."""
    directory = tmp_path_factory.mktemp("house")
    (directory / "pipeline.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    for words in (
        ("corpus", "--keep-audio"),
        ("student",),
        ("export", STUDENT, "--output", "deployed"),
    ):
        ran = essence(directory, *words)
        assert ran.returncode == 0, ran.stderr
    return directory


def only(house: Path, stage: str) -> Path:
    (place,) = (house / "work").glob(f"{stage}-*")
    return place


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def counted(house: Path) -> list[dict[str, object]]:
    """The utterances of test as the student's evaluation counted them."""
    result = json.loads((only(house, "evaluation") / "result.json").read_text())
    return result["test"]["utterances"]


def test_export_without_torch_gives_the_words_that_evaluate_counted(house: Path) -> None:
    table = only(house, "audio") / "test.tsv"
    ran = without_torch(house, "transcribe", "deployed", table)
    assert ran.returncode == 0, ran.stderr
    found, wanted = lines(ran.stdout), counted(house)
    assert [each["id"] for each in found] == [each["id"] for each in wanted]
    assert [each["text"] for each in found] == [each["hypothesis"] for each in wanted]
    assert any(each["text"] for each in found)
    for each, other in zip(found, wanted, strict=True):
        confidences = [word["confidence"] for word in each["words"]]
        if other["confidences"] is not None:
            assert confidences == pytest.approx(other["confidences"], abs=1e-4)
    assert "real-time factor 0." in ran.stderr


def test_word_times_are_in_order_and_within_the_speech(house: Path) -> None:
    ran = essence(house, "transcribe", "deployed", str(only(house, "audio") / "dev.tsv"))
    for each in lines(ran.stdout):
        times = [word[end] for word in each["words"] for end in ("start", "end")]
        if None not in times:
            assert times == sorted(times)
            assert not times or 0 <= times[0] <= times[-1] <= each["seconds"] + 0.02


def test_student_is_exported_where_it_is_asked_for(house: Path) -> None:
    table = str(only(house, "audio") / "test.tsv")
    of_student = essence(house, "transcribe", STUDENT, table)
    of_export = essence(house, "transcribe", str(only(house, "export")), table)
    assert of_student.returncode == of_export.returncode == 0, of_student.stderr
    assert of_student.stdout == of_export.stdout


def test_export_holds_all_that_a_deployment_needs(house: Path) -> None:
    folder = house / "deployed"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        *("model.onnx", "onnx.json", "export.json", "priors.npy", "cmvn.json", "README.md"),
        *("graph/HLG.fst", "graph/words.txt", "files.sha256", "made.json"),
        *(f"lang/{name}" for name in ("lexicon.txt", "units.txt", "lm.arpa", "num_pdfs")),
    }
    for line in (folder / "files.sha256").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    about = json.loads((folder / "export.json").read_text())
    assert about["equality"]["largest_difference"] <= 1e-4
    assert about["equality"]["num_batches"] > 10
    for each in about["metrics"]:
        assert each["word_error_rate"]["rate"] == pytest.approx(each["float32_word_error_rate"])
    assert tree_digests(only(house, "export")) == tree_digests(folder)


def test_card_is_read_as_yaml_and_markdown(house: Path) -> None:
    for folder in (house / "deployed", only(house, "student")):
        _, head, text = (folder / "README.md").read_text().split("---\n", 2)
        assert yaml.safe_load(head)["pipeline_tag"] == "automatic-speech-recognition"
        assert text.startswith("# student-")


def test_export_made_twice_has_the_same_bytes(house: Path, tmp_path: Path) -> None:
    again = shutil.copytree(house, tmp_path / "house", symlinks=True)
    shutil.rmtree(only(again, "export"))
    ran = essence(again, "export", STUDENT)
    assert ran.returncode == 0, ran.stderr
    assert tree_digests(only(again, "export")) == tree_digests(only(house, "export"))
    begun = time_of(only(again, "export"))
    assert essence(again, "export", STUDENT).stdout == ran.stdout
    assert time_of(only(again, "export")) == begun  # fresh: not made a third time


def time_of(folder: Path) -> int:
    return (folder / "made.json").stat().st_mtime_ns


def test_int8_export_is_measured_by_evaluation(house: Path, tmp_path: Path) -> None:
    again = shutil.copytree(house, tmp_path / "house", symlinks=True)
    ran = essence(again, "export", str(only(again, "student")), "--int8", "--output", "int8")
    assert ran.returncode == 0, ran.stderr
    about = json.loads((again / "int8" / "onnx.json").read_text())
    assert about["precision"] == "int8"
    assert about["quantisation"].startswith("convolutions static, calibrated on")
    test = json.loads((again / "int8" / "export.json").read_text())["metrics"][1]
    ran = without_torch(again, "transcribe", "int8", only(again, "audio") / "test.tsv")
    found = [each["text"] for each in lines(ran.stdout)]
    from stages.evaluate.score import add_up, word_errors

    errors = add_up(
        [
            word_errors(each["reference"], text)
            for each, text in zip(counted(again), found, strict=True)
        ]
    )
    assert errors.rate == pytest.approx(test["word_error_rate"]["rate"])


def test_bad_files_are_left_out_and_the_rest_goes_on(house: Path, tmp_path: Path) -> None:
    good = sorted((only(house, "audio") / "test").glob("*.wav"))[0]
    samples, rate = soundfile.read(good)
    soundfile.write(tmp_path / "slow.flac", samples, rate)
    (tmp_path / "cut.wav").write_bytes(good.read_bytes()[:5000])
    (tmp_path / "empty.wav").write_bytes(b"")
    files = [tmp_path / name for name in ("cut.wav", "slow.flac", "none.wav", "empty.wav")]
    words = ("transcribe", house / "deployed", *files, good, "--output", "out.jsonl")
    ran = without_torch(tmp_path, *words)
    assert ran.returncode == 1
    found = lines((tmp_path / "out.jsonl").read_text())
    assert [each["path"] for each in found] == [str(tmp_path / "slow.flac"), str(good)]
    assert found[0]["text"] == found[1]["text"]
    errors = [line for line in ran.stderr.splitlines() if "left out:" in line]
    assert len(errors) == 3
    assert "3 of 5 left out" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]


def test_output_replaces_nothing_and_goes_into_devices(house: Path, tmp_path: Path) -> None:
    good = sorted((only(house, "audio") / "test").glob("*.wav"))[0]
    audio = shutil.copy(good, tmp_path / "a.wav")
    ran = without_torch(tmp_path, "transcribe", house / "deployed", audio, "--output", audio)
    assert ran.returncode == 1
    assert "exists already" in ran.stderr
    assert audio.read_bytes() == good.read_bytes()
    ran = without_torch(
        tmp_path, "transcribe", house / "deployed", audio, "--output", "/dev/stdout"
    )
    assert ran.returncode == 0, ran.stderr
    assert len(lines(ran.stdout)) == 1
    assert Path("/dev/stdout").is_symlink()
    made = tmp_path / "new" / "out.jsonl"
    ran = without_torch(tmp_path, "transcribe", house / "deployed", audio, "--output", made)
    assert len(lines(made.read_text())) == 1


def test_name_that_is_not_utf8_is_written_readably(house: Path, tmp_path: Path) -> None:
    good = sorted((only(house, "audio") / "test").glob("*.wav"))[0]
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.wav"))
    shutil.copy(good, odd)
    ran = without_torch(tmp_path, "transcribe", house / "deployed", odd)
    assert ran.returncode == 0, ran.stderr
    assert lines(ran.stdout)[0]["path"] == f"{tmp_path}/odd\\xff.wav"


def test_settings_next_to_an_export_are_refused(house: Path) -> None:
    ran = without_torch(house, "transcribe", "deployed", "a.wav", "--set", "student.k=2")
    assert ran.returncode == 2
    assert "which has its settings with it" in ran.stderr


def test_copy_on_a_full_disk_names_the_file(house: Path, tmp_path: Path) -> None:
    export = only(house, "export")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(OSError, match=r"File too large.*partial.*HLG\.fst"):
            copy_export(export, tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert not (tmp_path / "copy").exists()


def test_given_sums_replace_those_of_the_speaker(house: Path) -> None:
    table = str(only(house, "audio") / "test.tsv")
    sums = str(house / "deployed" / "cmvn.json")
    plain = essence(house, "transcribe", "deployed", table)
    given = essence(house, "transcribe", "deployed", table, "--cmvn-stats", sums)
    assert given.returncode == 0, given.stderr
    assert given.stdout != plain.stdout


@pytest.mark.parametrize("name", ["model.onnx", "graph/HLG.fst", "priors.npy", "export.json"])
def test_damaged_export_is_refused(house: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(house / "deployed", tmp_path / "deployed")
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    ran = without_torch(tmp_path, "transcribe", "deployed", "a.wav")
    assert ran.returncode == 1
    assert f"{name} has changed" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_status_lists_the_export_and_gc_keeps_it(house: Path) -> None:
    rows = [line.split() for line in essence(house, "status").stdout.splitlines()]
    (shown,) = (row for row in rows if row[0] == "export")
    assert shown[1:4] == ["hard", "labels", "fresh"]
    assert [row[1] for row in rows if row[0] == "audio"] == ["fresh"]
    listed = essence(house, "gc", "--dry-run").stdout
    assert "export-" not in listed
    assert "audio-" not in listed
    other = ("--set", "student.training.seed=77")
    assert "export-" in essence(house, "gc", "--dry-run", *other).stdout


def test_page_shows_the_export_next_to_its_student(house: Path, tmp_path: Path) -> None:
    again = shutil.copytree(house, tmp_path / "house", symlinks=True)
    assert essence(again, "evaluate").returncode == 0
    assert essence(again, "report").returncode == 0
    page = (again / "work" / "report" / "index.html").read_text(encoding="utf-8")
    about = json.loads((house / "deployed" / "export.json").read_text(encoding="utf-8"))
    rates = [each["word_error_rate"]["rate"] for each in about["metrics"]]
    row = page[page.index("ONNX, float32") :].split("</tr>")[0]
    assert f"{(house / 'deployed' / 'model.onnx').stat().st_size:,}" in row
    assert all(f"{100 * rate:.2f}" in row for rate in rates)


def test_killed_export_leaves_nothing_half_and_is_made_by_the_same_command(
    house: Path, tmp_path: Path
) -> None:
    again = shutil.copytree(house, tmp_path / "house", symlinks=True)
    shutil.rmtree(only(again, "export"))
    command = [sys.executable, "-m", "essence", "export", STUDENT]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=again, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not list(again.glob("work/export-*.partial/model.onnx")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert [path.suffix for path in again.glob("work/export-*")] == [".partial"]
    ran = essence(again, "export", STUDENT)
    assert ran.returncode == 0, ran.stderr
    assert tree_digests(only(again, "export")) == tree_digests(only(house, "export"))


def test_folder_that_is_no_export_is_named_without_torch(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    ran = without_torch(tmp_path, "transcribe", "other", "a.wav")
    assert ran.returncode == 1
    assert "other holds no exported model (onnx.json) and no student" in ran.stderr
    ran = without_torch(tmp_path, "transcribe", "misspelt", "a.wav")
    assert ran.returncode == 1
    assert "misspelt is not here: name a folder that 'essence export' made" in ran.stderr


def test_unknown_student_names_those_that_are_here(house: Path) -> None:
    ran = essence(house, "export", "k=77")
    assert ran.returncode == 1
    assert "k=77 is no student of these settings" in ran.stderr
    assert STUDENT in ran.stderr


def test_existing_output_is_not_replaced(house: Path) -> None:
    before = tree_digests(house / "deployed")
    ran = essence(house, "export", STUDENT, "--output", "deployed")
    assert ran.returncode == 1
    assert "deployed exists already" in ran.stderr
    assert tree_digests(house / "deployed") == before
