"""The kept recordings are the samples that the corpus's features were computed from."""

from pathlib import Path

import numpy as np
import pytest

from stages.acoustic.features.filterbank import log_mel
from stages.acoustic.sound.audio_file import read_audio
from stages.acoustic.sound.speech_table import read_speech
from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.corpus.settings import CorpusSettings
from stages.corpus.spoken.speak import speak_corpus
from stages.corpus.spoken_audio import refuse_other_audio, write_audio
from tests.support.makers.spoken import tiny_spoken

pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")


def test_kept_recordings_give_the_features_of_the_corpus(tmp_path: Path) -> None:
    spoken = tiny_spoken(dev_minutes=0.1, test_minutes=0.15, hours=0.01, train_voices=7)
    write_audio(CorpusSettings(spoken=spoken), directory=tmp_path, progress=SilentProgress())
    corpus = speak_corpus(spoken, progress=SilentProgress())
    for split in ("dev", "test"):
        rows = read_speech([tmp_path / f"{split}.tsv"])
        recordings = list(corpus.splits[split])
        assert [row.id for row in rows] == [recording.id for recording in recordings]
        assert [row.speaker for row in rows] == [recording.speaker for recording in recordings]
        for row, recording in zip(rows, recordings, strict=True):
            samples_T = read_audio(row.path)
            assert np.array_equal(samples_T, recording.samples_T)
            assert log_mel(samples_T, num_mel_bins=23).shape[0] == len(recording.labels_T)


def test_corpus_without_recordings_is_refused_with_the_reason() -> None:
    kaldi = CorpusSettings(source="kaldi", path=Path("data"))
    with pytest.raises(BadInput, match=r"Kaldi directory .* has features, no recordings"):
        refuse_other_audio(kaldi)
    given = {"alignments": ["ali"], "lang": "lang"}
    audio = CorpusSettings.model_validate({"source": "audio", "path": "a.tsv", "audio": given})
    with pytest.raises(BadInput, match=r"\(corpus.source: audio\) are files already"):
        refuse_other_audio(audio)
    copies = [{"kind": "noise", "name": "noisy", "splits": ["test"]}]
    noisy = CorpusSettings.model_validate({"copies": copies})
    with pytest.raises(BadInput, match="copy noisy stands for the originals of test"):
        refuse_other_audio(noisy)
    in_train = [{"kind": "noise", "name": "noisy"}]
    refuse_other_audio(CorpusSettings.model_validate({"copies": in_train}))
