"""Audio with transcripts -> a corpus, with no labels and no lang given."""

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from stages.acoustic.lang.lang import Lang
from stages.acoustic.lang.lang_folder import read_lang_folder
from stages.acoustic.lang.phones import phones_of
from stages.contract.progress import SilentProgress
from stages.corpus.build import build_corpus
from stages.corpus.settings import CorpusSettings
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.audio import AudioFolder, make_audio


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> AudioFolder:
    pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
    return make_audio(tmp_path_factory.mktemp("audio"))


def build(audio: AudioFolder, out: Path, *, copies: Any = (), **align: Any) -> Lang:
    """Build the corpus; returns its lang."""
    out.mkdir()
    settings = {
        "source": "audio",
        "path": audio.write_table(audio.folder / "all.tsv"),
        "audio": {"num_mel_bins": 23},
        "features": {"subsample": 1},  # a state may be one frame long
        "align": {"realignments": 1, **align},
        "copies": copies,
    }
    how = CorpusSettings.model_validate(settings)
    build_corpus(how, directory=out, progress=SilentProgress())
    lang = read_lang_folder(out / "lang")
    assert isinstance(lang, Lang)
    return lang


def test_letters_are_enough_to_align_audio_and_its_copies(
    audio: AudioFolder, tmp_path: Path, small_network: None
) -> None:
    fast = {"kind": "speed", "name": "fast", "speed": 1.1}
    lang = build(audio, tmp_path / "corpus", copies=[fast], lexicon="graphemes", states=1)
    phones = phones_of(lang)
    assert phones is not None
    assert {len(phone) for phone in set(phones.of_class) - {"SIL"}} == {1}
    with CorpusFile(tmp_path / "corpus" / "train.h5") as train:
        originals = audio.of("train")
        assert len(train.utterances) == 2 * len(originals)
        for number, row in enumerate(originals):
            spelled = [phones.of_class[label] for label in train.labels(number)]
            letters = [phone for phone in spelled if phone != "SIL"]
            wanted = row["text"].lower().replace(" ", "").replace("'", "")
            assert [c for c, _ in groupby(letters)] == [c for c, _ in groupby(wanted)]


def test_espeak_gives_a_lang_whose_words_are_those_of_train(
    audio: AudioFolder, tmp_path: Path, small_network: None
) -> None:
    lang = build(audio, tmp_path / "corpus", lexicon="espeak:en-us", states=2)
    assert set(lang.words) == {w for row in audio.of("train") for w in row["text"].split()}
    with CorpusFile(tmp_path / "corpus" / "dev.h5") as dev:
        assert dev.about.has_labels
        assert all(row.audio is not None for row in dev.utterances)
