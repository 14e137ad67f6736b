"""Audio that cannot be used, with `unreadable: skip`: left out by name, with the reason."""

import os
from pathlib import Path
from typing import Any

import pytest

from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.contract.results import CorpusSummary
from stages.corpus.audio.fingerprint import audio_fingerprint
from stages.corpus.audio.settings import AudioSettings
from stages.corpus.build import build_corpus
from stages.corpus.settings import CorpusSettings
from stages.corpus.summary import summary_lines
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.audio import AudioFolder
from tests.support.makers.bad_audio import no_audio, refused, silence, truncate, two_channels


def test_audio_that_cannot_be_used_is_skipped_by_name(copy: AudioFolder, tmp_path: Path) -> None:
    damages = {
        truncate: "is truncated",
        silence: "is silent",
        two_channels: "has 2 channels",
        no_audio: "cannot be read as audio",
        Path.unlink: "cannot be read (No such file or directory)",
    }
    bad = {}
    for row, (damage, words) in zip(copy.of("train"), damages.items(), strict=False):
        damage(copy.folder / row["path"])
        bad[row["id"]] = f"{copy.folder / row['path']} {words}"
    os.mkfifo(pipe := copy.folder / "pipe.wav")
    copy.of("dev")[1]["path"] = pipe.name
    summary = skipping(copy, tmp_path / "out")
    train, dev, test = summary.splits
    reason_of = {id: reason for reason, ids in train.left_out.items() for id in ids}
    assert reason_of.keys() == bad.keys()
    assert all(reason_of[id].startswith(words) for id, words in bad.items())
    assert [train.num_utterances, test.left_out] == [24 - len(bad), {}]
    assert list(dev.left_out.values()) == [(copy.of("dev")[1]["id"],)]
    lines = [line for line in summary_lines(summary) if line.startswith("left out of train, ")]
    assert len(lines) == len(bad)
    with CorpusFile(tmp_path / "out" / "train.h5") as corpus:
        assert [row.id for row in corpus.utterances] == [
            row["id"] for row in copy.of("train") if row["id"] not in bad
        ]


def skipping(copy: AudioFolder, out: Path, **settings: Any) -> CorpusSummary:
    out.mkdir()
    how = CorpusSettings.model_validate(
        {
            "source": "audio",
            "path": copy.write_table(copy.folder / "all.tsv"),
            "audio": {**copy.labels, "unreadable": "skip", **settings},
        }
    )
    return build_corpus(how, directory=out, progress=SilentProgress())


def test_one_bad_recording_of_many_utterances_is_one_reason(
    copy: AudioFolder, tmp_path: Path
) -> None:
    row = copy.of("train")[0]
    copy.rows.extend({**row, "id": f"again-{n}"} for n in range(3))
    silence(copy.folder / row["path"])
    ((reason, ids),) = skipping(copy, tmp_path / "out").splits[0].left_out.items()
    assert reason == f"{copy.folder / row['path']} is silent: all samples are 0"
    assert ids == (row["id"], "again-0", "again-1", "again-2")


def test_terminal_shows_ten_reasons_and_where_the_others_are(
    copy: AudioFolder, tmp_path: Path
) -> None:
    for row in copy.of("train")[:12]:
        silence(copy.folder / row["path"])
    summary = skipping(copy, tmp_path / "out")
    assert len(summary.splits[0].left_out) == 12
    lines = [line for line in summary_lines(summary) if line.startswith("left out of train, ")]
    assert len(lines) == 11
    assert lines[-1] == "left out of train, 2 other reasons: 2 (all: summary.json)"


def test_split_whose_audio_is_all_bad_is_an_error(copy: AudioFolder, tmp_path: Path) -> None:
    for row in copy.of("dev"):
        silence(copy.folder / row["path"])
    path = copy.write_table(copy.folder / "all.tsv")
    message = refused(copy, path, tmp_path / "out", unreadable="skip")
    id = copy.of("dev")[0]["id"]
    assert f"no audio of dev can be used; the first of 6 utterances, {id!r}: " in message


def test_skipping_changes_the_identity_and_failing_does_not() -> None:
    assert "unreadable" not in AudioSettings().identity()
    assert AudioSettings(unreadable="skip").identity()["unreadable"] == "skip"


def test_skipped_file_that_appears_later_makes_another_corpus(
    copy: AudioFolder, tmp_path: Path
) -> None:
    path = copy.write_table(copy.folder / "all.tsv")
    file, kept = copy.folder / copy.of("train")[2]["path"], tmp_path / "kept.wav"
    skip = AudioSettings(unreadable="skip")
    whole = audio_fingerprint(skip, path)
    file.rename(kept)
    with pytest.raises(BadInput, match=r"cannot be read \(No such file or directory\)"):
        audio_fingerprint(AudioSettings(), path)
    without = audio_fingerprint(skip, path)
    assert without != whole
    os.mkfifo(file)
    assert audio_fingerprint(skip, path) == without
    file.unlink()
    kept.rename(file)
    assert audio_fingerprint(skip, path) == whole
