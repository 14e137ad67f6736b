"""Every format gives the same utterances: ids, speakers, texts, features, place of the audio."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.acoustic.features.filterbank import log_mel
from stages.acoustic.sound.audio_file import read_audio
from stages.acoustic.sound.span_reader import SpanReader
from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.corpus.audio.fingerprint import audio_fingerprint
from stages.corpus.audio.formats import find_format
from stages.corpus.audio.settings import AudioSettings
from stages.corpus.audio.source import AudioSpeech
from tests.support.makers.audio import AudioFolder
from tests.support.makers.audio_formats import MAKERS, SPLITS
from tests.support.paths import ROOT


@pytest.fixture(params=MAKERS)
def made(request: pytest.FixtureRequest, audio: AudioFolder, tmp_path: Path) -> Any:
    if "lhotse" in request.param:
        pytest.importorskip("lhotse", reason="needs the extra 'manifests'")
    if "dataset" in request.param:
        pytest.importorskip("datasets", reason="needs the extra 'manifests'")
    return MAKERS[request.param](audio, tmp_path)


def speech_of(path: Path, scratch: Path, **settings: Any) -> AudioSpeech:
    scratch.mkdir()
    how = AudioSettings(num_mel_bins=23, **settings)
    return AudioSpeech(how, path, scratch=scratch, progress=SilentProgress())


def test_format_gives_the_utterances_and_their_features(
    made: Any, audio: AudioFolder, tmp_path: Path
) -> None:
    path, settings, id_of = made
    speech, reader = speech_of(path, tmp_path / "scratch", **settings), SpanReader()
    for split in SPLITS:
        rows = audio.of(split)
        first, again = list(speech.utterances(split)), list(speech.utterances(split))
        assert [raw.id for raw in first] == [id_of[row["id"]] for row in rows]
        assert [raw.speaker for raw in first] == [row["speaker"] for row in rows]
        assert [raw.transcript for raw in first] == [row["text"] for row in rows]
        for raw, kept, row in zip(first, again, rows, strict=True):
            samples_T = read_audio(audio.folder / row["path"])
            assert np.array_equal(raw.features_TF, log_mel(samples_T, num_mel_bins=23))
            assert np.array_equal(raw.features_TF, kept.features_TF)
            assert raw.labels_T is None
            assert raw.audio is not None
            assert kept.audio == raw.audio
            assert np.array_equal(reader.read_again(raw.audio), samples_T)


def test_span_has_digest_and_size_of_the_encoded_audio(
    made: Any, audio: AudioFolder, tmp_path: Path
) -> None:
    path, settings, _ = made
    speech = speech_of(path, tmp_path / "scratch", **settings)
    raw = next(iter(speech.utterances("dev")))
    assert raw.audio is not None
    assert Path(raw.audio.path).is_absolute()
    encoded = (audio.folder / audio.of("dev")[0]["path"]).read_bytes()
    if Path(raw.audio.path).name == "all.flac":
        encoded = Path(raw.audio.path).read_bytes()
    assert raw.audio.size == len(encoded)
    assert raw.audio.digest == hashlib.sha256(encoded).hexdigest()


def test_fingerprint_loads_nothing_heavy_and_is_repeatable(made: Any) -> None:
    path, settings, _ = made
    how = AudioSettings(**settings)
    found = audio_fingerprint(how, path)
    program = (
        "import sys; from pathlib import Path\n"
        "from stages.corpus.audio.fingerprint import audio_fingerprint\n"
        "from stages.corpus.audio.settings import AudioSettings\n"
        "how = AudioSettings.model_validate_json(sys.argv[1])\n"
        "print(audio_fingerprint(how, Path(sys.argv[2])))\n"
        "heavy = {'torch', 'lhotse', 'datasets', 'soundfile', 'soxr', 'kaldiio', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", program, how.model_dump_json(), str(path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.stderr) == (found, "")


def test_fingerprint_covers_tables_and_audio(made: Any, audio: AudioFolder) -> None:
    path, settings, _ = made
    how = AudioSettings(**settings)
    kind = find_format(path, how)
    named = {file.resolve() for file in kind.audio(path, how)}
    wanted = {(audio.folder / row["path"]).resolve() for row in audio.rows}
    assert named == wanted or all(file.suffix in (".flac", ".arrow") for file in named)
    before = audio_fingerprint(how, path)
    for table in kind.tables(path, how):
        whole = table.read_bytes()
        table.write_bytes(whole + b"\n")
        if table.suffix == ".gz":
            with pytest.raises(BadInput, match="cannot be read as a Lhotse manifest"):
                audio_fingerprint(how, path)
        else:
            assert audio_fingerprint(how, path) != before, table
        table.write_bytes(whole)
    assert audio_fingerprint(how, path) == before


def test_path_of_no_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(BadInput, match="is no corpus of audio: wanted a table"):
            find_format(path, AudioSettings())
    with pytest.raises(BadInput, match=r"none is missing: wanted a table"):
        find_format(tmp_path / "none", AudioSettings())


def test_path_of_two_formats_is_refused(audio: AudioFolder, tmp_path: Path) -> None:
    MAKERS["kaldi"](audio, tmp_path)
    audio.write_table(tmp_path / "train.tsv")
    with pytest.raises(BadInput, match="holds files of Kaldi and table formats"):
        find_format(tmp_path, AudioSettings())


@pytest.mark.parametrize("share", ["dev_share", "test_share"])
def test_files_of_a_split_that_is_taken_from_train_are_refused(
    made: Any, tmp_path: Path, share: str
) -> None:
    path, settings, _ = made
    split = share.removesuffix("_share")
    words = rf"corpus\.audio\.{share} takes {split} from train: set "
    with pytest.raises(BadInput, match=words):
        speech_of(path, tmp_path / "scratch", **settings, **{share: 0.2})
    if path.is_file():  # a table of all splits
        return
    with pytest.raises(BadInput, match=words):
        audio_fingerprint(AudioSettings(**settings, **{share: 0.2}), path)
    names = settings.get("splits", {})
    how = {**settings, share: 0.2, "splits": {**names, split: "elsewhere"}}
    speech = speech_of(path, tmp_path / "shared", **how)
    assert len(speech.rows(split)) > 0
