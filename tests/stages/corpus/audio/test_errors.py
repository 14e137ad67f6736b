"""What is wrong with audio or its tables is one line that names it, and nothing is half made."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.makers.audio import AudioFolder
from tests.support.makers.audio_formats import MAKERS, lhotse_manifests
from tests.support.makers.bad_audio import no_audio, refused, silence, truncate, two_channels


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, "is truncated"),
        (silence, "is silent: all samples are 0"),
        (two_channels, "has 2 channels, wanted 1: choose the one"),
        (no_audio, "cannot be read as audio"),
        (Path.unlink, "is missing, and so are 1 of 35 audio files"),
    ],
)
def test_audio_that_cannot_be_used_is_named(
    copy: AudioFolder, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    row = copy.of("train")[2]
    damage(copy.folder / row["path"])
    message = refused(copy, copy.write_table(copy.folder / "all.tsv"), tmp_path / "out")
    assert str(copy.folder / row["path"]) in message
    assert words in message
    if damage is not Path.unlink:
        assert message.startswith(f"utterance {row['id']!r}: ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"end": "99"}, r"s, wanted speech until 99.000 s"),
        ({"duration": "7.5"}, "its table states 7.500 s"),
        ({"start": "2", "end": "1"}, "end 1 is not after start 2"),
        ({"text": ""}, "of train has no transcript, as 1 of 24: add them, or set"),
        ({"split": "eval"}, "is of the split 'eval', wanted train or dev or test"),
        ({"split": ""}, "is of the split None, wanted train or dev or test"),
        ({"id": "other"}, "two utterances have the id 'other'"),
        ({"channel": "1"}, "has 1 channels, wanted channel 1"),
    ],
)
def test_table_that_does_not_fit_is_refused(
    copy: AudioFolder, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    columns = ("id", "path", "speaker", "split", "text", "start", "end", "duration", "channel")
    for row in copy.rows:
        row |= dict.fromkeys(("start", "end", "duration", "channel"), "")
    copy.rows[0] |= changes
    if "id" in changes:
        copy.rows[-1] |= changes  # in another split
    message = refused(copy, copy.write_table(copy.folder / "all.tsv", columns), tmp_path / "out")
    assert words in message


@pytest.mark.parametrize("split", ["dev", "test"])
def test_dev_and_test_need_transcripts(copy: AudioFolder, tmp_path: Path, split: str) -> None:
    copy.of(split)[0]["text"] = " "
    path = copy.write_table(copy.folder / "all.tsv")
    message = refused(copy, path, tmp_path / "out", no_transcript="untranscribed")
    assert f"of {split} has no transcript" in message


def test_split_without_utterances_is_refused(copy: AudioFolder, tmp_path: Path) -> None:
    copy.rows[:] = copy.of("train") + copy.of("test")
    path = copy.write_table(copy.folder / "all.tsv")
    message = refused(copy, path, tmp_path / "out")
    assert "has no utterance of dev: name it in corpus.audio.splits.dev, or take dev and" in message


@pytest.mark.parametrize("pipe", ["sox {} -t wav - |", "cat {}|", "| cat {}"])
def test_shell_pipes_of_kaldi_are_refused_and_not_run(
    copy: AudioFolder, tmp_path: Path, pipe: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    MAKERS["kaldi"](copy, data)
    scp = data / "train" / "wav.scp"
    id, path = scp.read_text().split("\n")[0].split(" ")
    command = pipe.format(path) if pipe.startswith("|") else f"touch {tmp_path}/ran; {pipe}"
    scp.write_text(scp.read_text().replace(f"{id} {path}", f"{id} {command}"))
    message = refused(copy, data, tmp_path / "out")
    assert f"{scp}, recording {id!r}: shell pipes are refused" in message
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("wav.scp", "rec-2 wav.ark:17", "wanted an audio file of its own"),
        ("wav.scp", "rec-2", "wanted an audio file of its own"),
        ("segments", "utt-2 rec-9 0 1", "wanted a recording of wav.scp, its start and its end"),
        ("segments", "utt-2 train-rec 0", "wanted a recording of wav.scp, its start and its end"),
        ("segments", "utt-2 train-rec 3 2", "end 2 is not after start 3"),
        ("segments", "utt-2 train-rec 3 later", "end: "),
    ],
)
def test_kaldi_tables_that_are_wrong_are_refused(
    copy: AudioFolder, tmp_path: Path, name: str, line: str, words: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    MAKERS["kaldi_segments"](copy, data)
    with (data / "train" / name).open("a") as table:
        table.write(f"{line}\n")
    message = refused(copy, data, tmp_path / "out")
    assert words in message
    assert f"{data / 'train' / name}" in message


def test_recording_of_another_length_than_kaldi_states_is_refused(
    copy: AudioFolder, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    MAKERS["kaldi_segments"](copy, data)
    (data / "train" / "reco2dur").write_text("train-rec 5.25\n")
    assert "its table states 5.250 s" in refused(copy, data, tmp_path / "out")


def test_manifests_that_are_no_span_of_a_file_are_refused(
    copy: AudioFolder, tmp_path: Path
) -> None:
    lhotse = pytest.importorskip("lhotse", reason="needs the extra 'manifests'")
    data = tmp_path / "data"
    data.mkdir()
    MAKERS["lhotse_cuts"](copy, data)
    recordings, supervisions = lhotse_manifests(copy, "train")
    cuts = lhotse.CutSet.from_manifests(recordings=recordings, supervisions=supervisions)
    cuts = cuts.to_eager()
    first = next(iter(cuts))
    command = lhotse.audio.AudioSource("command", [0], f"touch {tmp_path}/ran; cat a.wav")
    piped = lhotse.utils.fastcopy(
        first, recording=lhotse.utils.fastcopy(first.recording, sources=[command])
    )
    double = first.append(first)
    two = lhotse.utils.fastcopy(first, supervisions=first.supervisions * 2)
    cases = [
        (piped, "commands (shell pipes) are refused"),
        (first.perturb_speed(1.1), "changed by Speed"),
        (double, "is a MixedCut without a recording of its own"),
        (two, "has 2 supervisions, wanted 1"),
    ]
    for number, (cut, words) in enumerate(cases):
        lhotse.CutSet.from_cuts([cut]).to_file(data / "spoken_cuts_train.jsonl.gz")
        message = refused(copy, data, tmp_path / f"out{number}")
        assert words in message
        assert f"cut {cut.id!r}" in message
    assert not (tmp_path / "ran").exists()


def test_damaged_manifest_is_refused(copy: AudioFolder, tmp_path: Path) -> None:
    pytest.importorskip("lhotse", reason="needs the extra 'manifests'")
    data = tmp_path / "data"
    data.mkdir()
    MAKERS["lhotse_cuts"](copy, data)
    truncate(data / "spoken_cuts_train.jsonl.gz")
    message = refused(copy, data, tmp_path / "out")
    assert "spoken_cuts_train.jsonl.gz cannot be read by lhotse" in message


def test_recordings_alone_and_two_manifests_are_refused(copy: AudioFolder, tmp_path: Path) -> None:
    pytest.importorskip("lhotse", reason="needs the extra 'manifests'")
    data = tmp_path / "data"
    data.mkdir()
    MAKERS["lhotse_supervisions"](copy, data)
    shutil.copy(data / "spoken_recordings_dev.jsonl.gz", data / "b_recordings_dev.jsonl.gz")
    assert "two manifests of the same kind" in refused(copy, data, tmp_path / "out")
    (data / "b_recordings_dev.jsonl.gz").unlink()
    (data / "spoken_supervisions_dev.jsonl.gz").unlink()
    message = refused(copy, data, tmp_path / "out2")
    assert "wanted recordings and supervisions of the same name" in message


def test_dataset_with_paths_only_is_refused(copy: AudioFolder, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra 'manifests'")
    rows = copy.of("train")
    audio = [{"path": str(copy.folder / row["path"]), "bytes": None} for row in rows]
    kinds = datasets.Features(
        {"audio": {"path": datasets.Value("string"), "bytes": datasets.Value("binary")}}
    )
    table = datasets.Dataset.from_dict({"audio": audio}, features=kinds)
    table.save_to_disk(tmp_path / "hf")
    settings = {"dev_share": 0.2, "test_share": 0.2, "no_transcript": "leave_out"}
    message = refused(copy, tmp_path / "hf", tmp_path / "out", **settings)
    assert "has 0 columns of audio (none), wanted 1" in message


def test_audio_that_is_a_pipe_is_not_waited_for(copy: AudioFolder, tmp_path: Path) -> None:
    row = copy.of("train")[1]
    (copy.folder / row["path"]).unlink()
    os.mkfifo(copy.folder / row["path"])
    message = refused(copy, copy.write_table(copy.folder / "all.tsv"), tmp_path / "out")
    assert "cannot be read" in message
